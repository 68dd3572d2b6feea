"""How the tests run: the longest files first, none for ever; notebooks (nbval) compared but for looks."""

import signal

import pytest

# Pictures are skipped by nbval itself. LaTeX is cosmetic: how SymPy sets a formula, not what it says.
COSMETIC = ("text/latex", "stderr")
LONG = (
    "tests/site/test_site_pages",
    "notebooks/",
    "tests/site/test_site",
    "tests/mini",
    "tests/workbench",
    "tests/site/test_pages",
    "tests/test_cli",
)


def pytest_collectstart(collector):
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += COSMETIC


def pytest_collection_modifyitems(items):
    """Two processes end together when the long files come first; each takes whole files, in this order."""
    place = lambda item: next((n for n, start in enumerate(LONG) if item.nodeid.startswith(start)), len(LONG))
    items.sort(key=place)


CPU_SECONDS = 30  # of one test, or of reading a test file: what runs for ever ends as a red test


class TooLong(BaseException):
    """A test took too much processor time. No Exception, so that neither test nor Hypothesis catches it."""


def too_long(*_):
    """Raise where the code stands now."""
    raise TooLong(f"more than {CPU_SECONDS} s of processor time")


def limited(*_):
    """Let what is wrapped run for `CPU_SECONDS` of this process's time, and remind it each second after."""
    before = signal.signal(signal.SIGPROF, too_long)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS, 1)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


for hook in ("pytest_make_collect_report", "pytest_runtest_setup", "pytest_runtest_call"):
    globals()[hook] = pytest.hookimpl(wrapper=True)(limited)
