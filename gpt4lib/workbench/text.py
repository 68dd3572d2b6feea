"""The workbench's report as text of at most 80 columns, and single figures of it as a reader writes them."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from textwrap import wrap

from ..show.tables import Table
from ..spine.interval import Interval
from ..spine.text import fmt, number
from ..spine.units import base_unit, unit_factor
from ..systems.machine import Layout
from .file import FIGURES
from .report import (
    Against,
    CacheReport,
    LayoutsReport,
    ModelReport,
    Report,
    ServingReport,
    Span,
    TrainingReport,
)

LABEL, WIDTH = 20, 76
MEANING = {"memory": "reading weights and cache", "compute": "matrix products"}  # what binds, in words
MEANING |= {"tensor": "all-reduces of tensor parallelism", "expert": "tokens to their experts and back"}
MEANING |= {"split": "the divided cache", "layers": "the fixed time of each layer"}
MEANING |= {"bubble": "the pipeline bubble", "repeated": "work done twice", "optimiser": "the optimiser"}
MEANING |= {"loss": "logits and loss", "data": "the gradient's collectives"}
MEANING |= dict.fromkeys(("hop", "pipeline"), "hops between stages")


def figure(name: str, value, digits: int = 3) -> str:
    """A figure of the report as a reader writes it: `figure("training.days", 95.0)` is "95.0 days".

    >>> figure("training.gpu_hours", 30.84e6), figure("training.mfu", Interval(0.32, 0.36))
    ('30.8 million GPU-hours', '32.0% to 36.0%')
    """
    text = _written(value, FIGURES[name][1], digits)
    return text.replace(" token/GPU/second", " tokens/s").replace(" GPU*second", "")


def _written(value, unit: str, digits: int = 3) -> str:
    """A number or interval in `unit`, written in the base of that unit; shares in percent."""
    if unit == "%":
        return fmt(value, "%", digits)
    base = base_unit(unit)
    factor = unit_factor(unit, base)
    scaled = Interval(value.lo * factor, value.hi * factor) if isinstance(value, Interval) else value * factor
    return fmt(scaled, base, digits)


def to_text(found: Report) -> str:
    """The whole report. Each line is a label and what the laws say."""
    lines = [found.name, "=" * len(found.name), *wrap(found.about, WIDTH), ""]
    for title, rows in {"Model": _model, "Training": _training, "Serving": _serving}.items():
        section = getattr(found, title.lower())
        if section is None:
            continue
        lines += [title, "-" * len(title)]
        for label, text in rows(section):
            first, *rest = wrap(text, WIDTH - LABEL, break_on_hyphens=False) or [""]
            lines += [f"{label:<{LABEL}}{first}", *(" " * LABEL + line for line in rest)]
        lines.append("")
    if found.published:
        lines += ["Against published figures", "-" * 25, *_published(found.published), ""]
    lines += [f"Left out: {text}." for text in found.left_out]
    lines += [line for note in found.notes for line in wrap(f"Note: {note}.", WIDTH)]
    lines += wrap(
        "Counted figures follow from the shape alone. Training uses constants fitted to published runs, its "
        "efficiency says which. Serving is at data-sheet rates: what a real server reaches is less.",
        WIDTH,
    )
    return "\n".join(lines)


def against(published: list[Against]) -> Table:
    """Published figures, ours, the ratio and the source; units stand in the first column's words."""
    rows = []
    for row in published:
        ends = Interval(row.published.low, row.published.high)
        printed = ends if row.figure in ("training.mfu", "training.days") else row.published.value
        texts = (figure(row.figure, value) for value in (printed, row.ours))
        rows.append((row.words, *map(_short, texts), f"{row.ratio:.2f}", row.source))
    return Table(rows, ("figure", "published", "here", "ratio", "source"))


def _published(rows):
    """The table, with sources that are too long for a column below it."""
    long = list(dict.fromkeys(row.source for row in rows if len(row.source) > LABEL))
    mark = {source: f"[{i}]" for i, source in enumerate(long, 1)}
    noted = [replace(row, source=mark.get(row.source, row.source)) for row in rows]
    lines = repr(against(noted)).splitlines()
    for source in long:
        lines += wrap(f"{mark[source]} {source}", WIDTH, break_on_hyphens=False, break_long_words=False)
    return lines


def _short(text):
    """A figure without the unit that its label names already; prefixed units stay."""
    for unit in (" parameters", " per token", " GPU-hours", " tokens/s", " days", " FLOP"):
        text = text.removesuffix(unit)
    return text


def _range(span: Span) -> str:
    """A figure and, where it has one, its range."""
    unit = "%" if span.unit == "1" else span.unit
    text, ends = _written(span.value, unit), _written(Interval(span.low, span.high), unit)
    return text if span.low == span.high else f"{text} ({ends})"


def _binds(shares, name):
    return f"{MEANING.get(name, name)}, {fmt(shares[name], '%')} of the time"


def layout(found: Layout) -> str:
    """A layout in words."""
    chunks = f" in {found.chunks} chunks" if found.chunks > 1 else ""
    words = {"none": "nothing", "selective": "scores", "full": "all"}[found.recompute] + " recomputed"
    expert = f", experts over {found.expert}" if found.expert > 1 else ""
    return (
        f"{found.tensor} tensor x {found.pipeline} pipeline{chunks} x {found.data} data{expert}, "
        f"micro-batch {found.micro_batch}, {words}, ZeRO stage {found.zero}"
    )


def stages(layers) -> str:
    """The layers of each stage in words: "1 stage of 7 layers, 14 of 8, 1 of 7"."""
    (size, n), *rest = [(size, len(list(group))) for size, group in groupby(layers)]
    more = (f", {n} of {size}" for size, n in rest)
    return f"{n} stage{'s' * (n > 1)} of {size} layer{'s' * (size > 1)}" + "".join(more)


def _model(m: ModelReport):
    share = {name: size / m.parameters for name, size in m.parameters_by_part.items()}
    largest = sorted(share, key=share.get, reverse=True)[:3]
    scores = "without attention scores: the file gives no context"
    if m.mean_context_tokens:
        mean = number(m.mean_context_tokens)
        scores = f"at a mean context of {mean} tokens, scores {fmt(m.scores_share, '%')}"
    counts = (m.active_parameters, m.active_without_input_table, m.parameters_without_mtp or 0)
    active, flops, without = (_short(fmt(n, "parameter")) for n in counts)
    table = f" ({flops} without the input table, by which forward FLOP are counted)"
    further = f", {without} without the blocks that predict further tokens"
    return [
        (
            "parameters",
            f"{fmt(m.parameters, 'parameter')}{further if m.parameters_without_mtp else ''}, "
            f"{active} active{table if active != flops else ''}",
        ),
        ("mostly", ", ".join(f"{name.replace('_', ' ')} {fmt(share[name], '%')}" for name in largest)),
        ("forward FLOP", f"{fmt(m.forward_flop_per_token, 'FLOP/token')} {scores}"),
        *(("KV cache", f"{_kept(x)} of {number(x.context_tokens)} tokens") for x in m.caches),
    ]


def _kept(x: CacheReport | ServingReport) -> str:
    """The cache of a sequence; whole pages for every layer only where windows or chunks keep less."""
    kept, pages, state = (
        fmt(size, "byte")
        for size in (x.kv_cache_bytes_per_sequence, x.kv_cache_bytes_full_pages, x.state_bytes_per_sequence)
    )
    text = f"{kept} a sequence" + (f" ({pages} in whole pages)" if pages != kept else "")
    return text + (f", {state} of states" if x.state_bytes_per_sequence else "")


def _training(t: TrainingReport):
    missed = fmt(t.efficiency_error, "%", 2)
    rows = [
        ("tokens", f"{fmt(t.tokens, 'token')}, {_range(t.flop)}"),
        ("cluster", f"{number(t.gpus)} x {t.gpu}"),
        ("efficiency", f"{t.efficiency}, which misses {missed} on {t.efficiency_card}"),
        *(_layouts(t.layouts) if t.layouts else [("layouts", t.no_layout)]),
        ("utilisation", f"{_range(t.mfu)}, from {t.mfu_from}"),
        ("time", f"{_range(t.days)}, {_range(t.gpu_hours)}"),
    ]
    if t.cost_usd:
        inner = Interval(t.cost_usd_p5, t.cost_usd_p95)
        rows.append(("cost", f"{_range(t.cost_usd)}; 90% of draws {fmt(inner, 'USD')}"))
    return rows


def _layouts(x: LayoutsReport):
    counts = f"{number(x.layouts)} divide the cluster, {number(x.layouts_that_fit)} fit the memory"
    needed, there = fmt(x.memory_bytes_per_gpu, "byte"), fmt(x.memory_bytes_limit, "byte")
    binds = f"{_binds(x.step_share, x.binds_step)}; utilisation if memory were no limit"
    stage = "" if x.memory_stage == "only" else f" on the {x.memory_stage} stage"
    saved, reached = fmt(x.softmax_share, "%"), fmt(x.mfu_if_attention_were_fused, "%")
    beside = f"; fused it would save {saved} of the step and reach {reached}"
    best = {f"best{' in limits' if x.limits else ''}": x.layout}
    best |= {"best of all": x.best_layout} if x.best_layout != x.layout else {}
    return [
        ("layouts", counts),
        *((label, f"{layout(each.layout)}: {fmt(each.mfu, '%')}") for label, each in best.items()),
        *([("stages", stages(x.layout.layout.stage_layers))] if x.layout.layout.stage_layers else []),
        ("step", fmt(x.step_seconds, "second")),
        ("memory of a GPU", f"{needed} of {there}{stage}, mostly {x.binds_memory}"),
        ("binds", f"{binds}: {fmt(x.mfu_if_memory_were_no_limit, '%')}"),
        ("attention", x.attention + (beside if x.attention == "unfused" else "")),
    ]


def _serving(s: ServingReport):
    uneven = f"{number(s.layers_per_stage)} layers each on average: stages count as evenly loaded"
    uneven = stages(s.stage_layers) if s.stage_layers else uneven
    each, other = s.kv_cache_bytes_per_token_and_gpu, s.other_kv_cache_bytes_per_token_and_gpu
    divided = f"{fmt(each, 'byte')} a token on a GPU, divided by {s.cache}"
    if each != other:
        batch = f"largest batch {number(s.other_largest_batch)}"
        divided += f"; by {s.other_cache} {fmt(other, 'byte')}, {batch}"
    formats = (
        f"{number(s.bytes_per_expert_weight)} bytes each in experts, {number(s.bytes_per_weight)} elsewhere"
    )
    memory = (s.weight_bytes_per_gpu, s.cache_bytes_per_gpu, s.memory_bytes_limit)
    shares = {name: seconds / s.pass_seconds for name, seconds in s.pass_seconds_by_part.items()}
    flight, rate, all_users = map(number, (s.sequences_in_flight, s.tokens_per_s_per_user, s.tokens_per_s))
    rows = [
        ("server", f"{s.gpus} x {s.gpu}, {number(s.context_tokens)} tokens of context"),
        *([("stages", uneven)] if s.stage_layers or s.layers_per_stage % 1 else []),
        *([("weights", formats)] if s.bytes_per_expert_weight != s.bytes_per_weight else []),
        ("KV cache", f"{fmt(s.kv_cache_bytes_per_token, 'byte')} a token, {_kept(s)}"),
        ("cache of a rank", divided),
        ("memory of a GPU", "{} weights, {} cache, of {}".format(*(fmt(size, "byte") for size in memory))),
        ("largest batch", f"{number(s.largest_batch)} sequences a pass"),
        ("batch", f"{number(s.batch)} a pass, {flight} in flight; set by {s.batch_from}"),
        ("speed", f"{rate} tokens/s a user, {all_users} in all"),
        ("binds", _binds(shares, s.binds_pass)),
        ("utilisation", fmt(s.mfu, "%")),
    ]
    if s.first_token_seconds is not None:
        rows.append(("first token after", fmt(s.first_token_seconds, "second")))
    if s.cost_usd_per_1000_tokens:
        rows.append(("1,000 tokens cost", _range(s.cost_usd_per_1000_tokens)))
    return rows
