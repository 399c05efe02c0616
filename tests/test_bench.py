"""`make bench` itself: the table tells what was measured, and ends the run as it should."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

import bench.__main__ as main
from bench import commits, system, table
from bench.table import Result


def _result(met: bool | None, figure: float = 0.8) -> Result:
    return Result("GET of the form", "0.7 ms", "hello", figure, (0.7, 0.9), ">= 0.7", met)


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        (_result(True), "met"),
        (_result(False), "NOT MET"),
        (_result(None), "reported"),
        (table.not_measured("commits", "no strace here"), "not measured"),
        (table.failed("commits", "broke off"), "NOT MET"),
    ],
    ids=["met", "not met", "no bar", "part missing", "broke off"],
)
def test_table_tells_the_verdict(result: Result, verdict: str) -> None:
    """Each line ends with whether its bar was met."""
    line = table.text([result]).splitlines()[2]
    assert line.rstrip(" |").endswith(f"| {verdict}")


@pytest.mark.parametrize(
    ("results", "everyday", "complete"),
    [
        ([_result(True), _result(None)], 0, 0),
        ([_result(True), _result(False)], 1, 1),
        ([_result(True), table.not_measured("commits", "no strace here")], 0, 1),
    ],
    ids=["all met", "one not met", "one not measured"],
)
def test_run_fails_by_what_was_measured(
    results: list[Result], everyday: int, complete: int
) -> None:
    """A part that is missing here fails the run only where all must be measured."""
    codes = [table.exit_code(results, complete=wanted) for wanted in (False, True)]
    assert codes == [everyday, complete]


def test_blocks_are_compared_with_the_one_beside_them() -> None:
    """A machine that is slow for a while is so for both: the ratio of a pair stays."""
    hello, form = [1.0, 3.0, 1.0, 9.0], [2.0, 6.0, 2.0, 18.0]
    assert table.middle(table.ratios(hello, form)) == (0.5, (0.5, 0.5))


def test_spread_is_the_quartiles() -> None:
    """One block that went wrong moves neither the median nor the spread."""
    assert table.middle([1.0, 2.0, 3.0, 4.0, 900.0]) == (3.0, (2.0, 4.0))


def test_syncs_belong_to_the_request_that_waited_for_them() -> None:
    """A checkpoint is told apart from a commit by the files that it makes durable."""
    trace = (
        "7 10.5 fdatasync(9</state/demo.sqlite-wal>) = 0\n"
        "8 20.2 fdatasync(9</state/demo.sqlite-wal> <unfinished ...>\n"
        "8 20.3 <... fdatasync resumed>) = 0\n"
        "8 20.4 fsync(8</state/demo.sqlite>) = 0\n"
        "7 99.0 fdatasync(9</state/demo.sqlite-wal>) = 0\n"
    )
    counted = commits.count([(10.0, 11.0), (20.0, 21.0)], trace)
    assert [(request.log, request.database) for request in counted] == [(1, 0), (1, 1)]


def test_cpu_counts_threads_that_have_ended() -> None:
    """A server's threads come and go; what they did stays."""
    before = system.cpu_ms(os.getpid())
    thread = threading.Thread(target=_busy)
    thread.start()
    thread.join()
    assert system.cpu_ms(os.getpid()) - before >= 50


def _busy() -> None:
    until = time.thread_time() + 0.05
    while time.thread_time() < until:
        pass


def test_one_row_leaves_the_files_of_the_full_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a table with all rows is one to compare with."""
    monkeypatch.setattr(main, "_measure", lambda row, out: [_result(True)])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    written = []
    for only in (["--only", "form"], []):
        monkeypatch.setattr("sys.argv", ["bench", "--out", str(tmp_path), *only])
        main.main()
        written.append(sorted(path.name for path in tmp_path.iterdir()))
    assert written == [[], ["results.json", "table.md"]]
