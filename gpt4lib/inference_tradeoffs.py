"""Inference trade-offs: the time, memory and money of one pass through a model, in laws.

A pass takes `n_tok` new tokens through all layers. It is on one stage at a time, so its time counts the GPUs of one
stage, tp x ep; the p stages decide how many passes are under way at once. `gpt4lib.serving_model` evaluates these
laws for a model on a server.
"""

from __future__ import annotations

from sympy import Integer, Max, Min

from .dense_wall import decode_mfu
from .law import Law
from .parallelism import exchange_traffic, expert_traffic_even, stage_traffic, tensor_traffic
from .symbols import (
    B_seq, C_full, C_pass, E, E_hit, F, L, N, N_exp, N_fix, N_held, Q_kv, Q_left, Q_w, R_out, R_serve, S, act_bytes,
    c_tok, cache_ranks, ceiling, d, d_ff, d_h, ep, intensity, k_fwd, kv, link, link_in, link_out, links, links_x,
    links_yz, m, mem, mem_rate, n, n_h, n_kv, n_mat, n_tok, overhead, overlap, p, price, rank_gpu, ranks, ridge,
    t_comm, t_core, t_expert, t_hop, t_layer, t_mem, t_mm, t_pass, t_split, t_tensor, tok, torus_x, torus_yz, tp,
    transfer, turns, usable, weight_bytes,
)

# ---- roofline -----------------------------------------------------------------------------
weight_intensity = Law(intensity, k_fwd * B_seq * tok / weight_bytes, "FLOP for each byte of weights read")
ridge_point = Law(ridge, F / mem_rate, "Intensity at which compute and memory take equally long", source="williams2009")

# ---- memory and compute of a pass ---------------------------------------------------------
rank_weights = Law(Q_w, weight_bytes * (N_fix + E_hit * N_exp / ep) / tp, "Weights that a rank of each stage reads")
rank_cache = Law(Q_kv, kv * B_seq * S / (ep * cache_ranks), "Cache that a rank of each stage reads")
memory_time = Law(t_mem, (Q_w + Q_kv) / (mem_rate * rank_gpu * transfer), "Time to read them", source="pope2022")
pass_flop = Law(C_pass, C_full * n_tok, "FLOP of a pass")
compute_time = Law(t_mm, C_pass / (tp * ep * F * rank_gpu * ceiling), "Time to compute them", source="pope2022")
core_time = Law(t_core, t_mm + t_mem - overlap * Min(t_mm, t_mem), "Memory and matrix products, more or less overlapped")

# ---- communication of a pass --------------------------------------------------------------
_group, _rank = {n_tok: n_tok / ep}, {n_tok: n_tok / (ep * tp)}
tensor_time = Law(t_tensor, tensor_traffic.rhs.xreplace(_group) / (link_in * transfer), "Two all-reduces a layer")
split_time = Law(t_split, exchange_traffic.rhs.xreplace(_group) / (link_in * transfer), "Cache divided by sequences")
_spread = expert_traffic_even.rhs.xreplace({**_rank, ranks: ep})
expert_time = Law(t_expert, _spread / (link_out * transfer), "Tokens to their experts and back")
_hop = stage_traffic.rhs.xreplace(_rank)
hop_time = Law(t_hop, (p - 1) * _hop / (link_out * transfer), "From stage to stage")
pass_time = Law(
    t_pass, overhead * t_core + t_tensor + t_split + t_expert + t_hop + L * t_layer, "Time of a pass through all stages",
)

# ---- rates, utilisation, money ------------------------------------------------------------
waiting = Law(turns, Max(m / p, Integer(1)), "A sequence waits its turn where micro-batches outnumber stages")
user_rate = Law(R_out, tok / (turns * t_pass), "Tokens per second of one sequence")
cluster_rate = Law(R_serve, m * B_seq * R_out, "Tokens per second of all sequences in flight")
serving_mfu = Law(decode_mfu.lhs, decode_mfu.rhs.xreplace({R_out: R_serve}), "Utilisation while serving")
cluster_gpus = Law(n, tp * ep * p * rank_gpu, "GPUs of the cluster")
token_cost = Law(c_tok, price * n / R_serve, "Cost of a token")

# ---- memory left --------------------------------------------------------------------------
held_weights = Law(Q_w, weight_bytes * (N_held + E * N_exp / ep) / (tp * p), "Weights that a rank holds")
memory_left = Law(Q_left, usable * mem * rank_gpu - Q_w, "Memory left to the cache")
held_cache = Law(Q_kv, m * kv * B_seq * S / (p * ep * cache_ranks), "Cache that a rank holds, all sequences in flight")
largest_batch = Law(B_seq, held_cache.solve("B_seq").rhs.xreplace({Q_kv: Q_left}), "Sequences of a pass that memory allows")

# ---- a torus of TPUs, for the published check ---------------------------------------------
_over_yz = 2 * d / torus_x * (1 - 1 / torus_yz) / links_yz
_over_x = (n_mat * d_ff + 2 * (n_h + n_kv) * d_h) / torus_yz * (1 - 1 / torus_x) / links_x
stationary_time = Law(
    t_comm, L * n_tok * act_bytes * (_over_yz + _over_x) / link,
    "Weights stay, activations move: width over one axis, inner widths over the others", source="pope2022",
)
gathered_time = Law(
    t_comm, weight_bytes * N * (1 - rank_gpu / n) / (links * link), "Activations stay, weights are gathered", source="pope2022",
)
torus_pass = Law(t_pass, t_mm + t_mem + t_comm + L * t_layer, "Time of a pass on a torus, nothing overlapped")
