"""Data files: hardware, published tables, sources, and the figures that claims are checked with.

Every row names its source, a key of `data/references.bib`. Files are read when first asked for.
"""

from __future__ import annotations

import csv
import difflib
import re
import tomllib
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files

from .units import BadInput


def data_file(name: str):
    """The data file `name` below `gpt4lib/data`, as a readable path. Raises BadInput when missing."""
    path = files("gpt4lib") / "data" / name
    if not path.is_file():
        raise BadInput(f"no data file {name!r}")
    return path


def read_toml(path) -> dict:
    """A TOML file as a dict. Raises BadInput with the file's name and the line of the mistake."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror or error})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path.name}: {error}") from None


def read_csv(name: str) -> list[dict]:
    """The rows of a CSV file of `gpt4lib/data` as dicts of text."""
    return list(csv.DictReader(data_file(name).read_text(encoding="utf-8").splitlines()))


def published(name: str) -> list[dict]:
    """The rows of a published table, as printed: `published("training_runs")`."""
    known = [
        p.name.removesuffix(".csv")
        for p in (files("gpt4lib") / "data" / "published").iterdir()
        if p.name.endswith(".csv")
    ]
    return read_csv(f"published/{pick(name, known, 'published table')}.csv")


def pick(name: str, known, kind: str) -> str:
    """`name` if it is known. Raises BadInput that names the nearest known ones."""
    known = list(known)
    if name in known:
        return name
    lowered = {k.lower(): k for k in known}
    near = [lowered[k] for k in difflib.get_close_matches(str(name).lower(), lowered, n=3, cutoff=0.3)]
    raise BadInput(
        f"unknown {kind} {name!r}; "
        + (f"nearest known: {', '.join(near)}" if near else f"known: {', '.join(known)}")
    )


@cache
def sources() -> frozenset[str]:
    """The keys of the bibliography."""
    return frozenset(
        re.findall(r"^@\w+\{([^,\s]+),", data_file("references.bib").read_text(encoding="utf-8"), re.M)
    )


@dataclass(frozen=True)
class Device:
    """One accelerator, in base units and per GPU; peaks are dense. None where the sheet is silent."""

    name: str
    memory_bytes: float
    bandwidth_bytes_per_s: float
    bf16_flop_per_s: float
    fp8_flop_per_s: float | None
    int8_op_per_s: float | None
    interconnect_bytes_per_s: float | None
    tdp_watt: float | None
    source: str
    evidence: str
    notes: str


DEVICE_UNITS = {
    "memory_bytes": "byte/GPU",
    "bandwidth_bytes_per_s": "byte/second/GPU",
    "interconnect_bytes_per_s": "byte/second/GPU",
    "bf16_flop_per_s": "FLOP/second/GPU",
    "fp8_flop_per_s": "FLOP/second/GPU",
    "int8_op_per_s": "FLOP/second/GPU",
    "tdp_watt": "watt/GPU",
}


@cache
def devices() -> dict[str, Device]:
    """All accelerators of `data/hardware.csv` by name."""
    found = {}
    for row in read_csv("hardware.csv"):
        values = {
            f.name: (
                row[f.name] if f.name not in DEVICE_UNITS else float(row[f.name]) if row[f.name] else None
            )
            for f in fields(Device)
        }
        found[row["name"]] = Device(**values)
    return found


def hardware(name: str) -> Device:
    """The accelerator `name`. Raises BadInput that names the nearest known ones.

    >>> hardware("A100-SXM 80GB").bf16_flop_per_s
    312000000000000.0
    """
    return devices()[pick(name, devices(), "accelerator")]
