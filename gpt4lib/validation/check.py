"""Checks: one printed cell of a published table beside our number for it.

`column` is the only way from a table to a check: it reads the printed number itself and takes ours from
outside.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import chain

from ..chapters.index import find_law
from ..facts.files import published, read_csv
from ..spine.errors import BadInput, pick
from ..spine.stated import half_unit

HOUR, DAY = 3600.0, 86400.0
_ROUNDING = 1e-9  # not mutated: any small number makes up for the rounding of doubles
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
        return abs(self.ours - self.published) <= self.half_digit * (1 + _ROUNDING)

    @property
    def counts(self) -> bool:
        """Whether it may stand in a headline: a prediction of a number that is not known to be misprinted."""
        return not self.circular and not self.misprint


def number_in(text: str, pattern: str = NUMBER) -> tuple[float, float]:
    """The first number of a printed cell, and half a unit of its last digit. Raises BadInput for none.

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


def numbers_in(row: dict, *names: str) -> list[float]:
    """The first numbers of several cells of a row."""
    return [value(row[name]) for name in names]


def rows_of(table: str) -> list[tuple[int, dict]]:
    """The rows of a published table with their line numbers; "models" is `models.csv`."""
    return list(enumerate(read_csv("models.csv") if table == "models" else published(table)))


@cache
def _columns() -> dict[str, dict]:
    return {r.pop("column"): r for r in read_csv("validation/columns.csv")}


@cache
def _misprints() -> dict[tuple, str]:
    return {(r["column"], r["row"]): r["misprint"] for r in read_csv("validation/misprints.csv")}


def column(name: str) -> Column:
    """The column that `validation/columns.csv` has under "table.column", or "table.column:which" of several.

    Raises BadInput for one that is not there.
    """
    facts = {key: text for key, text in _columns()[pick(name, _columns(), "column")].items() if text}
    table, cell = name.partition(":")[0].split(".", 1)
    return Column(table, cell, **facts | {"scale": float(facts.get("scale", 1))})


@dataclass(frozen=True)
class Column:
    """A printed column, the law that should return it and from what; its checks read the printed numbers.

    `scale` takes a printed number to the base unit. `row` names a row by its cells, "{model}, a token";
    `cells` are the law's letters and what gives them, "N=params D=tokens". Raises BadInput for an unknown
    kind.
    """

    table: str
    column: str
    law: str
    kind: str
    inputs: str
    unit: str = "1"
    scale: float = 1.0
    pattern: str = NUMBER
    fitted: str = ""
    row: str = ""
    cells: str = ""

    def __post_init__(self):
        if self.kind not in KINDS:
            raise BadInput(f"kind takes one of {', '.join(KINDS)}, got {self.kind!r}")

    @cached_property
    def rows(self) -> list[tuple[int, dict]]:
        """The table's rows with their line numbers, read once."""
        return rows_of(self.table)

    def by_law(self, r: dict) -> float:
        """The law of a row's `cells`."""
        letters = dict(pair.split("=") for pair in self.cells.split())
        return find_law(self.law)(**{letter: value(r.get(cell, cell)) for letter, cell in letters.items()})

    def check(self, line: int, ours, row: str = "", *, read=None, printed=None, **own) -> Check:
        """One row's check. `read`: compare f(number), to first order; `printed`: a formula's value."""
        row, half = row or self.row.format_map(self.rows[line][1]), 0.0
        if printed is None:
            cell = self.rows[line][1][self.column]
            printed, half = (x * self.scale for x in number_in(cell, self.pattern))
        if read:
            printed, half = read(printed), abs(read(printed) * half / printed)
        wrong = _misprints().get((f"{self.table}.{self.column}", row), "")
        facts = {key: getattr(self, key) for key in ("unit", "inputs", "kind", "fitted")}
        facts |= {"misprint": wrong, **own}
        return Check(self.table, line, self.column, self.law, row, printed, half, float(ours), **facts)

    def each(self, ours=None, row=None, *, where=None, **own) -> list[Check]:
        """The checks of all rows, or those `where`: `ours(r)`, else `by_law(r)`; `row`, `own` by row too."""
        ours, some = ours or self.by_law, [(i, r) for i, r in self.rows if where is None or where(r)]
        given = own if row is None else own | {"row": row}
        return [self.check(i, ours(r), **{key: of(r) for key, of in given.items()}) for i, r in some]


def by_line(*columns: list[Check]) -> list[Check]:
    """The checks of several columns of one table, row after row."""
    return sorted(chain(*columns), key=lambda check: check.line)
