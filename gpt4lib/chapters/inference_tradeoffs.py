"""Inference trade-offs: the time, memory and money of one pass through a model.

A pass takes `n_tok` new tokens through all layers. It is on one stage at a time, so its time counts the
GPUs of one stage, tp x ep; the p stages decide how many passes are under way at once.
`gpt4lib.systems.serving` evaluates these laws for a model on a server.
"""

from sympy import Integer, cancel, sqrt

from ..spine.law import Law, Max, Min, letters
from . import parallelism
from .architecture import alike, cache_read, cache_read_of_shape, head_sharing, pairs, token_cache
from .dense_wall import decode_mfu, decode_rate, overhead
from .notation import *
from .parallelism import ranks, weights_of_rank, x_comm
from .training_cost import n_ref
from .training_step import ceiling, overlap, t_comm, t_expert, t_hop, t_mem, t_mm, t_tensor, transfer

symbol, share, constant = letters(6, "Inference trade-offs")

# ---- roofline -----------------------------------------------------------------------------
C_w = symbol("C_w", "FLOP", "FLOP for each weight read")
weight_flop = Law(C_w, k_fwd * B_seq * tok * w, "FLOP for each weight read", source="kaplan2020")
intensity = symbol("intensity", "FLOP/byte", "FLOP for each byte read", "I")
weight_intensity = Law(intensity, weight_flop.rhs / (w * weight_bytes), "FLOP for each byte of weights read")
_ratio = lambda: cancel(pairs.given(*alike).rhs * tok / cache_read_of_shape.given(Law(B_seq, 1)).rhs)
cache_intensity = Law(intensity, _ratio, "FLOP for a byte of cache", source="shazeer2019")
ridge = symbol("ridge", "FLOP/byte", "intensity at which compute and memory take equally long", "I^{*}")
ridge_point = Law(ridge, F / mem_rate, "Compute and memory equally long", source="williams2009")
mem_pub = symbol("mem_pub", "byte/second/GPU", "memory rate of one GPU by its data sheet", "beta_pub")
sheet_rate = Law(mem_rate, mem_pub, "Memory rate by the data sheet")
F_pub = symbol("F_pub", "FLOP/second/GPU", "dense peak of one GPU by its data sheet")
sheet_peak = Law(F, F_pub, "Dense peak by the data sheet")
x_ridge = symbol("x_ridge", "1", "time to read the weights over time to compute with them")
read_over_compute = Law(x_ridge, ridge / intensity, "Read over compute").given(ridge_point, weight_intensity)
x_busy = share("x_busy", "share of the reading time in which the arithmetic is at work")
_busy = Law(x_busy, Min(Integer(1), intensity / ridge), "Arithmetic's share of the reading time")
weights_busy = _busy.given(ridge_point, weight_intensity)
cache_busy = _busy.given(ridge_point, cache_intensity, head_sharing)

# ---- memory and compute of a pass ---------------------------------------------------------
ep = symbol("ep", "1", "tensor-parallel groups over which the experts of a stage are spread", "n_grp")
expert_bytes = symbol("expert_bytes", "byte/parameter", "bytes of a weight of an expert", r"b_{\mathrm{w},E}")
_alike = Law(expert_bytes, weight_bytes, "Experts in the format of all weights")
_expert = N_exp * expert_bytes / weight_bytes
_read = weight_bytes * (N_fix + E_hit * _expert / ep) / tp
rank_weights_by_part = Law(Q_w, _read, "Weights that a rank reads, experts in a format of their own")
rank_weights = Law(Q_w, rank_weights_by_part.given(_alike).rhs, "Weights that a rank reads")
cache_ranks = symbol("cache_ranks", "1", "ranks over which a stage's cache is divided, without copies", "n_c")
rank_cache = Law(Q_kv, kv * B_seq * S / (ep * cache_ranks), "Cache that a rank of each stage reads")
memory_time = Law(t_mem, (Q_w + Q_kv) / (mem_rate * rank_gpu * transfer), "Time to read", source="pope2022")
C_pass = symbol("C_pass", "FLOP", "FLOP of one pass")
pass_flop = Law(C_pass, C_full * n_tok, "FLOP of a pass")
compute_time = Law(t_mm, C_pass / (tp * ep * F * rank_gpu * ceiling), "Time to compute", source="pope2022")
t_core = symbol("t_core", "second", "time of a pass in memory and matrix products")
core_time = Law(t_core, t_mm + t_mem - overlap * Min(t_mm, t_mem), "Memory and products, overlapped")

# ---- communication of a pass --------------------------------------------------------------
_time = lambda law, groups, rate: law.rhs.xreplace({n_tok: n_tok / groups}) / (rate * transfer)
_reduced = lambda: _time(parallelism.tensor_traffic, ep, link_in)
tensor_time = Law(t_tensor, _reduced, "Two all-reduces a layer")
_meaning = "time of moving queries and mixed values where the cache is divided by sequences"
t_split = symbol("t_split", "second", _meaning)
_exchanged = lambda: _time(parallelism.exchange_traffic, ep, link_in)
split_time = Law(t_split, _exchanged, "Cache divided by sequences")
_spread = parallelism.expert_traffic_even.given(Law(ranks, ep))
expert_time = Law(t_expert, lambda: _time(_spread, ep * tp, link_out), "Tokens to their experts and back")
_hop = lambda: (p - 1) * _time(parallelism.stage_traffic, ep * tp, link_out)
hop_time = Law(t_hop, _hop, "From stage to stage")
t_layer = symbol("t_layer", "second", "time that a layer adds whatever its size: launches, synchronisation")
t_pass = symbol("t_pass", "second", "time of one pass through all layers")
_links = t_tensor + t_split + t_expert + t_hop
pass_time = Law(t_pass, overhead * t_core + _links + L * t_layer, "Time of a pass through all stages")

# ---- rates, utilisation, money ------------------------------------------------------------
turns = symbol("turns", "1", "passes' worth of time between two tokens of one sequence", "n_turn")
waiting = Law(turns, Max(m / p, Integer(1)), "A sequence waits its turn where micro-batches outnumber stages")
user_rate = Law(R_out, tok / (turns * t_pass), "Tokens per second of one sequence")
prompt_rate = Law(R_out, S / (turns * t_pass), "Tokens per second of one prompt, all of it in one pass")
cluster_rate = Law(R_serve, m * B_seq * R_out, "Tokens per second of all sequences in flight")
serving_mfu = Law(mfu, decode_mfu.given(Law(R_out, R_serve)), "Utilisation while serving")
cluster_gpus = Law(n, tp * ep * p * rank_gpu, "GPUs of the cluster")
token_cost = Law(c_tok, price * n / R_serve, "Cost of a token")

# ---- memory left --------------------------------------------------------------------------
N_held = symbol("N_held", "parameter", "parameters held outside the experts")
_held = weight_bytes * (N_held + E * _expert / ep) / (tp * p)
held_weights_by_part = Law(Q_w, _held, "Weights that a rank holds, experts in a format of their own")
held_weights = Law(Q_w, held_weights_by_part.given(_alike).rhs, "Weights that a rank holds")
usable = share("usable", "share of a GPU's memory for weights and cache", "x_use")
Q_left = symbol("Q_left", "byte", "memory of one GPU that the weights leave to the cache")
memory_left = Law(Q_left, usable * mem * rank_gpu - Q_w, "Memory left to the cache")
held_cache = Law(Q_kv, m * kv * B_seq * S / (p * ep * cache_ranks), "Cache that a rank holds")
largest_batch = Law(B_seq, held_cache.solve(B_seq).given(Law(Q_kv, Q_left)), "Sequences that fit")

# ---- batch, chips, length, price ----------------------------------------------------------
x_kv = symbol("x_kv", "1", "cache over weights")
cache_over_weights = Law(x_kv, cache_read.rhs / (weight_bytes * N_total), "Cache over weights")
cache_over_weights_of_shape = cache_over_weights.given(token_cache)
_one_group = lambda law: law.rhs.xreplace({m: p, ep: Integer(1), cache_ranks: tp, usable: Integer(1)})
_meaning = "positions of a pass at which computing takes as long as reading all weights"
B_ridge = symbol("B_ridge", "1", _meaning, "B^{*}")
ridge_batch = Law(B_ridge, weight_bytes * N_total * F / (k_fwd * N * tok * mem_rate), "Batch at the ridge")
_room = largest_batch.given(memory_left, weights_of_rank)
room = Law(B_seq, lambda: _one_group(_room), "Sequences of a pass that fit, every stage busy")
x_cap = symbol("x_cap", "1", "batch that memory allows over the batch that fills the arithmetic")
capacity_share = Law(x_cap, lambda: room.rhs / ridge_batch.rhs, "Batch that fits over batch at the ridge")
_left = Law(Q_left, lambda: _one_group(memory_left.given(weights_of_rank)))
g_n = symbol("g_n", "1", "GPUs over GPUs before")
x_room = symbol("x_room", "1", "memory left to the cache on each GPU, over that before")
_over = lambda law, letter: law.rhs.xreplace({letter: g_n * letter}) / law.rhs
room_gain = Law(x_room, lambda: _over(_left, p), "Room for the cache on each GPU")
_lesser = lambda: Min(cancel(_over(decode_rate, n)), room_gain.rhs)
x_chips = symbol("x_chips", "1", "lesser of the gains in speed and in room that more GPUs bring", "x_GPU")
chips_gain = Law(x_chips, _lesser, "What more GPUs bring at least, in speed or in room")
_slower = lambda: cancel(_over(tensor_time, tp) / _over(compute_time, tp))
x_scale = symbol("x_scale", "1", "growth of communication over growth of compute as GPUs are added")
link_growth = Law(x_scale, _slower, "Communication over compute, as ranks are added")
_at_peak = Law(C_full, k_fwd * N), Law(ep, 1), Law(ceiling, 1)
first_token = Law(t_mm, compute_time.given(pass_flop, *_at_peak), "A prompt's products at peak")
S_long = symbol("S_long", "token", "longer context")
x_dear = symbol("x_dear", "1", "cost of a token over that with the shorter context")
_fewer = lambda: cancel(largest_batch.rhs / largest_batch.rhs.xreplace({S: S_long}))
length_cost = Law(x_dear, _fewer, "Cost of a token where memory is full")
t_one = symbol("t_one", "second", "time of the pass compared with", r"t_{\mathrm{ref}}^{\mathrm{pass}}")
mfu_one = share("mfu_one", "utilisation of the pass compared with", r"\eta_{\mathrm{ref}}^{\mathrm{pass}}")
x_trade = symbol("x_trade", "1", "lesser of the growth of utilisation and of latency")
trade = Law(x_trade, Min(mfu / mfu_one, t_pass / t_one), "Gains in utilisation and in latency")
x_prop = symbol("x_prop", "1", "ratio of two times over the ratio of size per GPU")
size_over_chips = Law(x_prop, (t_pass / t_one) / ((N / n) / (N_ref / n_ref)), "Two times, over size per GPU")

# ---- a torus of TPUs, for the published check ---------------------------------------------
links_x = symbol("links_x", "1", "links of a chip in the axis that divides the model width", r"n_{\ell,X}")
links_yz = symbol("links_yz", "1", "links of a chip in the axes that divide the inner widths", r"n_{\ell,X'}")
_outer, _inner = 2 * d / links_yz, (n_mat * d_ff + 2 * (n_h + n_kv) * d_h) / links_x
torus_x = symbol("torus_x", "1", "chips that divide the model width", "X")
torus_yz = symbol("torus_yz", "1", "chips that divide the inner widths", "X'")
_both = _outer / torus_x * (1 - 1 / torus_yz) + _inner / torus_yz * (1 - 1 / torus_x)
_vectors = L * n_tok * act_bytes
stationary_time = Law(t_comm, _vectors * _both / link, "Weights stay, activations move", source="pope2022")
_wide = lambda: _vectors * 2 * sqrt(_outer * _inner * rank_gpu / n) / link
wide_time = Law(t_comm, _wide, "The same on many chips, split at its best", source="pope2022")
_over_reads = lambda: wide_time.rhs / (weight_bytes * N / (n * mem_rate))
link_over_reads = Law(x_comm, _over_reads, "Links over weight reads")
_products = k_fwd * N * n_tok / (n * F * ceiling)
link_over_products = Law(x_comm, lambda: wide_time.rhs / _products, "Links over matrix products")
links = symbol("links", "1", "links of a chip", r"n_{\ell}")
_gathered = weight_bytes * N * (1 - rank_gpu / n)
gathered_time = Law(t_comm, _gathered / (links * link), "Weights move, activations stay", source="pope2022")
torus_pass = Law(t_pass, t_mm + t_mem + t_comm + L * t_layer, "Time of a pass on a torus, nothing overlapped")
