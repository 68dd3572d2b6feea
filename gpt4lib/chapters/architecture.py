"""Architecture: what the article's counts imply for shape, parameters and FLOP, and what they leave out.

`gpt4lib.systems.count` adds up published models with the laws of "parameters from a shape".
"""

from sympy import Integer, factor, log, powsimp

from ..spine.law import Law, letters
from .notation import *

symbol, share, constant = letters(2, "Architecture")

# ---- the article's parts ------------------------------------------------------------------
total = Law(N_total, N_attn + E * N_exp, "Parameters stored")
active = Law(N, N_attn + k * N_exp, "Parameters that work on a token")
x_size = symbol("x_size", "1", "size ratio of two models")
size_ratio = Law(x_size, N_total / N_ref, "Size against another model")
idle = share("idle", "share of the stored parameters that a token does not use", "s_idle")
idle_share = Law(idle, 1 - N / N_total, "Share of the parameters that a token leaves idle")
idle_of_parts = idle_share.given(active, total)

# ---- forward FLOP of a token --------------------------------------------------------------
forward = Law(C_tok, k_fwd * N, "Forward FLOP of a token", source="kaplan2020")
forward_of_parts = forward.given(active)
C_dense = symbol("C_dense", "FLOP/token", "forward FLOP of one token if every expert worked on it")
dense_forward = Law(C_dense, k_fwd * N_total, "Forward FLOP, all experts at work", source="kaplan2020")
dense_of_parts = dense_forward.given(total)
x_flop = symbol("x_flop", "1", "FLOP ratio, dense to sparse", "x_FLOP")
flop_ratio = Law(x_flop, C_dense / C_tok, "Dense over sparse FLOP")
ratio_of_parts = flop_ratio.given(dense_of_parts, forward_of_parts)
R_f = symbol("R_f", "token/second", "tokens per second that pass forward at peak")
forward_rate = Law(R_f, n * F / C_tok, "Tokens per second at peak, forward pass alone")

# ---- parameters from a shape --------------------------------------------------------------
attention = Law(N_attn, w * L * d * d_h * (2 * n_h + 2 * n_kv), "Attention", source="shazeer2019")
mlp = Law(N_exp, w * L * n_mat * d * d_ff, "One MLP or expert", source="shazeer2020glu")
N_emb = symbol("N_emb", "parameter", "parameters of one vocabulary table")
vocabulary_table = Law(N_emb, w * V * d, "One vocabulary table")
n_pos = symbol("n_pos", "1", "positions with a learned vector")
N_pos = symbol("N_pos", "parameter", "parameters of positions")
learned_positions = Law(N_pos, w * n_pos * d, "Learned positions")
relative_positions = Law(N_pos, w * L * d * n_h * d_h, "Relative positions: one matrix", source="dai2019")
N_route = symbol("N_route", "parameter", "router parameters, all layers")
router = Law(N_route, w * L * d * E, "Routers")
n_norm = symbol("n_norm", "1", "vectors of one norm: 1 (scale) or 2 (scale and shift)")
n_ln = symbol("n_ln", "1", "norms over the residual stream, all layers", "n_LN")
N_norm = symbol("N_norm", "parameter", "norm parameters")
norm_vectors = Law(N_norm, w * n_norm * d * n_ln, "Norms over the residual stream")
norms = Law(N_norm, norm_vectors.rhs.xreplace({n_ln: 2 * L + 1}), "Norms: two in a layer, one at the end")
head_norms = Law(N_norm, 2 * w * L * d_h, "Norms of one query and one key", source="dehghani2023")
wide_norms = Law(N_norm, w * L * d_h * (n_h + n_kv), "Norms of all queries and all keys")
sinks = Law(N_attn, w * L * n_h, "A sink for each head", source="xiao2024")
output_gate = Law(N_attn, w * L * d * d_h * n_h, "A gate as wide as the query")
d_emb = symbol("d_emb", "1", "width of the vocabulary tables where it is not the model's", "d_emb")
narrow_table = Law(N_emb, 2 * w * d * d_emb, "From narrow tables to the model's width and back")
r_q = symbol("r_q", "1", "rank of the latent query")
r_kv = symbol("r_kv", "1", "rank of the latent key and value")
latent_norms = Law(N_norm, w * L * (r_q + r_kv), "Norms inside latent attention", source="deepseekv2")
d_nope = symbol("d_nope", "1", "part of a latent head's query and key without rotation")
d_rope = symbol("d_rope", "1", "part of a latent head's query and key that is rotated")
latent_query = Law(N_attn, w * L * r_q * (d + n_h * (d_nope + d_rope)), "Latent query", source="deepseekv2")
direct_query = Law(N_attn, w * L * d * n_h * (d_nope + d_rope), "Query without a rank", source="deepseekv2")
d_qk = symbol("d_qk", "1", "width of one head's query and key")
d_v = symbol("d_v", "1", "width of one head's value")
_key_value = d * (r_kv + d_rope) + r_kv * n_h * (d_nope + d_v)
latent_rest = Law(N_attn, w * L * (_key_value + n_h * d_v * d), "Key, value and output", source="deepseekv2")
N_bias = symbol("N_bias", "parameter", "bias parameters")
query_bias = Law(N_bias, w * L * d_h * (n_h + 2 * n_kv), "Biases of queries, keys and values")
_latent = r_q + n_h * (d_nope + d_rope) + r_kv + d_rope + n_h * (d_nope + d_v)
latent_bias = Law(N_bias, w * L * _latent, "The same of latent attention")
output_bias = Law(N_bias, w * L * d, "Biases of attention's output; or gates of shared experts")
mlp_bias = Law(N_bias, w * L * ((n_mat - 1) * d_ff + d), "Biases of one MLP or expert")
router_bias = Law(N_bias, w * L * E, "Biases or offsets of the routers")
table_bias = Law(N_bias, w * V, "Biases of the unembedding")
N_mtp = symbol("N_mtp", "parameter", "what joins blocks that predict further tokens to the model")
joined = Law(
    N_mtp, w * L * (2 * d**2 + 3 * n_norm * d), "A matrix and three norms a block", source="deepseek_v3"
)

# ---- width from the article's counts ------------------------------------------------------
_tidy = lambda law: Law(law.lhs, lambda: powsimp(factor(law.rhs), force=True), law.title, source=law.source)
a_w = symbol("a_w", "1", "attention width, all query heads together, in units of the model width")
head_width = Law(d_h, a_w * d / n_h, "Heads share the attention width")
head_sharing = Law(n_kv, g_kv * n_h, "Query heads share keys and values")
r_ff = symbol("r_ff", "1", "MLP width in units of the model width")
mlp_width = Law(d_ff, r_ff * d, "MLP width in units of the model width")
x_mlp = symbol("x_mlp", "1", "parameters of one MLP over those of attention")
mlp_to_attention = Law(x_mlp, N_exp / N_attn, "Parameters of one MLP over those of attention")
attention_of_width = _tidy(attention.given(head_width, head_sharing))
mlp_of_width = _tidy(mlp.given(mlp_width))
shape_ratio = _tidy(mlp_to_attention.given(mlp_of_width, attention_of_width))
width_from_attention = _tidy(attention_of_width.solve(d))
width_from_mlp = _tidy(mlp_of_width.solve(d))

# ---- what the accounting leaves out -------------------------------------------------------
C_pair = symbol("C_pair", "FLOP/token", "forward FLOP of one token in attention scores and mixing")
pairs = Law(C_pair, k_pair * L * n_h * (d_qk + d_v) * S, "FLOP of scores and mixing", source="hoffmann2022")
alike = Law(d_qk, d_h), Law(d_v, d_h)  # heads whose query, key and value have one width
pairs_of_attention = _tidy(pairs.given(*alike, head_width, width_from_attention))
full = Law(C_full, C_tok + C_pair, "Forward FLOP of a token, attention scores included")
full_of_parts = full.given(forward_of_parts, pairs_of_attention)
x_pair = symbol("x_pair", "1", "attention scores' FLOP over those of the matrices")
pair_share = Law(x_pair, C_pair / C_tok, "Scores over matrices").given(pairs_of_attention, forward_of_parts)
tables = Law(N_emb, 2 * w * V * d, "Embedding and unembedding, untied")
tables_of_attention = _tidy(tables.given(width_from_attention))
router_of_attention = _tidy(router.given(width_from_attention))

# ---- cache of keys and values -------------------------------------------------------------
token_cache = Law(kv, 2 * L * n_kv * d_h * kv_bytes, "Cache of a token: keys, values", source="shazeer2019")
cache_read = Law(Q_kv, kv * B_seq * S, "Cache that a decode step reads", source="shazeer2019")
cache_read_of_shape = cache_read.given(token_cache)

# ---- batches of routed tokens -------------------------------------------------------------
p_idle = share("p_idle", "probability that an expert gets no token of a batch")
idle_in_batch = Law(p_idle, (1 - k / E) ** B_seq, "Probability that an expert gets no token of the batch")
b_exp = symbol("b_exp", "1", "mean tokens for one expert from a batch")
expert_batch = Law(b_exp, B_seq * k / E, "Mean tokens for one expert")

# ---- training compute ---------------------------------------------------------------------
compute = Law(C, k_train * N * D, "Training compute", source="kaplan2020")

# ---- compute-optimal tokens ---------------------------------------------------------------
x_data = symbol("x_data", "1", "compute-optimal tokens over the tokens trained on")
q = symbol("q", "token/parameter", "compute-optimal training tokens per parameter")
data_ratio = Law(x_data, q * N / D, "Compute-optimal tokens over tokens trained on", source="hoffmann2022")

# ---- scaling law of routed models ---------------------------------------------------------
E_hat = symbol("E_hat", "1", "experts that count, after saturation", r"\hat{E}")
_clark = "clark2022"
_meaning = "experts at which routing starts to pay, S-BASE router"
E_start = constant("E_start", 1.847, "1", _meaning, _clark, "E_start")
E_max = constant("E_max", 314.478, "1", "experts at which routing saturates, S-BASE router", _clark, "E_max")
_rise = E - 1 + 1 / (1 / E_start - 1 / E_max)
saturation = Law(E_hat, lambda: 1 / (1 / _rise + 1 / E_max), "Experts that count", source=_clark)
_n, _e = log(N / w) / log(10), log(E_hat) / log(10)  # decimal logarithms of size and experts
_meaning = "decimal logarithm of the loss of a routed model"
log_loss = symbol("log_loss", "1", _meaning, r"\log_{10} \mathcal{L}")
a_r = symbol("a_r", "1", "routed scaling law: slope in size")
b_r = symbol("b_r", "1", "routed scaling law: slope in experts")
c_r = symbol("c_r", "1", "routed scaling law: how size weakens the slope in experts")
d_r = symbol("d_r", "1", "routed scaling law: intercept")
routed_log_loss = Law(log_loss, d_r - a_r * _n - b_r * _e + c_r * _n * _e, "Log of the loss", source=_clark)
loss = symbol("loss", "1", "loss of a routed language model, nats per token", r"\mathcal{L}")
routed_loss = Law(loss, Integer(10) ** log_loss, "Loss when routed", source=_clark).given(routed_log_loss)
N_cut = symbol("N_cut", "parameter", "size beyond which more experts stop paying")
flattening = Law(c_r, b_r * log(10) / log(N_cut / w), "Slope in experts is 0 at N_cut", source=_clark)
cutoff = flattening.solve(N_cut)
E_2 = symbol("E_2", "1", "experts in a layer of the model compared with", "E_{2}")
E_hat2 = symbol("E_hat2", "1", "experts that count in the model compared with", r"\hat{E}_2")
_saturated = (saturation, Law(E_hat2, saturation.given(Law(E, E_2))))
x_loss = symbol("x_loss", "1", "loss with E_2 experts over loss with E")
_printed = (E_hat2 / E_hat) ** (c_r * _n - b_r)
loss_ratio_printed = Law(x_loss, _printed, "Loss with E_2 experts over E", source=_clark).given(*_saturated)
_power = (N / N_cut) ** (b_r * log(E_hat2 / E_hat) / log(N_cut / w))
loss_ratio = Law(x_loss, _power, "The same, a power of N over N_cut", source=_clark).given(*_saturated)
_src = "ludziejewski2025"
a_j = constant("a_j", 35.91, "1", "joint law: size term", _src, "a_j")
alpha_j = constant("alpha_j", 0.1889, "1", "joint law: exponent of size", _src, "alpha_j")
delta_j = constant("delta_j", 0.2285, "1", "joint law: exponent of experts in the size term", _src, "delta_j")
gamma_j = constant("gamma_j", 0.0098, "1", "joint law: how experts weaken size", _src, "gamma_j")
b_j = constant("b_j", 35.98, "1", "joint law: data term", _src, "b_j")
beta_j = constant("beta_j", 0.1775, "1", "joint law: exponent of data", _src, "beta_j")
omega_j = constant("omega_j", 0.5529, "1", "joint law: exponent of experts in the data term", _src, "omega_j")
zeta_j = constant("zeta_j", 0.0259, "1", "joint law: how experts strengthen data", _src, "zeta_j")
c_j = constant("c_j", 1.3637, "1", "joint law: loss that nothing removes", _src, "c_j")
_of_size = a_j * E_hat**-delta_j * (N / w) ** (gamma_j * log(E_hat) - alpha_j)
_of_data = b_j * E_hat**omega_j * (D / tok) ** (-beta_j - zeta_j * log(E_hat))
joint_loss = Law(loss, _of_size + _of_data + c_j, "Loss of size and data together", source=_src)
