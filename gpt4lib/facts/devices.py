"""Accelerators, as they report themselves and by data sheets, in base units, per GPU; peaks are dense."""

import re
from dataclasses import dataclass, fields, replace
from functools import cache

from ..spine.errors import pick, refuse
from ..spine.schema import POSITIVE, TEXT, wrong
from .files import read_csv

_RATES = dict.fromkeys(("bandwidth_bytes_per_s", "interconnect_bytes_per_s"), "byte/second/GPU")
_PEAKS = dict.fromkeys(("bf16_flop_per_s", "fp8_flop_per_s", "int8_op_per_s"), "FLOP/second/GPU")
_MEMORY = dict.fromkeys(("memory_bytes", "sheet_memory_bytes"), "byte/GPU")
DEVICE_UNITS = {**_MEMORY, **_RATES, **_PEAKS, "tdp_watt": "watt/GPU"}
_NEEDED = ("memory_bytes", "bandwidth_bytes_per_s", "bf16_flop_per_s")
_KEYS = {"name": replace(TEXT, needed=True)}
_KEYS |= {key: replace(POSITIVE, needed=key in _NEEDED) for key in DEVICE_UNITS}


@dataclass(frozen=True, kw_only=True)
class Device:
    """One accelerator, in base units and per GPU; peaks are dense. None where nothing is known.

    `memory_bytes` is what the card reports, by `memory_source`; `sheet_memory_bytes` what its sheet prints.
    `interconnect_bytes_per_s` counts both ways, as sheets do. Raises BadInput that lists every mistake.
    """

    name: str
    memory_bytes: float
    bandwidth_bytes_per_s: float
    bf16_flop_per_s: float
    fp8_flop_per_s: float | None = None
    int8_op_per_s: float | None = None
    interconnect_bytes_per_s: float | None = None
    tdp_watt: float | None = None
    sheet_memory_bytes: float | None = None
    source: str = ""
    memory_source: str = ""
    evidence: str = ""
    notes: str = ""

    def __post_init__(self):
        given = {key: getattr(self, key) for key in _KEYS if getattr(self, key) is not None}
        refuse("Device", list(wrong(given, _KEYS).values()))

    def __str__(self):
        return self.name

    @property
    def link_one_way_bytes_per_s(self) -> float | None:
        """Half of the sheet's interconnect figure, which adds both ways."""
        both = self.interconnect_bytes_per_s
        return None if both is None else both / 2


@cache
def devices() -> dict[str, Device]:
    """All accelerators of `data/hardware.csv` by name."""
    found = {}
    for row in read_csv("hardware.csv"):
        figures = {name: float(row[name]) if row[name] else None for name in DEVICE_UNITS}
        found[row["name"]] = Device(**{f.name: row[f.name] for f in fields(Device)} | figures)
    return found


def same_chip(name, known) -> str:
    """The known boards of the chip that `name` names; else all of them, told as other chips.

    >>> same_chip("H100 NVL", devices())
    'nearest known: H100-SXM 80GB, H100-PCIe 80GB'
    """
    chip = lambda text: re.findall(r"\w*\d\w*", str(text).lower())[:1]
    if same := [each for each in known if chip(each) == chip(name)]:
        return f"nearest known: {', '.join(same)}"
    others = f"no known chip goes by that name; other chips: {', '.join(known)}"
    return f"{others}; or describe your own, as [gpu] or Device"


def hardware(which: str | Device) -> Device:
    """The accelerator of that name, or the `Device` itself. Raises BadInput that names the chip's boards.

    >>> hardware("A100-SXM 80GB").bf16_flop_per_s
    312000000000000.0
    """
    return which if isinstance(which, Device) else devices()[pick(which, devices(), "accelerator", same_chip)]
