"""The workbench's report as text of at most 80 columns, and single figures of it as a reader writes them."""

from __future__ import annotations

from textwrap import wrap

from ..show.tables import Table
from ..spine.interval import Interval
from ..spine.text import fmt, number
from ..spine.units import base_unit, unit_factor
from .file import FIGURES

LABEL, WIDTH = 20, 76
MEANING = {  # what binds, in words
    "memory": "reading weights and cache",
    "compute": "matrix products",
    "tensor": "all-reduces of tensor parallelism",
    "split": "the divided cache",
    "expert": "tokens to their experts and back",
    "hop": "hops between stages",
    "layers": "the fixed time of each layer",
    "bubble": "the pipeline bubble",
    "repeated": "work done twice",
    "pipeline": "hops between stages",
    "loss": "logits and loss",
    "data": "the gradient's collectives",
    "optimiser": "the optimiser",
}


def figure(name: str, value, digits: int = 3) -> str:
    """A figure of the report as a reader writes it: `figure("training.days", 95.0)` is "95.0 days".

    >>> figure("training.gpu_hours", 30.84e6), figure("training.mfu", Interval(0.32, 0.36))
    ('30.8 million GPU-hours', '32.0% to 36.0%')
    """
    unit = FIGURES[name][1]
    if unit == "%":
        return fmt(value, "%", digits)
    base = base_unit(unit)
    factor = unit_factor(unit, base)
    scaled = (
        Interval(value.lo * factor, value.hi * factor)
        if isinstance(value, Interval)
        else float(value) * factor
    )
    text = fmt(scaled, base, digits)
    return text.replace(" token/GPU/second", " tokens/s").replace(" GPU*second", "")


def to_text(found: dict) -> str:
    """The whole report. Each line is a label and what the laws say."""
    lines = [found["name"], "=" * len(found["name"]), *wrap(found["about"], WIDTH), ""]
    sections = {"Model": _model(found["model"])}
    if "training" in found:
        sections["Training"] = _training(found["training"])
    if "serving" in found:
        sections["Serving"] = _serving(found["serving"])
    for title, rows in sections.items():
        lines += [title, "-" * len(title)]
        for label, text in rows:
            first, *rest = wrap(text, WIDTH - LABEL, break_on_hyphens=False) or [""]
            lines += [f"{label:<{LABEL}}{first}", *(" " * LABEL + line for line in rest)]
        lines.append("")
    if found["published"]:
        lines += ["Against published figures", "-" * 25, *_published(found["published"]), ""]
    lines += [f"Left out: {text}." for text in found["left_out"]]
    lines += wrap(
        "Counted figures follow from the shape alone. Training uses constants fitted to ten runs on A100 in 2021. "
        "Serving is at data-sheet rates: what a real server reaches is less.",
        WIDTH,
    )
    return "\n".join(lines)


def against(published: list) -> Table:
    """Published figures, ours, the ratio and the source; units stand in the first column's words."""
    rows = []
    for row in published:
        span = Interval(row["published_low"], row["published_high"])
        printed = span if row["figure"] in ("training.mfu", "training.days") else row["published"]
        texts = (figure(row["figure"], value) for value in (printed, row["ours"]))
        rows.append((row["words"], *map(_short, texts), f"{row['ratio']:.2f}", row["source"]))
    return Table(rows, ("figure", "published", "here", "ratio", "source"))


def _published(rows):
    """The table, with sources that are too long for a column below it."""
    long = list(dict.fromkeys(row["source"] for row in rows if len(row["source"]) > LABEL))
    noted = [
        row | {"source": f"[{long.index(row['source']) + 1}]"} if row["source"] in long else row
        for row in rows
    ]
    lines = repr(against(noted)).splitlines()
    for i, source in enumerate(long, 1):
        lines += wrap(f"[{i}] {source}", WIDTH, break_on_hyphens=False, break_long_words=False)
    return lines


def _short(text):
    """A figure without the unit that its label names already; prefixed units stay."""
    for unit in (" parameters", " per token", " GPU-hours", " tokens/s", " days", " FLOP"):
        text = text.removesuffix(unit)
    return text


def _range(section, key, unit, scale=1.0):
    """A figure and, where it has one, its range."""
    middle, low, high = (section[name] * scale for name in (key, f"{key}_low", f"{key}_high"))
    text = fmt(middle, unit)
    return text if low == high else f"{text} ({fmt(Interval(low, high), unit)})"


def _binds(shares, name):
    return f"{MEANING.get(name, name)}, {fmt(shares[name], '%')} of the time"


def layout(found: dict) -> str:
    """A layout in words."""
    chunks = f" in {found['chunks']} chunks" if found["chunks"] > 1 else ""
    words = {"none": "nothing", "selective": "scores", "full": "all"}[found["recompute"]] + " recomputed"
    expert = f", experts over {found['expert']}" if found["expert"] > 1 else ""
    return (
        f"{found['tensor']} tensor x {found['pipeline']} pipeline{chunks} x {found['data']} data{expert}, "
        f"micro-batch {found['micro_batch']}, {words}, ZeRO stage {found['zero']}"
    )


def _model(m):
    share = {name: size / m["parameters"] for name, size in m["parameters_by_part"].items()}
    largest = sorted(share, key=share.get, reverse=True)[:3]
    parts = ", ".join(f"{name.replace('_', ' ')} {fmt(share[name], '%')}" for name in largest)
    context = f"at a mean context of {number(m['mean_context_tokens'])} tokens, scores {fmt(m['scores_share'], '%')}"
    scores = context if m["mean_context_tokens"] else "without attention scores: the file gives no context"
    return [
        (
            "parameters",
            f"{fmt(m['parameters'], 'parameter')}, {_short(fmt(m['active_parameters'], 'parameter'))} active",
        ),
        ("mostly", parts),
        ("forward FLOP", f"{fmt(m['forward_flop_per_token'], 'FLOP/token')} {scores}"),
    ]


def _training(t):
    rows = [
        ("tokens", f"{fmt(t['tokens'], 'token')}, {_range(t, 'flop', 'FLOP')}"),
        ("cluster", f"{number(t['gpus'])} x {t['gpu']}"),
    ]
    if "layout" in t:
        limits = " within the file's limits" if t["limits"] else ""
        rows += [
            (
                "layouts",
                f"{number(t['layouts'])} divide the cluster, {number(t['layouts_that_fit'])} fit the memory",
            ),
            (
                f"best{' in limits' if limits else ''}",
                f"{layout(t['layout'])}: {fmt(t['layout']['mfu'], '%')}",
            ),
        ]
        if t["best_layout"] != t["layout"]:
            rows.append(("best of all", f"{layout(t['best_layout'])}: {fmt(t['best_layout']['mfu'], '%')}"))
        rows += [
            ("step", fmt(t["step_seconds"], "second")),
            (
                "memory of a GPU",
                f"{fmt(t['memory_bytes_per_gpu'], 'byte')} of {fmt(t['memory_bytes_limit'], 'byte')}, "
                f"mostly {t['binds_memory']}",
            ),
            (
                "binds",
                _binds(t["step_share"], t["binds_step"]) + "; utilisation if memory were no "
                f"limit: {fmt(t['mfu_if_memory_were_no_limit'], '%')}",
            ),
            (
                "fused attention",
                f"would save {fmt(t['softmax_share'], '%')} of the step and reach "
                f"{fmt(t['mfu_if_attention_were_fused'], '%')}",
            ),
        ]
    else:
        rows.append(("layouts", t["no_layout"]))
    rows += [
        ("utilisation", f"{_range(t, 'mfu', '%')}, from {t['mfu_from']}"),
        ("time", f"{_range(t, 'days', 'second', 86400)}, {_range(t, 'gpu_hours', 'GPU*second', 3600)}"),
    ]
    if "cost_usd" in t:
        inner = Interval(t["cost_usd_p5"], t["cost_usd_p95"])
        rows.append(("cost", f"{_range(t, 'cost_usd', 'USD')}; 90% of draws {fmt(inner, 'USD')}"))
    return rows


def _serving(s):
    rows = [
        ("server", f"{s['gpus']} x {s['gpu']}, {number(s['context_tokens'])} tokens of context"),
        *(
            [
                (
                    "stages",
                    f"{number(s['layers_per_stage'])} layers each on average: stages count as evenly loaded",
                )
            ]
            if s["layers_per_stage"] % 1
            else []
        ),
        (
            "KV cache",
            f"{fmt(s['kv_cache_bytes_per_token'], 'byte')} a token, "
            f"{fmt(s['kv_cache_bytes_per_sequence'], 'byte')} a sequence",
        ),
        (
            "memory of a GPU",
            f"{fmt(s['weight_bytes_per_gpu'], 'byte')} weights, "
            f"{fmt(s['cache_bytes_per_gpu'], 'byte')} cache, "
            f"of {fmt(s['memory_bytes_limit'], 'byte')}",
        ),
        ("largest batch", f"{number(s['largest_batch'])} sequences a pass"),
        (
            "batch",
            f"{number(s['batch'])} a pass, {number(s['sequences_in_flight'])} in flight; "
            f"set by {s['batch_from']}",
        ),
        (
            "speed",
            f"{number(s['tokens_per_s_per_user'])} tokens/s a user, {number(s['tokens_per_s'])} in all",
        ),
        (
            "binds",
            _binds({k: v / s["pass_seconds"] for k, v in s["pass_seconds_by_part"].items()}, s["binds_pass"]),
        ),
        ("utilisation", fmt(s["mfu"], "%")),
    ]
    if "first_token_seconds" in s:
        rows.append(("first token after", fmt(s["first_token_seconds"], "second")))
    if "cost_usd_per_1000_tokens" in s:
        rows.append(("1,000 tokens cost", _range(s, "cost_usd_per_1000_tokens", "USD")))
    return rows
