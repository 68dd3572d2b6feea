"""Settings of the notebook tests (nbval): outputs are compared strictly, but for how they look."""

# Pictures are skipped by nbval itself. LaTeX is cosmetic: how SymPy sets a formula, not what it says.
COSMETIC = ("text/latex", "stderr")


def pytest_collectstart(collector):
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += COSMETIC
