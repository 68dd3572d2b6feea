"""Step time: what one layout of a model on a cluster takes, in seconds and bytes, term by term.

The laws of `gpt4lib.chapters.training_step`, for one layout or for arrays of them. Ranks stand in the order
tensor, data (experts inside), pipeline. Stages and experts count as evenly loaded, but for the tables on the
first stage and the loss on the last. Transfers run at the rate of their links, without latency: a bound that
the published runs of ZeRO stage 3 missed by far (`megatron_table2`).
"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from ..chapters import parallelism, training_step
from ..chapters.parallelism import bubble_share
from ..chapters.training_cost import utilisation
from ..facts.devices import hardware
from ..facts.models import Model
from ..spine.errors import BadInput, positive
from ..spine.law import Law
from .count import flop_per_token, parameters
from .machine import Cluster, Recipe

STATE = (
    parallelism.zero_memory_0,
    parallelism.zero_memory_1,
    parallelism.zero_memory_2,
    parallelism.zero_memory_3,
)
TRAFFIC = (
    parallelism.zero_traffic_0,
    parallelism.zero_traffic_1,
    training_step.zero_step_2,
    training_step.zero_step_3,
)


def step_inputs(shape: Model, cluster: Cluster, seq: int, recipe: Recipe) -> dict:
    """Every input of the laws that no layout changes, by name. Raises BadInput where a size or rate is not positive."""
    for name, value in (("seq", seq), ("n_gpus", cluster.n_gpus), ("gpus_per_node", cluster.gpus_per_node)):
        positive(name, value)
    s, parts, flop = shape, parameters(shape).parts, flop_per_token(shape, seq)
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


def split(x: dict, value=Law.on_arrays) -> dict:
    """The terms that recomputation, divided sequences and ZeRO leave alone; `x` holds facts, efficiency and layouts."""
    x = {**x, "tp": x["tensor"], "p": x["pipeline"], "dp": x["data"], "v": x["chunks"], "b": x["micro_batch"]}
    tp, p, ep, node = x["tp"], x["p"], x["expert"], x["node"]
    x |= {
        "m": x["batch"] / (x["dp"] * x["b"]),
        "B_tok": x["batch"] * x["T"],
        "n_tok": value(training_step.micro_batch, x),
    }
    x["bubble"], shared = value(bubble_share, x), x["n_tok"] / tp

    def products(part, columns, rows=x["n_tok"], inner=x["d"], p=p):
        if not np.any(x.get(f"C_{part}", 0.0)):
            return 0.0 * x["n_tok"]
        size = value(training_step.product_volume, x, rows=rows, inner=inner, columns=columns)
        return value(
            training_step.product_time,
            x,
            volume=size,
            C_mm=value(training_step.stage_flop, x, C_tok=x[f"C_{part}"], p=p),
        )

    def kernels(law):
        return value(training_step.kernel_time, x, moved=value(law, x))

    def ring(span, stride):
        return np.where(span <= node, x["link_in"], value(training_step.ring_link, x, stride=stride))

    heads, routed = x["n_h"] * x["d_mix"] / tp, x["n_tok"] * x["top_k"] * ep / x["E"]
    x["t_scores"] = products("scores", x["d_qk"], rows=x["T"], inner=x["T"])
    x["t_softmax"] = kernels(training_step.kernels_of_scores)
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
    x["t_head"] = value(training_step.head_time, x, t_mm=logits, t_mem=kernels(training_step.kernels_of_loss))
    near = tp * ep <= node
    off = value(parallelism.off_rank, x, ranks=np.where(near, ep, ep / np.maximum(1.0, node / tp)))
    x["sent_tensor"], x["link_tensor"] = value(parallelism.tensor_traffic, x, L=x["L"] / p), ring(tp, 1.0)
    x["sent_expert"] = value(
        parallelism.expert_traffic, x, L=x["routed"] / p, k=x["top_k"], x_off=off, n_tok=shared
    )
    x["link_expert"] = np.where(near, x["link_in"], x["link_out"])
    x["sent_hop"] = np.where(p > 1, value(parallelism.stage_traffic, x, n_tok=shared), 0.0)
    x["link_hop"] = np.where(x["n"] <= node, x["link_in"], x["link_out"])
    x["link_data"], x["link_data_experts"] = ring(tp * x["dp"], tp), ring(tp * x["dp"], tp * ep)
    whole = (x["N_first"] + np.where(p > 1, 0.0, x["N_last"])) / tp + x["N_positions"] + x["N_copies"] / p
    x["N_data"] = value(parallelism.rank_parameters, x, N_split=x["N_layers"], ranks=tp * p, N_copy=whole)
    x["N_data_experts"] = value(
        parallelism.rank_parameters, x, N_split=x["N_experts"], ranks=tp * p * ep, N_copy=0.0
    )
    x["N_inside"] = value(
        parallelism.rank_parameters, x, N_split=x["N_layers"], ranks=tp * p, N_copy=x["N_copies"] / p
    )
    x["d_att"] = (x["n_h"] + np.maximum(x["n_kv"], tp)) * (
        x["d_qk"] + x["d_mix"]
    )  # one key-value head a rank at least
    x["in_flight"] = np.where(
        x["v"] > 1, value(training_step.flying_interleaved, x), value(training_step.flying, x)
    )
    x["Q_edge"] = np.where(p > 1, value(training_step.edge, x), value(training_step.edge_of_one_stage, x))
    return x


def finish(x: dict, recompute: str, sequence: bool, zero: int, value=Law.on_arrays) -> dict:
    """All terms of layouts of one kind, from those of `split`: memory, step time, utilisation."""
    x, anew, none = dict(x), recompute == "full", 0.0 * x["n_tok"]

    def kernels(law, **own):
        return value(training_step.kernel_time, x, moved=value(law, x, **own))

    def transfer(name, passes, cover, overlap):
        taken = value(
            training_step.transfer_time, x, sent=x[f"sent_{name}"], link=x[f"link_{name}"], passes=passes
        )
        return value(training_step.open_time, x, t_comm=taken, t_cover=cover, overlap=x[f"{overlap}_overlap"])

    x["t_fwd"] = x["t_products"] + kernels(training_step.kernels[sequence])
    x["t_again"] = {"none": none, "selective": x["t_scores"] + x["t_softmax"], "full": x["t_fwd"]}[recompute]
    x["C_again"] = (
        none + {"none": 0.0, "selective": x["C_scores"], "full": x["C_full"] - x["C_unembedding"]}[recompute]
    )
    x["t_work"] = value(training_step.work, x)
    x["t_tensor"] = transfer("tensor", 2.0 + anew, x["t_work"], "tensor")
    x["t_expert"] = transfer("expert", 2.0 + anew, x["t_work"], "expert") if np.any(x["routed"]) else none
    x["t_hop"] = transfer("hop", 2.0 * x["v"], x["t_work"], "pipeline")
    x["t_stage"] = value(training_step.stage_time, x)
    x["t_pipe"] = value(training_step.pipeline_time, x)
    cover = value(training_step.whole_step if zero >= 2 else training_step.last_backward, x)
    x |= {"t_data": none, "t_update": none, "Q_state": none, "Q_work": none}
    widths = {"data": x["dp"]} | ({"data_experts": x["dp"] / x["expert"]} if np.any(x["routed"]) else {})
    for name, width in widths.items():
        rank = {"N_total": x[f"N_{name}"], "tp": 1.0, "p": 1.0, "dp": width}
        x[f"sent_{name}"] = value(TRAFFIC[zero], x, **rank)
        x["t_data"] = x["t_data"] + transfer(name, 1.0, cover, "data")
        mine = x[f"N_{name}"] / (width if zero else 1.0)
        x["t_update"] = x["t_update"] + kernels(training_step.kernels_of_update, N_rank=mine)
        x["Q_state"] = x["Q_state"] + value(STATE[zero], x, **rank)
    x["act_layer"] = value(training_step.kept[recompute, sequence], x)
    x["Q_act"] = value(training_step.stage_activations, x)
    if anew:
        x["Q_work"] = value(training_step.kept["none", sequence], x)
    if zero == 3:
        x["Q_work"] = x["Q_work"] + value(
            training_step.gathered_layer, x, N_rank=x["N_inside"] + x["N_data_experts"]
        )
    x["Q_rank"], x["t_step"] = value(training_step.rank_memory, x), value(training_step.step, x)
    x["mfu"] = value(utilisation, x, C=value(training_step.model_flop, x), t=x["t_step"])
    x["flop_per_gpu_s"] = value(training_step.rate_per_gpu, x, C=value(training_step.machine_flop, x))
    return x
