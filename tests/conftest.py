"""What several test files share: the built site and one browser per test process."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("book", deadline=None, derandomize=True)  # slow machines, equal runs
settings.load_profile("book")

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "site"), str(ROOT / "book"), str(ROOT / "book" / "_ext")]
pytest.register_assert_rewrite("site_pages")
from browser import chromium, find_chromium  # noqa: E402
from site_pages import READY, SITE, Visit, outside  # noqa: E402


@pytest.fixture(scope="session")
def browser():
    """Chromium; where none is installed the test is skipped, in CI it fails."""
    if find_chromium() is None:
        message = "no Chromium found: the built site is not tested (Debian: apt-get install chromium)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    with chromium() as running:
        yield running


@pytest.fixture(scope="session")
def site():
    """Folder of the built site."""
    if not (SITE / "index.html").exists():
        pytest.fail("the site is not built: run `make book`")
    return SITE


@pytest.fixture
def fresh(browser, site):
    """A function that opens a page for one test alone."""
    opened = []

    def open_page(name, width=1280, ready=READY):
        opened.append(Visit(browser, name, width, ready))
        return opened[-1].page

    yield open_page
    for visit in opened:
        assert not visit.problems and not outside(visit.requests)
        visit.page.close()
