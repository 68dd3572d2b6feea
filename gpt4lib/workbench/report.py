"""The workbench: from a model, a cluster, a training run and a serving target to the full report.

    report(workbench_file.load("gpt-4"))["training"]["days"]

Counts come from `gpt4lib.systems.count`, layouts from `gpt4lib.systems.planner`, money from the laws of `gpt4lib.chapters.training_cost`,
serving from `gpt4lib.systems.serving`. The file is `gpt4lib.workbench.file`'s; every key of the report names its unit.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from math import prod

import numpy as np

from ..chapters import inference_tradeoffs
from ..chapters.architecture import compute
from ..chapters.dense_wall import price_of_thousand
from ..chapters.moe_inference import experts_hit
from ..chapters.notation import bubble, mfu
from ..chapters.parallelism import reduce_share
from ..chapters.training_cost import duration, gpu_seconds, product, rental_from_compute, utilisation
from ..chapters.training_step import pipeline_time, work
from ..facts.devices import hardware
from ..spine.errors import BadInput
from ..spine.interval import Interval, draw
from ..spine.law import Law
from ..spine.units import unit_factor
from ..systems.count import flop_per_token, parameters, serving_view
from ..systems.efficiency import leave_one_out, runs
from ..systems.planner import plan
from ..systems.serving import decode, prefill
from .file import FIGURES, Case, training_limits

DRAWS = 20_000

# A step's utilisation has bubble and all-reduce inside already; what the whole run loses comes on top.
run_utilisation = Law(
    mfu, product.rhs.xreplace({bubble: 0, reduce_share: 0}), "Utilisation of the run, stops included"
)
run_duration = Law(
    duration.lhs, duration.given(compute, run_utilisation).rhs, "Time of the run, stops included"
)
run_cost = Law(
    rental_from_compute.lhs,
    rental_from_compute.given(compute, run_utilisation).rhs,
    "Cost of the run, stops included",
)


def report(case: Case) -> dict:
    """Everything the laws say of a case, as nested dicts of plain numbers and texts.

    `model`, `training`, `serving`, `published` and `left_out`. Raises BadInput with the numbers that clash
    where model, batch or target do not fit; both sections' clashes at once.
    """
    found, clashes, left_out = {"name": case.name, "about": case.about, "model": _model(case)}, [], []
    for name, section, needs in (("training", _training, case.training), ("serving", _serving, case.serving)):
        if not needs:
            left_out.append(f"{name}: the file has no [{name}]")
            continue
        try:
            found[name] = section(case)
        except BadInput as error:
            clashes.append(f"[{name}] {error}")
        if not needs.price:
            left_out.append(f"cost of {name}: the file has no price_usd_per_gpu_hour for it")
    if clashes:
        raise BadInput("\n".join([f"{case.name}: does not fit", *(f"  {clash}" for clash in clashes)]))
    found["published"] = [
        _against(row, found) for row in case.published if _look(found, row.figure) is not None
    ]
    return found | {"left_out": left_out}


def _plain(value: Interval):
    """A number where both ends are one: laws are quicker on numbers."""
    return value.lo if value.lo == value.hi else value


def _middle(value):
    return (value.lo + value.hi) / 2 if isinstance(value, Interval) else value


def _span(name: str, value, middle: float, unit: str = "1", base: str = "1") -> dict:
    """A result under its name, in a unit, with the ends of its range."""
    scale = unit_factor(unit, base)
    low, high = (value.lo, value.hi) if isinstance(value, Interval) else (value, value)
    return {name: middle / scale, f"{name}_low": low / scale, f"{name}_high": high / scale}


def _context(case):
    """Tokens of a sequence: those that are trained on, or else served."""
    return case.training.seq if case.training else case.serving.context if case.serving else 0


# ---- the model ------------------------------------------------------------------------------
def _model(case):
    count, seq = parameters(case.shape), _context(case)
    flop = flop_per_token(case.shape, seq / 2)  # causal: half the sequence on average
    return {
        "shape": case.shape.name,
        "parameters": count.total,
        "active_parameters": count.active,
        "parameters_by_part": {part: size for part, size in count.parts.items() if size},
        "forward_flop_per_token": sum(flop.values()),
        "training_flop_per_token": 3 * sum(flop.values()),
        "scores_share": flop["scores"] / sum(flop.values()),
        "mean_context_tokens": seq / 2,
    }


# ---- training -------------------------------------------------------------------------------
def _training(case):
    t, cluster, count = case.training, case.cluster, parameters(case.shape)
    known = {"N": count.active, "n": cluster.n_gpus, "F": hardware(cluster.device).bf16_flop_per_s}
    task = {"batch_tokens": t.batch_tokens, "seq": t.seq, "recipe": t.recipe}
    every, clash = None, ""
    try:
        every = plan(case.shape, cluster, **task)
    except BadInput as error:  # a given utilisation needs no layout
        if t.mfu is None:
            raise
        clash = str(error)
    layouts = _layouts(case, known, every, task) if every else None
    used = t.mfu
    if used is None:
        step = layouts["layout"]["mfu"]
        missed = np.array([run.measured for run in runs()]) / leave_one_out()
        used = Interval(step * missed.min(), min(1.0, step * missed.max()))
        middle = step
    else:
        middle = _middle(used)
    ranges = {"D": _plain(t.tokens), "kernel": _plain(used), "lost": _plain(t.lost_share)}
    middles = {name: _middle(value) for name, value in ranges.items()} | {"kernel": middle}
    days, seconds = run_duration(**known, **ranges), run_duration(**known, **middles)
    found = {
        "tokens": middles["D"],
        "gpu": cluster.device,
        "gpus": cluster.n_gpus,
        **_span("flop", compute(N=known["N"], D=ranges["D"]), compute(N=known["N"], D=middles["D"])),
        "mfu_from": "the file" if t.mfu else "the planner",
        **_span("mfu", _plain(used), middle),
        "lost_share": middles["lost"],
        **_span("days", days, seconds, "day", "second"),
        **_span(
            "gpu_hours",
            gpu_seconds(n=known["n"], t=days),
            gpu_seconds(n=known["n"], t=seconds),
            "hour",
            "second",
        ),
    }
    if t.price:
        ranges |= {"price": _plain(t.price)}
        middles |= {"price": _middle(t.price)}
        money = {name: known[name] for name in ("N", "F")}
        drawn = np.atleast_1d(run_cost(**money, **draw(ranges, DRAWS)))
        found |= _span("cost_usd", run_cost(**money, **ranges), run_cost(**money, **middles))
        found |= {f"cost_usd_p{p}": float(np.percentile(drawn, p)) for p in (5, 50, 95)}
    return found | (layouts or {"no_layout": clash})


def _layouts(case, known, every, task):
    """What the planner finds: how many layouts, the best one within the file's limits, and what its step is made of."""
    t = case.training
    training_limits(every, t.only)
    mine = plan(case.shape, case.cluster, **task, only=t.only) if t.only else every
    top = every.best()
    try:
        row = mine.best()
    except BadInput as error:
        fit = f"without the limits of [training.layout], {every.feasible.sum():,} layouts fit"
        raise BadInput(f"{error}; {fit}") from None
    best = mine.explain(row)
    seconds, held = best["seconds"], best["bytes"]
    most = max((name for name in seconds if name != "forward and backward"), key=seconds.get)
    chosen = _layout(mine, row, known)
    return {
        "layouts": len(every),
        "layouts_that_fit": int(every.feasible.sum()),
        "limits": t.only,
        "layout": chosen,
        "best_layout": _layout(every, top, known),
        "mfu_with_scores": best["mfu"],
        "flop_per_s_per_gpu": best["mfu"] * known["F"],
        "machine_flop_per_s_per_gpu": best["flop_per_gpu_s"],
        "step_seconds": best["step_seconds"],
        "memory_bytes_per_gpu": best["memory_bytes"],
        "memory_bytes_limit": mine.capacity_bytes,
        "memory_bytes_by_part": held,
        "step_share": {name: value / best["step_seconds"] for name, value in seconds.items() if value},
        "binds_step": most,
        "binds_memory": max(held, key=held.get),
        "mfu_if_memory_were_no_limit": _layout(mine, int(mine.mfu.argmax()), known)["mfu"],
        "softmax_share": (share := _softmax(best) / best["step_seconds"]),
        "mfu_if_attention_were_fused": min(1.0, chosen["mfu"] / (1 - share)),
    }


def _softmax(best):
    """Seconds of a step in which scores go to memory and back, as in the planner's runs; fused kernels avoid it."""
    x = best["terms"]
    again = 0.0 if best["layout"].recompute == "none" else x["t_softmax"]
    return float(pipeline_time.at(x, t_stage=work.at(x, t_fwd=x["t_softmax"], t_again=again), t_head=0.0))


def _layout(found, row, known):
    """A layout with its step and its utilisation by the rule of six FLOP, which leaves the scores out."""
    layout, step = found.layout(row), float(found.step_seconds[row])
    flop = compute(N=known["N"], D=layout.batch * found.seq)
    return asdict(layout) | {
        "step_seconds": step,
        "mfu": utilisation(C=flop, n=known["n"], F=known["F"], t=step),
    }


# ---- serving --------------------------------------------------------------------------------
def _serving(case):
    s, model, server = case.serving, serving_view(case.shape), case.serving.server
    sizes, copies = (server.tensor, server.pipeline, server.expert), s.redundant_experts
    if s.n_gpus and prod(sizes) > s.n_gpus:
        raise BadInput(
            f"tensor x pipeline x expert = {' x '.join(map(str, sizes))} takes {prod(sizes):,} GPUs, and "
            f"[cluster] has n_gpus = {s.n_gpus:,}; a gpu in [serving] says that it is served elsewhere"
        )
    held = replace(
        model, E=model.E + copies
    )  # copies take memory, and a pass reads one of each expert that it hits

    def hit(tokens):
        return experts_hit(E=model.E, k=model.k, B_seq=tokens) if copies else None

    def at(batch):
        return decode(held, server, batch=batch, context=s.context, hit=hit(batch))

    one = at(1)
    limit, cache = int(one["batch_limit"]), float(one["cache_bytes_held"])
    if not limit:
        raise BadInput(
            f"the cache of one sequence a pass, of {s.context:,} tokens, is {cache / 1e9:,.1f} GB "
            f"on each GPU, and the weights leave {float(one['left_bytes']) / 1e9:,.1f} GB"
        )
    batch, why = s.batch, "the file"
    if batch and batch > limit:
        raise BadInput(
            f"batch = {batch:,} does not fit: its cache is {batch * cache / 1e9:,.1f} GB on each GPU, and "
            f"the weights leave {float(one['left_bytes']) / 1e9:,.1f} GB, enough for {limit:,}"
        )
    if not batch:
        batch, why = limit, "memory"
        if s.user_rate and at(limit)["user_rate"] < s.user_rate:
            batch, why = _largest(lambda b: at(b)["user_rate"] >= s.user_rate, limit), "the rate asked for"
        if not batch:
            alone = float(one["user_rate"])
            raise BadInput(
                f"user_tokens_per_s = {s.user_rate:g} is out of reach: one sequence gets {alone:.1f}"
            )
    x, in_flight = at(batch), server.facts()["m"] * batch
    names = ("memory", "compute", "tensor", "split", "expert", "hop", "layers")
    parts = {name: float(x[f"{name}_seconds"]) for name in names}
    found = {
        "gpu": server.gpu,
        "gpus": int(x["n_gpus"]),
        "context_tokens": s.context,
        "kv_cache_bytes_per_token": model.entries * server.kv_bytes,
        "kv_cache_bytes_per_sequence": model.entries * server.kv_bytes * s.context,
        "weight_bytes_per_gpu": float(x["weight_bytes_held"]),
        "cache_bytes_per_gpu": float(x["cache_bytes_held"]),
        "memory_bytes_limit": hardware(server.gpu).memory_bytes * server.usable,
        "layers_per_stage": case.shape.layers / server.pipeline,
        "largest_batch": limit,
        "batch": batch,
        "batch_from": why,
        "sequences_in_flight": in_flight,
        "experts_hit": float(x["experts_hit"]),
        "pass_seconds": float(x["pass_seconds"]),
        "pass_seconds_by_part": {name: value for name, value in parts.items() if value},
        "binds_pass": str(x["bound"]),
        "tokens_per_s_per_user": float(x["user_rate"]),
        "tokens_per_s": float(x["rate"]),
        "tokens_per_s_per_gpu": float(x["rate"] / x["n_gpus"]),
        "mfu": float(x["mfu"]),
    }
    if s.prompt:
        found["first_token_seconds"] = float(
            prefill(held, server, batch=1, prompt=s.prompt, hit=hit(s.prompt))["pass_seconds"]
        )
    if s.price:
        laws = {"n": float(x["n_gpus"]), "R_serve": float(x["rate"])}
        thousand = [
            price_of_thousand(c_tok=inference_tradeoffs.token_cost(price=p, **laws))
            for p in (s.price.lo, _middle(s.price), s.price.hi)
        ]
        found |= _span("cost_usd_per_1000_tokens", Interval(thousand[0], thousand[2]), thousand[1])
    return found


def _largest(holds, limit: int) -> int:
    """The largest whole number up to `limit` for which `holds`, which stops holding once; 0 where it never does."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low


# ---- against what is published --------------------------------------------------------------
def _look(found, figure):
    section, _, key = figure.partition(".")
    return found.get(section, {}).get(key)


def _against(row, found):
    words, _, kind = FIGURES[row.figure]
    value, ours = row.value, _look(found, row.figure)
    return {
        "figure": row.figure,
        "words": words,
        "kind": kind,
        "published": _middle(value),
        "published_low": value.lo,
        "published_high": value.hi,
        "ours": ours,
        "ratio": ours / _middle(value),
        "source": row.source,
        "place": row.place,
        "note": row.note,
    }
