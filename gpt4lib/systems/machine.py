"""Machines and how a model is spread over them: clusters, layouts, recipes and servers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..facts.devices import hardware
from ..spine.errors import BadInput, positive

PEAKS = {"bf16": "bf16_flop_per_s", "fp8": "fp8_flop_per_s", "int8": "int8_op_per_s"}


@dataclass(frozen=True, kw_only=True)
class Server:
    """GPUs of `data/hardware.csv` and how they share the work; rates per GPU and one way, shares from 0 to 1.

    Each stage has `tensor` x `expert` GPUs. `micro_batches` (default: one a stage) are under way at once.
    `divide_cache` splits the cache by sequences; otherwise by heads, and a head that is shared is copied.
    `compute` names the peak ("bf16", "fp8", "int8"). `overhead` multiplies the time in memory and matrix products,
    `layer_seconds` is added in every layer. NVLink defaults to half the data sheet's figure, which adds both ways.
    """

    gpu: str = "A100-SXM 80GB"
    tensor: int = 8
    pipeline: int = 1
    expert: int = 1
    micro_batches: int | None = None
    divide_cache: bool = True
    weight_bytes: float = 2.0
    kv_bytes: float = 2.0
    act_bytes: float = 2.0
    compute: str = "bf16"
    nvlink_bytes_per_s: float | None = None
    nic_bytes_per_s: float = 25e9
    ceiling: float = 1.0
    transfer: float = 1.0
    overlap: float = 1.0
    overhead: float = 1.0
    layer_seconds: float = 0.0
    usable: float = 1.0

    def facts(self) -> dict:
        """The inputs of the laws by name. Raises BadInput for a size, rate or share that cannot be."""
        gpu, m = hardware(self.gpu), self.pipeline if self.micro_batches is None else self.micro_batches
        for name in ("tensor", "pipeline", "expert"):
            positive(name, getattr(self, name))
        positive("micro_batches", m)
        if self.compute not in PEAKS or getattr(gpu, PEAKS[self.compute]) is None:
            takes = [name for name, field in PEAKS.items() if getattr(gpu, field)]
            raise BadInput(f"compute takes one of {', '.join(takes)} on {gpu.name}, got {self.compute!r}")
        both_ways = gpu.interconnect_bytes_per_s or 0.0
        found = {
            "weight_bytes": self.weight_bytes,
            "kv_bytes": self.kv_bytes,
            "act_bytes": self.act_bytes,
            "link_in": both_ways / 2 if self.nvlink_bytes_per_s is None else self.nvlink_bytes_per_s,
            "link_out": self.nic_bytes_per_s,
            "ceiling": self.ceiling,
            "transfer": self.transfer,
            "usable": self.usable,
            "overhead": self.overhead,
        }
        for name, value in found.items():
            most = 1 if name in ("ceiling", "transfer", "usable") else np.inf
            if not 0 < value <= most or value == np.inf:
                takes = "a share above 0 and up to 1" if most == 1 else "a positive number"
                raise BadInput(f"{name} takes {takes}, got {value!r} (on {gpu.name})")
        if self.overhead < 1 or not 0 <= self.overlap <= 1 or not 0 <= self.layer_seconds < np.inf:
            raise BadInput(
                f"overhead takes at least 1, overlap 0 to 1, layer_seconds at least 0, "
                f"got {self.overhead!r}, {self.overlap!r}, {self.layer_seconds!r}"
            )
        return found | {
            "tp": self.tensor,
            "p": self.pipeline,
            "ep": self.expert,
            "m": m,
            "overlap": self.overlap,
            "t_layer": self.layer_seconds,
            "F": getattr(gpu, PEAKS[self.compute]),
            "mem": gpu.memory_bytes,
            "mem_rate": gpu.bandwidth_bytes_per_s,
        }


@dataclass(frozen=True)
class Layout:
    """One way to split a model over a cluster, and a batch of sequences over micro-batches."""

    tensor: int = 1
    pipeline: int = 1
    data: int = 1
    expert: int = 1
    chunks: int = 1
    micro_batch: int = 1
    batch: int = 1
    recompute: str = "none"
    sequence: bool = False
    zero: int = 0


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """GPUs of `data/hardware.csv`, joined by NVLink within a node; link rates per GPU and one way.

    NVLink defaults to half of the data sheet's figure, which adds both ways.
    """

    device: str
    n_gpus: int
    nic_bytes_per_s: float
    gpus_per_node: int = 8
    nvlink_bytes_per_s: float | None = None
    reserve_bytes: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Bytes per parameter and activation; the share of the work beside it behind which each transfer hides."""

    weight_bytes: float = 2.0
    grad_bytes: float = 2.0
    opt_bytes: float = 12.0
    act_bytes: float = 2.0
    tensor_overlap: float = 0.0
    expert_overlap: float = 0.0
    pipeline_overlap: float = 0.0
    data_overlap: float = 0.0
