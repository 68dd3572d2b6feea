"""Machines and how a model is spread over them: clusters, layouts, recipes and servers."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import numpy as np
from sympy import divisors

from ..facts.devices import Device, hardware
from ..spine.errors import BadInput, choice, positive

SHARES = ("ceiling", "transfer", "usable")
_ABOVE_ZERO = ("weight_bytes", "kv_bytes", "act_bytes", *SHARES, "overhead")
ATTENTION = ("fused", "unfused")
PEAKS = {"bf16": "bf16_flop_per_s", "fp8": "fp8_flop_per_s", "int8": "int8_op_per_s"}


def positive_numbers(**given) -> None:
    """Raises BadInput that names a number or array that is not positive and finite."""
    for name, value in given.items():
        numbers = np.asarray(value, dtype=float)
        if not (np.isfinite(numbers).all() and (numbers > 0).all()):
            raise BadInput(f"{name} takes positive numbers, got {value!r}")


def undivided(tensor: int, n_kv_heads: int, **sizes: int) -> list[str]:
    """What `tensor` ranks do not divide, one line each, with widths that do.

    Each of `sizes` is split; key-value heads, where they are fewer, are split or copied.

    >>> undivided(6, 8, n_heads=96)
    ['tensor takes a divisor or a multiple of n_kv_heads = 8 (1, 2, 4, 8, 16, 24, 32, 48, 96), got 6']
    """

    def clashes(ranks):
        found = [f"a divisor of {name} = {size}" for name, size in sizes.items() if size % ranks]
        uneven = n_kv_heads % ranks and ranks % n_kv_heads and n_kv_heads not in sizes.values()
        return found + [f"a divisor or a multiple of n_kv_heads = {n_kv_heads}"] * bool(uneven)

    if not (found := clashes(tensor)):
        return []
    widths = [ranks for ranks in divisors(gcd(*sizes.values()) or n_kv_heads) if not clashes(ranks)]
    return [f"tensor takes {takes} ({choice(widths, tensor)}), got {tensor}" for takes in found]


class DoesNotFit(BadInput):
    """A model, layout or batch that needs more memory than there is: `needed` and `there`, bytes of a GPU."""

    def __init__(self, words: str, needed: float, there: float):
        super().__init__(words)
        self.needed, self.there = needed, there


@dataclass(frozen=True, kw_only=True)
class Server:
    """GPUs, by name or described, and how they share the work; rates per GPU and one way, shares from 0 to 1.

    Each stage has `tensor` x `expert` GPUs. `micro_batches` (default: one a stage) are under way at once.
    `divide_cache` splits the cache by sequences; otherwise by heads, and a head that is shared is copied, as
    is a latent vector. `expert_bytes` are those of a weight of an expert (default: `weight_bytes`).
    `stage_layers` are the layers of each stage; without, stages count as equal, tables and all.
    `compute` names the peak ("bf16", "fp8", "int8"). `overhead` multiplies the time in memory and matrix
    products, `layer_seconds` is added in every layer. NVLink defaults to the data sheet's.
    """

    gpu: str | Device = "A100-SXM 80GB"
    tensor: int = 8
    pipeline: int = 1
    expert: int = 1
    micro_batches: int | None = None
    stage_layers: tuple[int, ...] | None = None
    divide_cache: bool = True
    weight_bytes: float = 2.0
    expert_bytes: float | None = None
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
        sizes = {"tensor": self.tensor, "pipeline": self.pipeline, "expert": self.expert, "micro_batches": m}
        for name, value in sizes.items():
            positive(name, value)
        if self.compute not in PEAKS or getattr(gpu, PEAKS[self.compute]) is None:
            takes = [name for name, field in PEAKS.items() if getattr(gpu, field)]
            raise BadInput(f"compute takes one of {', '.join(takes)} on {gpu.name}, got {self.compute!r}")
        found = {name: getattr(self, name) for name in _ABOVE_ZERO}
        found["expert_bytes"] = self.weight_bytes if self.expert_bytes is None else self.expert_bytes
        link = one_way(gpu, self.nvlink_bytes_per_s)
        unused = self.nic_bytes_per_s if self.tensor == 1 else 0.0  # by one rank: any rate will do
        found |= {"link_in": link or unused, "link_out": self.nic_bytes_per_s}
        for name, value in found.items():
            most = 1 if name in SHARES else np.inf
            if not 0 < value <= most or value == np.inf:
                takes = "a share above 0 and up to 1" if most == 1 else "a positive number"
                raise BadInput(f"{name} takes {takes}, got {value!r} (on {gpu.name})")
        if self.overhead < 1 or not 0 <= self.overlap <= 1 or not 0 <= self.layer_seconds < np.inf:
            got = f"{self.overhead!r}, {self.overlap!r}, {self.layer_seconds!r}"
            raise BadInput(f"overhead takes at least 1, overlap 0 to 1, layer_seconds at least 0, got {got}")
        found |= dict(zip(("tp", "p", "ep", "m"), sizes.values()))
        found |= {"overlap": self.overlap, "t_layer": self.layer_seconds, "mem": gpu.memory_bytes}
        return found | {"F": getattr(gpu, PEAKS[self.compute]), "mem_rate": gpu.bandwidth_bytes_per_s}


def one_way(gpu: Device, given: float | None) -> float:
    """NVLink's bytes per second, one way: as given, or by the data sheet; 0 where that is silent."""
    return (gpu.link_one_way_bytes_per_s or 0.0) if given is None else given


@dataclass(frozen=True)
class Layout:
    """One way to split a model over a cluster, and a batch of sequences over micro-batches.

    `stage_layers` are the layers of each pipeline stage; None where all have the same.
    """

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
    stage_layers: tuple[int, ...] | None = None


def stage_mistakes(stages, layers: int, chunks: int = 1) -> list[str]:
    """What is wrong with a list of the layers of each stage of a model."""
    if not (isinstance(stages, (list, tuple)) and stages and all(type(x) is int and x > 0 for x in stages)):
        return [f"stage_layers takes a list of positive whole numbers, got {stages!r}"]
    total, full = sum(stages), max(stages)
    clashes = {
        f"stage_layers takes layers = {layers} in all, got {total}": total != layers,
        f"chunks takes a divisor of every stage's layers, or of the fullest's {full} if none lacks more than "
        f"a chunk of them, got {chunks}": chunks_clash(stages, chunks),
    }
    return [line for line, clash in clashes.items() if clash]


def chunks_clash(stages, chunks):
    """Whether stages do not fall into chunks: equal ones in each, or one chunk short, as Llama 3's ends."""
    full, least = max(stages), min(stages)
    return (gcd(*stages) % chunks > 0) & ((full % chunks > 0) | (full - least > full // chunks))


def filled_stages(layers: int, pipeline: int, first_fewer: int = 0, last_fewer: int = 0) -> tuple[int, ...]:
    """Equal stages, but for fewer layers on the first and the last, and on the last if they do not divide.

    >>> filled_stages(126, 16, 1, 1)[::5], filled_stages(61, 16)[12:], filled_stages(6, 4)
    ((7, 8, 8, 7), (4, 4, 4, 1), (2, 2, 1, 1))
    """
    full, found = -(-(layers + first_fewer + last_fewer) // pipeline), ()
    for behind in reversed(range(pipeline)):
        wanted = full if found else full - first_fewer
        found += (min(wanted, layers - sum(found) - behind),)
    return found


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """GPUs by name or described, nodes joined by NVLink (default: the sheet's); rates of a GPU, one way."""

    device: str | Device
    n_gpus: int
    nic_bytes_per_s: float
    gpus_per_node: int = 8
    nvlink_bytes_per_s: float | None = None
    reserve_bytes: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Bytes per parameter and activation; the share of the work beside it that hides each transfer.

    `attention` that is "unfused" writes its scores to memory and keeps them; "fused" does neither.
    """

    weight_bytes: float = 2.0
    grad_bytes: float = 2.0
    opt_bytes: float = 12.0
    act_bytes: float = 2.0
    tensor_overlap: float = 0.0
    expert_overlap: float = 0.0
    pipeline_overlap: float = 0.0
    data_overlap: float = 0.0
    attention: str = "unfused"
