"""Units: FLOP, byte, token, parameter, USD, GPU and second as independent dimensions.

The definitions are `data/units.txt`. Everything the library computes is in the base units named
there; other units (hours, GB, cents) exist for input and for reading.
"""

import numbers
from functools import cache, lru_cache
from importlib.resources import files

import numpy as np

from .errors import BadInput


@cache
def registry():
    """The pint registry of the book, made on first use (importing pint takes a while)."""
    import pint

    ureg = pint.UnitRegistry(None, cache_folder=None)
    text = (files("gpt4lib") / "data" / "units.txt").read_text(encoding="utf-8")
    ureg.load_definitions([line for line in text.splitlines() if line and not line.startswith("#")])
    return ureg


@lru_cache(maxsize=1024)
def unit_factor(unit: str, into: str) -> float:
    """How many `into` one `unit` is. Raises BadInput for unknown or incompatible units."""
    one = parse_unit(unit)
    try:
        return float((1.0 * one).to(parse_unit(into)).magnitude)
    except Exception as error:
        raise BadInput(f"{unit or '1'!r} is not a kind of {into or '1'!r}") from error


@lru_cache(maxsize=1024)
def parse_unit(unit: str):
    """The pint unit of `unit`; "" and "1" are dimensionless. Raises BadInput when unknown."""
    ureg = registry()
    if unit in ("", "1"):
        return ureg.Unit("dimensionless")
    try:
        return ureg.Unit(unit)
    except Exception as error:
        raise BadInput(f"unknown unit {unit!r} ({error})") from error


@lru_cache(maxsize=1024)
def base_unit(unit: str) -> str:
    """The base unit that `unit` converts to: "USD/GPU/second" for "USD/GPU/hour", "1" for "percent"."""
    base = f"{(1.0 * parse_unit(unit)).to_base_units().units:D}".replace(" ", "")
    return "1" if base == "dimensionless" else base


def to_unit(value, unit: str, name: str, *, at_most: float | None = None):
    """`value` as a float or array in `unit`; bare numbers are taken to be in `unit` already.

    `value` may be a number, an array of numbers, a string such as "90 day" or a pint quantity.
    Raises BadInput, naming `name`, for what is negative, NaN, infinite or of another dimension.
    """
    takes = f"{name} takes {'a plain number' if unit == '1' else unit}"
    if isinstance(value, str):
        value = _parse_quantity(value, takes)
    if hasattr(value, "magnitude"):
        try:
            value = value.to(parse_unit(unit)).magnitude
        except Exception:
            raise BadInput(f"{takes}, got {value:~}: the dimension is wrong") from None
    if isinstance(value, bool) or not isinstance(value, (numbers.Real, np.ndarray, list, tuple)):
        if not hasattr(value, "is_number") or not value.is_number:
            raise BadInput(f"{takes}, got {value!r}")
        value = float(value)
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise BadInput(f"{takes}, got {value!r}") from None
    kinds = {"NaN": np.isnan(array), "an infinite value": np.isinf(array), "a negative value": array < 0}
    for what, wrong in kinds.items():
        if wrong.any():
            raise BadInput(f"{takes}, got {what} ({array[wrong].flat[0]:g})")
    if at_most is not None and (array > at_most).any():
        raise BadInput(f"{takes} of at most {at_most:g}, got {array[array > at_most].flat[0]:g}")
    return float(array) if array.ndim == 0 else array


def _parse_quantity(text: str, takes: str):
    number, _, unit = text.strip().partition(" ")
    try:
        magnitude = float(number.replace(",", "").replace("_", ""))
        return magnitude * parse_unit(unit.strip()) if unit.strip() else magnitude
    except (ValueError, BadInput) as error:
        raise BadInput(f"{takes}, got {text!r}: {error}") from None
