"""Given values by reference: the article's figures and claims, constants, facts, assumptions and data sheets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from ..spine.errors import BadInput
from ..spine.stated import Stated, stated
from .devices import DEVICE_UNITS, hardware
from .files import data_file, read_toml

_KINDS = ("claim", "article", "constant", "fact", "assume", "hardware")


@dataclass(frozen=True)
class Input:
    """One input of a check: where it comes from (`origin`, `ref`) and its value with its precision."""

    origin: str
    ref: str
    meaning: str
    stated: Stated
    source: str = ""


def given(ref: str) -> Stated:
    """The value behind a reference such as "article:gpus-a100" or "claim:training-cost-days", with its precision.

    >>> given("claim:training-cost-mfu").interval
    Interval(lo=0.32, hi=0.36)
    """
    return look_up(ref).stated


@cache
def _tables() -> tuple[dict, dict, dict]:
    folder = files("gpt4lib") / "data" / "ledger"
    entries = {
        entry["id"]: entry
        for path in folder.iterdir()
        if path.name.endswith(".toml")
        for entry in read_toml(path).get("claim", [])
    }
    return entries, read_toml(data_file("article.toml")), read_toml(data_file("constants.toml"))


def look_up(ref: str) -> Input:
    """The input behind a reference: origin, meaning, stated value and source."""
    return resolve(ref, *_tables())


def resolve(ref: str, ids, article, constants) -> Input:
    """The input that a reference such as "claim:dataset-13t" or "hardware:NAME.field" stands for."""
    origin, _, key = str(ref).partition(":")
    if origin not in _KINDS or not key:
        raise BadInput(f"an input takes one of {', '.join(k + ':…' for k in _KINDS)}, got {ref!r}")
    if origin == "hardware":
        name, _, field_name = key.rpartition(".")
        device = hardware(name)
        if field_name not in DEVICE_UNITS or getattr(device, field_name) is None:
            raise BadInput(f"{name} has no figure {field_name!r}; it takes one of {', '.join(DEVICE_UNITS)}")
        value = stated(f"={getattr(device, field_name)!r} {DEVICE_UNITS[field_name]}")
        return Input(
            origin, key, f"{field_name.split('_')[0].upper()} figure of the {name}", value, device.source
        )
    table = {"claim": ids, "article": article}.get(origin, constants)
    if key not in table:
        raise BadInput(f"unknown {origin} {key!r}")
    row = table[key]
    if table is constants and row["kind"] != origin:
        raise BadInput(f"{key!r} is kept as {row['kind']!r}, not {origin!r}")
    if origin == "claim" and "stated" not in row:
        raise BadInput(f"claim {key!r} states no value")
    return Input(
        origin,
        key,
        row["claim"] if origin == "claim" else row["meaning"],
        stated(row["stated" if origin == "claim" else "value"]),
        row.get("source", ""),
    )
