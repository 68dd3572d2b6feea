"""Training cost: from parameters and tokens to days and dollars, and where the utilisation goes.

`gpt4lib.simulate.pipeline` and `gpt4lib.simulate.counting` replay the pipeline and the failing cluster.
"""

from sympy import exp, log, sqrt

from ..spine.law import Law, letters
from .dataset import a_N
from .notation import *
from .parallelism import bubble_of_batch, kernel, reduce_share

symbol, share, constant = letters(5, "Training cost")

# ---- time and money -----------------------------------------------------------------------
duration = Law(t, C / (n * F * mfu), "Duration")
utilisation = Law(mfu, duration.solve(mfu), "Utilisation")
gpu_time = symbol("gpu_time", "GPU*second", "GPU time", "T_GPU")
gpu_seconds = Law(gpu_time, n * t, "GPU time")
rental = Law(M, price * n * t, "Rental cost")
rental_from_compute = Law(M, rental.given(duration), "Rental cost from compute")
_meaning = "training FLOP per layer, head dimension and pair of tokens"
k_attn = constant("k_attn", 12, "FLOP/token**2", _meaning, "chowdhery2022")
_per_token = k_train * N + k_attn * L * n_h * d_h * T
throughput_mfu = Law(mfu, R * _per_token / (n * F), "From tokens per second", source="chowdhery2022")
capex = symbol("capex", "USD/GPU", "purchase price per GPU, its share of the server included", "K")
life = symbol("life", "second", "years of service", "t_life")
busy = share("busy", "share of its life that a GPU is rented out", "u")
power = symbol("power", "watt/GPU", "power per GPU, its share of the server included", "P")
pue = symbol("pue", "1", "power of the building over power of the servers", r"\mathrm{PUE}")
tariff = symbol("tariff", "USD/joule", "price of electricity", "c_el")
ownership = Law(price, capex / (life * busy) + power * pue * tariff, "Cost of owning a GPU")
experiments = symbol("experiments", "1", "all compute spent over the compute of the final run", "f_exp")
staff = share("staff", "share of staff in the cost of development", "f_staff")
multiplier = symbol("multiplier", "1", "cost of development over the cost of the final run", "f_cost")
development = Law(multiplier, experiments / (1 - staff), "Cost of development", source="cottier2024")

# ---- failures -----------------------------------------------------------------------------
failures = symbol("failures", "1", "failures in a published run", "k_{f}")
n_ref = symbol("n_ref", "GPU", "GPUs of the published run")
t_ref = symbol("t_ref", "second", "length of the published run")
fail_rate = symbol("fail_rate", "1/GPU/second", "failures per GPU and time", "lambda")
failure_rate = Law(fail_rate, failures / (n_ref * t_ref), "Failure rate")
mtbf = symbol("mtbf", "second", "mean time between failures of the whole job", "mu")
time_between = Law(mtbf, 1 / (fail_rate * n), "Time between failures")
write = symbol("write", "second", "time to write a checkpoint", "delta")
tau = symbol("tau", "second", "working time between two checkpoints")
checkpoint_interval = Law(tau, sqrt(2 * write * mtbf), "Checkpoint interval", source="young1974")
restart = symbol("restart", "second", "time to restart after a failure", "rho")
lost = share("lost", "share of time lost to checkpoints and failures", "x_fail")
_cycle = mtbf * exp(restart / mtbf) * (exp((tau + write) / mtbf) - 1)
lost_share = Law(lost, 1 - tau / _cycle, "Share lost to checkpoints and failures", source="daly2006")
lost_at_best = Law(lost, lost_share.given(checkpoint_interval), "Share lost at Young's interval")
lost_on_cluster = lost_at_best.given(time_between, failure_rate)

# ---- where the utilisation goes -----------------------------------------------------------
product = Law(mfu, kernel * (1 - bubble) * (1 - reduce_share) * (1 - lost), "Utilisation as a product")
part_bubble = share("part_bubble", "part of the loss that the bubble explains", "phi_bub")
bubble_part = Law(part_bubble, log(1 - bubble) / log(mfu), "Part of the bubble").given(bubble_of_batch)
part_lost = share("part_lost", "part of the loss that failures explain", "phi_fail")
lost_part = Law(part_lost, log(1 - lost) / log(mfu), "Part of the failures").given(lost_on_cluster)
mfu_ref = share("mfu_ref", "utilisation of a published run", "eta_ref")
_sign = r"\eta / \eta_{\mathrm{ref}}"
mfu_ratio = symbol("mfu_ratio", "1", "utilisation over that of a published run", _sign)
relative_mfu = Law(mfu_ratio, mfu / mfu_ref, "Utilisation against a published run")

# ---- the next model -----------------------------------------------------------------------
n_new = symbol("n_new", "GPU", "GPUs of the later run", "n'")
F_new = symbol("F_new", "FLOP/second/GPU", "peak rate of one GPU of the later run", "F'")
growth = symbol("growth", "1", "size of the later model over the earlier one", "N'/N")
model_growth = Law(growth, (n_new * F_new / (n * F)) ** a_N, "Growth of the model", source="hoffmann2022")
pods = symbol("pods", "1", "pods in a cluster", "n_pod")
racks = symbol("racks", "1", "racks in a pod", "n_rack")
rack_gpus = symbol("rack_gpus", "GPU", "GPUs in a rack", "n_slot")
n_cluster = symbol("n_cluster", "GPU", "GPUs in one cluster")
cluster_size = Law(n_cluster, pods * racks * rack_gpus, "GPUs in a cluster")
