"""Architecture: what the article's counts imply for shape, parameters and FLOP, and what they leave out.

The laws stand in the order of chapter 2. The counting laws at the end of each group are the ones
that `gpt4lib.shapes` evaluates for published models.
"""

from __future__ import annotations

from itertools import product

from sympy import Integer, factor, log, powsimp

from .law import Law
from .symbols import (
    E_2,
    B_seq,
    C_dense,
    C_full,
    C_pair,
    C_tok,
    D,
    E,
    E_hat,
    E_hat2,
    E_max,
    E_start,
    F,
    L,
    N,
    N_attn,
    N_bias,
    N_cut,
    N_emb,
    N_exp,
    N_norm,
    N_pos,
    N_ref,
    N_route,
    N_total,
    R_f,
    S,
    V,
    a_j,
    a_r,
    a_w,
    alpha_j,
    b_exp,
    b_j,
    b_r,
    beta_j,
    c_j,
    c_r,
    d,
    d_ff,
    d_h,
    d_nope,
    d_qk,
    d_r,
    d_rope,
    d_v,
    delta_j,
    g_kv,
    gamma_j,
    idle,
    k,
    k_fwd,
    k_pair,
    log_loss,
    loss,
    n,
    n_h,
    n_kv,
    n_mat,
    n_norm,
    n_pos,
    omega_j,
    p_idle,
    q,
    r_ff,
    r_kv,
    r_q,
    tok,
    w,
    x_data,
    x_flop,
    x_loss,
    x_mlp,
    x_pair,
    x_size,
    zeta_j,
)

# ---- the article's parts ------------------------------------------------------------------
total = Law(N_total, N_attn + E * N_exp, "Parameters stored")
active = Law(N, N_attn + k * N_exp, "Parameters that work on a token")
size_ratio = Law(x_size, N_total / N_ref, "Size against another model")
idle_share = Law(idle, 1 - N / N_total, "Share of the parameters that a token leaves idle")
idle_of_parts = idle_share.given(active, total)

forward = Law(C_tok, k_fwd * N, "Forward FLOP of a token", source="kaplan2020")
forward_of_parts = forward.given(active)
dense_forward = Law(
    C_dense, k_fwd * N_total, "Forward FLOP of a token, all experts at work", source="kaplan2020"
)
dense_of_parts = dense_forward.given(total)
flop_ratio = Law(x_flop, C_dense / C_tok, "Dense over sparse FLOP")
ratio_of_parts = flop_ratio.given(dense_of_parts, forward_of_parts)
forward_rate = Law(R_f, n * F / C_tok, "Tokens per second at peak, forward pass alone")

# ---- parameters from a shape --------------------------------------------------------------
attention = Law(
    N_attn,
    w * L * d * d_h * (2 * n_h + 2 * n_kv),
    "Attention: query and output, key and value",
    source="shazeer2019",
)
mlp = Law(N_exp, w * L * n_mat * d * d_ff, "One MLP or expert", source="shazeer2020glu")
table = Law(N_emb, w * V * d, "One vocabulary table")
learned_positions = Law(N_pos, w * n_pos * d, "Learned positions")
relative_positions = Law(
    N_pos, w * L * d * n_h * d_h, "Relative positions: one more matrix in attention", source="dai2019"
)
router = Law(N_route, w * L * d * E, "Routers")
norms = Law(N_norm, w * n_norm * d * (2 * L + 1), "Norms: two in a layer, one at the end")
latent_norms = Law(N_norm, w * L * (r_q + r_kv), "Norms inside latent attention", source="deepseekv2")
latent_query = Law(
    N_attn,
    w * L * r_q * (d + n_h * (d_nope + d_rope)),
    "Latent attention: query, by way of its rank",
    source="deepseekv2",
)
direct_query = Law(
    N_attn, w * L * d * n_h * (d_nope + d_rope), "Latent attention: query without a rank", source="deepseekv2"
)
latent_rest = Law(
    N_attn,
    w * L * (d * (r_kv + d_rope) + r_kv * n_h * (d_nope + d_v) + n_h * d_v * d),
    "Latent attention: key, value and output",
    source="deepseekv2",
)
attention_bias = Law(N_bias, w * L * (d_h * (n_h + 2 * n_kv) + d), "Biases of attention")
latent_bias = Law(
    N_bias,
    w * L * (r_q + n_h * (d_nope + d_rope) + r_kv + d_rope + n_h * (d_nope + d_v) + d),
    "Biases of latent attention",
)
mlp_bias = Law(N_bias, w * L * ((n_mat - 1) * d_ff + d), "Biases of one MLP or expert")
router_bias = Law(N_bias, w * L * E, "Biases of the routers")


# ---- width from the article's counts ------------------------------------------------------
def _tidy(law: Law) -> Law:
    return Law(law.lhs, powsimp(factor(law.rhs), force=True), law.title, source=law.source)


head_width = Law(d_h, a_w * d / n_h, "Heads share the attention width")
head_sharing = Law(n_kv, g_kv * n_h, "Query heads share keys and values")
mlp_width = Law(d_ff, r_ff * d, "MLP width in units of the model width")
mlp_to_attention = Law(x_mlp, N_exp / N_attn, "Parameters of one MLP over those of attention")
attention_of_width = _tidy(attention.given(head_width, head_sharing))
mlp_of_width = _tidy(mlp.given(mlp_width))
shape_ratio = _tidy(mlp_to_attention.given(mlp_of_width, attention_of_width))
width_from_attention = _tidy(attention_of_width.solve("d"))
width_from_mlp = _tidy(mlp_of_width.solve("d"))

# ---- what the accounting leaves out -------------------------------------------------------
pairs = Law(
    C_pair, k_pair * L * n_h * (d_qk + d_v) * S, "FLOP of attention scores and mixing", source="hoffmann2022"
)
pairs_of_attention = _tidy(pairs.given(Law(d_qk, d_h), Law(d_v, d_h), head_width, width_from_attention))
full = Law(C_full, C_tok + C_pair, "Forward FLOP of a token, attention scores included")
full_of_parts = full.given(forward_of_parts, pairs_of_attention)
pair_share = Law(x_pair, C_pair / C_tok, "Attention scores' FLOP over those of the matrices").given(
    pairs_of_attention, forward_of_parts
)
tables = Law(N_emb, 2 * w * V * d, "Embedding and unembedding, untied")
tables_of_attention = _tidy(tables.given(width_from_attention))
router_of_attention = _tidy(router.given(width_from_attention))

# ---- batches of routed tokens -------------------------------------------------------------
idle_in_batch = Law(p_idle, (1 - k / E) ** B_seq, "Probability that an expert gets no token of the batch")
expert_batch = Law(b_exp, B_seq * k / E, "Mean tokens for one expert")

# ---- compute-optimal tokens ---------------------------------------------------------------
data_ratio = Law(x_data, q * N / D, "Compute-optimal tokens over tokens trained on", source="hoffmann2022")

# ---- scaling law of routed models ---------------------------------------------------------
saturation = Law(
    E_hat,
    1 / (1 / (E - 1 + 1 / (1 / E_start - 1 / E_max)) + 1 / E_max),
    "Experts that count",
    source="clark2022",
)
_size = log(N / w) / log(10)
_experts = log(E_hat) / log(10)
routed_log_loss = Law(
    log_loss,
    d_r - a_r * _size - b_r * _experts + c_r * _size * _experts,
    "Logarithm of a routed model's loss",
    source="clark2022",
)
routed_loss = Law(loss, Integer(10) ** log_loss, "Loss of a routed model", source="clark2022").given(
    routed_log_loss
)
flattening = Law(
    c_r, b_r * log(10) / log(N_cut / w), "Slope in experts falls to zero at N_cut", source="clark2022"
)
cutoff = flattening.solve("N_cut")
_saturated = (saturation, Law(E_hat2, saturation.rhs.xreplace({E: E_2})))
loss_ratio_printed = Law(
    x_loss,
    (E_hat2 / E_hat) ** (c_r * _size - b_r),
    "Loss with E_2 experts over loss with E",
    source="clark2022",
).given(*_saturated)

loss_ratio = Law(
    x_loss,
    (N / N_cut) ** (b_r * log(E_hat2 / E_hat) / log(N_cut / w)),
    "The same, a power of size over N_cut",
    source="clark2022",
).given(*_saturated)

joint_loss = Law(
    loss,
    a_j * E_hat**-delta_j * (N / w) ** (gamma_j * log(E_hat) - alpha_j)
    + b_j * E_hat**omega_j * (D / tok) ** (-beta_j - zeta_j * log(E_hat))
    + c_j,
    "Loss of a routed model, size and data together",
    source="ludziejewski2025",
)


def fitting_shapes(
    attention_range,
    expert_range,
    *,
    layers: int,
    multi_head: bool,
    widths,
    head_widths,
    mlp_shapes,
    divide_heads: int = 8,
):
    """Shapes whose attention and expert counts both fall into the given intervals, as a list of dicts.

    `mlp_shapes` are (matrices, d_ff / d) pairs, `widths` model widths, `head_widths` widths of one head.
    Every head has its own key and value if `multi_head`, else all share one. The number of heads is a
    multiple of `divide_heads` (8-way tensor parallelism) and free otherwise; d_ff must be whole.
    """
    found = []
    for width, (matrices, ratio) in product(widths, mlp_shapes):
        inner = ratio * width
        if inner % 1:
            continue
        one_expert = mlp(L=layers, n_mat=matrices, d=width, d_ff=int(inner))
        if not expert_range.contains(one_expert):
            continue
        for head in head_widths:
            for heads in range(divide_heads, 4 * width // head, divide_heads):
                shared = attention(L=layers, d=width, d_h=head, n_h=heads, n_kv=heads if multi_head else 1)
                if attention_range.contains(shared):
                    found.append(
                        {
                            "d": width,
                            "n_h": heads,
                            "d_h": head,
                            "a_w": heads * head / width,
                            "n_mat": matrices,
                            "r_ff": float(ratio),
                            "d_ff": int(inner),
                            "N_attn": shared,
                            "N_exp": one_expert,
                        }
                    )
    return found
