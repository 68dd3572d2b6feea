"""Speculative decoding: tokens per pass, speed-up, and what the rejection rule puts out.

The best draft length is found in `gpt4lib.systems.speculation`; texts are measured in
`gpt4lib.simulate.speculation`, and the sampler itself is `gpt4lib.mini.speculative`.
"""

from sympy import expand, factor, log, simplify

from ..spine.law import Law, Min, letters
from .inference_tradeoffs import B_ridge, intensity, ridge, ridge_batch, ridge_point, weight_intensity
from .moe_inference import experts_hit, parameters_read
from .notation import *

symbol, share, constant = letters(10, "Speculative decoding")

# ---- why decoding is dear -----------------------------------------------------------------
_dense_ridge = weight_intensity.solve(B_seq).given(Law(intensity, ridge_point))
x_peak = share("x_peak", "share of peak that reading the weights allows")
peak_share = Law(x_peak, weight_intensity.rhs / ridge, "Share of peak that reading allows").given(ridge_point)
_meaning = "time of a lone decoded token over the time of a token of its prompt"
x_prompt = symbol("x_prompt", "1", _meaning, "x_pre")
_lesser = lambda: Min(n_tok / tok * N / N_total, _dense_ridge.rhs)
prompt_gain = Law(x_prompt, _lesser, "Lone token over prompt token")
n_in = symbol("n_in", "token", "tokens of a prompt")
n_out = symbol("n_out", "token", "tokens of an answer")
x_out = share("x_out", "share of a request's time that decoding takes")
decode_share = Law(x_out, 1 / (1 + n_in / (x_prompt * n_out)), "Share of decoding in a request's time")
decode_share_alone = decode_share.given(prompt_gain, Law(n_tok, n_in))
c_in = symbol("c_in", "USD/token", "price of a token of the prompt")
x_pay = symbol("x_pay", "1", "price of an output token over that of an input token")
output_price_ratio = Law(x_pay, c_tok / c_in, "Output price over input price")

# ---- tokens -------------------------------------------------------------------------------
accept_len = share("accept_len", "acceptance under the relaxed rule", "alpha_r")
accept = share("accept", "acceptance: probability that a draft token is kept, all before it kept", "alpha")
gamma = symbol("gamma", "1", "draft length: draft tokens of one round")
n_round = symbol("n_round", "1", "tokens of one round, mean", r"\bar{n}_{\mathrm{r}}")
tokens = Law(n_round, (1 - accept ** (gamma + 1)) / (1 - accept), "Tokens of a round", source="leviathan2023")
p_run = share("p_run", "probability that every draft of a round is kept", r"p_{\gamma}")
all_kept = Law(p_run, accept**gamma, "Probability that all drafts are kept", source="leviathan2023")
_at = lambda law, length: law.rhs.xreplace({gamma: length})  # at another draft length
_kept = lambda length: expand(_at(tokens, length) * (1 - accept))
_more = lambda: (_kept(2 * gamma) - _kept(gamma)) / (_kept(gamma) - (1 - accept))
x_late = share("x_late", "tokens that as many drafts again add, over what the first drafts add")
late = Law(x_late, lambda: factor(simplify(_more())), "What as many more add")

# ---- time ---------------------------------------------------------------------------------
c_draft = symbol("c_draft", "1", "time of one draft token over the time of one oracle pass", "c_d")
v_check = symbol("v_check", "1", "time of a checking pass over the time of a plain pass", "v_c")
x_spec = symbol("x_spec", "1", "speed-up: tokens per second with drafts over without")
round_gain = Law(x_spec, n_round / (gamma * c_draft + v_check), "Speed-up of a round", source="leviathan2023")
speed_up = round_gain.given(tokens)
speed_up_free = speed_up.given(Law(v_check, 1))
x_next = symbol("x_next", "1", "speed-up with one draft more over the speed-up without it", "x_{+1}")
_longer = lambda: _at(speed_up_free, gamma + 1) / speed_up_free.rhs
next_gain = Law(x_next, _longer, "Gain of one draft more")
tie = next_gain.solve(c_draft).given(Law(x_next, 1))
c_alone = symbol("c_alone", "1", "time of one draft token over an oracle pass, drafting plainly", "c_{0}")
x_inner = symbol("x_inner", "1", "speed-up of the draft by a draft of its own", "x_in")
inner_draft = Law(c_draft, c_alone / x_inner, "Draft time with a draft of its own", source="spector2023")
c_work = symbol("c_work", "1", "FLOP of one draft token over those of one oracle token", "c_FLOP")
x_work = symbol("x_work", "1", "FLOP per token with drafts over without")
_drafted = gamma * c_work + gamma + 1
draft_work = Law(x_work, _drafted / n_round, "FLOP per token", source="leviathan2023").given(tokens)

# ---- many sequences, many experts ---------------------------------------------------------
_read = parameters_read.given(experts_hit)
x_bytes = symbol("x_bytes", "1", "weights read per token with drafts over without", "x_byte")
_checked = lambda: _read.rhs.xreplace({B_seq: (gamma + 1) * B_seq}) / _read.rhs / n_round
bytes_ratio = Law(x_bytes, _checked, "Weights read per token, drafts over none").given(tokens)
_own = N_exp * (E - k) * experts_hit.rhs.xreplace({B_seq: gamma}) / E  # experts that only the drafts reach
bytes_ratio_alone = Law(x_bytes, (1 + _own / (N_fix + k * N_exp)) / n_round, "The same, alone").given(tokens)
B_dead = symbol("B_dead", "1", "sequences of a pass at which drafts stop paying")
_worth = B_ridge * (n_round - gamma * c_draft)
dead_batch = Law(B_dead, _worth / (gamma + 1), "Sequences at which drafts stop paying").given(tokens)
dead_batch_on = dead_batch.given(ridge_batch)

# ---- the relaxed rule ---------------------------------------------------------------------
x_tv = share("x_tv", "total variation between what the rule puts out and the oracle", "d_TV")
distortion = Law(x_tv, accept_len - accept, "Total variation of the relaxed rule, one token")
lenience = share("lenience", "lenience: 1 is the exact rule, less keeps more drafts", "ell_r")
distortion_bound = Law(x_tv, accept * (1 / lenience - 1), "Most that the relaxed rule can distort one token")

# ---- what is measured ---------------------------------------------------------------------
p_long = share("p_long", "probability that twice as many tokens are all kept", r"p_{2\gamma}")
x_double = symbol("x_double", "1", "logarithm of that probability over that of the shorter run", r"x_{\ln}")
doubling = Law(x_double, log(p_long) / log(p_run), "Fall of a run twice as long, in logarithms")
bits = symbol("bits", "1", "bits for each character of real text under the exact rule", "H")
bits_len = symbol("bits_len", "1", "bits for each character of real text under the relaxed rule", "H_r")
_meaning = "bits for each character under the relaxed rule over those under the exact one"
x_bits = symbol("x_bits", "1", _meaning, "x_{H}")
bits_ratio = Law(x_bits, bits_len / bits, "Bits of real text, relaxed over exact")
