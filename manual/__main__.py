"""`make manual`: pictures from the running service, then the pages as HTML and PDF."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from manual import pages, pictures, reference
from tests.browser.conftest import running_demo
from tests.servers.fixtures import QUIET

FOOTER = """\
<style>p { display: flex; justify-content: space-between; width: 100%; margin: 0 18mm; }
p { font: 8pt sans-serif; color: #444 }</style>
<p><span class="title"></span>
<span><span class="pageNumber"></span> / <span class="totalPages"></span></span></p>"""


def main() -> None:
    reference.write()
    target = pages.ROOT / "build" / "manual"
    shutil.rmtree(target, ignore_errors=True)
    with chromium() as browser, tempfile.TemporaryDirectory() as instance:
        with running_demo(Path(instance)) as demo:
            pictures.take(browser, demo, pages.DOCS / "img")
        for pdf in bind(browser, target):
            print(pdf)


@contextmanager
def chromium() -> Iterator[Browser]:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=found, args=QUIET)


def bind(browser: Browser, target: Path) -> Iterator[Path]:
    """Write the pages into *target*, and print each book; its PDF."""
    pages.write(target)
    for book in pages.BOOKS:
        yield _printed(browser, target / f"{book}.print.html", target / f"{book}.pdf")


def _printed(browser: Browser, made: Path, pdf: Path) -> Path:
    page = browser.new_page()
    page.goto(made.as_uri())
    page.pdf(
        path=pdf,
        prefer_css_page_size=True,
        print_background=True,
        display_header_footer=True,
        header_template="<p></p>",
        footer_template=FOOTER,
        tagged=True,
        outline=True,
    )
    page.close()
    made.unlink()
    return pdf


if __name__ == "__main__":
    main()
