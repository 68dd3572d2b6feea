"""Given values by reference: the article's figures and claims, constants, facts, assumptions, data sheets."""

from dataclasses import dataclass, replace
from functools import cache

from ..spine.errors import BadInput, refuse
from ..spine.schema import TEXT, Mistakes, Reference, document, entries, one_of, section, wrong
from ..spine.stated import Stated, stated
from .devices import DEVICE_UNITS, hardware
from .files import data_file, data_names, read_toml, sources

ORIGINS = ("claim", "article", "constant", "fact", "assume", "hardware")
_FORMS = ("~1.8e12 parameter", "90-100 day", "> 10", "=16")
_OPENING = r"^\s*(~|=|>=|<=|>|<)?\s*\d"
STATED = TEXT.of("a value with the precision it was stated at", *_FORMS, pattern=_OPENING)
_SOURCE = Reference(kind="source", names=lambda: sorted(sources())).of("a key of references.bib")
ARTICLE_KEYS = {  # the keys of an entry of article.toml
    "value": replace(STATED, needed=True),
    "meaning": TEXT.of("what it is, as a reader would say it", needed=True),
    "source": _SOURCE,
}
CONSTANT_KEYS = {  # of constants.toml
    **ARTICLE_KEYS,
    "source": replace(_SOURCE, needed=True),
    "kind": one_of(*ORIGINS[2:5]).of("how sure it is", needed=True),
    "why": TEXT.of("why this is assumed, and what speaks for another value"),
}


@dataclass(frozen=True)
class Input:
    """One input of a check: where it comes from (`origin`, `ref`) and its value with its precision."""

    origin: str
    ref: str
    meaning: str
    stated: Stated
    source: str = ""


def given(ref: str) -> Stated:
    """The value behind a reference such as "article:gpus-a100" or "claim:training-cost-days".

    >>> given("claim:training-cost-mfu").interval
    Interval(lo=0.32, hi=0.36)
    """
    return look_up(ref).stated


def look_up(ref: str) -> Input:
    """The input behind a reference: origin, meaning, stated value and source. Raises BadInput for none."""
    claims, article, constants = shipped()
    return resolve(ref, {entry["id"]: entry for _, entry in claims}, article, constants)


@cache
def shipped() -> tuple[list, dict, dict]:
    """What the data files hold: entries of the ledger as (file name, entry), article.toml, constants.toml."""
    found = []
    for name in data_names("ledger", ".toml"):
        read = read_toml(data_file(f"ledger/{name}.toml"))
        refuse(f"{name}.toml", list(wrong(read, {"claim": entries("claim")}).values()))
        found += [(f"{name}.toml", entry) for entry in read["claim"]]
    return found, read_toml(data_file("article.toml")), read_toml(data_file("constants.toml"))


def row_mistakes(row, keys: dict) -> list[str]:
    """What is wrong with an entry of article.toml or constants.toml, whose keys are given; also its unit."""
    lines = wrong(row, keys)
    found = Mistakes(lines.values())
    if isinstance(row, dict) and "value" in row and "value" not in lines:
        found.attempt(stated, row["value"])
    return found


def resolve(ref: str, ids: dict, article: dict, constants: dict) -> Input:
    """The input that a reference such as "claim:dataset-13t" or "hardware:NAME.field" stands for.

    Raises BadInput for one that stands for nothing. The tables are taken to be sound.
    """
    origin, _, key = str(ref).partition(":")
    if origin not in ORIGINS or not key:
        raise BadInput(f"an input takes one of {', '.join(k + ':…' for k in ORIGINS)}, got {ref!r}")
    if origin == "hardware":
        return _of_data_sheet(key)
    table = {"claim": ids, "article": article}.get(origin, constants)
    if key not in table:
        raise BadInput(f"unknown {origin} {key!r}")
    row = table[key]
    if table is constants and row["kind"] != origin:
        raise BadInput(f"{key!r} is kept as {row['kind']!r}, not {origin!r}")
    meaning, value = ("claim", "stated") if origin == "claim" else ("meaning", "value")
    if value not in row:
        raise BadInput(f"claim {key!r} states no value")
    return Input(origin, key, row[meaning], stated(row[value]), row.get("source", ""))


def _of_data_sheet(key):
    name, _, figure = key.rpartition(".")
    device = hardware(name)
    if figure not in DEVICE_UNITS or getattr(device, figure) is None:
        raise BadInput(f"{name} has no figure {figure!r}; it takes one of {', '.join(DEVICE_UNITS)}")
    value = stated(f"={getattr(device, figure)!r} {DEVICE_UNITS[figure]}")
    meaning = f"{figure.split('_')[0].upper()} figure of the {name}"
    source = device.memory_source if figure == "memory_bytes" else device.source
    return Input("hardware", key, meaning, value, source)


def fact_schema(name: str) -> dict:
    """The JSON Schema of article.toml or of constants.toml."""
    keys = {"article": ARTICLE_KEYS, "constants": CONSTANT_KEYS}[name]
    figures = "Figures of the article that are no claims of their own, by name."
    about = figures if name == "article" else "Constants, outside facts and assumptions, by name."
    return document(f"{name}.toml", about, {"type": "object", "additionalProperties": section(keys)})
