"""Multi-query attention: the cache of a token, the sequences that fit in memory, and what a token costs.

`gpt4lib.simulate.counting` packs caches of whole sequences into one GPU and divides whole layers;
`gpt4lib.simulate.pipeline` runs micro-batches round a pipeline.
"""

from sympy import Integer, factor, powsimp

from ..spine.law import Law, Min, letters
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

# ---- layers that keep less: windows, chunks, states ---------------------------------------
Q_seq = symbol("Q_seq", "byte", "cache of one sequence")
S_lim = symbol("S_lim", "token", "tokens that a layer keeps at most: its window or chunk")
_least = Min(S, S_lim)
limited_cache = Law(Q_seq, kv * _least, "Cache of a sequence, no more than the window", source="jiang2023")
x_full = share("x_full", "share of the layers that keep every token")
_mixed = kv * (x_full * S + (1 - x_full) * _least)
mixed_cache = Law(Q_seq, _mixed, "Cache of a sequence where some layers keep everything")
S_equal = symbol("S_equal", "token", "context whose cache is as large where every layer keeps everything")
equal_context = Law(S_equal, mixed_cache.rhs / kv, "Context of the same cache without windows")
S_seen = symbol("S_seen", "token", "tokens that a token attends to, the last one or on average")
seen = Law(S_seen, _least, "Tokens that the last token of a sequence sees")
mean_seen = Law(S_seen, _least - _least**2 / (2 * S), "Mean tokens seen through a window")
mean_in_chunk = Law(S_seen, _least / 2, "Mean tokens seen in a chunk")
n_sh = symbol("n_sh", "1", "heads of a layer with a state", "n_s")
d_sv = symbol("d_sv", "1", "width of the values of such a head")
d_s = symbol("d_s", "1", "width of its keys")
g_s = symbol("g_s", "1", "groups of heads that share keys", "g_s")
k_conv = symbol("k_conv", "1", "taps of the convolution before the state")
n_state = symbol("n_state", "1", "numbers of the states of one sequence, all layers", "n_st")
state_size = Law(n_state, L * n_sh * d_sv * d_s, "States: a matrix for each head", source="yang2024gated")
_channels = n_sh * d_sv + 2 * g_s * d_s
conv_size = Law(n_state, L * (k_conv - 1) * _channels, "Inputs that the convolutions keep", source="dao2024")
N_mix = symbol("N_mix", "parameter", "parameters of the layers with a state")
state_matrices = Law(N_mix, w * L * d * (_channels + 2 * n_sh * d_sv), "Matrices: query to output, gate")
convolutions = Law(N_mix, w * L * k_conv * _channels, "Convolutions", source="dao2024")
delta_rest = Law(N_mix, w * L * (2 * n_sh * (d + 1) + d_sv), "Gates and norm", source="yang2024gated")
lightning_rest = Law(N_mix, w * L * n_sh * d_sv, "Norm of lightning attention", source="minimax2025")
mamba2_rest = Law(N_mix, w * L * n_sh * (d + 3 + d_sv), "Steps, decays, skips and norm", source="dao2024")
dt_rank = symbol("dt_rank", "1", "rank of the step width of a state", "r_dt")
_mamba = n_sh * d_sv * (2 * dt_rank + 3 * d_s + 2) + dt_rank + 2 * d_s
mamba_rest = Law(N_mix, w * L * _mamba, "Steps, decays and skips, with three norms", source="lieber2024")
C_state = symbol("C_state", "FLOP/token", "forward FLOP of one token in the states", "C_st")
state_flop = Law(C_state, 2 * k_fwd * w * n_state, "FLOP of a token in the states: written and read")

# ---- who shares heads ---------------------------------------------------------------------
n_single = symbol("n_single", "1", "published models with a single key-value head", "n_one")
n_models = symbol("n_models", "1", "published models whose heads are known", "n_model")
x_single = share("x_single", "share of the models that have a single key-value head", "x_one")
single_share = Law(x_single, n_single / n_models, "Published models with a single key-value head")
