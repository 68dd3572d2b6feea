"""Multi-query attention: the cache of a token, the sequences that fit beside the weights, and what a token costs.

The laws stand in the order of chapter 8. `fill` packs the caches of whole sequences into one GPU, array by array;
`fullest_stage` divides whole layers; `pipeline_rate` runs micro-batches round a pipeline.
"""

from __future__ import annotations

from dataclasses import replace

from sympy import Integer, factor, powsimp

from .architecture import head_sharing, head_width, width_from_attention
from .dense_wall import price_of_thousand
from .inference_tradeoffs import (
    cluster_gpus,
    cluster_rate,
    held_weights,
    largest_batch,
    memory_left,
    memory_time,
    rank_cache,
    rank_weights,
    token_cost,
    user_rate,
)
from .kv_cache import cache_read, cache_read_of_shape, token_cache  # noqa: F401  the chapter's first laws
from .law import Law
from .moe_inference import experts_hit
from .parallelism import cache_copied
from .serving_model import Model, Server, decode
from .symbols import (
    B_fly,
    B_seq,
    L,
    N_attn,
    N_fix,
    N_held,
    Q_score,
    S,
    act_bytes,
    cache_ranks,
    d_rope,
    ep,
    g_kv,
    kv,
    kv_bytes,
    m,
    n_h,
    n_kv,
    n_models,
    n_single,
    n_tok,
    p,
    r_kv,
    t_pass,
    tok,
    tp,
    transfer,
    turns,
    x_heads,
    x_single,
)
from .units import BadInput

# ---- cache of one token ---------------------------------------------------------------------
latent_cache = Law(
    kv,
    L * (r_kv + d_rope) * kv_bytes,
    "Cache of one token: a latent vector and a rotated key",
    source="deepseekv2",
)
cache_of_width = token_cache.given(head_sharing, head_width)
cache_of_attention = Law(
    kv,
    powsimp(factor(cache_of_width.given(width_from_attention).rhs), force=True),
    "Cache of one token from the attention's parameters",
    source="shazeer2019",
)
saving = Law(
    x_heads,
    token_cache.rhs.xreplace({n_kv: n_h / tp}) / cache_copied.rhs,
    "Cache on one GPU with a key and value for every head, over that of shared heads",
)

# ---- what fits: a stage holds its layers' cache of every sequence in flight -------------------
_no_expert_groups = {ep: Integer(1)}
room = Law(
    memory_left.lhs,
    memory_left.given(held_weights).rhs.xreplace(_no_expert_groups),
    "Memory left to the cache",
)
_all_passes = m * largest_batch.rhs
fit = Law(B_fly, _all_passes.xreplace(_no_expert_groups), "Sequences in flight that fit, all at full length")
_copied = Law(kv, cache_copied.rhs * cache_ranks, "What a GPU holds of a token, times its ranks")
fit_copied = fit.given(_copied, room)
fit_divided = Law(B_fly, fit.rhs.xreplace({cache_ranks: tp}), "The same, sequences divided").given(
    token_cache, room
)
longest = Law(S, fit.solve("S").rhs, "Longest context that fits")
prompt_scores = Law(
    Q_score, act_bytes * n_tok * S / tok * n_h / tp, "Scores of a prompt, one layer, heads divided"
)

# ---- what a token costs: one micro-batch a stage, memory reads alone, a bound from below --------
micro_batch = Law(B_seq, B_fly / p, "Sequences of one pass, one micro-batch for each stage")
_at_once = {m: p, turns: Integer(1), transfer: Integer(1), ep: Integer(1)}
pass_of_reads = Law(
    t_pass,
    memory_time.given(rank_weights, rank_cache).rhs.xreplace(_at_once),
    "Time to read what a pass needs",
)
_cost = token_cost.given(cluster_rate, user_rate, cluster_gpus).rhs.xreplace(_at_once)
cost_of_pass = Law(token_cost.lhs, _cost, "Cost of a token by the time of its pass")
cost_of_reads = cost_of_pass.given(pass_of_reads, experts_hit)
cost_when_full = cost_of_reads.given(micro_batch, fit, room)
thousand_copied = price_of_thousand.given(cost_when_full, _copied)
_all_heads = {cache_ranks: tp, g_kv: Integer(1), N_fix: N_attn, N_held: N_attn}
cost_multi_head = Law(
    token_cost.lhs,
    cost_when_full.given(cache_of_attention).rhs.xreplace(_all_heads),
    "Cost of a token at the memory's limit, a key and value for every head",
)
thousand_multi_head = price_of_thousand.given(cost_multi_head)

# ---- who shares heads -------------------------------------------------------------------------
single_share = Law(x_single, n_single / n_models, "Published models with a single key-value head")


# ---- the serving model at its limit -------------------------------------------------------------
def at_the_limit(model: Model, server: Server, *, context: float, price: float) -> dict:
    """`serving_model.decode` with as many sequences as memory allows, and `in_flight`, their number.

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


# ---- counting ---------------------------------------------------------------------------------
def fill(
    *, room_bytes: float, layers: int, kv_heads: int, head_width: int, context: int, kv_bytes: float = 2
) -> int:
    """Sequences whose whole cache fits into `room_bytes`: keys and values are set aside layer by layer, head by head.

    `layers` and `kv_heads` are those that the GPU holds. Raises BadInput unless every size is at least 1.
    """
    sizes = {"layers": layers, "kv_heads": kv_heads, "head_width": head_width, "context": context}
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise BadInput(f"{name} takes a whole number of at least 1, got {size!r}")
    for name, size in (("room_bytes", room_bytes), ("kv_bytes", kv_bytes)):
        if not size > 0:
            raise BadInput(f"{name} takes a positive number, got {size!r}")
    one_array, used, whole = context * head_width * kv_bytes, 0.0, 0
    while True:
        for _layer in range(layers):
            for _array in range(2 * kv_heads):
                used += one_array
                if used > room_bytes:
                    return whole
        whole += 1


def fullest_stage(layers: int, stages: int) -> int:
    """Layers of the fullest stage when whole layers are dealt out one by one.

    >>> fullest_stage(120, 15), fullest_stage(120, 16)
    (8, 8)
    """
    if not 1 <= stages <= layers:
        raise BadInput(f"stages takes 1 to layers = {layers}, got {stages!r}")
    held = [0] * stages
    for _ in range(layers):
        held[held.index(min(held))] += 1
    return max(held)


def pipeline_rate(
    *, sequences: int, stages: int, stage_seconds, micro_batches: int | None = None, rounds: int = 40
) -> float:
    """Tokens per second of `sequences` that go round a pipeline, each token waiting for the one before.

    They form `micro_batches` (default: as many as there are stages, or sequences if fewer) of equal size to within
    one. A stage works on one micro-batch at a time, `stage_seconds(size)` long. The first half of the rounds, in which
    the pipeline fills, is not counted.
    """
    parts = min(sequences, stages) if micro_batches is None else micro_batches
    if not 1 <= parts <= sequences or stages < 1 or rounds < 2:
        raise BadInput(
            f"micro_batches takes 1 to sequences = {sequences}, got {parts!r} ({stages=}, {rounds=})"
        )
    times = [stage_seconds(sequences // parts + (j < sequences % parts)) for j in range(parts)]
    free, done, half = [0.0] * stages, [0.0] * parts, 0.0
    for now in range(rounds):
        for j in range(parts):
            for s in range(stages):
                done[j] = free[s] = max(free[s], done[j]) + times[j]
        if now == rounds // 2 - 1:
            half = max(done)
    return sequences * (rounds - rounds // 2) / (max(done) - half)
