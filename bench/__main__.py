"""`python -m bench`: all rows in their order, one table in the end, and files in `build/bench`.

With `--only`, `table.md` and `results.json` stay those of the last full run.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from bench import table
from bench.table import Missing, Result

# Each is a module here with `measure(out)`; *out* is the folder for plots and running systems.
ROWS = (
    *("form", "instructions", "captcha", "rush", "commits", "password"),
    *("mails", "handover", "growth", "footprint", "idle", "servers", "visit"),
)


def main() -> int:
    options = _parse()
    # Whoever ends the bench ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    out: Path = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    results: list[Result] = []
    for row in options.only or ROWS:
        results += _measure(row, out)
    print(table.text(results))
    if not options.only:
        table.write(results, _machine(), out)
    return table.exit_code(results, complete=os.environ.get("CI") == "true")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    only = f"{', '.join(ROWS)}; the table is not written to files"
    parser.add_argument("--only", nargs="+", choices=ROWS, metavar="ROW", help=only)
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    return parser.parse_args()


def _measure(row: str, out: Path) -> list[Result]:
    measure: Callable[[Path], list[Result]] = import_module(f"bench.{row}").measure
    print(f"{row} ...", end=" ", flush=True, file=sys.stderr)
    begun = time.monotonic()
    try:
        results = measure(out)
    except Missing as missing:
        results = [table.not_measured(row, f"not measured: {missing}")]
    except Exception as error:
        # The other rows still tell what they have to.
        traceback.print_exc()
        results = [table.failed(row, f"broke off: {error!r}")]
    verdicts = ", ".join(result.verdict for result in results)
    print(f"{time.monotonic() - begun:.0f} s: {verdicts}", file=sys.stderr)
    return results


def _machine() -> dict[str, str]:
    """What a reader must know to compare two tables."""
    cpus = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in cpus if line.startswith("model name")]
    return {
        "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "processor": f"{len(os.sched_getaffinity(0))} x {(names or ['unknown'])[0]}",
        "python": f"Python {platform.python_version()}",
        "sqlite": f"SQLite {sqlite3.sqlite_version}",
    }


if __name__ == "__main__":
    sys.exit(main())
