"""The serving model: what a model on a server takes for a pass, in seconds, bytes and dollars.

    x = decode(model("gpt4_multi_query"), Server(gpu="H100-SXM 80GB", pipeline=16), batch=256, context=2048)
    x["user_rate"], x["rate"], x["mfu"], x["batch_limit"]

The laws of `gpt4lib.chapters.inference_tradeoffs`, for one batch or for arrays of them. Stages, ranks and experts count as
evenly loaded; routing counts as uniform unless `hit` says how many experts a pass reaches. The defaults are a bound:
data-sheet rates, memory and compute fully overlapped, nothing lost. `Server` holds every departure from it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..chapters import inference_tradeoffs
from ..chapters.architecture import full
from ..chapters.moe_inference import experts_hit
from ..spine.errors import BadInput
from .count import ServedModel
from .machine import Server


def decode(model: ServedModel, server: Server, *, batch, context, hit=None, tokens=1, price=None) -> dict:
    """Time, rates, memory and cost of a step in which each of `batch` sequences puts out one token.

    `batch` sequences (a number or array) make one pass, `context` tokens stand in each one's cache. `hit` is the mean
    number of experts reached (default: uniform routing). `tokens` positions of each sequence go through the pass
    together, as when drafts are checked; rates still count one token a sequence and pass. `price` in USD per GPU and
    second adds `cost`. All results are arrays of the shape that batch and context span together; see `_run`.
    Raises BadInput where the weights do not fit and for numbers that are not positive.
    """
    return _run(model, server, batch, context, hit, tokens, price, mean_context=context)


def prefill(model: ServedModel, server: Server, *, batch, prompt, hit=None, price=None) -> dict:
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
    x["E_hit"] = experts_hit.at(x, B_seq=x["n_tok"]) if hit is None else np.asarray(hit, float)
    if np.any(x["E_hit"] > model.E):
        raise BadInput(f"hit takes at most the {model.E} experts of {model.name}, got {np.max(x['E_hit']):g}")
    held, space = inference_tradeoffs.held_weights.at(x), x["mem"] * x["usable"]
    if held >= space:
        raise BadInput(
            f"{model.name} does not fit: {held / 1e9:,.1f} GB of weights on each {server.gpu} with "
            f"{space / 1e9:,.1f} GB (tensor = {server.tensor}, pipeline = {server.pipeline}, expert = {server.expert})"
        )
    x["n"], x["N"] = inference_tradeoffs.cluster_gpus.at(x), model.active
    x["C_full"] = full.at(x, C_pair=model.pair_flop * np.asarray(mean_context, float))
    x["C_pass"] = inference_tradeoffs.pass_flop.at(x)
    memory = inference_tradeoffs.memory_time.at(
        x, Q_w=inference_tradeoffs.rank_weights.at(x), Q_kv=inference_tradeoffs.rank_cache.at(x)
    )
    x |= {"t_mem": memory, "t_mm": inference_tradeoffs.compute_time.at(x)}
    split = (
        inference_tradeoffs.split_time.at(x) if server.divide_cache and server.tensor > 1 else 0.0 * memory
    )
    x |= {
        "t_core": inference_tradeoffs.core_time.at(x),
        "t_tensor": inference_tradeoffs.tensor_time.at(x),
        "t_split": split,
        "t_expert": inference_tradeoffs.expert_time.at(x),
        "t_hop": inference_tradeoffs.hop_time.at(x),
    }
    x["t_pass"] = inference_tradeoffs.pass_time.at(x)
    x["turns"] = inference_tradeoffs.waiting.at(x)
    x["R_out"] = inference_tradeoffs.user_rate.at(x) * counted
    x["R_serve"] = inference_tradeoffs.cluster_rate.at(x)
    left = inference_tradeoffs.memory_left.at(x, Q_w=held)
    limit, cache = inference_tradeoffs.largest_batch.at(x, Q_left=left), inference_tradeoffs.held_cache.at(x)
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
        "mfu": inference_tradeoffs.serving_mfu.at(x),
        "bound": names[largest],
        "n_gpus": x["n"],
        "experts_hit": x["E_hit"],
        "weight_bytes_held": held,
        "cache_bytes_held": cache,
        "left_bytes": left,
        "batch_limit": limit,
        "fits": cache <= left,
    }
    return found | ({} if price is None else {"cost": inference_tradeoffs.token_cost.at(x, price=price)})


# ---- the serving model at its limit -------------------------------------------------------------
def at_the_limit(model: ServedModel, server: Server, *, context: float, price: float) -> dict:
    """`serving.decode` with as many sequences as memory allows, and `in_flight`, their number.

    One micro-batch for each stage; where not even one sequence a stage fits, fewer micro-batches of one, and stages
    that wait. Raises BadInput where no whole sequence fits.
    """
    most = float(decode(model, server, batch=1, context=context)["batch_limit"])
    in_flight = most * server.facts()["m"]
    if in_flight < 1:
        raise BadInput(
            f"context takes less: not one sequence of {context:g} tokens fits, {in_flight:.3g} would"
        )
    if most < 1:
        server, most = replace(server, micro_batches=int(in_flight)), 1.0
        in_flight = int(in_flight)
    return decode(model, server, batch=most, context=context, price=price) | {"in_flight": in_flight}
