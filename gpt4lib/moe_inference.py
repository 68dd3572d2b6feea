"""Serving a mixture of experts: experts reached, bytes read, layers on nodes, and what a token then costs.

The laws stand in the order of chapter 7. Whole distributions of the experts' loads are in `gpt4lib.routing`, times and
rates of a server in `gpt4lib.serving_model`.
"""

from __future__ import annotations

from sympy import sqrt

from .architecture import expert_batch, tables
from .dense_wall import price_of_thousand
from .inference_tradeoffs import serving_mfu, token_cost
from .law import Law
from .symbols import (
    B_fly,
    B_seq,
    E,
    E_hit,
    L,
    L_free,
    N,
    N_emb,
    N_exp,
    N_ff,
    N_fix,
    N_node,
    N_read,
    N_ref,
    N_total,
    Q_tok,
    Q_w,
    R_out,
    R_serve,
    S,
    S_stale,
    b_exp,
    b_max,
    c_ref,
    c_tok,
    copies,
    k,
    kv,
    l_emb,
    l_guess,
    l_head,
    l_node,
    load_day,
    mem,
    n,
    n_guess,
    p,
    p_all,
    swing,
    tok,
    tp,
    var_hit,
    weight_bytes,
    x_bal,
    x_ff,
    x_fill,
    x_idle,
    x_jit,
    x_own_kv,
    x_price,
    x_small,
    x_util,
    z_max,
)

# ---- experts reached ----------------------------------------------------------------------
experts_hit = Law(
    E_hit, E * (1 - (1 - k / E) ** B_seq), "Distinct experts that a batch reaches, uniform routing, mean"
)
_idle, _idle_pair = (1 - k / E) ** B_seq, ((E - k) * (E - k - 1) / (E * (E - 1))) ** B_seq
hit_variance = Law(
    var_hit,
    E * _idle + E * (E - 1) * _idle_pair - E**2 * _idle**2,
    "Variance of the distinct experts, the same",
)
all_on_one = Law(
    p_all,
    E * (k / E) ** B_seq - E * (E - 1) / 2 * (k * (k - 1) / (E * (E - 1))) ** B_seq,
    "Some expert gets the whole batch, at most two experts a token",
)
busiest_normal = Law(
    b_max,
    b_exp + z_max * sqrt(b_exp * (1 - k / E) * E / (E - 1)),
    "Busiest expert, loads taken as normal numbers",
)
busiest_load = busiest_normal.given(expert_batch)
imbalance = Law(x_bal, (busiest_load.rhs / expert_batch.rhs).expand(), "Busiest expert over the mean")

# ---- weights read -------------------------------------------------------------------------
parameters_read = Law(N_read, N_fix + E_hit * N_exp, "Parameters that a step reads")
weights_read = Law(Q_w, weight_bytes * N_read, "Weights that a step reads")
weights_read_of_experts = weights_read.given(parameters_read)
read_per_token = Law(Q_tok, Q_w / (B_seq * tok) + kv * S / tok, "Bytes read for each token put out")
read_per_sparse_token = read_per_token.given(weights_read, parameters_read, experts_hit)
read_per_dense_token = read_per_token.given(Law(Q_w, weight_bytes * N_total))
jitter = Law(x_jit, N_exp * sqrt(var_hit / L_free) / N_read, "Spread of the weights that a step reads")
jitter_of_batch = jitter.given(parameters_read, hit_variance, experts_hit)

# ---- layers on nodes ----------------------------------------------------------------------
node_parameters = Law(N_node, N_total / p, "Parameters of a node, evenly divided")
node_weights = Law(Q_w, weight_bytes * N_node / tp, "Weights on one GPU of a node")
gpu_weights = node_weights.given(node_parameters)
stage_layers = Law(l_node, L / p, "Layers of a node, evenly divided")
head_layers = Law(l_head, L - (p - 1) * l_node, "Layers that the other nodes leave to the head node")
table_layers = Law(l_emb, N_emb * L / N_total, "Weight of the vocabulary tables, in layers").given(tables)
draft_layers = Law(l_guess, n_guess * x_small * N * L / N_total, "Reads of a draft model, in layers")
memory_fill = Law(
    x_fill,
    (weight_bytes * N_total + copies * kv * B_fly * S) / (n * mem),
    "Weights and cache over the memory of the cluster",
)
stale_cache = Law(S_stale, x_own_kv * S, "Cached tokens that another choice of experts makes useless")

# ---- money --------------------------------------------------------------------------------
rate_of_price = token_cost.solve("R_serve")
share_of_price = serving_mfu.given(rate_of_price)
cost_of_share = token_cost.given(serving_mfu.solve("R_serve"))
thousand_of_share = price_of_thousand.given(cost_of_share)
flight_rate = Law(R_serve, B_fly * R_out, "Tokens per second of all sequences in flight")
cost_of_flight = token_cost.given(flight_rate)
thousand_of_flight = price_of_thousand.given(cost_of_flight)
price_ratio = Law(x_price, c_tok / c_ref, "Price against another model")
utilisation_gap = Law(
    x_util, x_price * N_ref / N, "Utilisation of the model compared with over ours, at equal rent"
)
mlp_ratio = Law(x_ff, k * N_exp / N_ff, "MLP parameters at work against another model")

# ---- a day --------------------------------------------------------------------------------
always_on = Law(x_idle, 1 / load_day, "Clusters for the peak, on all day, over clusters that follow the load")
cosine_day = Law(load_day, 1 / (1 + swing), "Mean over peak of a cosine day")
always_on_cosine = always_on.given(cosine_day)
