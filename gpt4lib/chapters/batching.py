"""Batching: what static and continuous batching make of the same requests.

`gpt4lib.simulate.batching` schedules the requests one by one.
"""

from sympy import log

from ..spine.law import Law, letters
from .notation import *

symbol, share, constant = letters(9, "Batching")

# ---- lengths ------------------------------------------------------------------------------
n_own = symbol("n_own", "1", "steps that one sequence runs")
n_long = symbol("n_long", "1", "steps of the longest sequence of a batch, mean over the batches", r"n_{\max}")
x_own = share("x_own", "share of its batch's steps that a sequence runs")
own_share = Law(x_own, n_own / n_long, "Share of its batch's steps that one sequence runs")
n_mean = symbol("n_mean", "1", "steps of a sequence, mean", r"\bar{n}")
x_static = share("x_static", "share of slot time that static batching uses", "x_stat")
static_use = Law(x_static, n_mean / n_long, "Slot time that static batching uses")
x_gain = symbol("x_gain", "1", "output of continuous over static batching")
gain = Law(x_gain, n_long / n_mean, "Continuous over static batching, slots never empty", source="yu2022")
_meaning = "Euler's constant: harmonic sum less logarithm"
gamma_E = constant("gamma_E", "0.5772156649015329", "1", _meaning, tex="gamma_E")
_harmonic = log(B_seq) + gamma_E + 1 / (2 * B_seq)
longest_exponential = Law(n_long, n_mean * _harmonic, "Longest of a batch, exponential lengths")
longest_uniform = Law(n_long, 2 * n_mean * B_seq / (B_seq + 1), "Longest of a batch, uniform lengths")
gain_exponential = gain.given(longest_exponential)
gain_uniform = gain.given(longest_uniform)

# ---- queues -------------------------------------------------------------------------------
load = share("load", "share of time that a server works", "x_load")
R_in = symbol("R_in", "1/second", "requests that arrive per second", "lambda_in")
t_serve = symbol("t_serve", "second", "time to serve one request, mean")
offered = Law(load, R_in * t_serve, "Load of one server")
cv = symbol("cv", "1", "standard deviation of the service time over its mean", "c_v")
t_wait = symbol("t_wait", "second", "wait before service, mean")
_wait = load * t_serve * (1 + cv**2) / (2 * (1 - load))
queue_wait = Law(t_wait, _wait, "Mean wait for one server", source="kleinrock1975")
t_stay = symbol("t_stay", "second", "time from arrival to the last token, mean")
n_there = symbol("n_there", "1", "requests in the system, mean", "n_req")
little = Law(n_there, R_in * t_stay, "Requests in the system", source="little1961")

# ---- steps --------------------------------------------------------------------------------
step_weights = Law(Q_w, N * weight_bytes, "Weights that every step reads")
n_gpu_1 = constant("n_gpu_1", 1, "GPU", "one GPU")
t_fix = symbol("t_fix", "second", "part of a step that does not depend on the batch")
fixed_time = Law(t_fix, Q_w / (mem_rate * n_gpu_1), "Time to read the weights", source="pope2022")
t_seq = symbol("t_seq", "second", "part of a step that each sequence adds")
sequence_time = Law(t_seq, Q_kv / (mem_rate * n_gpu_1), "Time to read a sequence's cache", source="pope2022")
t_iter = symbol("t_iter", "second", "time of one step of the batch")
batch_time = Law(t_iter, t_fix + t_seq * B_seq, "Time of one step")
output_rate = Law(R_out, tok * B_seq / t_iter, "Tokens put out, all slots at work").given(batch_time)
capacity = Law(R_in, B_seq / (n_mean * t_iter), "Requests served, all slots at work").given(batch_time)
