"""Parallelism: what each rank holds and what it sends, for every way to split one model.

The laws count bytes; time is bytes over the rate of a link. A ring collective divides the data among
its ranks and passes the pieces round, so that every rank sends the same share of it.
"""

from sympy import Integer, log

from ..spine.law import Law, Max, letters
from .architecture import attention, cache_read, token_cache
from .notation import *

symbol, share, constant = letters(4, "Parallelism")

# ---- pipeline -----------------------------------------------------------------------------
dp = symbol("dp", "1", "data-parallel width", "n_dp")
data_parallel = Law(dp, n / (tp * p * rank_gpu), "Data-parallel width")
micro_batches = Law(m, B_tok / (T * b * dp), "Micro-batches")
bubble_share = Law(bubble, (p - 1) / (v * m + p - 1), "Pipeline bubble", source="narayanan2021")
bubble_of_batch = Law(bubble, bubble_share.given(micro_batches, data_parallel), "Bubble from the batch")

# ---- all-reduce ---------------------------------------------------------------------------
step_time = Law(t_step, k_train * N * B_tok / (n * F * mfu), "Time of one step")
grad_bytes = symbol("grad_bytes", "byte/parameter", "bytes reduced per parameter", "b_grad")
G = symbol("G", "byte", "gradient that each GPU reduces")
gradient = Law(G, grad_bytes * N_total / (tp * p), "Gradient on each GPU")
sharing = symbol("sharing", "1", "GPUs that share one link", "s")
t_ar = symbol("t_ar", "second", "time of one all-reduce")
all_reduce = Law(t_ar, 2 * (dp - 1) / dp * G * sharing / link, "Ring all-reduce", source="patarasuk2009")
reduce_share = share("reduce_share", "share of a step that the all-reduce takes", "x_ar")
all_reduce_share = Law(reduce_share, t_ar / t_step, "Share of the all-reduce")
all_reduce_of_step = all_reduce_share.given(all_reduce, gradient, data_parallel, step_time)
_sign = r"\beta_{\mathrm{in}} / \beta_{\mathrm{out}}"
link_ratio = symbol("link_ratio", "1", "link rate inside over between segments", _sign)
link_step = Law(link_ratio, link_in / link_out, "Step between link rates")

# ---- collectives --------------------------------------------------------------------------
ranks = symbol("ranks", "1", "ranks in a group", "n_r")
x_off = share("x_off", "share of a rank's data that other ranks want")
off_rank = Law(x_off, (ranks - 1) / ranks, "Share of evenly divided data that belongs to other ranks")
payload = symbol("payload", "byte", "bytes that a rank brings to a collective", "Z")
sent = symbol("sent", "byte", "bytes that a rank sends", "Y")
ring_pass = Law(sent, off_rank.rhs * payload, "One pass round a ring", source="patarasuk2009")
_rate_times_time = (all_reduce.rhs * link / sharing).xreplace({dp: ranks, G: payload})
ring_reduce = Law(sent, _rate_times_time, "Ring all-reduce", source="patarasuk2009")
activations = Law(payload, act_bytes * d * n_tok, "A vector for each token of the pass")
N_rank = symbol("N_rank", "parameter", "parameters on one rank", "N_r")
N_split = symbol("N_split", "parameter", "parameters divided among the ranks")
N_copy = symbol("N_copy", "parameter", "parameters that a rank holds whole")
rank_parameters = Law(N_rank, N_split / ranks + N_copy, "Parameters on one rank")

# ---- tensor parallelism: heads and MLP columns divided ------------------------------------
_heads = lambda law: law.rhs.xreplace({n_h: n_h / tp, n_kv: Max(n_kv / tp, Integer(1))})
_divided = lambda: _heads(attention)
tensor_attention = Law(N_rank, _divided, "Attention on one rank: one key-value head at least")
_reduce = lambda: 2 * L * ring_reduce.given(activations, Law(ranks, tp)).rhs
tensor_traffic = Law(sent, _reduce, "Two all-reduces a layer, forward", source="narayanan2021")
cache_copied = Law(kv, lambda: _heads(token_cache), "Cache of one token on one rank, heads divided")
cache_divided = Law(Q_kv, cache_read.rhs / tp, "Cache on one rank, sequences divided")
_exchange = lambda: 2 * L * ring_pass.given(activations, Law(d, d_h * n_h / tp), Law(ranks, tp)).rhs
exchange_traffic = Law(sent, _exchange, "Queries out and mixed values back, sequences divided")

# ---- pipeline parallelism: layers divided -------------------------------------------------
stage_traffic = Law(sent, activations.rhs, "A stage's output, forward", source="narayanan2021")
stage_cache = Law(kv, token_cache.rhs / p, "Cache of one token on one stage")

# ---- expert parallelism: experts divided, sequences too -----------------------------------
expert_traffic = Law(sent, 2 * L * k * x_off * activations.rhs, "Dispatch and combine, forward")
expert_traffic_even = expert_traffic.given(off_rank)

# ---- data parallelism: ZeRO stage 0 to 3 --------------------------------------------------
opt_bytes = symbol("opt_bytes", "byte/parameter", "optimiser state per parameter", "b_opt")
_grad, _weight, _opt = (gradient.rhs.xreplace({grad_bytes: x}) for x in (grad_bytes, weight_bytes, opt_bytes))
Q_state = symbol("Q_state", "byte", "weights, gradient and optimiser state on one rank")
zero_memory_0 = Law(Q_state, _weight + _grad + _opt, "Each rank holds everything")
zero_memory_1 = Law(Q_state, _weight + _grad + _opt / dp, "Stage 1 divides the optimiser state")
zero_memory_2 = Law(Q_state, _weight + (_grad + _opt) / dp, "Stage 2 divides the gradient too")
zero_memory_3 = Law(Q_state, (_weight + _grad + _opt) / dp, "Stage 3 divides the weights too")
grad_pass, weight_pass = (ring_pass.rhs.xreplace({ranks: dp, payload: z}) for z in (_grad, _weight))
zero_traffic_0 = Law(sent, ring_reduce.rhs.xreplace({ranks: dp, payload: _grad}), "Stage 0: all-reduce")
zero_traffic_1 = Law(sent, grad_pass + weight_pass, "Stages 1 and 2: scatter gradients, gather weights")
zero_traffic_3 = Law(sent, grad_pass + 2 * weight_pass, "Stage 3: gather the weights twice")

# ---- memory of the stated layout ----------------------------------------------------------
weights_of_rank = Law(Q_w, _weight, "Weights on one rank")
stages_of_weights = weights_of_rank.solve(p)
zero_1_of_cluster = Law(Q_state, zero_memory_1.given(data_parallel), "Stage 1 on a whole cluster")
Q_rank = symbol("Q_rank", "byte", "memory that a rank needs")
Q_more = symbol("Q_more", "byte", "activations, buffers and what a GPU keeps for itself")
rank_memory_1 = Law(Q_rank, lambda: zero_1_of_cluster.rhs + Q_more, "Memory that a rank needs under stage 1")
fewest_stages = Law(p, rank_memory_1.solve(p), "Fewest pipeline stages that memory allows, stage 1")
S_old = symbol("S_old", "token", "tokens of a context that an earlier pass computed")
tokens_in_cache = Law(S_old, T - n_tok / b, "Tokens that a pass would find in a cache")

# ---- tensor width and pipeline bubble -----------------------------------------------------
nvlink_width = Law(tp, node, "Widest tensor-parallel group that stays on NVLink")
t_fwd = symbol("t_fwd", "second", "forward pass of one micro-batch through one stage")
t_din = symbol("t_din", "second", "gradient of the inputs, one micro-batch in one stage", "t_dx")
t_dw = symbol("t_dw", "second", "gradient of the weights, one micro-batch in one stage")
_idle = (p - 1) * (t_fwd + t_din - t_dw)
zero_bubble = Law(bubble, _idle / (m * (t_fwd + t_din + t_dw) + _idle), "Bubble of ZB-H1", source="qi2024")
_meaning = "work done over the work of the model: more than one where activations are computed again"
redone = symbol("redone", "1", _meaning, "x_re")
kernel = share("kernel", "utilisation while a GPU computes", "eta_k")
_while_busy = lambda: redone * mfu / (1 - bubble_of_batch.rhs)
kernels_beside_bubble = Law(kernel, _while_busy, "Kernels beside the bubble")

# ---- transfers over compute ---------------------------------------------------------------
_stage_work = k_train * N * n_tok / (tp * p * F * rank_gpu * mfu)
_hop_time = 2 * stage_traffic.rhs / tp * sharing / link
x_comm = symbol("x_comm", "1", "time of a transfer over the time of the compute beside it")
hop_share = Law(x_comm, _hop_time / _stage_work, "Transfers between stages over compute")
_everywhere = {p: Integer(1), dp: n / (tp * rank_gpu)}
_sending = zero_traffic_3.rhs.xreplace(_everywhere) * sharing / link
full_fsdp_share = Law(x_comm, _sending / step_time.rhs, "Stage 3 over the whole cluster, over compute")

# ---- messages, trees, two levels ----------------------------------------------------------
latency = symbol("latency", "second", "time of an empty message", "t_msg")
ring_of_messages = Law(t_ar, all_reduce.rhs + 2 * (dp - 1) * latency, "Ring all-reduce and its messages")
_messages = 2 * log(dp) / log(2) * latency
tree_reduce = Law(t_ar, 2 * G * sharing / link + _messages, "Double-tree all-reduce", source="sanders2009")
islands = symbol("islands", "1", "islands that slower links join", "n_isl")
local = symbol("local", "1", "ranks of a group in one island", "n_loc")
_inside = 2 * (local - 1) / local * G * sharing / link_in
_between = 2 * (islands - 1) / islands * G / local * sharing / link_out
two_level_reduce = Law(t_ar, _inside + _between, "All-reduce inside islands, then between them")
