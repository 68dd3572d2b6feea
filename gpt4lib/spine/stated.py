"""Stated values: numbers as an author wrote them, with the precision they were stated at."""

import math
import re
from dataclasses import dataclass

from .errors import BadInput
from .interval import INF, Interval
from .units import base_unit, unit_factor


@dataclass(frozen=True)
class Stated:
    """A value as it was written: `value` and `interval` are in the base unit `unit`."""

    text: str
    value: float
    interval: Interval
    unit: str
    written_unit: str


_NUMBER = r"\d[\d,_]*(?:\.\d*)?(?:[eE][+-]?\d+)?"
_STATED = re.compile(
    rf"(?P<mark>~|=|>=|<=|>|<)?\s*(?P<a>{_NUMBER})(?:\s*-\s*(?P<b>{_NUMBER}))?(?:\s+(?P<unit>\S.*))?"
)


def stated(text: str) -> Stated:
    """Read "~1.8e12 parameter", "90-100 day", "> 10", "=16": a value with the precision of its statement.

    A plain or `~` number is known to half a unit of its last significant digit; trailing zeros of a
    whole number count as significant only among its first two digits ("25,000" is 24,500 to 25,500).
    `a-b` is a range, `>` and `<` open half-lines, `=` exact. Raises BadInput for anything else.

    >>> s = stated("~1.8e12 parameter"); s.interval.lo / 1e12, s.interval.hi / 1e12
    (1.75, 1.85)
    >>> stated("32-36 %").interval
    Interval(lo=0.32, hi=0.36)
    """
    match = _STATED.fullmatch(str(text).strip())
    if not match:
        forms = "'~1.8e12 parameter', '90-100 day', '> 10' or '=16'"
        raise BadInput(f"a stated value takes a form such as {forms}, got {text!r}")
    mark, first, last, unit = match.groups("")
    unit = unit.strip() or "1"
    base = base_unit(unit)
    low = high = value = _number(first)
    if last:
        if mark in (">", "<", ">=", "<="):
            raise BadInput(f"a stated range takes no {mark!r}, got {text!r}")
        high = _number(last)
        value = (low + high) / 2
    elif mark in (">", ">="):
        low, high = (math.nextafter(value, INF) if mark == ">" else value), INF
    elif mark in ("<", "<="):
        low, high = 0.0, (math.nextafter(value, 0) if mark == "<" else value)
    elif mark != "=":
        low, high = max(value - half_unit(first), 0.0), value + half_unit(first)
    factor = unit_factor(unit, base)
    return Stated(str(text).strip(), value * factor, Interval(low * factor, high * factor), base, unit)


def parts(text: str) -> tuple[str, str, str]:
    """Mark, first and second number of a stated value's text; "" for what is not there.

    >>> parts("~1.8e12 parameter"), parts("90-100 day")
    (('~', '1.8e12', ''), ('', '90', '100'))
    """
    match = _STATED.fullmatch(text.strip())
    return match["mark"] or "", match["a"], match["b"] or ""


def half_unit(number: str) -> float:
    """Half a unit of the last significant digit of a number as written.

    >>> half_unit("2.15e25") == 0.005e25, half_unit("280e9"), half_unit("25,000"), half_unit("30")
    (True, 5000000000.0, 500.0, 0.5)
    """
    mantissa, _, exponent = number.lower().replace(",", "").replace("_", "").partition("e")
    whole, dot, fraction = mantissa.partition(".")
    place = -len(fraction)
    if not dot:
        digits = whole.lstrip("0")
        while len(digits) > 2 and digits.endswith("0"):
            digits, place = digits[:-1], place + 1
    return float(f"5e{place + int(exponent or 0) - 1}")


def _number(text: str) -> float:
    return float(text.replace(",", "").replace("_", ""))
