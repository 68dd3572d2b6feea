"""Dense wall: how fast a model can be read out of memory, and how large it may then be.

Reading first, then what a step reads, then scale and money. `gpt4lib.simulate.counting` counts the same
bytes matrix by matrix and the same users message by message.
"""

from ..spine.law import Law, letters
from .notation import *

symbol, share, constant = letters(1, "Dense wall")

# ---- reading ------------------------------------------------------------------------------
wpm = symbol("wpm", "1", "words read in a minute", "v_{60}")
wpm_pub = symbol("wpm_pub", "1", "words read in a minute, as published", "v_pub")
pace = Law(wpm, wpm_pub, "Reading speed as published")
minute = constant("minute", 60, "second", "one minute")
tok_word = symbol("tok_word", "token", "tokens of a word", "tau_w")
reading_rate = Law(R_out, wpm * tok_word / minute, "Tokens per second for a reader")
chars_word = symbol("chars_word", "1", "characters of a word, its space included", "c_w")
chars_tok = symbol("chars_tok", "1", "characters of a token", "c_tok")
word_tokens = Law(tok_word, tok * chars_word / chars_tok, "Tokens of a word, from characters")

# ---- reads, bandwidth, memory -------------------------------------------------------------
x_read = symbol("x_read", "1", "times that each weight is read for one token")
reads = Law(x_read, 1 / B_seq, "Reads of each weight for one token")
overhead = symbol("overhead", "1", "time of a step over the time of its weight reads", "omega")
bandwidth = symbol("bandwidth", "byte/second", "memory rate needed, all GPUs together", "beta_all")
bandwidth_needed = Law(bandwidth, overhead * weight_bytes * N * R_out / tok, "Memory rate needed")
bandwidth_to_read = bandwidth_needed.given(reading_rate)
_all_gpus = bandwidth_needed.solve(R_out).given(Law(bandwidth, n * mem_rate))
decode_rate = Law(R_out, _all_gpus, "Tokens per second from memory")
largest = decode_rate.solve(N)
x_mem = symbol("x_mem", "1", "weights over the memory that is to hold them")
memory_share = Law(x_mem, weight_bytes * N_total / (n * mem), "Weights over memory")
full_memory_rate = decode_rate.given(Law(N, memory_share.solve(N_total).given(Law(x_mem, 1))))
decode_mfu = Law(mfu, k_fwd * N * R_out / (n * F), "Utilisation while decoding", source="kaplan2020")
mfu_at_the_wall = decode_mfu.given(decode_rate)

# ---- scale and money ----------------------------------------------------------------------
C_ref = symbol("C_ref", "FLOP", "training compute of the model compared with")
x_C = symbol("x_C", "1", "training compute over that of another model", "x_{C}")
compute_ratio = Law(x_C, C / C_ref, "Compute against another model")
M_pub = symbol("M_pub", "USD", "sum as published")
money = Law(M, M_pub, "Sum as published")
price_of_thousand = Law(M, c_tok * thousand, "Price of a thousand tokens")
users = symbol("users", "1", "people who use the service", "n_user")
tok_user = symbol("tok_user", "token/second", "tokens served to one user per second, all day", "R_user")
traffic = Law(R_serve, users * tok_user, "Tokens served per second")
x_serve = symbol("x_serve", "1", "cost of serving over cost of training")
serving_ratio = Law(x_serve, c_tok * R_serve * t / M, "Serving over training")
serving_ratio_of_users = serving_ratio.given(traffic)
D_serve = symbol("D_serve", "token", "served tokens that cost as much as training")
break_even = Law(D_serve, M / c_tok, "Served tokens that cost as much as training")
