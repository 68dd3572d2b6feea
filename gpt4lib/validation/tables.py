"""Validation: every published table of this library against the law that should return it.

A `Check` is one printed cell and our number for it. `ours` never reads that cell: the tests change the cell
and see that ours stays. Where constants are fitted on the same table, the row is left out of the fit.
"""

from __future__ import annotations

import numpy as np

from ..facts.files import read_csv
from ..spine.errors import BadInput
from . import attention, serving, sizes, training
from .check import Check

FAMILIES = (*sizes.FAMILIES, *training.FAMILIES, *serving.FAMILIES, *attention.FAMILIES)
LAWS = {r["law"]: r["name"] for r in read_csv("validation/laws.csv")}  # what a check calls: its short name
# Tables without a number that a law predicts, and why.
NOT_CHECKED = {r["table"]: r["why"] for r in read_csv("validation/not_checked.csv")}


def checks() -> list[Check]:
    """All checks of all families."""
    return [check for family in FAMILIES for check in family()]


def by_law(some: list[Check]) -> dict[str, list[Check]]:
    """The checks of each law, laws in the order of `LAWS`."""
    return {law: found for law in LAWS if (found := [c for c in some if c.law == law])}


def headline(some: list[Check]) -> tuple[int, float, float]:
    """Number, median and worst error of the predictions among them: no circular rows, no known misprints.

    Raises BadInput where none is left.
    """
    errors = [c.error for c in some if c.counts]
    if not errors:
        raise BadInput("some takes at least one check that is neither circular nor a known misprint")
    return len(errors), float(np.median(errors)), max(errors)
