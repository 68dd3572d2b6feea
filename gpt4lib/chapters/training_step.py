"""One training step: activations, kernels, transfers and what they add up to.

`gpt4lib.systems.step` runs these laws for a model on a cluster.
"""

from sympy import cbrt

from ..spine.law import Law, Min, letters
from . import parallelism
from .notation import *
from .parallelism import N_rank, Q_rank, Q_state, grad_bytes, opt_bytes, sent, t_fwd, zero_traffic_3

symbol, share, constant = letters(4.5, "Step of training")

# ---- memory of one layer and micro-batch --------------------------------------------------
# _whole: what every tensor-parallel rank holds unless the sequence is divided too; the rest is divided
# by heads and MLP columns.
micro_batch = Law(n_tok, b * T, "Tokens of a micro-batch")
_src = "korthikanti2022"
mask_bytes = constant("mask_bytes", 1, "byte/token", "bytes of one entry of a dropout mask", _src)
_whole = ((3 + k) * act_bytes + 2 * mask_bytes) * d
d_att = symbol("d_att", "1", "entries of a token's queries, keys, values and mixed values in a layer")
d_mlp = symbol("d_mlp", "1", "entries of a token's vectors inside the MLPs of a layer")
_inside = act_bytes * (d_att + d_mlp)
_scores = (2 * act_bytes + mask_bytes) * n_h * S / tok
act_layer = symbol("act_layer", "byte", "activations that one layer keeps of one micro-batch", "A")
_kept = lambda entries, title: Law(act_layer, n_tok * entries, title, source=_src)
kept = {  # by recomputation, and whether the sequence is divided
    ("none", False): _kept(_whole + (_inside + _scores) / tp, "Activations that a layer keeps"),
    ("none", True): _kept((_whole + _inside + _scores) / tp, "The same, sequence divided"),
    ("selective", False): _kept(_whole + _inside / tp, "Scores computed anew"),
    ("selective", True): _kept((_whole + _inside) / tp, "Scores computed anew, sequence divided"),
    ("full", False): _kept(act_bytes * d, "Everything computed anew from the layer's input"),
    ("full", True): _kept(act_bytes * d / tp, "The same, sequence divided"),
}
kept |= {("fused", x): kept["selective", x] for x in (False, True)}  # a fused kernel stores no scores
in_flight = symbol("in_flight", "1", "micro-batches whose activations a stage holds", "m_fly")
before = symbol("before", "1", "stages before this one", "i")
flying = Law(in_flight, Min(m, p - before), "Micro-batches in flight, 1F1B", source="narayanan2021")
_chunks = Min(m, p + (p - 1 - 2 * before) / v)
flying_interleaved = Law(in_flight, _chunks, "The same, interleaved", source=_src)
Q_act = symbol("Q_act", "byte", "activations on a rank of a stage")
stage_activations = Law(Q_act, in_flight * act_layer * L / p, "Activations on one of equal stages")
Q_edge = symbol("Q_edge", "byte", "activations of the embedding and of the loss")
edge = Law(Q_edge, in_flight * n_tok * mask_bytes * d / tp, "Dropout mask of the embedding", source=_src)
logit_bytes = constant("logit_bytes", 4, "byte/token", "bytes of one logit kept for the loss", _src)
_loss = n_tok * (2 * act_bytes * d + logit_bytes * V) / tp
edge_of_loss = Law(Q_edge, _loss, "Logits, and the inputs of the loss", source=_src)
Q_work = symbol("Q_work", "byte", "what the one layer at work gathers or computes anew")
_rest = lambda whole, how, x: Law(Q_work, kept[whole, x].rhs - kept[how, x].rhs, "What it computes anew")
_anew = (("none", "selective"), ("none", "full"), ("fused", "full"))
anew = {(*pair, x): _rest(*pair, x) for pair in _anew for x in (False, True)}  # what it would keep, is kept
gathered_layer = Law(Q_work, weight_bytes * N_rank * p / L, "Weights of the layer at work, stage 3")
rank_memory = Law(Q_rank, Q_state + Q_act + Q_edge + Q_work, "Memory that a rank needs")

# ---- time of one micro-batch in one stage -------------------------------------------------
C_mm = symbol("C_mm", "FLOP", "FLOP of one rank's matrix products")
stage_flop = Law(C_mm, C_tok * n_tok / (tp * p), "A rank's share of the forward FLOP")
rows = symbol("rows", "1", "rows of a matrix product", "s_{1}")
inner = symbol("inner", "1", "inner side of a matrix product", "s_{2}")
columns = symbol("columns", "1", "columns of a matrix product", "s_{3}")
volume = symbol("volume", "1", "product of the three sides of a matrix product", "s^3")
product_volume = Law(volume, rows * inner * columns, "Size of a matrix product")
_meaning = "side of a cubic matrix product that reaches half the ceiling"
half_side = symbol("half_side", "1", _meaning, "s_{1/2}")
ceiling = share("ceiling", "share of peak that an endless matrix product reaches", "eta_max")
t_mm = symbol("t_mm", "second", "time of the matrix products")
_sized = C_mm / (F * rank_gpu * ceiling) * (1 + half_side / cbrt(volume))
product_time = Law(t_mm, _sized, "Matrix products: the larger, the faster")
# A fused kernel skips the pairs that a causal mask hides; what its backward pass repeats lowers its rate.
attention = share("attention", "share of peak that a fused attention kernel reaches", r"\eta_{\mathrm{att}}")
fused_time = Law(t_mm, C_mm / (F * rank_gpu * attention), "Scores and mixing in one kernel")
as_others = Law(attention, ceiling / (1 + half_side / cbrt(volume)), "The same where nobody measured it")
_around = (10 * act_bytes + 2 * mask_bytes) * d  # 2 norms: in, out; 2 residual dropouts: in, in, out, mask
_between = act_bytes * d_mlp  # the activation function: in, out
_softmax = (4 * act_bytes + mask_bytes) * n_h * S / tok  # softmax: in, out; dropout: in, out, mask
moved = symbol("moved", "byte", "bytes that the kernels between the matrix products read and write", "Z_mem")
kernels = {  # by whether the sequence is divided
    False: Law(moved, n_tok * L / p * (_around + _between / tp), "Bytes between products, scores left out"),
    True: Law(moved, n_tok * L / p * (_around + _between) / tp, "The same, sequence divided"),
}
kernels_of_scores = Law(moved, n_tok * L / p * _softmax / tp, "Bytes between scores and mixing, unfused")
_meaning = "bytes that the loss reads and writes per logit, forward and backward"
loss_bytes = constant("loss_bytes", 58, "byte/token", _meaning, "megatron_lm")
kernels_of_loss = Law(moved, n_tok * loss_bytes * V / tp, "Bytes moved by the loss", source="megatron_lm")
kernels_of_update = Law(moved, N_rank * (2 * opt_bytes + grad_bytes + weight_bytes), "Bytes of the optimiser")
t_mem = symbol("t_mem", "second", "time of the kernels between the matrix products")
transfer = share("transfer", "share of its data-sheet rate that memory or a link reaches", r"\eta_{\beta}")
kernel_time = Law(t_mem, moved / (mem_rate * rank_gpu * transfer), "Kernels bound by memory")
k_back = constant("k_back", 2, "1", "work of a backward pass over that of a forward pass", "kaplan2020")
t_head = symbol("t_head", "second", "time of logits and loss for one micro-batch")
head_time = Law(t_head, (1 + k_back) * t_mm + t_mem, "Logits forward and backward, and the loss")
t_loss = symbol("t_loss", "second", "time by which logits and loss lengthen the beat of the pipeline")
x_short = share("x_short", "part of the fullest stage's layers that the last stage lacks")
t_again = symbol("t_again", "second", "forward work that the backward pass repeats")
t_work = symbol("t_work", "second", "work on one micro-batch in one stage, forward and backward")
work = Law(t_work, (1 + k_back) * t_fwd + t_again, "Forward, backward, and what is computed anew")

# ---- transfers ----------------------------------------------------------------------------
# A ring that leaves the node shares the node's links with the groups beside it.
stride = symbol("stride", "1", "distance of neighbours in a group, in ranks", "sigma")
ring_link = Law(link, Min(link_in, link_out * node / Min(stride, node)), "A rank's rate in a ring over nodes")
passes = symbol("passes", "1", "times that a transfer is made for each micro-batch", "c")
t_comm = symbol("t_comm", "second", "time of a transfer")
transfer_time = Law(t_comm, passes * sent / (link * transfer), "Time of a transfer")
overlap = share("overlap", "share of the covering work behind which a transfer hides", "o")
t_cover = symbol("t_cover", "second", "work that can hide a transfer")
t_open = symbol("t_open", "second", "time of a transfer that nothing hides")
open_time = Law(t_open, t_comm - overlap * Min(t_comm, t_cover), "Time of a transfer that nothing hides")
last_backward = Law(t_cover, k_back * t_fwd + t_again, "The backward pass of the last micro-batch")
whole_step = Law(t_cover, m * t_work, "The work on all micro-batches")
zero_step_2 = Law(sent, m * parallelism.grad_pass + parallelism.weight_pass, "Stage 2 over a step")
zero_step_3 = Law(sent, m * zero_traffic_3.rhs, "Stage 3 over a step")

# ---- the step: the slowest stage also computes the loss -----------------------------------
t_tensor = symbol("t_tensor", "second", "open time of the tensor-parallel collectives", "t_tp")
t_expert = symbol("t_expert", "second", "open time of dispatch and combine", "t_ep")
t_hop = symbol("t_hop", "second", "open time of the transfers between stages")
t_stage = symbol("t_stage", "second", "time of one micro-batch in one stage")
stage_time = Law(t_stage, t_work + t_tensor + t_expert + t_hop, "One micro-batch in one stage")
_later = t_head - Min(t_head, x_short * (t_stage - t_hop))
open_loss = Law(t_loss, _later, "Logits and loss beyond what a shorter last stage has left")
t_pipe = symbol("t_pipe", "second", "time of all micro-batches in the pipeline")
pipeline_time = Law(t_pipe, m * (t_stage / (1 - bubble) + t_head), "All micro-batches, bubble included")
t_data = symbol("t_data", "second", "open time of the data-parallel collectives", "t_dp")
t_update = symbol("t_update", "second", "time of the optimiser", "t_opt")
step = Law(t_step, t_pipe + t_data + t_update, "One step of training")
model_flop = Law(C, (1 + k_back) * C_full * B_tok, "FLOP of the model in one step")
C_again = symbol("C_again", "FLOP/token", "forward FLOP of a token that the backward pass repeats")
machine_flop = Law(C, ((1 + k_back) * C_full + C_again) * B_tok, "FLOP done in one step, repeats included")
rate_per_gpu = Law(F, C / (n * t_step), "FLOP per second and GPU")
