"""How the tests run: the longest files first; notebooks (nbval) compared strictly, but for looks."""

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
