"""The serving model: what a model on a server takes for a pass, in seconds, bytes and dollars.

    x = decode(model("gpt4_multi_query"), Server(gpu="H100-SXM 80GB", pipeline=16), batch=256, context=2048)
    x["user_rate"], x["rate"], x["mfu"], x["batch_limit"]

The laws of `gpt4lib.inference_tradeoffs`, for one batch or for arrays of them. Stages, ranks and experts count as
evenly loaded; routing counts as uniform unless `hit` says how many experts a pass reaches. The defaults are a bound:
data-sheet rates, memory and compute fully overlapped, nothing lost. `Server` holds every departure from it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import inference_tradeoffs as laws
from . import shapes
from .architecture import full
from .data import data_file, hardware
from .moe_inference import experts_hit
from .step_time import checked, positive
from .units import BadInput

PEAKS = {"bf16": "bf16_flop_per_s", "fp8": "fp8_flop_per_s", "int8": "int8_op_per_s"}


@dataclass(frozen=True, kw_only=True)
class Model:
    """What a pass needs to know of a model. A dense model has one expert, which every token uses.

    `N_fix` is read by every pass; `N_held` adds the embedding table. `entries` are the cache entries of one token,
    `kv_splits` the ranks that can share them by heads, `pair_flop` the score FLOP of a token per token of context.
    """

    name: str
    N_fix: float
    N_held: float
    N_exp: float
    E: int
    k: int
    C_tok: float
    pair_flop: float
    entries: float
    kv_splits: int
    L: int
    d: int
    n_h: int
    d_h: int

    @property
    def total(self) -> float:
        """Parameters stored."""
        return self.N_held + self.E * self.N_exp

    @property
    def active(self) -> float:
        """Parameters that work on a token."""
        return self.N_fix + self.k * self.N_exp


def of(shape: shapes.Shape) -> Model:
    """The serving model's view of a shape: its counted parameters, FLOP and cache entries."""
    s, parts = shape, shapes.count(shape).parts
    flop = shapes.flop_per_token(s, 1.0)
    pair = flop.pop("scores")
    routed, mixed = s.n_experts or 1, s.mla_d_value if s.latent else s.d_head
    inside = parts["experts"] if s.n_experts else parts["mlp"]
    held = sum(parts.values()) - inside
    entries = s.layers * (s.mla_kv_rank + s.mla_d_rope if s.latent else 2 * s.n_kv_heads * s.d_head)
    return Model(
        name=s.name,
        N_fix=held - (0 if s.tied_embeddings else parts["embedding"]),
        N_held=held,
        N_exp=inside / routed,
        E=routed,
        k=s.top_k or 1,
        C_tok=sum(flop.values()),
        pair_flop=pair,
        entries=entries,
        L=s.layers,
        d=s.d_model,
        kv_splits=1 if s.latent else s.n_kv_heads,
        n_h=s.n_heads,
        d_h=mixed,
    )


def model(name: str) -> Model:
    """A model by name: a shape file of `data/shapes` ("gpt4_multi_query") or a row of `data/models.csv`."""
    try:
        return of(shapes.load(data_file(f"shapes/{name}.toml")))
    except BadInput:
        return of(shapes.model(name).shape)


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


def decode(model: Model, server: Server, *, batch, context, hit=None, tokens=1, price=None) -> dict:
    """Time, rates, memory and cost of a step in which each of `batch` sequences puts out one token.

    `batch` sequences (a number or array) make one pass, `context` tokens stand in each one's cache. `hit` is the mean
    number of experts reached (default: uniform routing). `tokens` positions of each sequence go through the pass
    together, as when drafts are checked; rates still count one token a sequence and pass. `price` in USD per GPU and
    second adds `cost`. All results are arrays of the shape that batch and context span together; see `_run`.
    Raises BadInput where the weights do not fit and for numbers that are not positive.
    """
    return _run(model, server, batch, context, hit, tokens, price, mean_context=context)


def prefill(model: Model, server: Server, *, batch, prompt, hit=None, price=None) -> dict:
    """The same for a pass over `batch` whole prompts of `prompt` tokens; `pass_seconds` is the time to the first token.

    Rates, utilisation and cost count the tokens of the prompts.
    """
    half = np.asarray(prompt, dtype=float) / 2
    return _run(model, server, batch, prompt, hit, prompt, price, mean_context=half, counted=prompt)


def _run(model, server, batch, context, hit, tokens, price, mean_context, counted=1):
    """All results by name: seconds of memory, compute, tensor, split, expert, hop, layers and pass; rates; bytes.

    `counted` tokens of each sequence count as served by a pass. `bound` names the largest part of the time; `fits`
    says whether the cache of all sequences in flight fits.
    """
    for name, value in (("batch", batch), ("context", context), ("tokens", tokens)):
        if not np.all(np.isfinite(value)) or not np.all(np.asarray(value) > 0):
            raise BadInput(f"{name} takes positive numbers, got {value!r}")
    if server.expert > model.E:
        raise BadInput(f"expert takes at most the {model.E} experts of {model.name}, got {server.expert}")
    x = vars(model) | server.facts()
    x["B_seq"], x["S"] = np.broadcast_arrays(np.asarray(batch, float), np.asarray(context, float))
    x["n_tok"], x["kv"] = x["B_seq"] * tokens, model.entries * x["kv_bytes"]
    x["cache_ranks"] = server.tensor if server.divide_cache else min(model.kv_splits, server.tensor)
    x["E_hit"] = checked(experts_hit, x, B_seq=x["n_tok"]) if hit is None else np.asarray(hit, float)
    if np.any(x["E_hit"] > model.E):
        raise BadInput(f"hit takes at most the {model.E} experts of {model.name}, got {np.max(x['E_hit']):g}")
    held, space = checked(laws.held_weights, x), x["mem"] * x["usable"]
    if held >= space:
        raise BadInput(
            f"{model.name} does not fit: {held / 1e9:,.1f} GB of weights on each {server.gpu} with "
            f"{space / 1e9:,.1f} GB (tensor = {server.tensor}, pipeline = {server.pipeline}, expert = {server.expert})"
        )
    x["n"], x["N"] = checked(laws.cluster_gpus, x), model.active
    x["C_full"] = checked(full, x, C_pair=model.pair_flop * np.asarray(mean_context, float))
    x["C_pass"] = checked(laws.pass_flop, x)
    memory = checked(laws.memory_time, x, Q_w=checked(laws.rank_weights, x), Q_kv=checked(laws.rank_cache, x))
    x |= {"t_mem": memory, "t_mm": checked(laws.compute_time, x)}
    split = checked(laws.split_time, x) if server.divide_cache and server.tensor > 1 else 0.0 * memory
    x |= {
        "t_core": checked(laws.core_time, x),
        "t_tensor": checked(laws.tensor_time, x),
        "t_split": split,
        "t_expert": checked(laws.expert_time, x),
        "t_hop": checked(laws.hop_time, x),
    }
    x["t_pass"] = checked(laws.pass_time, x)
    x["turns"] = checked(laws.waiting, x)
    x["R_out"] = checked(laws.user_rate, x) * counted
    x["R_serve"] = checked(laws.cluster_rate, x)
    left = checked(laws.memory_left, x, Q_w=held)
    limit, cache = checked(laws.largest_batch, x, Q_left=left), checked(laws.held_cache, x)
    parts = {
        "memory": x["t_mem"] * x["overhead"],
        "compute": x["t_mm"] * x["overhead"],
        "tensor": x["t_tensor"],
        "split": split,
        "expert": x["t_expert"],
        "hop": x["t_hop"],
        "layers": x["t_layer"] * x["L"] + 0.0 * memory,
    }
    names = np.array(list(parts))
    largest = np.argmax(np.stack([np.broadcast_to(v, np.shape(x["t_pass"])) for v in parts.values()]), axis=0)
    found = {f"{name}_seconds": value for name, value in parts.items()} | {
        "pass_seconds": x["t_pass"],
        "user_rate": x["R_out"],
        "rate": x["R_serve"],
        "mfu": checked(laws.serving_mfu, x),
        "bound": names[largest],
        "n_gpus": x["n"],
        "experts_hit": x["E_hit"],
        "weight_bytes_held": held,
        "cache_bytes_held": cache,
        "left_bytes": left,
        "batch_limit": limit,
        "fits": cache <= left,
    }
    return found | ({} if price is None else {"cost": checked(laws.token_cost, x, price=price)})
