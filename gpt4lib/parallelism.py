"""Parallelism: what each rank holds and what it sends, for every way to split one model.

The laws count bytes; time is bytes over the rate of a link. A ring collective divides the data among
its ranks and passes the pieces round, so that every rank sends the same share of it.
"""

from __future__ import annotations

from sympy import Integer, Max, Min, cbrt, log

from .architecture import attention
from .kv_cache import cache_read, token_cache
from .law import Law
from .symbols import (
    B_tok,
    C,
    C_again,
    C_full,
    C_mm,
    C_tok,
    F,
    G,
    L,
    N,
    N_copy,
    N_rank,
    N_split,
    Q_act,
    Q_edge,
    Q_kv,
    Q_more,
    Q_rank,
    Q_state,
    Q_w,
    Q_work,
    S,
    S_old,
    T,
    V,
    act_bytes,
    act_layer,
    b,
    bubble,
    ceiling,
    columns,
    d,
    d_att,
    d_h,
    d_mlp,
    dp,
    grad_bytes,
    half_side,
    in_flight,
    inner,
    islands,
    k,
    k_back,
    k_train,
    kernel,
    kv,
    latency,
    link,
    link_in,
    link_out,
    local,
    logit_bytes,
    loss_bytes,
    m,
    mask_bytes,
    mem_rate,
    mfu,
    moved,
    n,
    n_h,
    n_kv,
    n_tok,
    node,
    opt_bytes,
    overlap,
    p,
    passes,
    payload,
    rank_gpu,
    ranks,
    redone,
    rows,
    sent,
    sharing,
    stride,
    t_again,
    t_ar,
    t_comm,
    t_cover,
    t_data,
    t_din,
    t_dw,
    t_expert,
    t_fwd,
    t_head,
    t_hop,
    t_mem,
    t_mm,
    t_open,
    t_pipe,
    t_stage,
    t_step,
    t_tensor,
    t_update,
    t_work,
    tok,
    tp,
    transfer,
    v,
    volume,
    weight_bytes,
    x_comm,
    x_off,
)
from .training_cost import all_reduce, bubble_of_batch, data_parallel, gradient, step_time

# ---- collectives --------------------------------------------------------------------------
off_rank = Law(x_off, (ranks - 1) / ranks, "Share of evenly divided data that belongs to other ranks")
ring_pass = Law(
    sent, off_rank.rhs * payload, "Reduce-scatter, all-gather or all-to-all", source="patarasuk2009"
)
_rate_times_time = (all_reduce.rhs * link / sharing).xreplace({dp: ranks, G: payload})
ring_reduce = Law(sent, _rate_times_time, "Ring all-reduce", source="patarasuk2009")
activations = Law(payload, act_bytes * d * n_tok, "A vector for each token of the pass")
rank_parameters = Law(N_rank, N_split / ranks + N_copy, "Parameters on one rank")

# ---- tensor parallelism: heads and MLP columns divided ------------------------------------
_heads = {n_h: n_h / tp, n_kv: Max(n_kv / tp, Integer(1))}
tensor_attention = Law(
    N_rank, attention.rhs.xreplace(_heads), "Attention on one rank: one key-value head at least"
)
_reduce = ring_reduce.given(activations).rhs.xreplace({ranks: tp})
tensor_traffic = Law(sent, 2 * L * _reduce, "Two all-reduces a layer, forward", source="narayanan2021")
cache_copied = Law(kv, token_cache.rhs.xreplace(_heads), "Cache of one token on one rank, heads divided")
cache_divided = Law(Q_kv, cache_read.rhs / tp, "Cache on one rank, sequences divided")
_exchange = ring_pass.given(activations).rhs.xreplace({d: d_h * n_h / tp, ranks: tp})
exchange_traffic = Law(sent, 2 * L * _exchange, "Queries out and mixed values back, sequences divided")

# ---- pipeline parallelism: layers divided -------------------------------------------------
stage_traffic = Law(sent, activations.rhs, "A stage's output, forward", source="narayanan2021")
stage_cache = Law(kv, token_cache.rhs / p, "Cache of one token on one stage")

# ---- expert parallelism: experts divided, sequences too -----------------------------------
expert_traffic = Law(
    sent, 2 * L * k * x_off * activations.rhs, "Dispatch and combine of a rank's tokens, forward"
)
expert_traffic_even = expert_traffic.given(off_rank)

# ---- data parallelism: ZeRO stage 0 to 3 --------------------------------------------------
_grad, _weights, _opt = (
    gradient.rhs.xreplace({grad_bytes: b}) for b in (grad_bytes, weight_bytes, opt_bytes)
)
zero_memory_0 = Law(Q_state, _weights + _grad + _opt, "Each rank holds everything")
zero_memory_1 = Law(Q_state, _weights + _grad + _opt / dp, "Stage 1 divides the optimiser state")
zero_memory_2 = Law(Q_state, _weights + (_grad + _opt) / dp, "Stage 2 divides the gradient too")
zero_memory_3 = Law(Q_state, (_weights + _grad + _opt) / dp, "Stage 3 divides the weights too")
_pass_of_grad, _pass_of_weights = (ring_pass.rhs.xreplace({ranks: dp, payload: z}) for z in (_grad, _weights))
zero_traffic_0 = Law(
    sent, ring_reduce.rhs.xreplace({ranks: dp, payload: _grad}), "Stage 0: all-reduce of the gradient"
)
zero_traffic_1 = Law(
    sent,
    _pass_of_grad + _pass_of_weights,
    "Stages 1 and 2: reduce-scatter of the gradient, all-gather of the weights",
)
zero_traffic_3 = Law(
    sent,
    _pass_of_grad + 2 * _pass_of_weights,
    "Stage 3: reduce-scatter of the gradient, all-gather of the weights forward and backward",
)

# ---- activations and step time ------------------------------------------------------------
# Memory of one layer and micro-batch. "Whole" is what every tensor-parallel rank holds unless the
# sequence is divided too; the rest is divided by heads and MLP columns.
micro_batch = Law(n_tok, b * T, "Tokens of a micro-batch")
_whole = ((3 + k) * act_bytes + 2 * mask_bytes) * d
_inside = act_bytes * (d_att + d_mlp)
_scores = (2 * act_bytes + mask_bytes) * n_h * S / tok


def _kept(entries, title: str) -> Law:
    return Law(act_layer, n_tok * entries, title, source="korthikanti2022")


kept = {  # by recomputation, and whether the sequence is divided
    ("none", False): _kept(_whole + (_inside + _scores) / tp, "Activations that a layer keeps"),
    ("none", True): _kept((_whole + _inside + _scores) / tp, "The same, sequence divided"),
    ("selective", False): _kept(_whole + _inside / tp, "Scores computed anew"),
    ("selective", True): _kept((_whole + _inside) / tp, "Scores computed anew, sequence divided"),
    ("full", False): _kept(act_bytes * d, "Everything computed anew from the layer's input"),
    ("full", True): _kept(act_bytes * d / tp, "The same, sequence divided"),
}
flying = Law(in_flight, Min(m, p), "Micro-batches in flight on the first stage, 1F1B", source="narayanan2021")
flying_interleaved = Law(
    in_flight, Min(m, p + (p - 1) / v), "The same, interleaved", source="korthikanti2022"
)
stage_activations = Law(Q_act, in_flight * act_layer * L / p, "Activations on the first stage")
edge = Law(
    Q_edge, in_flight * n_tok * mask_bytes * d / tp, "Dropout mask of the embedding", source="korthikanti2022"
)
edge_of_one_stage = Law(
    Q_edge,
    edge.rhs + n_tok * (2 * act_bytes * d + logit_bytes * V) / tp,
    "The same, and the inputs of the loss",
    source="korthikanti2022",
)
gathered_layer = Law(
    Q_work, weight_bytes * N_rank * p / L, "Weights of the layer at work, gathered under stage 3"
)
rank_memory = Law(Q_rank, Q_state + Q_act + Q_edge + Q_work, "Memory that a rank needs")

# Time of one micro-batch in one stage.
stage_flop = Law(C_mm, C_tok * n_tok / (tp * p), "A rank's share of the forward FLOP")
product_volume = Law(volume, rows * inner * columns, "Size of a matrix product")
product_time = Law(
    t_mm,
    C_mm / (F * rank_gpu * ceiling) * (1 + half_side / cbrt(volume)),
    "Matrix products: the larger, the faster",
)
_around = (
    10 * act_bytes + 2 * mask_bytes
) * d  # two norms: in, out; two dropouts with residual: in, in, out, mask
_between = act_bytes * d_mlp  # the activation function: in, out
_softmax = (4 * act_bytes + mask_bytes) * n_h * S / tok  # softmax: in, out; dropout: in, out, mask
kernels = {  # by whether the sequence is divided
    False: Law(
        moved, n_tok * L / p * (_around + (_between + _softmax) / tp), "Bytes moved between matrix products"
    ),
    True: Law(moved, n_tok * L / p * (_around + _between + _softmax) / tp, "The same, sequence divided"),
}
kernels_of_scores = Law(moved, n_tok * L / p * _softmax / tp, "The part between scores and mixing")
kernels_of_loss = Law(moved, n_tok * loss_bytes * V / tp, "Bytes moved by the loss", source="megatron_lm")
kernels_of_update = Law(
    moved, N_rank * (2 * opt_bytes + grad_bytes + weight_bytes), "Bytes moved by the optimiser"
)
kernel_time = Law(t_mem, moved / (mem_rate * rank_gpu * transfer), "Kernels bound by memory")
head_time = Law(t_head, (1 + k_back) * t_mm + t_mem, "Logits forward and backward, and the loss")
work = Law(t_work, (1 + k_back) * t_fwd + t_again, "Forward, backward, and what is computed anew")

# Transfers: a ring that leaves the node shares the node's links with the groups beside it.
ring_link = Law(
    link, Min(link_in, link_out * node / Min(stride, node)), "Rate of one rank in a ring over nodes"
)
transfer_time = Law(t_comm, passes * sent / (link * transfer), "Time of a transfer")
open_time = Law(t_open, t_comm - overlap * Min(t_comm, t_cover), "Time of a transfer that nothing hides")
last_backward = Law(t_cover, k_back * t_fwd + t_again, "The backward pass of the last micro-batch")
whole_step = Law(t_cover, m * t_work, "The work on all micro-batches")
zero_step_2 = Law(
    sent, m * _pass_of_grad + _pass_of_weights, "Stage 2 over a step: the gradient of every micro-batch"
)
zero_step_3 = Law(sent, m * zero_traffic_3.rhs, "Stage 3 over a step: all of it for every micro-batch")

# The step: the slowest stage also computes the loss.
stage_time = Law(t_stage, t_work + t_tensor + t_expert + t_hop, "One micro-batch in one stage")
pipeline_time = Law(t_pipe, m * (t_stage / (1 - bubble) + t_head), "All micro-batches, bubble included")
step = Law(t_step, t_pipe + t_data + t_update, "One step of training")
model_flop = Law(C, (1 + k_back) * C_full * B_tok, "FLOP of the model in one step")
machine_flop = Law(
    C, ((1 + k_back) * C_full + C_again) * B_tok, "FLOP done in one step, repeated ones included"
)
rate_per_gpu = Law(F, C / (n * t_step), "FLOP per second and GPU")
# ---- end of activations and step time ------------------------------------------------------

# ---- chapter 4: memory of the stated layout, links, trees ----------------------------------
weights_of_rank = Law(Q_w, _weights, "Weights on one rank")
stages_of_weights = weights_of_rank.solve("p")
zero_1_of_cluster = Law(Q_state, zero_memory_1.given(data_parallel).rhs, "Stage 1 on a whole cluster")
rank_memory_1 = Law(Q_rank, zero_1_of_cluster.rhs + Q_more, "Memory that a rank needs under stage 1")
fewest_stages = Law(p, rank_memory_1.solve("p").rhs, "Fewest pipeline stages that memory allows, stage 1")
tokens_in_cache = Law(S_old, T - n_tok / b, "Tokens that a pass would find in a cache")
nvlink_width = Law(tp, node, "Widest tensor-parallel group that stays on NVLink")
zero_bubble = Law(
    bubble,
    (p - 1) * (t_fwd + t_din - t_dw) / (m * (t_fwd + t_din + t_dw) + (p - 1) * (t_fwd + t_din - t_dw)),
    "Bubble of ZB-H1",
    source="qi2024",
)
kernels_beside_bubble = Law(
    kernel, redone * mfu / (1 - bubble_of_batch.rhs), "What the kernels must reach beside the bubble"
)
_stage_work = k_train * N * n_tok / (tp * p * F * rank_gpu * mfu)
_hop_time = 2 * stage_traffic.rhs / tp * sharing / link
hop_share = Law(x_comm, _hop_time / _stage_work, "Transfers between stages over compute")
_everywhere = {p: Integer(1), dp: n / (tp * rank_gpu)}
full_fsdp_share = Law(
    x_comm,
    zero_traffic_3.rhs.xreplace(_everywhere) * sharing / link / step_time.rhs,
    "Stage 3 over the whole cluster, one micro-batch a step: transfers over compute",
)
ring_of_messages = Law(t_ar, all_reduce.rhs + 2 * (dp - 1) * latency, "Ring all-reduce and its messages")
tree_reduce = Law(
    t_ar,
    2 * G * sharing / link + 2 * log(dp) / log(2) * latency,
    "Double-tree all-reduce",
    source="sanders2009",
)
two_level_reduce = Law(
    t_ar,
    2 * (local - 1) / local * G * sharing / link_in
    + 2 * (islands - 1) / islands * G / local * sharing / link_out,
    "All-reduce in two levels: inside islands, then between them",
)
# ---- end of chapter 4 ----------------------------------------------------------------------
