"""Checks: one printed cell of a published table beside our number for it.

`column` is the only way from a table to a check: it reads the printed number itself and takes ours from
outside.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ..facts.files import published, read_csv
from ..spine.errors import BadInput
from ..spine.stated import half_unit

HOUR, DAY, GB = 3600.0, 86400.0, 1e9
NUMBER = r"(\d[\d,]*\.?\d*(?:[eE][+-]?\d+)?)\s*([KMBT](?![A-Za-z]))?"
KINDS = {  # what the printed number is, and what an agreement is worth
    "measured": "somebody timed it: an agreement says something about machines",
    "counted": "a property of a model that exists: an agreement says that nothing was forgotten",
    "computed": "its authors worked it out: an agreement says that we read them as they meant it",
    "bound": "measured, and our law is a bound: ours should lie above",
}


@dataclass(frozen=True)
class Check:
    """One printed cell of a table against the law that should return it, both in the base unit `unit`.

    `half_digit` is half a unit of the last printed digit. `inputs` says what came from where, `fitted` what
    was fitted and on which rows. `circular`: the printed number, or a choice made to meet it, went into ours.
    `misprint` says what should be printed, where the same paper shows it.
    """

    table: str
    line: int
    column: str
    law: str
    row: str
    published: float
    half_digit: float
    ours: float
    unit: str
    inputs: str
    kind: str
    fitted: str = ""
    circular: bool = False
    misprint: str = ""

    @property
    def ratio(self) -> float:
        """Ours over printed."""
        return self.ours / self.published

    @property
    def error(self) -> float:
        """|ours / printed - 1|."""
        return abs(self.ratio - 1)

    @property
    def within(self) -> bool:
        """Whether ours rounds to what is printed."""
        return abs(self.ours - self.published) <= self.half_digit * (1 + 1e-9)

    @property
    def counts(self) -> bool:
        """Whether it may stand in a headline: a prediction of a number that is not known to be misprinted."""
        return not self.circular and not self.misprint


def number_in(text: str, pattern: str = NUMBER) -> tuple[float, float]:
    """The first number of a printed cell, and half a unit of its last digit; BadInput where there is none.

    >>> number_in("1.3B"), value("2.664M GPU hours")
    ((1300000000.0, 50000000.0), 2664000.0)
    """
    match = re.search(pattern, text)
    if not match:
        raise BadInput(f"a printed cell takes a number, got {text!r}")
    digits, *suffix = match.groups()
    scale = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}.get(suffix[0] if suffix else None, 1.0)
    return float(digits.replace(",", "")) * scale, half_unit(digits) * scale


def value(cell: str, pattern: str = NUMBER) -> float:
    """The first number of a printed cell."""
    return number_in(cell, pattern)[0]


def rows_of(table: str) -> list[tuple[int, dict]]:
    """The rows of a published table with their line numbers; "models" is `models.csv`."""
    return list(enumerate(read_csv("models.csv") if table == "models" else published(table)))


def column(
    table: str,
    name: str,
    law: str,
    *,
    kind: str,
    inputs: str,
    unit: str = "1",
    scale: float = 1.0,
    pattern: str = NUMBER,
    **shared,
) -> Callable[..., Check]:
    """A function that makes the checks of one column: `make(line, ours, row)`.

    `scale` takes the printed number to the base unit; `make(..., read=f)` compares f(number) instead, in its
    last digit to first order. Raises BadInput for an unknown kind.
    """
    if kind not in KINDS:
        raise BadInput(f"kind takes one of {', '.join(KINDS)}, got {kind!r}")
    lines = dict(rows_of(table))

    def make(line, ours, row, *, read=None, kind=kind, **own):
        printed, half = (x * scale for x in number_in(lines[line][name], pattern))
        if read:
            printed, half = read(printed), abs(read(printed) * half / printed)
        facts = {"unit": unit, "inputs": inputs, "kind": kind} | shared | own
        return Check(table, line, name, law, row, printed, half, float(ours), **facts)

    return make
