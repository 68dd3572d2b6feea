"""Training cost: from parameters and tokens to days and dollars, and where the utilisation goes.

The laws stand in the order in which chapter 5 derives them. The functions at the end replay a
pipeline schedule and a failing cluster event by event, and draw samples: second routes to the laws.
"""

from __future__ import annotations

from sympy import exp, log, sqrt

from .interval import Interval
from .law import Law
from .symbols import (
    B_tok, C, D, F, F_new, G, L, M, N, N_total, R, T, a_N, b, bubble, busy, capex, d_h, dp, experiments, fail_rate,
    failures, gpu_time, grad_bytes, growth, k_attn, k_train, kernel, life, link, link_in, link_out, link_ratio, lost,
    m, mfu, mfu_ratio, mfu_ref, mtbf, multiplier, n, n_cluster, n_h, n_new, n_ref, p, part_bubble, part_lost, pods,
    power, price, pue, rack_gpus, racks, rank_gpu, reduce_share, restart, sharing, staff, t, t_ar, t_ref, t_step,
    tariff, tau, tp, v, write,
)
from .units import BadInput

# ---- compute, time, money -----------------------------------------------------------------
compute = Law(C, k_train * N * D, "Training compute", source="kaplan2020")
duration = Law(t, C / (n * F * mfu), "Duration")
utilisation = Law(mfu, duration.solve("mfu").rhs, "Utilisation")
gpu_seconds = Law(gpu_time, n * t, "GPU time")
rental = Law(M, price * n * t, "Rental cost")
rental_from_compute = Law(M, rental.given(duration).rhs, "Rental cost from compute")
throughput_mfu = Law(mfu, R * (k_train * N + k_attn * L * n_h * d_h * T) / (n * F), "Utilisation from tokens per second", source="chowdhery2022")
ownership = Law(price, capex / (life * busy) + power * pue * tariff, "Cost of owning a GPU")
development = Law(multiplier, experiments / (1 - staff), "Cost of development over the final run", source="cottier2024")

# ---- pipeline -----------------------------------------------------------------------------
data_parallel = Law(dp, n / (tp * p * rank_gpu), "Data-parallel width")
micro_batches = Law(m, B_tok / (T * b * dp), "Micro-batches")
bubble_share = Law(bubble, (p - 1) / (v * m + p - 1), "Pipeline bubble", source="narayanan2021")
bubble_of_batch = Law(bubble, bubble_share.given(micro_batches, data_parallel).rhs, "Pipeline bubble from the batch")

# ---- all-reduce ---------------------------------------------------------------------------
step_time = Law(t_step, k_train * N * B_tok / (n * F * mfu), "Time of one step")
gradient = Law(G, grad_bytes * N_total / (tp * p), "Gradient on each GPU")
all_reduce = Law(t_ar, 2 * (dp - 1) / dp * G * sharing / link, "Ring all-reduce", source="patarasuk2009")
all_reduce_share = Law(reduce_share, t_ar / t_step, "Share of the all-reduce")
all_reduce_of_step = Law(
    reduce_share, all_reduce_share.given(all_reduce, gradient, data_parallel, step_time).rhs, "Share of the all-reduce, from the layout"
)
link_step = Law(link_ratio, link_in / link_out, "Step between link rates")

# ---- failures -----------------------------------------------------------------------------
failure_rate = Law(fail_rate, failures / (n_ref * t_ref), "Failure rate")
time_between = Law(mtbf, 1 / (fail_rate * n), "Time between failures")
checkpoint_interval = Law(tau, sqrt(2 * write * mtbf), "Checkpoint interval", source="young1974")
lost_share = Law(
    lost, 1 - tau / (mtbf * exp(restart / mtbf) * (exp((tau + write) / mtbf) - 1)), "Share lost to checkpoints and failures", source="daly2006"
)
lost_at_best = Law(lost, lost_share.given(checkpoint_interval).rhs, "Share lost at Young's interval")
lost_on_cluster = Law(lost, lost_at_best.given(time_between, failure_rate).rhs, "Share lost, from a published failure rate")

# ---- where the utilisation goes -----------------------------------------------------------
product = Law(mfu, kernel * (1 - bubble) * (1 - reduce_share) * (1 - lost), "Utilisation as a product")
bubble_part = Law(part_bubble, (log(1 - bubble) / log(mfu)).xreplace({bubble: bubble_of_batch.rhs}), "Part of the loss due to the bubble")
lost_part = Law(part_lost, (log(1 - lost) / log(mfu)).xreplace({lost: lost_on_cluster.rhs}), "Part of the loss due to failures")
relative_mfu = Law(mfu_ratio, mfu / mfu_ref, "Utilisation against a published run")

# ---- the next model -----------------------------------------------------------------------
model_growth = Law(growth, (n_new * F_new / (n * F)) ** a_N, "Growth of the compute-optimal model", source="hoffmann2022")
cluster_size = Law(n_cluster, pods * racks * rack_gpus, "GPUs in a cluster")


def pipeline_schedule(stages: int, micro_batches: int, chunks: int = 1, kind: str = "1F1B") -> list[list[tuple]]:
    """Start and end of every piece of work, one list per stage: (kind, micro-batch, chunk, start, end).

    A forward pass of a micro-batch through one stage takes 1 and a backward pass 2, divided by
    `chunks`; nothing waits for anything but its input. `kind` is "1F1B" (with chunks > 1 the
    interleaved schedule, which takes a multiple of `stages` micro-batches) or "GPipe".
    """
    if kind not in ("1F1B", "GPipe") or min(stages, micro_batches, chunks) < 1 or (chunks > 1 and (micro_batches % stages or kind == "GPipe")):
        raise BadInput(f"no {kind} schedule for {stages} stages, {micro_batches} micro-batches, {chunks} chunks")
    total, group = micro_batches * chunks, stages * chunks

    def work(k, forward):
        if chunks == 1:
            return k, 0
        chunk = k % group // stages
        return k // group * stages + k % stages, chunk if forward else chunks - 1 - chunk

    orders = []
    for stage in range(stages):
        ahead = stages - 1 - stage if chunks == 1 else 2 * (stages - 1 - stage) + (chunks - 1) * stages
        ahead = total if kind == "GPipe" else min(ahead, total)
        order = [("F", *work(k, True)) for k in range(ahead)]
        for k in range(total - ahead):
            order += [("F", *work(ahead + k, True)), ("B", *work(k, False))]
        orders.append(order + [("B", *work(k, False)) for k in range(total - ahead, total)])
    return _replay(orders, chunks)


def _replay(orders, chunks):
    """Run each stage's list in order, each piece as soon as its stage and its input are ready."""
    last, done, clock, rows = len(orders) * chunks - 1, {}, [0.0] * len(orders), [[] for _ in orders]
    while any(len(row) < len(order) for row, order in zip(rows, orders)):
        before = len(done)
        for stage, order in enumerate(orders):
            while len(rows[stage]) < len(order):
                kind, batch, chunk = order[len(rows[stage])]
                depth = chunk * len(orders) + stage
                needs = [("F", batch, depth - 1)] if kind == "F" and depth else []
                needs = [("F", batch, depth)] + ([("B", batch, depth + 1)] if depth < last else []) if kind == "B" else needs
                if any(need not in done for need in needs):
                    break
                start = max([clock[stage], *(done[need] for need in needs)])
                clock[stage] = done[kind, batch, depth] = start + (1 if kind == "F" else 2) / chunks
                rows[stage].append((kind, batch, chunk, start, clock[stage]))
        if len(done) == before:
            raise BadInput("the schedule waits for itself")
    return rows


def idle_share(rows: list[list[tuple]]) -> float:
    """Share of stage time that a schedule leaves idle, counted from its pieces of work."""
    end = max(row[-1][4] for row in rows)
    return 1 - sum(piece[4] - piece[3] for row in rows for piece in row) / (len(rows) * end)


def simulate_failures(mtbf: float, tau: float, write: float, restart: float, segments: int, seed: int = 0) -> float:
    """Share of time lost in a run of `segments` checkpoints under random (exponential) failures.

    Each segment is `tau` of work and one `write`; a failure throws the segment away and costs a
    `restart`, which can fail too.
    """
    import numpy as np

    rng, clock = np.random.default_rng(seed), 0.0
    for _ in range(segments):
        need = tau + write
        while (next_failure := rng.exponential(mtbf)) < need:
            clock += next_failure
            need = restart + tau + write
        clock += need
    return 1 - segments * tau / clock


def sample(law: Law, inputs: dict, size: int, seed: int = 0):
    """`size` draws of a law's value, each interval among the `inputs` drawn evenly and on its own."""
    import numpy as np

    rng = np.random.default_rng(seed)
    draws = {name: rng.uniform(x.lo, x.hi, size) if isinstance(x, Interval) else x for name, x in inputs.items()}
    return law(**draws)
