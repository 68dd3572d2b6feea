"""Multi-query attention: the cache of a token, the sequences that fit in memory, and what a token costs.

`gpt4lib.simulate.counting` packs caches of whole sequences into one GPU and divides whole layers;
`gpt4lib.simulate.pipeline` runs micro-batches round a pipeline.
"""

from sympy import Integer, factor, powsimp

from ..spine.law import Law, letters
from . import inference_tradeoffs as serving
from .architecture import d_rope, head_sharing, head_width, r_kv, token_cache, width_from_attention
from .dense_wall import price_of_thousand
from .inference_tradeoffs import N_held, cache_ranks, ep, largest_batch, t_pass, token_cost, turns
from .moe_inference import B_fly, experts_hit
from .notation import *
from .parallelism import cache_copied
from .training_step import transfer

symbol, share, constant = letters(8, "Multi-query attention")

# ---- cache of one token -------------------------------------------------------------------
latent_cache = Law(kv, L * (r_kv + d_rope) * kv_bytes, "Latent vector and rotated key", source="deepseekv2")
cache_of_width = token_cache.given(head_sharing, head_width)
_tidied = lambda: powsimp(factor(cache_of_width.given(width_from_attention).rhs), force=True)
cache_of_attention = Law(kv, _tidied, "Cache of one token, from attention", source="shazeer2019")
x_heads = symbol("x_heads", "1", "cache with a key and value for every query head over the cache as it is")
_unshared = lambda: token_cache.rhs.xreplace({n_kv: n_h / tp}) / cache_copied.rhs
saving = Law(x_heads, _unshared, "Cache of a GPU, a key and value for every head")

# ---- what fits: a stage holds its layers' cache of every sequence in flight ---------------
_one_group = Law(ep, 1)
_left = serving.memory_left.given(serving.held_weights, _one_group)
cache_room = Law(serving.Q_left, _left, "Memory left to the cache")
_all_passes = lambda: m * largest_batch.given(_one_group).rhs
fitting = Law(B_fly, _all_passes, "Sequences that fit, all at full length")
_copied = Law(kv, lambda: cache_copied.rhs * cache_ranks, "What a GPU holds of a token, times its ranks")
fitting_copied = fitting.given(_copied, cache_room)
_divided = fitting.given(Law(cache_ranks, tp), token_cache, cache_room)
fitting_divided = Law(B_fly, _divided, "The same, sequences divided")
longest = Law(S, fitting.solve(S), "Longest context that fits")
Q_score = symbol("Q_score", "byte", "attention scores of one layer on one GPU, if they are stored")
prompt_scores = Law(Q_score, act_bytes * n_tok * S / tok * n_h / tp, "Scores of a prompt, one layer")

# ---- what a token costs: one micro-batch a stage, memory reads alone, a bound from below --
pass_batch = Law(B_seq, B_fly / p, "Sequences of one pass, one micro-batch for each stage")
_at_once = lambda law: law.rhs.xreplace({m: p, turns: Integer(1), transfer: Integer(1), ep: Integer(1)})
_reads = serving.memory_time.given(serving.rank_weights, serving.rank_cache)
pass_of_reads = Law(t_pass, lambda: _at_once(_reads), "Reads alone")
_cost = token_cost.given(serving.cluster_rate, serving.user_rate, serving.cluster_gpus)
cost_of_pass = Law(c_tok, lambda: _at_once(_cost), "Cost of a token by the time of its pass")
cost_of_reads = cost_of_pass.given(pass_of_reads, experts_hit)
cost_when_full = cost_of_reads.given(pass_batch, fitting, cache_room)
thousand_copied = price_of_thousand.given(cost_when_full, _copied)
_all_heads = {cache_ranks: tp, g_kv: Integer(1), N_fix: N_attn, N_held: N_attn}
_multi_head = lambda: cost_when_full.given(cache_of_attention).rhs.xreplace(_all_heads)
cost_multi_head = Law(c_tok, _multi_head, "The same, a key and value for every head")
thousand_multi_head = price_of_thousand.given(cost_multi_head)

# ---- who shares heads ---------------------------------------------------------------------
n_single = symbol("n_single", "1", "published models with a single key-value head", "n_one")
n_models = symbol("n_models", "1", "published models whose heads are known", "n_model")
x_single = share("x_single", "share of the models that have a single key-value head", "x_one")
single_share = Law(x_single, n_single / n_models, "Published models with a single key-value head")
