"""Accelerators by their data sheets, in base units and per GPU; peaks are dense."""

from dataclasses import dataclass, fields
from functools import cache

from ..spine.errors import pick
from .files import read_csv


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

    @property
    def link_one_way_bytes_per_s(self) -> float | None:
        """Half of the sheet's interconnect figure, which adds both ways."""
        both = self.interconnect_bytes_per_s
        return None if both is None else both / 2


_RATES = dict.fromkeys(("bandwidth_bytes_per_s", "interconnect_bytes_per_s"), "byte/second/GPU")
_PEAKS = dict.fromkeys(("bf16_flop_per_s", "fp8_flop_per_s", "int8_op_per_s"), "FLOP/second/GPU")
DEVICE_UNITS = {"memory_bytes": "byte/GPU", **_RATES, **_PEAKS, "tdp_watt": "watt/GPU"}


@cache
def devices() -> dict[str, Device]:
    """All accelerators of `data/hardware.csv` by name."""
    found = {}
    for row in read_csv("hardware.csv"):
        figures = {name: float(row[name]) if row[name] else None for name in DEVICE_UNITS}
        found[row["name"]] = Device(**{f.name: row[f.name] for f in fields(Device)} | figures)
    return found


def hardware(name: str) -> Device:
    """The accelerator `name`. Raises BadInput that names the nearest known ones.

    >>> hardware("A100-SXM 80GB").bf16_flop_per_s
    312000000000000.0
    """
    return devices()[pick(name, devices(), "accelerator")]
