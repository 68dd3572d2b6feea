"""Dataset: how much of the training tokens is unique, what a repeat is worth, and how many would be enough.

`gpt4lib.systems.optimal_tokens` holds the published answers to "how many tokens for this size";
`gpt4lib.simulate.counting` counts the steps of a growing batch one by one.
"""

from sympy import exp, log, powsimp

from ..spine.law import Law, letters
from .architecture import C_pair, E_hat, E_start, a_r, b_r, c_r, compute, full, q, saturation
from .notation import *

symbol, share, constant = letters(3, "Dataset")

# ---- tokens, epochs, unique tokens --------------------------------------------------------
D_pub = symbol("D_pub", "token", "tokens as published")
as_published = Law(D, D_pub, "Tokens as published")
epochs_text = symbol("epochs_text", "1", "epochs of text", "n_text")
epochs_code = symbol("epochs_code", "1", "epochs of code", "n_code")
U_text = symbol("U_text", "token", "unique tokens of text")
U_code = symbol("U_code", "token", "unique tokens of code")
tokens_seen = Law(D, epochs_text * U_text + epochs_code * U_code, "Every pass counts")
x_code = share("x_code", "share of code in the tokens trained on")
text_unique = Law(U_text, (1 - x_code) * D / epochs_text, "Unique text")
code_unique = Law(U_code, x_code * D / epochs_code, "Unique code")
U = symbol("U", "token", "unique tokens")
unique = Law(U, U_text + U_code, "Unique tokens").given(text_unique, code_unique)
stock = symbol("stock", "token", "tokens of public text that exist", "U_all")
x_stock = symbol("x_stock", "1", "text that exists over the text scraped", "x_all")
text_left = Law(x_stock, stock / U, "Text that exists over text scraped")

# ---- what a repeat is worth ---------------------------------------------------------------
epochs = symbol("epochs", "1", "epochs: passes over the same tokens", "n_ep")
_src = "muennighoff2023"
_meaning = "repeats over which the worth of a token fades to 37%"
R_star = constant("R_star", 15.387756, "1", _meaning, _src, "r^{*}")
D_eff = symbol("D_eff", "token", "fresh tokens that the tokens trained on are worth")
effective = Law(D_eff, U * (1 + R_star * (1 - exp((1 - epochs) / R_star))), "Worth of repeats", source=_src)
_text = effective.given(Law(U, text_unique), Law(epochs, epochs_text))
_code = effective.given(Law(U, code_unique), Law(epochs, epochs_code))
_both = lambda: _text.rhs + _code.rhs
effective_mix = Law(D_eff, _both, "Fresh tokens that text and code are worth", source=_src)
worth = share("worth", "worth of the tokens trained on, in fresh tokens", "x_eff")
worth_of_mix = Law(worth, lambda: (effective_mix.rhs / D).expand(), "Worth of the mix", source=_src)

# ---- compute-optimal tokens ---------------------------------------------------------------
ell = symbol("ell", "1", "loss of a dense language model, nats per token")
A = symbol("A", "1", "parametric law: coefficient of size", "A_{N}")
alpha = symbol("alpha", "1", "parametric law: exponent of size", r"\alpha_{N}")
size_term = Law(ell, A * (N / w) ** -alpha, "Loss for want of size", source="hoffmann2022")
B = symbol("B", "1", "parametric law: coefficient of data", "B_{D}")
beta = symbol("beta", "1", "parametric law: exponent of data", r"\beta_{D}")
data_term = Law(ell, B * (D / tok) ** -beta, "Loss for want of data", source="hoffmann2022")
ell_min = symbol("ell_min", "1", "loss that neither size nor data removes", r"\ell_{\min}")
parametric = Law(ell, ell_min + size_term.rhs + data_term.rhs, "Loss of size and data", source="hoffmann2022")

# At fixed N D the loss is least where alpha * size_term = beta * data_term.
_balanced = data_term.solve(D).given(Law(ell, alpha / beta * size_term.rhs))
optimal_tokens = Law(D, _balanced, "Compute-optimal tokens", source="hoffmann2022")
_plain = symbol("n_plain", "1", "parameters as a plain number")
_budget = compute.given(optimal_tokens, Law(N, w * _plain))
_collected = Law(C, lambda: powsimp(_budget.rhs.expand(force=True), force=True))
optimal_size = Law(N, lambda: w * _collected.solve(_plain).rhs, "Compute-optimal size", source="hoffmann2022")
a_N = symbol("a_N", "1", "exponent of the compute-optimal size", "a_{N}")
size_exponent = Law(a_N, beta / (alpha + beta), "Exponent of the compute-optimal size", source="hoffmann2022")
b_D = symbol("b_D", "1", "exponent of the compute-optimal tokens", "b_{D}")
D_ref = symbol("D_ref", "token", "training tokens of the model compared with")
scaled_tokens = Law(D, D_ref * (N / N_ref) ** (b_D / a_N), "Tokens from an optimum", source="hoffmann2022")
tokens_by_rule = Law(D, q * N, "A fixed number of tokens per parameter", source="hoffmann2022")
_slope = a_r - c_r * log(E_hat) / log(10)
_dense = _slope.xreplace({E_hat: E_start})
N_eq = symbol("N_eq", "parameter", "dense parameters that reach the loss of the routed model")
_equal = lambda: w * (N / w) ** (_slope / _dense) * (E_hat / E_start) ** (b_r / _dense)
dense_equivalent = Law(N_eq, _equal, "Effective parameter count", source="clark2022").given(saturation)

# ---- steps, their time, the ramp ----------------------------------------------------------
rate = Law(R, D / t, "Tokens per second")
n_steps = symbol("n_steps", "1", "optimiser steps", "n_step")
steps = Law(n_steps, D / B_tok, "Steps at a fixed batch")
step_of_run = Law(t_step, t * B_tok / D, "Time of a step")
D_ramp = symbol("D_ramp", "token", "tokens trained on while the batch grows")
t_ramp = symbol("t_ramp", "second", "time in which the batch grows")
ramp_tokens = Law(D_ramp, R * t_ramp, "Tokens trained on during the ramp")
B_0 = symbol("B_0", "token", "tokens in the first batch", "B_{0}")
_growing = D_ramp * (log(B_tok / B_0) / (B_tok - B_0) - 1 / B_tok)
ramp_steps = Law(n_steps, D / B_tok + _growing, "Steps, the batch growing with the tokens seen")
x_ramp = share("x_ramp", "share of the run in which the batch grows")
ramp_time = Law(t_ramp, x_ramp * t, "Time of the ramp")
t_fill = symbol("t_fill", "second", "time of each step in which the pipeline fills and drains")
fill_time = Law(t_fill, bubble * t_step, "Time in which the pipeline fills and drains")
R_work = symbol("R_work", "token/second", "tokens per second while every stage works")
run_time = Law(t, D / R_work + n_steps * t_fill, "Time of the run: work, and one filling per step")

# ---- the batch ----------------------------------------------------------------------------
B_exp = symbol("B_exp", "token", "tokens for one expert from a training batch")
expert_tokens = Law(B_exp, B_tok * k / E, "Tokens for one expert")
B_ref = symbol("B_ref", "token", "tokens in the batch compared with")
x_batch = symbol("x_batch", "1", "batch over the batch compared with")
batch_ratio = Law(x_batch, B_tok / B_ref, "Batch against another")
B_star = constant("B_star", "2e8", "token", "critical batch at a loss of one nat", "kaplan2020", "B_{*}")
alpha_B = constant("alpha_B", "0.21", "1", "exponent of the critical batch", "kaplan2020", r"\alpha_{B}")
B_crit = symbol("B_crit", "token", "batch at which steps and tokens are traded evenly")
critical_batch = Law(B_crit, B_star * ell ** (-1 / alpha_B), "Critical batch", source="kaplan2020")
x_waste = symbol("x_waste", "1", "tokens needed over the fewest possible", "x_more")
more_tokens = Law(x_waste, 1 + B_tok / B_crit, "Tokens over the fewest possible", source="mccandlish2018")

# ---- context ------------------------------------------------------------------------------
T_pub = symbol("T_pub", "token", "context length as published")
same_context = Law(T, T_pub, "Context as published")
T_long = symbol("T_long", "token", "context length after fine-tuning")
x_ctx = symbol("x_ctx", "1", "longer context over shorter")
context_ratio = Law(x_ctx, T_long / T, "Longer context over shorter")
x_cost = symbol("x_cost", "1", "FLOP of a token in the longer context over the shorter")
_longer = full.rhs.xreplace({C_pair: x_ctx * C_pair})
context_cost = Law(x_cost, _longer / C_full, "FLOP of a token in the longer context").given(full)
