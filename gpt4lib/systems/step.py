"""Step time: what one layout of a model on a cluster takes, in seconds and bytes, term by term.

    x = (before_kinds(parts, fused) + of_kind("full", False, 1, routed, fused)).run(with_ranks(known))

Two chains of the laws of `gpt4lib.chapters.training_step`, for one layout or for arrays of them: the terms
that recomputation, divided sequences and ZeRO leave alone, and the rest for layouts of one kind. Ranks stand
in the order tensor, data (experts inside), pipeline. Layers and experts count as alike, so that a stage of l
of L layers is like one of L / l equal stages. The fullest sets the beat, or the last with the loss; while the
pipeline fills, all count as full.
Memory is that of the stage that needs most: the first with its table, the last with its own and the loss, or
the fullest between, which counts as the second. Transfers run at the rate of their links, without latency:
a bound that the published runs of ZeRO stage 3 missed by far (`megatron_table2`).
"""

from __future__ import annotations

from dataclasses import asdict
from functools import cache

import numpy as np

from ..chapters import parallelism
from ..chapters import training_step as laws
from ..chapters.training_cost import utilisation
from ..facts.devices import hardware
from ..facts.models import Model
from ..spine.chain import Chain, link
from ..spine.errors import BadInput, pick, positive
from ..spine.law import Law
from .count import flop_per_token, mean_flop_per_token, parameters
from .machine import ATTENTION, Cluster, Recipe, one_way

STATE = tuple(getattr(parallelism, f"zero_memory_{stage}") for stage in range(4))
TRAFFIC = (parallelism.zero_traffic_0, parallelism.zero_traffic_1, laws.zero_step_2, laws.zero_step_3)
SIDES = {  # of each part's matrix products: rows, inner side, columns, and the ranks that divide these
    "scores": ("T", "T", "d_qk", 1),
    "attention": ("n_tok", "d", "d_heads", "tp"),
    "positions": ("n_tok", "d", "d_heads", "tp"),
    "mixers": ("n_tok", "d", "d_heads", "tp"),
    "mlp": ("n_tok", "d", "d_ff", "tp"),
    "experts": ("n_routed", "d", "d_exp", "tp"),
    "shared_experts": ("n_tok", "d", "d_shared", "tp"),
    "router": ("n_tok", "d", "E", 1),
    "unembedding": ("n_tok", "d", "V", "tp"),
}
MOST = 2**31 - 1  # of a size that a layout counts
LAYERS_HOLD = ("attention", "mixers", "mlp", "shared_experts", "biases", "extra")
SHAPE = {"L": "layers", "d": "d_model", "V": "vocab", "n_h": "n_heads", "n_kv": "n_kv_heads"}
SHAPE |= {"top_k": "top_k", "d_ff": "d_ff", "d_exp": "d_ff_expert", "d_shared": "d_ff_shared"}
RANKS = {"tp": "tensor", "p": "pipeline", "dp": "data", "ep": "expert", "v": "chunks", "b": "micro_batch"}
STAGES = ("first", "last", "fullest inner")  # whose memory counts; the last of these only if unequal
AGAIN = {  # what the backward pass repeats: seconds, and FLOP of a token
    "none": ({}, {}),
    "selective": ({"scores": "t_scores", "softmax": "t_softmax"}, {"scores": "C_scores"}),
    "full": ({"forward": "t_fwd"}, {"layers": "C_layers"}),
}


# ---- what is known ------------------------------------------------------------------------------
def step_inputs(shape: Model, cluster: Cluster, seq: int, recipe: Recipe) -> dict:
    """Every input of the laws that no layout changes, by letter, and whether attention is `fused`.

    Raises BadInput for a bad size.
    """
    for name, value in (("n_gpus", cluster.n_gpus), ("gpus_per_node", cluster.gpus_per_node), ("seq", seq)):
        positive(name, value)
        if value > MOST:
            raise BadInput(f"{name} takes at most {MOST:,}, got {value:,}")
    gpu = hardware(cluster.device)
    link, unused = one_way(gpu, cluster.nvlink_bytes_per_s), cluster.nic_bytes_per_s * (cluster.n_gpus == 1)
    machine = {"link_in": link or unused, "link_out": cluster.nic_bytes_per_s}
    machine |= {"memory": gpu.memory_bytes - cluster.reserve_bytes, "mem_rate": gpu.bandwidth_bytes_per_s}
    machine |= {"F": gpu.bf16_flop_per_s, **asdict(recipe)}
    fused = pick(machine.pop("attention"), ATTENTION, "attention") == "fused"
    for name, value in machine.items():
        is_share = name.endswith("overlap")
        if not (0 <= value <= 1 if is_share else 0 < value < np.inf):
            takes = "a share from 0 to 1" if is_share else "a positive number"
            raise BadInput(f"{name} takes {takes}, got {value!r} (on {gpu.name})")
    machine |= {"n": cluster.n_gpus, "node": cluster.gpus_per_node, "fused": fused}
    return machine | _shape_inputs(shape, seq)


def _shape_inputs(s: Model, seq: int) -> dict:
    """Sizes, FLOP of a token by part, and parameters by how they are divided among the ranks.

    Blocks that predict further tokens are held like experts, or like layers; their FLOP are left out.
    """
    parts, flop = parameters(s).parts, flop_per_token(s, seq)
    qk, mixed = (s.mla_d_nope + s.mla_d_rope, s.mla_d_value) if s.latent else (s.d_head, s.d_head)
    routed, inside = s.expert_layers, s.top_k * s.d_ff_expert + s.n_shared_experts * s.d_ff_shared
    width = s.dense_layers * s.mlp_matrices * s.d_ff + routed * s.expert_matrices * inside
    known = {letter: getattr(s, field) for letter, field in SHAPE.items()} | {"T": seq, "S": seq}
    known |= {"n_kv": s.n_heads} if s.latent else {}
    known |= {"E": max(s.n_experts, 1), "routed": routed, "d_mlp": width / s.layers}
    known["k"] = (s.dense_layers + routed * (s.top_k + s.n_shared_experts)) / s.layers
    known |= {"d_qk": qk, "d_mix": mixed, "d_heads": s.n_heads * mixed}
    known |= {f"C_{part}": c for part, c in flop.items()} | {"C_full": sum(flop.values())}
    known["C_causal"] = mean_flop_per_token(s, seq)["scores"]
    known["C_layers"] = known["C_full"] - flop["unembedding"]
    known["N_copies"] = parts["norms"] + parts["router"]
    known["N_layers"] = sum(parts[x] for x in LAYERS_HOLD)
    known["N_head"] = parts["embedding" if s.tied_embeddings else "unembedding"]
    tables = {"experts": "experts", "first": "embedding", "last": "unembedding", "positions": "positions"}
    known |= {f"N_{name}": parts[part] for name, part in tables.items()}
    known["N_experts" if s.n_experts else "N_layers"] += parts["mtp"]
    return known


def with_ranks(x: dict, stages=()) -> dict:
    """`x`, facts and layouts, with widths by letter, products, and `stages`: lists of layers if unequal."""
    x = x | {letter: x[field] for letter, field in RANKS.items()}
    x |= _stages(x["L"], x["p"], stages)
    tp, dp, ep, like = (x[letter] for letter in ("tp", "dp", "ep", "like"))
    x |= {"tp_ep": tp * ep, "dp_experts": dp / ep, "B_tok": x["batch"] * x["T"]}
    return x | {"ranks": tp * x["alike"], "ranks_held": tp * like, "ranks_experts": tp * like * ep}


def _stages(L, p, stages) -> dict:
    """`STAGES` on a first axis: each is `like` one of so many equal stages, the fullest `alike`."""
    held = [L / p] * (3 if stages else 2)
    for own in stages:
        each = zip((own[0], own[-1], max(own[1:-1], default=own[0])), held)
        held = [np.where(p == len(own), layers, equal) for layers, equal in each]
    like = L / np.array(held)
    alike = like.min(axis=0)
    places = {"before": (0 * p, p - 1, p > 2), "is_first": (p > 0, p == 1, p < 0)}
    places |= {"is_last": (p == 1, p > 0, p < 0)}
    found = {name: np.array(each[: len(held)], dtype=float) for name, each in places.items()}
    return found | {"like": like, "alike": alike, "x_short": 1 - alike / like[1]}


def parts_of(x: dict) -> tuple[str, ...]:
    """The parts of a model that do matrix products, of the order of `SIDES`."""
    return tuple(part for part in SIDES if np.any(x.get(f"C_{part}", 0.0)))


# ---- plain choices and sums ---------------------------------------------------------------------
def over(whole, parts):
    """whole / parts."""
    return whole / parts


def times(each, count):
    """each * count."""
    return each * count


def summed(**parts):
    """The sum of the parts, 0 of none."""
    first, *rest = parts.values() or (0.0,)
    return sum(rest, first)


def of_several(count, one, more):
    """`more` where there are several, else `one`."""
    return np.where(count > 1, more, one)


def in_node(ranks, stride, node, link_in, outside):
    """The link of a group of `ranks` ranks, `stride` apart: NVLink where they all stand in one node."""
    return np.where(ranks * stride <= node, link_in, outside)


def apart(tp, ep, node):
    """Parts into which a group's experts fall that exchange over the slower link: ranks, or else nodes."""
    return np.where(tp * ep <= node, ep, ep / np.maximum(1.0, node / tp))


def routed_tokens(n_tok, top_k, ep, E):
    """Tokens of one expert, those of all ranks that share the experts."""
    return n_tok * top_k * ep / E


def beside_layers(N_first, N_last, N_head, N_positions, N_copies, tp, p, like, is_first, is_last):
    """Parameters of a stage beside its layers' matrices; a last stage of several has a tied table again."""
    tables = is_first * N_first + is_last * np.where(p > 1, N_head, N_last)
    return tables / tp + is_first * N_positions + N_copies / like


def at_ends(is_first, is_last, first, last):
    """`first` on the first stage, `last` on the last, both where there is one stage."""
    return is_first * first + is_last * last


def most(each):
    """The largest on the first axis."""
    return each.max(axis=0)


def attention_entries(n_h, n_kv, tp, d_qk, d_mix):
    """Entries of a token in attention, all ranks together: each holds one key-value head at least."""
    return (n_h + np.maximum(n_kv, tp)) * (d_qk + d_mix)


# ---- the chains ---------------------------------------------------------------------------------
def _product(part: str) -> Chain:
    """The time of a part's matrix products: their size, a rank's FLOP, and the rate at that size."""
    rows, inner, columns, divided = SIDES[part]
    stages = 1.0 if part == "unembedding" else "alike"
    return Chain(
        link("columns", over, whole=columns, parts=divided),
        link("volume", laws.product_volume, rows=rows, inner=inner),
        link("C_mm", laws.stage_flop, C_tok=f"C_{part}", p=stages),
        link(f"t_{part}", laws.product_time),
    )


FUSED = Chain(link("C_mm", laws.stage_flop, C_tok="C_causal", p="alike"), link("t_scores", laws.fused_time))


def _kernel(name: str, law, **other) -> Chain:
    """The time of kernels that move the bytes of `law`."""
    return Chain(link("moved", law, **other), link(name, laws.kernel_time))


def _ring(name: str, ranks, stride) -> Chain:
    """The link of a ring, over its node's network cards where it leaves the node."""
    slower = link("ring", laws.ring_link, stride=stride)
    return Chain(slower, link(f"link_{name}", in_node, ranks=ranks, stride=stride, outside="ring"))


def _either(name: str, count: str, one: Law, more: Law) -> Chain:
    """The law of a single stage or chunk, or that of several."""
    return Chain(link("one", one), link("more", more), link(name, of_several, count=count))


_RANK = parallelism.rank_parameters
OWN = Chain(  # of a rank: tokens of a micro-batch, layers, and layers with experts
    link("n_own", over, whole="n_tok", parts="tp"),
    link("L_own", over, whole="L", parts="alike"),
    link("L_routed", over, whole="routed", parts="alike"),
)
SENT = Chain(
    link("sent_tensor", parallelism.tensor_traffic, L="L_own"),
    link("apart", apart),
    link("x_off", parallelism.off_rank, ranks="apart"),
    link("sent_expert", parallelism.expert_traffic, L="L_routed", k="top_k", n_tok="n_own"),
    link("sent", parallelism.stage_traffic, n_tok="n_own"),
    link("sent_hop", of_several, count="p", one=0.0, more="sent"),
    link("hops", summed, forward="v", backward="v"),
)
RINGS = Chain(
    *(_ring("tensor", "tp", 1.0), _ring("data", "dp", "tp"), _ring("data_experts", "dp_experts", "tp_ep")),
    link("link_expert", in_node, ranks="ep", stride="tp", outside="link_out"),
    link("link_hop", in_node, ranks="n", stride=1.0, outside="link_out"),
)
HELD = Chain(  # by a rank of each of `STAGES`: parameters, then entries, micro-batches and edges
    link("N_copy", beside_layers),
    link("N_data_held", _RANK, N_split="N_layers", ranks="ranks_held"),
    link("N_data", most, each="N_data_held"),
    link("N_copy", over, whole="N_copies", parts="alike"),
    link("N_inside", _RANK, N_split="N_layers"),
    link("N_data_experts_held", _RANK, N_split="N_experts", ranks="ranks_experts", N_copy=0.0),
    link("N_data_experts", most, each="N_data_experts_held"),
    link("d_att", attention_entries),
    _either("in_flight", "v", laws.flying, laws.flying_interleaved),
    link("kept", laws.stage_activations, act_layer=1.0, p="like"),
    link("first", laws.edge),
    link("last", laws.edge_of_loss),
    link("Q_edge", at_ends),
)


@cache
def before_kinds(parts: tuple[str, ...], fused: bool = False) -> Chain:
    """The terms that recomputation, divided sequences and ZeRO leave alone, of a model with these parts."""
    work = {part: f"t_{part}" for part in parts if part != "unembedding"}
    return Chain(
        *(parallelism.micro_batches, laws.micro_batch, parallelism.bubble_share),
        link("n_routed", routed_tokens),
        *(FUSED if fused and part == "scores" else _product(part) for part in parts),
        link("t_products", summed, **work),
        *([] if fused else [_kernel("t_softmax", laws.kernels_of_scores, p="alike")]),
        _kernel("t_mem", laws.kernels_of_loss),
        link("t_head", laws.head_time, t_mm="t_unembedding"),
        *(OWN, SENT, RINGS, HELD),
    )


def _transfer(name: str, passes: float, cover: str, overlap: str) -> Chain:
    """The time of a transfer that the work beside it does not hide."""
    return Chain(
        link("t_comm", laws.transfer_time, sent=f"sent_{name}", link=f"link_{name}", passes=passes),
        link(f"t_{name}", laws.open_time, t_cover=cover, overlap=f"{overlap}_overlap"),
    )


def _replicas(name: str, width: str, zero: int) -> Chain:
    """Collectives, optimiser and state of the parameters that `width` ranks hold alike, under ZeRO."""
    rank, mine = {"N_total": f"N_{name}", "tp": 1.0, "p": 1.0}, "N_share" if zero else f"N_{name}"
    of_group = {"dp": width} if zero else {}
    return Chain(
        link(f"sent_{name}", TRAFFIC[zero], dp=width, **rank),
        _transfer(name, 1.0, "t_cover", "data"),
        *([link("N_share", over, whole=f"N_{name}", parts=width)] if zero else []),
        _kernel(f"t_update_{name}", laws.kernels_of_update, N_rank=mine),
        link("Q_state", STATE[zero], **rank | {"N_total": 1.0} | of_group),
        link(f"Q_state_{name}", times, each="Q_state", count=f"N_{name}_held"),
    )


def _at_work(recompute: str, sequence: bool, zero: int, whole: str) -> Chain:
    """What the one layer at work computes anew of the `whole` that it needs, and what it gathers."""
    rank = link("N_rank", summed, dense="N_inside", experts="N_data_experts")
    anew = [link("Q_anew", laws.anew[whole, recompute, sequence])] if recompute != "none" else []
    gathered = [link("Q_gathered", laws.gathered_layer, p="alike")] if zero == 3 else []
    held = {step.name: step.name for step in anew + gathered}
    return Chain(*([rank] if gathered else []), *anew, *gathered, link("Q_work", summed, **held))


@cache
def of_kind(recompute: str, sequence: bool, zero: int, routed: bool, fused: bool = False) -> Chain:
    """What follows `before_kinds` for layouts of one kind: memory, step time, utilisation.

    Fused attention takes no selective recomputation: there are no stored scores to save.
    """
    seconds, flop = AGAIN[recompute]
    whole, scores = ("fused", {}) if fused else ("none", {"softmax": "t_softmax"})
    runs = 2.0 + (recompute == "full")  # forward and backward, and forward again
    widths = {"data": "dp"} | ({"data_experts": "dp_experts"} if routed else {})
    return Chain(
        _kernel("t_mem", laws.kernels[sequence], p="alike"),
        link("t_fwd", summed, products="t_products", kernels="t_mem", **scores),
        link("t_again", summed, **seconds),
        link("C_again", summed, **flop),
        laws.work,
        _transfer("tensor", runs, "t_work", "tensor"),
        _transfer("expert", runs, "t_work", "expert") if routed else link("t_expert", summed),
        _transfer("hop", "hops", "t_work", "pipeline"),
        *(laws.stage_time, laws.open_loss, link("t_pipe", laws.pipeline_time, t_head="t_loss")),
        laws.whole_step if zero >= 2 else laws.last_backward,
        *(_replicas(name, width, zero) for name, width in widths.items()),
        *(link(name, summed, **{x: f"{name}_{x}" for x in widths}) for name in ("t_update", "Q_state")),
        link("t_data", summed, **{x: f"t_{x}" for x in widths}),
        laws.kept[whole if recompute == "none" else recompute, sequence],
        link("Q_act", times, each="act_layer", count="kept"),
        *(_at_work(recompute, sequence, zero, whole), link("Q_stages", laws.rank_memory)),
        *(link("Q_rank", most, each="Q_stages"), laws.step, laws.model_flop),
        link("mfu", utilisation, t="t_step"),
        laws.machine_flop,
        link("flop_per_gpu_s", laws.rate_per_gpu),
    )
