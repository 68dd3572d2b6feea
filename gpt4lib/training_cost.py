"""Training cost: from parameters and tokens to days and dollars, and where the utilisation goes.

The laws stand in the order in which chapter 5 derives them; `draw` spreads inputs over their ranges.
`gpt4lib.mini.schedule` and `gpt4lib.mini.failures` replay the pipeline and the failing cluster.
"""

from __future__ import annotations

from sympy import exp, log, sqrt

from .interval import Interval
from .law import Law
from .symbols import (
    B_tok,
    C,
    D,
    F,
    F_new,
    G,
    L,
    M,
    N,
    N_total,
    R,
    T,
    a_N,
    b,
    bubble,
    busy,
    capex,
    d_h,
    dp,
    experiments,
    fail_rate,
    failures,
    gpu_time,
    grad_bytes,
    growth,
    k_attn,
    k_train,
    kernel,
    life,
    link,
    link_in,
    link_out,
    link_ratio,
    lost,
    m,
    mfu,
    mfu_ratio,
    mfu_ref,
    mtbf,
    multiplier,
    n,
    n_cluster,
    n_h,
    n_new,
    n_ref,
    p,
    part_bubble,
    part_lost,
    pods,
    power,
    price,
    pue,
    rack_gpus,
    racks,
    rank_gpu,
    reduce_share,
    restart,
    sharing,
    staff,
    t,
    t_ar,
    t_ref,
    t_step,
    tariff,
    tau,
    tp,
    v,
    write,
)
from .units import BadInput

# ---- compute, time, money -----------------------------------------------------------------
compute = Law(C, k_train * N * D, "Training compute", source="kaplan2020")
duration = Law(t, C / (n * F * mfu), "Duration")
utilisation = Law(mfu, duration.solve("mfu").rhs, "Utilisation")
gpu_seconds = Law(gpu_time, n * t, "GPU time")
rental = Law(M, price * n * t, "Rental cost")
rental_from_compute = Law(M, rental.given(duration).rhs, "Rental cost from compute")
throughput_mfu = Law(
    mfu,
    R * (k_train * N + k_attn * L * n_h * d_h * T) / (n * F),
    "Utilisation from tokens per second",
    source="chowdhery2022",
)
ownership = Law(price, capex / (life * busy) + power * pue * tariff, "Cost of owning a GPU")
development = Law(
    multiplier, experiments / (1 - staff), "Cost of development over the final run", source="cottier2024"
)

# ---- pipeline -----------------------------------------------------------------------------
data_parallel = Law(dp, n / (tp * p * rank_gpu), "Data-parallel width")
micro_batches = Law(m, B_tok / (T * b * dp), "Micro-batches")
bubble_share = Law(bubble, (p - 1) / (v * m + p - 1), "Pipeline bubble", source="narayanan2021")
bubble_of_batch = Law(
    bubble, bubble_share.given(micro_batches, data_parallel).rhs, "Pipeline bubble from the batch"
)

# ---- all-reduce ---------------------------------------------------------------------------
step_time = Law(t_step, k_train * N * B_tok / (n * F * mfu), "Time of one step")
gradient = Law(G, grad_bytes * N_total / (tp * p), "Gradient on each GPU")
all_reduce = Law(t_ar, 2 * (dp - 1) / dp * G * sharing / link, "Ring all-reduce", source="patarasuk2009")
all_reduce_share = Law(reduce_share, t_ar / t_step, "Share of the all-reduce")
all_reduce_of_step = Law(
    reduce_share,
    all_reduce_share.given(all_reduce, gradient, data_parallel, step_time).rhs,
    "Share of the all-reduce, from the layout",
)
link_step = Law(link_ratio, link_in / link_out, "Step between link rates")

# ---- failures -----------------------------------------------------------------------------
failure_rate = Law(fail_rate, failures / (n_ref * t_ref), "Failure rate")
time_between = Law(mtbf, 1 / (fail_rate * n), "Time between failures")
checkpoint_interval = Law(tau, sqrt(2 * write * mtbf), "Checkpoint interval", source="young1974")
lost_share = Law(
    lost,
    1 - tau / (mtbf * exp(restart / mtbf) * (exp((tau + write) / mtbf) - 1)),
    "Share lost to checkpoints and failures",
    source="daly2006",
)
lost_at_best = Law(lost, lost_share.given(checkpoint_interval).rhs, "Share lost at Young's interval")
lost_on_cluster = Law(
    lost, lost_at_best.given(time_between, failure_rate).rhs, "Share lost, from a published failure rate"
)

# ---- where the utilisation goes -----------------------------------------------------------
product = Law(mfu, kernel * (1 - bubble) * (1 - reduce_share) * (1 - lost), "Utilisation as a product")
bubble_part = Law(
    part_bubble,
    (log(1 - bubble) / log(mfu)).xreplace({bubble: bubble_of_batch.rhs}),
    "Part of the loss due to the bubble",
)
lost_part = Law(
    part_lost,
    (log(1 - lost) / log(mfu)).xreplace({lost: lost_on_cluster.rhs}),
    "Part of the loss due to failures",
)
relative_mfu = Law(mfu_ratio, mfu / mfu_ref, "Utilisation against a published run")

# ---- the next model -----------------------------------------------------------------------
model_growth = Law(
    growth, (n_new * F_new / (n * F)) ** a_N, "Growth of the compute-optimal model", source="hoffmann2022"
)
cluster_size = Law(n_cluster, pods * racks * rack_gpus, "GPUs in a cluster")


def draw(inputs: dict, size: int, seed: int = 0, shape: str = "uniform") -> dict:
    """`size` values of each interval among the `inputs`, drawn on its own; the other inputs unchanged.

    `shape` is "uniform" or "triangular", with its peak in the middle. Raises BadInput for another
    shape or an interval without an end.

    >>> draw({"n": Interval(1, 2), "F": 3.0}, 2)["F"]
    3.0
    """
    import numpy as np

    if shape not in ("uniform", "triangular"):
        raise BadInput(f"shape takes 'uniform' or 'triangular', got {shape!r}")
    rng, drawn = np.random.default_rng(seed), dict(inputs)
    for name, x in inputs.items():
        if isinstance(x, Interval) and x.lo < x.hi:
            if not np.isfinite(x.hi):
                raise BadInput(f"{name} takes an interval with two ends, got {x}")
            between = (x.lo, x.hi) if shape == "uniform" else (x.lo, (x.lo + x.hi) / 2, x.hi)
            drawn[name] = getattr(rng, shape)(*between, size)
        elif isinstance(x, Interval):
            drawn[name] = x.lo
    return drawn
