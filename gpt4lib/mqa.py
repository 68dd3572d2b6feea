"""Multi-query attention: the cache of a token, the sequences that fit beside the weights, and what a token costs.

The laws stand in the order of chapter 8. `count_sequences` fills one GPU's memory sequence by sequence.
"""

from __future__ import annotations

from sympy import Integer, Max, factor, powsimp

from .architecture import expert_batch, head_sharing, head_width, idle_in_batch, width_from_attention
from .kv_cache import cache_read, cache_read_of_shape, token_cache
from .law import Law
from .moe_inference import weights_read_of_experts
from .parallelism import cache_copied, weights_of_rank
from .symbols import (
    B_fly, B_seq, E, E_hit, L, N_attn, N_fix, Q_kv, Q_room, Q_score, Q_w, R_all, S, act_bytes, c_tok, d_rope, kv,
    kv_bytes, mem, mem_rate, n_h, n_kv, n_models, n_single, n_tok, p, price, r_kv, rank_gpu, t_iter, tok, tp, x_kv,
    x_single, x_use,
)
from .units import BadInput

# ---- cache of one token, all layers: `kv_cache.token_cache` and -----------------------------
latent_cache = Law(kv, L * (r_kv + d_rope) * kv_bytes, "Cache of one token: a latent vector and a rotated key", source="deepseekv2")
cache_of_width = token_cache.given(head_sharing, head_width)
_cache = cache_of_width.given(width_from_attention)
cache_of_attention = Law(kv, powsimp(factor(_cache.rhs), force=True), "Cache of one token from the attention count")
saving = Law(
    x_kv, cache_copied.rhs.xreplace({n_kv: n_h}) / cache_copied.rhs, "Multi-head cache of a GPU over that of shared heads",
)

# ---- what fits: one stage holds its layers' cache of every sequence in flight ---------------
room = Law(Q_room, x_use * mem * rank_gpu - weights_of_rank.rhs, "Memory left beside the weights")
copied = Law(kv, cache_copied.rhs / p, "Cache of one token on one GPU, heads divided, a single head copied")
divided = Law(kv, token_cache.rhs / (tp * p), "Cache of one token on one GPU, sequences divided")
fit = Law(B_fly, cache_read.solve("B_seq").rhs.xreplace({Q_kv: Q_room}), "Sequences that fit, all at full length")
fit_copied = fit.given(copied, room)
fit_divided = fit.given(divided, room)
micro_batch = Law(B_seq, B_fly / p, "Sequences in a micro-batch when every stage is at work")
