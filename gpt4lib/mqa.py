"""Multi-query attention: the cache of a token, the sequences that fit beside the weights, and what a token costs.

The laws stand in the order of chapter 8. `fill` packs the caches of whole sequences into one GPU, array by array;
`fullest_stage` divides whole layers; `pipeline_rate` runs micro-batches round a pipeline.
"""

from __future__ import annotations

from sympy import Integer, factor, powsimp

from .architecture import head_sharing, head_width, width_from_attention
from .dense_wall import price_of_thousand
from .inference_tradeoffs import (
    cluster_gpus, cluster_rate, held_weights, largest_batch, memory_left, memory_time, rank_cache, rank_weights,
    token_cost, user_rate,
)
from .kv_cache import cache_read, cache_read_of_shape, token_cache  # noqa: F401  the chapter's first laws
from .law import Law
from .moe_inference import experts_hit
from .parallelism import cache_copied
from .symbols import (
    B_fly, B_seq, L, N_attn, N_fix, N_held, Q_score, S, act_bytes, cache_ranks, d_rope, ep, kv, kv_bytes, m, n_h,
    n_kv, n_models, n_single, n_tok, p, r_kv, t_mem, t_pass, tok, tp, transfer, turns, x_kv, x_single,
)
from .units import BadInput

# ---- cache of one token ---------------------------------------------------------------------
latent_cache = Law(
    kv, L * (r_kv + d_rope) * kv_bytes, "Cache of one token: a latent vector and a rotated key", source="deepseekv2",
)
cache_of_width = token_cache.given(head_sharing, head_width)
cache_of_attention = Law(
    kv, powsimp(factor(cache_of_width.given(width_from_attention).rhs), force=True),
    "Cache of one token from the attention's parameters", source="shazeer2019",
)
saving = Law(
    x_kv, token_cache.rhs.xreplace({n_kv: n_h / tp}) / cache_copied.rhs, "Multi-head cache on a GPU over that of shared heads",
)

# ---- what fits: a stage holds its layers' cache of every sequence in flight -------------------
_no_expert_groups = {ep: Integer(1)}
room = Law(memory_left.lhs, memory_left.given(held_weights).rhs.xreplace(_no_expert_groups), "Memory left to the cache")
fit = Law(B_fly, (m * largest_batch.rhs).xreplace(_no_expert_groups), "Sequences in flight that fit, all at full length")
_copied = Law(kv, cache_copied.rhs * cache_ranks, "What a GPU holds of a token, times its ranks")
fit_copied = fit.given(_copied, room)
fit_divided = Law(B_fly, fit.rhs.xreplace({cache_ranks: tp}), "The same, sequences divided").given(token_cache, room)
longest = Law(S, fit.solve("S").rhs, "Longest context that fits")
prompt_scores = Law(Q_score, act_bytes * n_tok * S / tok * n_h / tp, "Scores of a prompt, one layer, heads divided")

# ---- what a token costs: one micro-batch a stage, memory reads alone, a bound from below --------
micro_batch = Law(B_seq, B_fly / p, "Sequences of one pass, one micro-batch for each stage")
_at_once = {m: p, turns: Integer(1), transfer: Integer(1), ep: Integer(1)}
pass_of_reads = Law(t_pass, memory_time.given(rank_weights, rank_cache).rhs.xreplace(_at_once), "Time to read all a pass needs")
_cost = token_cost.given(cluster_rate, user_rate, cluster_gpus).rhs.xreplace(_at_once)
cost_of_reads = Law(token_cost.lhs, _cost, "Cost of a token, memory reads alone").given(pass_of_reads, experts_hit)
cost_when_full = cost_of_reads.given(micro_batch, fit, room)
_all_heads = {cache_ranks: tp, N_fix: N_attn, N_held: N_attn}
cost_multi_head = Law(
    token_cost.lhs, cost_when_full.given(cache_of_attention).rhs.xreplace(_all_heads),
    "Cost of a token at the memory's limit, from the article's counts",
)
thousand_multi_head = price_of_thousand.given(cost_multi_head)

# ---- who shares heads -------------------------------------------------------------------------
single_share = Law(x_single, n_single / n_models, "Published models with a single key-value head")


# ---- counting ---------------------------------------------------------------------------------
def fill(*, room_bytes: float, layers: int, kv_heads: int, head_width: int, context: int, kv_bytes: float = 2) -> int:
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


def pipeline_rate(*, sequences: int, stages: int, stage_seconds, micro_batches: int | None = None, rounds: int = 40) -> float:
    """Tokens per second of `sequences` that go round a pipeline, each token waiting for the one before.

    They form `micro_batches` (default: as many as there are stages, or sequences if fewer) of equal size to within
    one. A stage works on one micro-batch at a time, `stage_seconds(size)` long. The first half of the rounds, in which
    the pipeline fills, is not counted.
    """
    m_now = min(sequences, stages) if micro_batches is None else micro_batches
    if not 1 <= m_now <= sequences or stages < 1 or rounds < 2:
        raise BadInput(f"micro_batches takes 1 to sequences = {sequences}, got {m_now!r} ({stages} stages, {rounds} rounds)")
    sizes = [sequences // m_now + (j < sequences % m_now) for j in range(m_now)]
    times, free, done, half = [stage_seconds(size) for size in sizes], [0.0] * stages, [0.0] * m_now, 0.0
    for now in range(rounds):
        for j in range(m_now):
            for s in range(stages):
                done[j] = free[s] = max(free[s], done[j]) + times[j]
        if now == rounds // 2 - 1:
            half = max(done)
    return sequences * (rounds - rounds // 2) / (max(done) - half)
