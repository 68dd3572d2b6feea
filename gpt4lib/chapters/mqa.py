"""Multi-query attention: the cache of a token, the sequences that fit beside the weights, and what a token costs.

The laws stand in the order of chapter 8. `fill` packs the caches of whole sequences into one GPU, array by array;
`fullest_stage` divides whole layers; `pipeline_rate` runs micro-batches round a pipeline.
"""

from __future__ import annotations

from sympy import Integer, factor, powsimp

from ..spine.law import Law, letters
from .architecture import (
    d_rope,
    g_kv,
    head_sharing,
    head_width,
    kv_bytes,
    r_kv,
    token_cache,
    width_from_attention,
)
from .dense_wall import price_of_thousand
from .inference_tradeoffs import (
    N_held,
    cache_ranks,
    cluster_gpus,
    cluster_rate,
    ep,
    held_weights,
    largest_batch,
    memory_left,
    memory_time,
    rank_cache,
    rank_weights,
    t_pass,
    token_cost,
    turns,
    user_rate,
)
from .moe_inference import B_fly, experts_hit
from .notation import *
from .parallelism import cache_copied

symbol, share, constant = letters(8, "Multi-query attention")


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
x_heads = symbol("x_heads", "1", "cache with a key and value for every query head over the cache as it is")
saving = Law(
    x_heads,
    token_cache.rhs.xreplace({n_kv: n_h / tp}) / cache_copied.rhs,
    "Cache on one GPU with a key and value for every head, over that of shared heads",
)

# ---- what fits: a stage holds its layers' cache of every sequence in flight -------------------
_no_expert_groups = {ep: Integer(1)}
cache_room = Law(
    memory_left.lhs,
    memory_left.given(held_weights).rhs.xreplace(_no_expert_groups),
    "Memory left to the cache",
)
_all_passes = m * largest_batch.rhs
fitting = Law(
    B_fly, _all_passes.xreplace(_no_expert_groups), "Sequences in flight that fit, all at full length"
)
_copied = Law(kv, cache_copied.rhs * cache_ranks, "What a GPU holds of a token, times its ranks")
fitting_copied = fitting.given(_copied, cache_room)
fitting_divided = Law(B_fly, fitting.rhs.xreplace({cache_ranks: tp}), "The same, sequences divided").given(
    token_cache, cache_room
)
longest = Law(S, fitting.solve("S").rhs, "Longest context that fits")
Q_score = symbol("Q_score", "byte", "attention scores of one layer on one GPU, if they are stored")
prompt_scores = Law(
    Q_score, act_bytes * n_tok * S / tok * n_h / tp, "Scores of a prompt, one layer, heads divided"
)

# ---- what a token costs: one micro-batch a stage, memory reads alone, a bound from below --------
pass_batch = Law(B_seq, B_fly / p, "Sequences of one pass, one micro-batch for each stage")
_at_once = {m: p, turns: Integer(1), transfer: Integer(1), ep: Integer(1)}
pass_of_reads = Law(
    t_pass,
    memory_time.given(rank_weights, rank_cache).rhs.xreplace(_at_once),
    "Time to read what a pass needs",
)
_cost = token_cost.given(cluster_rate, user_rate, cluster_gpus).rhs.xreplace(_at_once)
cost_of_pass = Law(token_cost.lhs, _cost, "Cost of a token by the time of its pass")
cost_of_reads = cost_of_pass.given(pass_of_reads, experts_hit)
cost_when_full = cost_of_reads.given(pass_batch, fitting, cache_room)
thousand_copied = price_of_thousand.given(cost_when_full, _copied)
_all_heads = {cache_ranks: tp, g_kv: Integer(1), N_fix: N_attn, N_held: N_attn}
cost_multi_head = Law(
    token_cost.lhs,
    cost_when_full.given(cache_of_attention).rhs.xreplace(_all_heads),
    "Cost of a token at the memory's limit, a key and value for every head",
)
thousand_multi_head = price_of_thousand.given(cost_multi_head)

# ---- who shares heads -------------------------------------------------------------------------
n_single = symbol("n_single", "1", "published models with a single key-value head", "n_one")
n_models = symbol("n_models", "1", "published models whose heads are known", "n_model")
x_single = share("x_single", "share of the models that have a single key-value head", "x_one")
single_share = Law(x_single, n_single / n_models, "Published models with a single key-value head")
