"""Step time: what one layout of a model on a cluster takes, in seconds and bytes, term by term.

The laws of `gpt4lib.parallelism`, for one layout or for arrays of them. Ranks stand in the order
tensor, data (experts inside), pipeline. Stages and experts count as evenly loaded, but for the tables
on the first stage and the loss on the last. Transfers run at the rate of their links, without latency:
a bound that the published runs of ZeRO stage 3 missed by far (`megatron_table2`).

Three constants say how much of its data sheet a GPU reaches: `fit` finds them from ten published runs,
`leave_one_out` says how well they predict a run that they have not seen. They were measured on A100s
in 2021; for other machines they are an assumption.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache

import numpy as np

from . import parallelism as laws
from . import shapes
from .data import hardware, published
from .training_cost import bubble_share, utilisation
from .units import BadInput

STATE = (laws.zero_memory_0, laws.zero_memory_1, laws.zero_memory_2, laws.zero_memory_3)
TRAFFIC = (laws.zero_traffic_0, laws.zero_traffic_1, laws.zero_step_2, laws.zero_step_3)


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


@dataclass(frozen=True)
class Efficiency:
    """How much of its data sheet a GPU reaches.

    `ceiling` is the share of peak of an endless matrix product, `half_side` the side of the cube that
    reaches half of that, `transfer` the share of memory and link rates.
    """

    ceiling: float
    half_side: float
    transfer: float


def positive(name: str, value) -> None:
    """Raise BadInput unless `value` is a positive whole number."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise BadInput(f"{name} takes a positive whole number, got {value!r}")


def facts(shape: shapes.Shape, cluster: Cluster, seq: int, recipe: Recipe) -> dict:
    """Every input of the laws that no layout changes, by name. Raises BadInput where a size or rate is not positive."""
    for name, value in (("seq", seq), ("n_gpus", cluster.n_gpus), ("gpus_per_node", cluster.gpus_per_node)):
        positive(name, value)
    s, parts, flop = shape, shapes.count(shape).parts, shapes.flop_per_token(shape, seq)
    gpu, nvlink = hardware(cluster.device), cluster.nvlink_bytes_per_s
    machine = {
        "link_in": (gpu.interconnect_bytes_per_s or 0.0) / 2 if nvlink is None else nvlink,
        "link_out": cluster.nic_bytes_per_s,
        "memory": gpu.memory_bytes - cluster.reserve_bytes,
        "mem_rate": gpu.bandwidth_bytes_per_s,
        "F": gpu.bf16_flop_per_s,
    }
    for name, value in {**machine, **asdict(recipe)}.items():
        if not (0 <= value <= 1 if name.endswith("overlap") else 0 < value < np.inf):
            takes = "a share from 0 to 1" if name.endswith("overlap") else "a positive number"
            raise BadInput(f"{name} takes {takes}, got {value!r} (on {gpu.name})")
    qk, mixed = (s.mla_d_nope + s.mla_d_rope, s.mla_d_value) if s.latent else (s.d_head, s.d_head)
    routed, inside = s.layers - s.dense_layers, s.top_k * s.d_ff_expert + s.n_shared_experts * s.d_ff_shared
    return (
        machine
        | asdict(recipe)
        | {f"C_{part}": c for part, c in flop.items()}
        | {
            "L": s.layers,
            "d": s.d_model,
            "n_h": s.n_heads,
            "n_kv": s.n_heads if s.latent else s.n_kv_heads,
            "V": s.vocab,
            "T": seq,
            "S": seq,
            "n": cluster.n_gpus,
            "node": cluster.gpus_per_node,
            "C_full": sum(flop.values()),
            "E": max(s.n_experts, 1),
            "top_k": s.top_k,
            "routed": routed,
            "d_qk": qk,
            "d_mix": mixed,
            "k": (s.dense_layers + routed * (s.top_k + s.n_shared_experts)) / s.layers,
            "d_mlp": (s.dense_layers * s.mlp_matrices * s.d_ff + routed * s.expert_matrices * inside)
            / s.layers,
            "d_ff": s.d_ff,
            "d_exp": s.d_ff_expert,
            "d_shared": s.d_ff_shared,
            "N_experts": parts["experts"],
            "N_layers": sum(parts[x] for x in ("attention", "mlp", "shared_experts", "biases")),
            "N_copies": parts["norms"] + parts["router"],
            "N_first": parts["embedding"],
            "N_last": parts["unembedding"],
            "N_positions": parts["positions"],
        }
    )


# ---- the laws, run --------------------------------------------------------------------------
@cache
def _constants(law):
    return tuple(float(c.value) for c in law.constants)


def unchecked(law, known: dict, **own):
    """A law's value on arrays, without the checks that a call makes of every input."""
    return law._numpy(
        *(own[s.name] if s.name in own else known[s.name] for s in law.symbols), *_constants(law)
    )


def checked(law, known: dict, **own):
    """The same by a plain call of the law."""
    return law(**{s.name: own[s.name] if s.name in own else known[s.name] for s in law.symbols})


def split(x: dict, value=unchecked) -> dict:
    """The terms that recomputation, divided sequences and ZeRO leave alone; `x` holds facts, efficiency and layouts."""
    x = {**x, "tp": x["tensor"], "p": x["pipeline"], "dp": x["data"], "v": x["chunks"], "b": x["micro_batch"]}
    tp, p, ep, node = x["tp"], x["p"], x["expert"], x["node"]
    x |= {
        "m": x["batch"] / (x["dp"] * x["b"]),
        "B_tok": x["batch"] * x["T"],
        "n_tok": value(laws.micro_batch, x),
    }
    x["bubble"], shared = value(bubble_share, x), x["n_tok"] / tp

    def products(part, columns, rows=x["n_tok"], inner=x["d"], p=p):
        if not np.any(x.get(f"C_{part}", 0.0)):
            return 0.0 * x["n_tok"]
        size = value(laws.product_volume, x, rows=rows, inner=inner, columns=columns)
        return value(
            laws.product_time, x, volume=size, C_mm=value(laws.stage_flop, x, C_tok=x[f"C_{part}"], p=p)
        )

    def kernels(law):
        return value(laws.kernel_time, x, moved=value(law, x))

    def ring(span, stride):
        return np.where(span <= node, x["link_in"], value(laws.ring_link, x, stride=stride))

    heads, routed = x["n_h"] * x["d_mix"] / tp, x["n_tok"] * x["top_k"] * ep / x["E"]
    x["t_scores"] = products("scores", x["d_qk"], rows=x["T"], inner=x["T"])
    x["t_softmax"] = kernels(laws.kernels_of_scores)
    x["t_products"] = (
        x["t_scores"]
        + products("attention", heads)
        + products("positions", heads)
        + products("mlp", x["d_ff"] / tp)
        + products("experts", x["d_exp"] / tp, rows=routed)
        + products("shared_experts", x["d_shared"] / tp)
        + products("router", x["E"])
    )
    logits = products("unembedding", x["V"] / tp, p=1.0)
    x["t_head"] = value(laws.head_time, x, t_mm=logits, t_mem=kernels(laws.kernels_of_loss))
    near = tp * ep <= node
    off = value(laws.off_rank, x, ranks=np.where(near, ep, ep / np.maximum(1.0, node / tp)))
    x["sent_tensor"], x["link_tensor"] = value(laws.tensor_traffic, x, L=x["L"] / p), ring(tp, 1.0)
    x["sent_expert"] = value(laws.expert_traffic, x, L=x["routed"] / p, k=x["top_k"], x_off=off, n_tok=shared)
    x["link_expert"] = np.where(near, x["link_in"], x["link_out"])
    x["sent_hop"] = np.where(p > 1, value(laws.stage_traffic, x, n_tok=shared), 0.0)
    x["link_hop"] = np.where(x["n"] <= node, x["link_in"], x["link_out"])
    x["link_data"], x["link_data_experts"] = ring(tp * x["dp"], tp), ring(tp * x["dp"], tp * ep)
    whole = (x["N_first"] + np.where(p > 1, 0.0, x["N_last"])) / tp + x["N_positions"] + x["N_copies"] / p
    x["N_data"] = value(laws.rank_parameters, x, N_split=x["N_layers"], ranks=tp * p, N_copy=whole)
    x["N_data_experts"] = value(
        laws.rank_parameters, x, N_split=x["N_experts"], ranks=tp * p * ep, N_copy=0.0
    )
    x["N_inside"] = value(
        laws.rank_parameters, x, N_split=x["N_layers"], ranks=tp * p, N_copy=x["N_copies"] / p
    )
    x["d_att"] = (x["n_h"] + np.maximum(x["n_kv"], tp)) * (
        x["d_qk"] + x["d_mix"]
    )  # one key-value head a rank at least
    x["in_flight"] = np.where(x["v"] > 1, value(laws.flying_interleaved, x), value(laws.flying, x))
    x["Q_edge"] = np.where(p > 1, value(laws.edge, x), value(laws.edge_of_one_stage, x))
    return x


def finish(x: dict, recompute: str, sequence: bool, zero: int, value=unchecked) -> dict:
    """All terms of layouts of one kind, from those of `split`: memory, step time, utilisation."""
    x, anew, none = dict(x), recompute == "full", 0.0 * x["n_tok"]

    def kernels(law, **own):
        return value(laws.kernel_time, x, moved=value(law, x, **own))

    def transfer(name, passes, cover, overlap):
        taken = value(laws.transfer_time, x, sent=x[f"sent_{name}"], link=x[f"link_{name}"], passes=passes)
        return value(laws.open_time, x, t_comm=taken, t_cover=cover, overlap=x[f"{overlap}_overlap"])

    x["t_fwd"] = x["t_products"] + kernels(laws.kernels[sequence])
    x["t_again"] = {"none": none, "selective": x["t_scores"] + x["t_softmax"], "full": x["t_fwd"]}[recompute]
    x["C_again"] = (
        none + {"none": 0.0, "selective": x["C_scores"], "full": x["C_full"] - x["C_unembedding"]}[recompute]
    )
    x["t_work"] = value(laws.work, x)
    x["t_tensor"] = transfer("tensor", 2.0 + anew, x["t_work"], "tensor")
    x["t_expert"] = transfer("expert", 2.0 + anew, x["t_work"], "expert") if np.any(x["routed"]) else none
    x["t_hop"] = transfer("hop", 2.0 * x["v"], x["t_work"], "pipeline")
    x["t_stage"] = value(laws.stage_time, x)
    x["t_pipe"] = value(laws.pipeline_time, x)
    cover = value(laws.whole_step if zero >= 2 else laws.last_backward, x)
    x |= {"t_data": none, "t_update": none, "Q_state": none, "Q_work": none}
    widths = {"data": x["dp"]} | ({"data_experts": x["dp"] / x["expert"]} if np.any(x["routed"]) else {})
    for name, width in widths.items():
        rank = {"N_total": x[f"N_{name}"], "tp": 1.0, "p": 1.0, "dp": width}
        x[f"sent_{name}"] = value(TRAFFIC[zero], x, **rank)
        x["t_data"] = x["t_data"] + transfer(name, 1.0, cover, "data")
        mine = x[f"N_{name}"] / (width if zero else 1.0)
        x["t_update"] = x["t_update"] + kernels(laws.kernels_of_update, N_rank=mine)
        x["Q_state"] = x["Q_state"] + value(STATE[zero], x, **rank)
    x["act_layer"] = value(laws.kept[recompute, sequence], x)
    x["Q_act"] = value(laws.stage_activations, x)
    if anew:
        x["Q_work"] = value(laws.kept["none", sequence], x)
    if zero == 3:
        x["Q_work"] = x["Q_work"] + value(laws.gathered_layer, x, N_rank=x["N_inside"] + x["N_data_experts"])
    x["Q_rank"], x["t_step"] = value(laws.rank_memory, x), value(laws.step, x)
    x["mfu"] = value(utilisation, x, C=value(laws.model_flop, x), t=x["t_step"])
    x["flop_per_gpu_s"] = value(laws.rate_per_gpu, x, C=value(laws.machine_flop, x))
    return x


# ---- three constants from ten published runs ------------------------------------------------
@dataclass(frozen=True)
class Run:
    """A published run and its FLOP per second and GPU as measured, repeated FLOP included."""

    shape: shapes.Shape
    cluster: Cluster
    layout: Layout
    seq: int
    recipe: Recipe
    measured: float


def gpt(*, heads: int, hidden: int, layers: int) -> shapes.Shape:
    """A GPT of Narayanan et al. 2021: a plain MLP four times as wide, biases, 51,200 words, 2,048 learned positions."""
    return shapes.from_mapping(
        {
            "name": f"GPT, {layers} layers of {hidden}",
            "layers": layers,
            "d_model": hidden,
            "n_heads": heads,
            "n_kv_heads": heads,
            "d_head": hidden // heads,
            "d_ff": 4 * hidden,
            "mlp_matrices": 2,
            "vocab": 51200,
            "tied_embeddings": True,
            "positions": "learned",
            "max_positions": 2048,
            "biases": True,
        }
    )


@cache
def runs() -> tuple[Run, ...]:
    """The ten runs of Narayanan et al. 2021, Table 1, with micro-batches, chunks and overlap from their scripts."""
    found, names = [], ("heads", "hidden", "layers", "tp", "pp", "n_gpus", "batch")
    for row, script in zip(published("megatron_table1"), published("megatron_table1_runs"), strict=True):
        heads, hidden, layers, tp, p, n, batch = (int(row[name]) for name in names)
        chunks = layers // p // int(script["layers_per_chunk"]) if script["layers_per_chunk"] else 1
        layout = Layout(tp, p, n // tp // p, 1, chunks, int(script["micro_batch"]), batch, "full")
        cluster = Cluster(
            device="A100-SXM 80GB", n_gpus=n, nic_bytes_per_s=float(script["nic_gbit_per_s"]) * 1e9 / 8
        )
        beside = (
            script["data_parallel"] == "torch"
        )  # PyTorch's own reduces the gradient beside the backward pass
        shape = gpt(heads=heads, hidden=hidden, layers=layers)
        recipe = Recipe(data_overlap=float(beside))
        found.append(Run(shape, cluster, layout, 2048, recipe, float(row["tflops_per_gpu"]) * 1e12))
    return tuple(found)


@cache
def _columns() -> dict:
    each = [facts(r.shape, r.cluster, r.seq, r.recipe) | asdict(r.layout) for r in runs()]
    return {name: np.array([x[name] for x in each], dtype=float) for name in each[0] if name != "recompute"}


def _predicted(efficiency: Efficiency) -> np.ndarray:
    return finish(split(_columns() | asdict(efficiency)), "full", False, 0)["flop_per_gpu_s"]


def _efficiency(free) -> Efficiency:
    """The constants from three numbers without bounds: the shares stay between 0 and 1."""
    ceiling, transfer = 1 / (1 + np.exp(-free[[0, 2]]))
    return Efficiency(float(ceiling), float(np.exp(free[1])), float(transfer))


@cache
def fit(without: int | None = None) -> Efficiency:
    """The constants that predict the published runs best: least squares of logarithms, `without` one of them or none.

    >>> fit().half_side > 1000 and 0.7 < fit().ceiling < 1
    True
    """
    measured = np.array([r.measured for r in runs()])
    rows = [i for i in range(len(measured)) if i != without]

    def miss(free):
        return np.log(_predicted(_efficiency(free)) / measured)[rows]

    free, damping = np.array([1.0, 7.0, 1.0]), 1e-2
    now = miss(free)
    for _ in range(200):  # Levenberg-Marquardt
        slope = np.array([(miss(free + step) - now) / 1e-6 for step in 1e-6 * np.eye(3)]).T
        square = slope.T @ slope
        move = np.linalg.solve(
            square + damping * (np.diag(np.diag(square)) + 1e-9 * np.eye(3)), -slope.T @ now
        )
        there = miss(free + move)
        if there @ there < now @ now:
            free, now, damping = free + move, there, damping / 5
        else:
            damping *= 5
        if np.abs(move).max() < 1e-7:
            break
    return _efficiency(free)


def leave_one_out() -> np.ndarray:
    """FLOP per second and GPU of each published run, predicted with the constants of the other nine."""
    return np.array([_predicted(fit(i))[i] for i in range(len(runs()))])
