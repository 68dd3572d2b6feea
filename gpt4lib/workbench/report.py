"""The workbench: from a model, a cluster, a training run and a serving target to the full report.

    report(load_case("gpt-4")).training.days

Counts, layouts and passes are those of `gpt4lib.systems`, money and time the laws of chapter 5; the file is
`gpt4lib.workbench.file`'s. Every name of the report that has a unit ends in it; `Report.record` is its JSON.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from math import prod

import numpy as np

from ..chapters import inference_tradeoffs
from ..chapters.architecture import compute
from ..chapters.dense_wall import price_of_thousand
from ..chapters.moe_inference import experts_hit
from ..chapters.notation import bubble, mfu
from ..chapters.parallelism import reduce_share
from ..chapters.training_cost import duration, gpu_seconds, product, rental_from_compute, utilisation
from ..chapters.training_step import model_flop, open_loss, pipeline_time, work
from ..facts.devices import hardware
from ..facts.models import Model
from ..spine.errors import BadInput
from ..spine.interval import Interval, draw
from ..spine.law import Law
from ..spine.units import base_unit, unit_factor
from ..systems.count import ServedModel, cache_of, mean_flop_per_token, parameters, serving_view
from ..systems.efficiency import EfficiencySet
from ..systems.machine import DoesNotFit, Layout, Server
from ..systems.planner import Explained, NoLayout, Plan, plan
from ..systems.serving import Pass, cache_ranks_of, decode, prefill
from .file import FIGURES, Case, Published, training_limits
from .keys import CACHE

DRAWS = 20_000

# A step's utilisation has bubble and all-reduce inside already; what the whole run loses comes on top.
_whole_run = product.rhs.xreplace({bubble: 0, reduce_share: 0})
run_utilisation = Law(mfu, _whole_run, "Utilisation of the run, stops included")
run_duration, run_cost = (
    Law(law.lhs, law.given(compute, run_utilisation).rhs, f"{words} of the run, stops included")
    for law, words in ((duration, "Time"), (rental_from_compute, "Cost"))
)


# ---- what a report holds --------------------------------------------------------------------
@dataclass(frozen=True)
class Span:
    """A result in `unit`, and the ends of its range."""

    value: float
    low: float
    high: float
    unit: str = "1"


def span(value, middle: float, unit: str = "1") -> Span:
    """A result in base units, a number or an interval whose middle is known, as a span in `unit`."""
    scale = 1.0 if unit == "1" else unit_factor(unit, base_unit(unit))
    ends = value if isinstance(value, Interval) else Interval(value, value)
    return Span(middle / scale, ends.lo / scale, ends.hi / scale, unit)


@dataclass(frozen=True, kw_only=True)
class ModelReport:
    """What follows from the shape alone; FLOP are the mean over a causal sequence.

    `caches` are there where nothing is served.
    """

    shape: str
    parameters: int
    parameters_without_mtp: int | None
    active_parameters: int
    active_without_input_table: int
    parameters_by_part: dict
    forward_flop_per_token: float
    training_flop_per_token: float
    scores_share: float
    mean_context_tokens: float
    caches: list


@dataclass(frozen=True, kw_only=True)
class CacheReport:
    """The cache of one sequence: as windows and chunks leave it, whole pages for every layer, and states."""

    context_tokens: int
    kv_cache_bytes_per_sequence: float
    kv_cache_bytes_full_pages: float
    state_bytes_per_sequence: float


@dataclass(frozen=True)
class Placed:
    """A layout with its step and its utilisation by the rule of six FLOP, which leaves the scores out."""

    layout: Layout
    step_seconds: float
    mfu: float


@dataclass(frozen=True, kw_only=True)
class LayoutsReport:
    """What the planner finds: how many layouts, the best within the file's limits, and what binds it."""

    layouts: int
    layouts_that_fit: int
    limits: dict
    layout: Placed
    best_layout: Placed
    mfu_with_scores: float
    flop_per_s_per_gpu: float
    machine_flop_per_s_per_gpu: float
    step_seconds: float
    memory_bytes_per_gpu: float
    memory_bytes_limit: float
    memory_bytes_by_part: dict
    step_share: dict
    binds_step: str
    binds_memory: str
    memory_stage: str
    mfu_if_memory_were_no_limit: float
    attention: str
    softmax_share: float
    mfu_if_attention_were_fused: float


@dataclass(frozen=True, kw_only=True)
class TrainingReport:
    """The run: utilisation, time and cost with their ranges, and the layouts, or why there is `no_layout`.

    `efficiency` names the set of constants, fitted on `efficiency_card`; `efficiency_error` is its mean miss.
    """

    tokens: float
    gpu: str
    gpus: int
    efficiency: str
    efficiency_card: str
    efficiency_error: float
    flop: Span
    mfu_from: str
    mfu: Span
    lost_share: float
    days: Span
    gpu_hours: Span
    cost_usd: Span | None = None
    cost_usd_p5: float | None = None
    cost_usd_p50: float | None = None
    cost_usd_p95: float | None = None
    layouts: LayoutsReport | None = None
    no_layout: str | None = None


@dataclass(frozen=True, kw_only=True)
class ServingReport:
    """The server: memory, the batch and where it comes from, a pass and what binds it, rates and cost.

    A token's cache counts every layer, a sequence's what `CacheReport` says. `cache` is what ranks divide it
    by, `other_cache` the other way, with a token's bytes on a GPU and the largest batch of both.
    """

    gpu: str
    gpus: int
    context_tokens: int
    kv_cache_bytes_per_token: float
    kv_cache_bytes_per_sequence: float
    kv_cache_bytes_full_pages: float
    state_bytes_per_sequence: float
    cache: str
    kv_cache_bytes_per_token_and_gpu: float
    other_cache: str
    other_kv_cache_bytes_per_token_and_gpu: float
    other_largest_batch: int
    bytes_per_weight: float
    bytes_per_expert_weight: float
    weight_bytes_per_gpu: float
    cache_bytes_per_gpu: float
    memory_bytes_limit: float
    layers_per_stage: float
    stage_layers: tuple | None
    largest_batch: int
    batch: int
    batch_from: str
    sequences_in_flight: int
    experts_hit: float
    pass_seconds: float
    pass_seconds_by_part: dict
    binds_pass: str
    tokens_per_s_per_user: float
    tokens_per_s: float
    tokens_per_s_per_gpu: float
    mfu: float
    first_token_seconds: float | None = None
    cost_usd_per_1000_tokens: Span | None = None


@dataclass(frozen=True)
class Against:
    """A published figure, ours and the ratio."""

    figure: str
    words: str
    kind: str
    published: Span
    ours: float
    ratio: float
    source: str
    place: str
    note: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything the laws say of a case; sections that its file lacks are None and named in `left_out`."""

    name: str
    about: str
    model: ModelReport
    training: TrainingReport | None
    serving: ServingReport | None
    published: list[Against]
    left_out: list[str]
    notes: list[str]

    def record(self) -> dict:
        """The report as nested dicts of numbers and texts, for JSON; a range is NAME, NAME_low, NAME_high."""
        return _record(self)


OF_STEP = {"step_seconds": "step_seconds", "memory_bytes_per_gpu": "memory_bytes", "mfu_with_scores": "mfu"}
OF_STEP |= {"memory_bytes_by_part": "bytes", "machine_flop_per_s_per_gpu": "flop_per_gpu_s"}
OF_STEP["memory_stage"] = "stage"
OF_PASS = {"weight_bytes_per_gpu": "weight_bytes_held", "cache_bytes_per_gpu": "cache_bytes_held"}
OF_PASS |= {"mfu": "mfu", "experts_hit": "experts_hit", "pass_seconds": "pass_seconds"}
OF_PASS |= {"tokens_per_s_per_user": "user_rate", "tokens_per_s": "rate"}


def _record(section) -> dict:
    """A section by name; fields of layouts stand among those of the section that holds them."""
    found = {}
    for name, value in ((f.name, getattr(section, f.name)) for f in fields(section)):
        if isinstance(value, Span):
            found |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
        elif is_dataclass(value):
            found |= _record(value) if isinstance(value, (LayoutsReport, Layout)) else {name: _record(value)}
        elif isinstance(value, list):
            found[name] = [_record(each) if is_dataclass(each) else each for each in value]
        elif value is not None:
            found[name] = value
    return found


def report(case: Case) -> Report:
    """Everything the laws say of a case. Raises BadInput with all numbers that clash, of both sections."""
    clashes, left_out = [], []
    found = {"model": _model(case)}
    for name, section in (("training", _training), ("serving", _serving)):
        needs = getattr(case, name)
        try:
            found[name] = section(case) if needs else None
        except BadInput as error:
            clashes.append(f"  [{name}] {error}")
        if not needs:
            left_out.append(f"{name}: the file has no [{name}]")
        elif not needs.price:
            left_out.append(f"cost of {name}: the file has no price_usd_per_gpu_hour for it")
    if clashes:
        raise BadInput("\n".join([f"{case.name}: does not fit", *clashes]))
    figures = {name: _record(section) for name, section in found.items() if section}
    published = [row for row in (_against(row, figures) for row in case.published) if row]
    return Report(
        name=case.name, about=case.about, **found, published=published, left_out=left_out, notes=[*case.notes]
    )


def _plain(value: Interval):
    """A number where both ends are one: laws are quicker on numbers."""
    return value.lo if value.lo == value.hi else value


def _middle(value):
    return (value.lo + value.hi) / 2 if isinstance(value, Interval) else value


# ---- the model ------------------------------------------------------------------------------
def _model(case: Case) -> ModelReport:
    count = parameters(case.shape)
    seq = case.training.seq if case.training else case.serving.context if case.serving else 0
    flop = mean_flop_per_token(case.shape, seq)
    caches = [] if case.serving else [CacheReport(**_cache(case.shape, size)) for size in (8192, 131072)]
    forward = sum(flop.values())
    return ModelReport(
        shape=case.shape.name,
        parameters=count.total,
        parameters_without_mtp=count.without_mtp if count.parts["mtp"] else None,
        active_parameters=count.active,
        active_without_input_table=count.active_without_input_table,
        parameters_by_part={part: size for part, size in count.parts.items() if size},
        forward_flop_per_token=forward,
        training_flop_per_token=model_flop(C_full=forward, B_tok=1),
        scores_share=flop["scores"] / forward,
        mean_context_tokens=seq / 2,
        caches=caches,
    )


def _cache(shape: Model, context: int, kv_bytes: float = 2.0) -> dict:
    """The fields of `CacheReport`."""
    found = cache_of(shape, context, kv_bytes)
    sizes = {"kv_cache_bytes_per_sequence": found.kept_bytes, "state_bytes_per_sequence": found.state_bytes}
    return sizes | {"context_tokens": context, "kv_cache_bytes_full_pages": found.full_pages_bytes}


# ---- training -------------------------------------------------------------------------------
def _training(case: Case) -> TrainingReport:
    t, cluster = case.training, case.cluster
    every = clash = None
    peak = hardware(cluster.device).bf16_flop_per_s
    known = {"N": parameters(case.shape).active, "n": cluster.n_gpus, "F": peak}
    try:
        task = {"batch_tokens": t.batch_tokens, "seq": t.seq, "recipe": t.recipe, "stages": t.stages}
        task["efficiency"] = t.efficiency.efficiency
        every = plan(case.shape, cluster, **task)
    except NoLayout as error:  # a given utilisation needs no layout
        if t.mfu is None:
            raise
        clash = str(error)
    layouts = None if every is None else _layouts(case, known, every)
    used, middle = (t.mfu, _middle(t.mfu)) if t.mfu else _utilisation(layouts.layout.mfu, t.efficiency)
    ranges = {"D": _plain(t.tokens), "kernel": _plain(used), "lost": _plain(t.lost_share)}
    middles = {name: _middle(value) for name, value in ranges.items()} | {"kernel": middle}
    both = ranges, middles
    seconds = [run_duration(**known, **at) for at in both]
    busy = [gpu_seconds(n=known["n"], t=at) for at in seconds]
    rest = _cost(t.price, {name: known[name] for name in ("N", "F")}, *both) if t.price else {}
    rest |= {"gpu": str(cluster.device), "gpus": cluster.n_gpus, "layouts": layouts, "no_layout": clash}
    rest |= {"efficiency": t.efficiency.name, "efficiency_card": t.efficiency.card}
    return TrainingReport(
        tokens=middles["D"],
        efficiency_error=t.efficiency.error,
        flop=span(*(compute(N=known["N"], D=at["D"]) for at in both), "FLOP"),
        mfu_from="the file" if t.mfu else "the planner",
        mfu=span(_plain(used), middle),
        lost_share=middles["lost"],
        days=span(*seconds, "day"),
        gpu_hours=span(*busy, "GPU*hour"),
        **rest,
    )


def _utilisation(step: float, known: EfficiencySet) -> tuple[Interval, float]:
    """The planner's utilisation, as wide as it missed nine in ten runs that it had not seen, and itself."""
    return Interval(step * known.low, min(1.0, step * known.high)), step


def _cost(price: Interval, known: dict, ranges: dict, middles: dict) -> dict:
    """The cost of the run: its range, and what 5, 50 and 95% of independent draws lie below."""
    ranges, middles = ranges | {"price": _plain(price)}, middles | {"price": _middle(price)}
    drawn = np.atleast_1d(run_cost(**known, **draw(ranges, DRAWS)))
    below = {f"cost_usd_p{p}": float(np.percentile(drawn, p)) for p in (5, 50, 95)}
    return {"cost_usd": span(run_cost(**known, **ranges), run_cost(**known, **middles), "USD")} | below


def _layouts(case: Case, known: dict, every: Plan) -> LayoutsReport:
    training_limits(every, case.training.only)
    mine, place = every.within(case.training.only), partial(_placed, known)
    try:
        row = mine.best()
    except DoesNotFit as error:
        fit = f"without the limits of [training.layout], {every.feasible.sum():,} layouts fit"
        raise DoesNotFit(f"{error}; {fit}", error.needed, error.there) from None
    best, chosen = mine.explain(row), place(mine, row)
    beside = {name: value for name, value in best.seconds.items() if name != "forward and backward"}
    fused = case.training.recipe.attention == "fused"
    softmax = 0.0 if fused else softmax_seconds(best) / best.step_seconds
    found = {name: getattr(best, of) for name, of in OF_STEP.items()}
    found |= {"layouts": len(every), "layouts_that_fit": int(every.feasible.sum())}
    found |= {"limits": case.training.only, "layout": chosen, "best_layout": place(every, every.best())}
    return LayoutsReport(
        flop_per_s_per_gpu=best.mfu * known["F"],
        memory_bytes_limit=mine.capacity_bytes,
        step_share={name: value / best.step_seconds for name, value in best.seconds.items() if value},
        binds_step=max(beside, key=beside.get),
        binds_memory=max(best.bytes, key=best.bytes.get),
        mfu_if_memory_were_no_limit=place(mine, int(mine.mfu.argmax())).mfu,
        attention=case.training.recipe.attention,
        softmax_share=softmax,
        mfu_if_attention_were_fused=min(1.0, chosen.mfu / (1 - softmax)),
        **found,
    )


def softmax_seconds(step: Explained) -> float:
    """Seconds of a step in which scores go to memory and back, which fused kernels avoid."""
    once = step.terms["t_softmax"]
    both = work(t_fwd=once, t_again=0.0 if step.layout.recompute == "none" else once)
    loss = step.terms["t_loss"] - open_loss.at(step.terms, t_stage=step.terms["t_stage"] - both)
    return pipeline_time.at(step.terms, t_stage=both, t_head=0.0) + step.terms["m"] * loss


def _placed(known: dict, found: Plan, row: int) -> Placed:
    layout, seconds = found.layout(row), float(found.step_seconds[row])
    flop = compute(N=known["N"], D=layout.batch * found.seq)
    return Placed(layout, seconds, utilisation(C=flop, n=known["n"], F=known["F"], t=seconds))


# ---- serving --------------------------------------------------------------------------------
def _serving(case: Case) -> ServingReport:
    s, model = case.serving, serving_view(case.shape)
    server = s.server
    _check_size(s)
    held = replace(model, E=model.E + s.redundant_experts)  # copies take memory, and a pass reads one of each

    def hit(tokens):
        return experts_hit(E=model.E, k=model.k, B_seq=tokens) if s.redundant_experts else None

    def at(batch):
        return decode(held, server, batch=batch, context=s.context, hit=hit(batch))

    batch, why, limit = _batch(s, at)
    x, token = at(batch), model.all_entries * server.kv_bytes
    first = s.prompt and prefill(held, server, batch=1, prompt=s.prompt, hit=hit(s.prompt)).pass_seconds
    found = {name: getattr(x, of) for name, of in OF_PASS.items()}
    found |= {"gpu": str(server.gpu), "gpus": int(x.n_gpus), "kv_cache_bytes_per_token": token}
    found |= _cache(case.shape, s.context, server.kv_bytes) | _divided(held, server, s.context, token)
    found |= {"batch": batch, "batch_from": why, "largest_batch": limit, "first_token_seconds": first}
    return ServingReport(
        memory_bytes_limit=hardware(server.gpu).memory_bytes * server.usable,
        layers_per_stage=case.shape.layers / server.pipeline,
        stage_layers=server.stage_layers,
        sequences_in_flight=server.facts()["m"] * batch,
        pass_seconds_by_part={name: float(seconds) for name, seconds in x.seconds.items() if seconds},
        binds_pass=str(x.bound),
        tokens_per_s_per_gpu=x.rate / x.n_gpus,
        cost_usd_per_1000_tokens=_thousand(s.price, x) if s.price else None,
        **found,
    )


def _divided(model: ServedModel, server: Server, context: int, token: float) -> dict:
    """A token's bytes on a GPU as the cache is divided, and the other way, with its largest batch."""
    other = replace(server, divide_cache=not server.divide_cache)
    share = max(server.stage_layers) / model.L if server.stage_layers else 1 / server.pipeline
    each = [token * share / cache_ranks_of(model, one) for one in (server, other)]
    found = dict(zip(("cache", "other_cache"), CACHE[:: -1 if server.divide_cache else 1]))
    found |= dict(zip(("kv_cache_bytes_per_token_and_gpu", "other_kv_cache_bytes_per_token_and_gpu"), each))
    found["other_largest_batch"] = int(decode(model, other, batch=1, context=context).batch_limit)
    formats = server.facts()
    found |= {"bytes_per_weight": formats["weight_bytes"], "bytes_per_expert_weight": formats["expert_bytes"]}
    return found


def _check_size(s):
    """Raise BadInput where the server is larger than the cluster that it stands in."""
    sizes = s.server.tensor, s.server.pipeline, s.server.expert
    if s.n_gpus and prod(sizes) > s.n_gpus:
        raise BadInput(
            f"tensor x pipeline x expert = {' x '.join(map(str, sizes))} takes {prod(sizes):,} GPUs, and "
            f"[cluster] has n_gpus = {s.n_gpus:,}; a gpu in [serving] says that it is served elsewhere"
        )


def _batch(s, at) -> tuple[int, str, int]:
    """The batch, what sets it, and the largest that fits; `at` gives the pass of a batch."""
    one = at(1)
    limit = int(one.batch_limit)
    cache, left = one.cache_bytes_held, one.left_bytes
    there = f"GB on each GPU, and the weights leave {left / 1e9:,.1f} GB"
    if not limit:
        words = f"the cache of one sequence a pass, of {s.context:,} tokens, is {cache / 1e9:,.1f} {there}"
        raise DoesNotFit(words, cache, left)
    if s.batch:
        needed = s.batch * cache
        words = f"does not fit: its cache is {needed / 1e9:,.1f} {there}, enough for {limit:,}"
        if s.batch > limit:
            raise DoesNotFit(f"batch = {s.batch:,} {words}", needed, left)
        return s.batch, "the file", limit
    if not s.user_rate or at(limit).user_rate >= s.user_rate:
        return limit, "memory", limit
    batch = largest_that_holds(lambda size: at(size).user_rate >= s.user_rate, limit)
    if not batch:
        reach = f"is out of reach: one sequence gets {one.user_rate:.1f}"
        raise BadInput(f"user_tokens_per_s = {s.user_rate:g} {reach}")
    return batch, "the rate asked for", limit


def _thousand(price: Interval, x: Pass) -> Span:
    """The cost of 1,000 tokens at the prices of a range."""

    def at(usd):
        return price_of_thousand(c_tok=inference_tradeoffs.token_cost(price=usd, n=x.n_gpus, R_serve=x.rate))

    return span(Interval(at(price.lo), at(price.hi)), at(_middle(price)), "USD")


def largest_that_holds(holds, limit: int) -> int:
    """The largest whole number up to `limit` for which `holds`, which stops holding once; 0 for none."""
    return bisect_right(range(1, limit + 1), False, key=lambda size: not holds(size))


# ---- against what is published --------------------------------------------------------------
def _against(row: Published, figures: dict) -> Against | None:
    """A published figure beside ours; None where the report does not have it."""
    section, _, key = row.figure.partition(".")
    ours = figures.get(section, {}).get(key)
    if ours is None:
        return None
    (words, unit, kind), middle = FIGURES[row.figure], _middle(row.value)
    published = Span(middle, row.value.lo, row.value.hi, unit)
    return Against(row.figure, words, kind, published, ours, ours / middle, row.source, row.place, row.note)
