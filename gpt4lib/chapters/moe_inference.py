"""Serving a mixture of experts: experts reached, bytes read, layers on nodes, and what a token then costs.

Whole distributions of the experts' loads are in `gpt4lib.simulate.routing`, times and rates of a server
in `gpt4lib.systems.serving`.
"""

from sympy import sqrt

from ..spine.law import Law, letters
from .architecture import N_emb, b_exp, expert_batch, tables
from .dense_wall import price_of_thousand
from .inference_tradeoffs import serving_mfu, token_cost
from .notation import *

symbol, share, constant = letters(7, "Serving a mixture of experts")

# ---- experts reached ----------------------------------------------------------------------
experts_hit = Law(E_hit, E * (1 - (1 - k / E) ** B_seq), "Experts reached, uniform routing, mean")
_idle, _idle_pair = (1 - k / E) ** B_seq, ((E - k) * (E - k - 1) / (E * (E - 1))) ** B_seq
_meaning = "variance of the experts of a layer that a batch reaches"
var_hit = symbol("var_hit", "1", _meaning, r"\sigma^2_{\mathrm{hit}}")
hit_variance = Law(var_hit, E * _idle + E * (E - 1) * _idle_pair - E**2 * _idle**2, "Variance of the same")
p_all = share("p_all", "probability that some expert of a layer gets every token of the batch")
_two = E * (E - 1) / 2 * (k * (k - 1) / (E * (E - 1))) ** B_seq
all_on_one = Law(p_all, E * (k / E) ** B_seq - _two, "Some expert gets all, at most two experts a token")
z_max = symbol("z_max", "1", "largest of E standard normal numbers, mean", r"z_{\max}")
b_max = symbol("b_max", "1", "tokens of the busiest expert of a layer, mean", r"b_{\max}")
_busiest = lambda: b_exp + z_max * sqrt(b_exp * (1 - k / E) * E / (E - 1))
busiest_normal = Law(b_max, _busiest, "Busiest expert, loads taken as normal numbers")
busiest_load = busiest_normal.given(expert_batch)
x_bal = symbol("x_bal", "1", "tokens of the busiest expert over the mean")
imbalance = Law(x_bal, lambda: (busiest_load.rhs / expert_batch.rhs).expand(), "Busiest expert over the mean")

# ---- weights read -------------------------------------------------------------------------
N_read = symbol("N_read", "parameter", "parameters that one step reads")
parameters_read = Law(N_read, N_fix + E_hit * N_exp, "Parameters that a step reads")
weights_read = Law(Q_w, weight_bytes * N_read, "Weights that a step reads")
weights_read_of_experts = weights_read.given(parameters_read)
Q_tok = symbol("Q_tok", "byte/token", "bytes read for each token put out")
read_per_token = Law(Q_tok, Q_w / (B_seq * tok) + kv * S / tok, "Bytes read for each token put out")
read_per_sparse_token = read_per_token.given(weights_read, parameters_read, experts_hit)
read_per_dense_token = read_per_token.given(Law(Q_w, weight_bytes * N_total))
L_free = symbol("L_free", "1", "layers that route independently of each other")
x_jit = share("x_jit", "standard deviation of the weights that a step reads over their mean")
jitter = Law(x_jit, N_exp * sqrt(var_hit / L_free) / N_read, "Spread of the weights that a step reads")
jitter_of_batch = jitter.given(parameters_read, hit_variance, experts_hit)

# ---- layers on nodes ----------------------------------------------------------------------
N_node = symbol("N_node", "parameter", "parameters on one node")
node_parameters = Law(N_node, N_total / p, "Parameters of a node, evenly divided")
node_weights = Law(Q_w, weight_bytes * N_node / tp, "Weights on one GPU of a node")
l_node = symbol("l_node", "1", "layers on one node", "ell_node")
stage_layers = Law(l_node, L / p, "Layers of a node, evenly divided")
l_head = symbol("l_head", "1", "layers left for the head node", "ell_head")
head_layers = Law(l_head, L - (p - 1) * l_node, "Layers that the other nodes leave to the head node")
l_emb = symbol("l_emb", "1", "layers that the vocabulary tables weigh as much as", "ell_emb")
table_layers = Law(l_emb, N_emb * L / N_total, "Weight of the vocabulary tables, in layers").given(tables)
l_guess = symbol("l_guess", "1", "layers that the draft model's reads weigh as much as", "ell_draft")
n_guess = symbol("n_guess", "1", "passes of the draft model for each pass of the large one", "n_draft")
x_small = share("x_small", "parameters of the draft model over those that it drafts for")
draft_layers = Law(l_guess, n_guess * x_small * N * L / N_total, "Reads of a draft model, in layers")
x_fill = symbol("x_fill", "1", "weights and cache over the memory that is to hold them")
copies = symbol("copies", "1", "copies of each cache entry in a node", "n_copy")
B_fly = symbol("B_fly", "1", "sequences in flight in the whole cluster")
_filled = weight_bytes * N_total + copies * kv * B_fly * S
memory_fill = Law(x_fill, _filled / (n * mem), "Weights and cache over the memory of the cluster")
_meaning = "share of the key and value matrices that belong to single experts"
x_own_kv = share("x_own_kv", _meaning, r"x_{\mathrm{own}}^{\mathrm{kv}}")
S_stale = symbol("S_stale", "token", "cached tokens that another choice of experts makes useless")
stale_cache = Law(S_stale, x_own_kv * S, "Cached tokens that another choice of experts makes useless")

# ---- money --------------------------------------------------------------------------------
rate_of_price = token_cost.solve(R_serve)
share_of_price = serving_mfu.given(rate_of_price)
cost_of_share = token_cost.given(serving_mfu.solve(R_serve))
thousand_of_share = price_of_thousand.given(cost_of_share)
flight_rate = Law(R_serve, B_fly * R_out, "Tokens per second of all sequences in flight")
cost_of_flight = token_cost.given(flight_rate)
thousand_of_flight = price_of_thousand.given(cost_of_flight)
c_ref = symbol("c_ref", "USD/token", "price of a token of the model compared with", r"c_{\mathrm{ref}}^{\$}")
x_price = symbol("x_price", "1", "price or cost of a token over that of another model", r"x_{\$}")
price_ratio = Law(x_price, c_tok / c_ref, "Price against another model")
x_util = symbol("x_util", "1", "utilisation of the model compared with over ours", r"x_{\eta}")
utilisation_gap = Law(x_util, x_price * N_ref / N, "Utilisation over ours, at equal rent")
N_ff = symbol("N_ff", "parameter", "parameters in the MLPs of the model compared with")
x_ff = symbol("x_ff", "1", "MLP parameters at work over those of the model compared with")
mlp_ratio = Law(x_ff, k * N_exp / N_ff, "MLP parameters at work against another model")

# ---- a day --------------------------------------------------------------------------------
load_day = share("load_day", "mean load of a day over its peak", "x_day")
_meaning = "cost of a token with every cluster on all day over cost with clusters that follow the load"
x_idle = symbol("x_idle", "1", _meaning)
always_on = Law(x_idle, 1 / load_day, "Clusters for the peak over clusters that follow the load")
swing = share("swing", "height of a cosine day over its mean", "a")
cosine_day = Law(load_day, 1 / (1 + swing), "Mean over peak of a cosine day")
always_on_cosine = always_on.given(cosine_day)
