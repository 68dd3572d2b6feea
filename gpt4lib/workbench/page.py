"""The workbench in the browser: a page of sliders, the report's main figures computed by the same laws.

`PAGE` is one chain: the counts of a model whose layers are all alike, its training, and the very pass of
`gpt4lib.systems.serving`, all weights in one format. The cache is divided by heads where there are as many as
ranks, and else by sequences. Python runs it, the browser gets it printed.
"""

from __future__ import annotations

import json
import re
from functools import cache

from sympy import Integer, Max, Min

from ..chapters import architecture
from ..chapters.architecture import N_emb, N_norm, N_route
from ..chapters.dense_wall import price_of_thousand
from ..chapters.inference_tradeoffs import N_held, split_time
from ..chapters.notation import C_tok, E, N, N_attn, N_exp, N_fix, Q_kv, Q_w, k, n_kv, tp
from ..chapters.parallelism import Q_rank
from ..chapters.training_cost import duration, rental_from_compute
from ..facts.devices import devices
from ..facts.files import read_csv
from ..show.charts import Chart, Slider
from ..spine.browser import browser_name
from ..spine.chain import Chain, link
from ..spine.errors import BadInput, pick
from ..spine.law import Law
from ..spine.units import base_unit, unit_factor
from ..systems.count import parameters
from ..systems.serving import PASS

# ---- a model of one kind of layer: untied tables, no biases, positions without parameters ------
_routers = architecture.router.rhs * Min(E - 1, Integer(1))
_matrices = N_attn + N_emb + N_route + k * N_exp
COUNTED = Chain(
    *(architecture.attention, architecture.mlp, architecture.vocabulary_table),
    Law(N_route, _routers, "Routers; none where there is one expert"),
    architecture.norms,
    Law(N_fix, N_attn + N_emb + N_route + N_norm, "Read by every pass: all but experts and input table"),
    Law(N_held, N_fix + N_emb, "Held outside the experts"),
    link("N_total", architecture.total, N_attn="N_held"),
    link("N", architecture.active, N_attn="N_held"),
    Law(C_tok, architecture.forward.rhs.xreplace({N: _matrices}), "Forward FLOP in matrix products"),
    architecture.pairs,
    architecture.token_cache,
)
_by_sequences = Max(Integer(0), Min(Integer(1), tp - n_kv))
_split = Law(split_time.lhs, split_time.rhs * _by_sequences, "Cache divided by sequences where heads are few")
PAGE = Chain(
    *(COUNTED, architecture.compute, duration, rental_from_compute, PASS.but(link("t_split", _split))),
    link("M_thousand", price_of_thousand),
    link("Q_used", Law(Q_rank, Q_w + Q_kv, "Memory that a serving GPU needs"), Q_w="Q_held", Q_kv="Q_cache"),
)

GPUS = ("A100-SXM 80GB", "H100-SXM 80GB", "H200-SXM", "B200-SXM")
_ENDS = ("lo", "hi", "start", "step")
OF_GPU = {"F": "bf16_flop_per_s", "mem": "memory_bytes", "mem_rate": "bandwidth_bytes_per_s"}
OF_GPU |= {"link_in": "link_one_way_bytes_per_s"}
SLIDERS = {  # by symbol of the laws; each starts at GPT-4 as described
    row["symbol"]: Slider(
        **{key: json.loads(row[key]) for key in _ENDS}, unit=row["unit"], label=row["label"]
    )
    for row in read_csv("sliders.csv")
}
CAPPED = {"n_kv": "n_h", "k": "E"}  # at most as many key-value heads as heads, experts of a token as experts
SET = dict.fromkeys(("n_norm", "ep", "overlap", "ceiling", "transfer", "usable"), 1)
SET |= {"d_h": 128, "kv_bytes": 2, "act_bytes": 2, "t_layer": 0, "link_out": 25e9}
ALIKE = {
    "expert_bytes": "weight_bytes",
    "cache_ranks": "tp",
    "m": "p",
    "n_tok": "B_seq",
    "d_qk": "d_h",
    "d_v": "d_h",
}
_SHORT, _PLAIN = "replace(format(v, '.3s'), 'G', 'B')", "format(v, '.3~r')"
OUT = (  # label, step, unit, and the text of the value v in that unit
    ("Parameters", "N_total", "1", _SHORT),
    ("Parameters active on a token", "N", "1", _SHORT),
    ("Training time", "t", "day", "format(v, ',.3~r') + ' days'"),
    ("Training cost", "M", "1", f"'$' + {_SHORT}"),
    ("Memory of a serving GPU", "Q_used", "GB", f"{_PLAIN} + ' of ' + format(mem / 1e9, '.3~r') + ' GB'"),
    ("Largest batch that fits", "B_max", "1", "v < 1 ? 'none' : format(floor(v), ',') + ' sequences a pass'"),
    ("Tokens per second for a user", "R_out", "1", _PLAIN),
    ("Cost of 1,000 tokens", "M_thousand", "1", f"'$' + {_PLAIN}"),
)


@cache
def factors() -> dict:
    """What a slider's value is multiplied by to stand in the unit of its symbol."""
    units = {s.name: s.unit for step in PAGE.links for s in step.law.symbols}
    return {name: 1.0 if s.unit == "1" else unit_factor(s.unit, units[name]) for name, s in SLIDERS.items()}


@cache
def sheet() -> dict:
    """What the data sheets give, by symbol, in the order of `GPUS`."""
    gpus = [devices()[name] for name in GPUS]
    return {name: [getattr(gpu, field) for gpu in gpus] for name, field in OF_GPU.items()}


def values(gpu: str = GPUS[0], **settings) -> dict:
    """Every letter of the page in base units; `settings` in the sliders' units, the rest where they start.

    >>> round(values()["N_total"] / 1e12, 2)
    1.83
    """
    given = {name: settings.get(name, slider.start) for name, slider in SLIDERS.items()}
    given |= {name: min(given[name], given[most]) for name, most in CAPPED.items()}
    known = SET | {name: value * factors()[name] for name, value in given.items()}
    known |= {name: numbers[GPUS.index(gpu)] for name, numbers in sheet().items()}
    return PAGE.run(known | {name: known[like] for name, like in ALIKE.items()})


def terms() -> dict:
    """The browser's term for every input of the page's chain."""
    found = {name: repr(float(value)) for name, value in SET.items()} | {name: name for name in sheet()}
    for name, factor in factors().items():
        found[name] = browser_name(name) if factor == 1 else f"({browser_name(name)} * {factor!r})"
    found |= {name: f"min({browser_name(name)}, {browser_name(most)})" for name, most in CAPPED.items()}
    return found | {name: found[like] for name, like in ALIKE.items()}


def preset(case, found) -> dict:
    """The settings of a case and its report that have a slider; the utilisation as published, where it is.

    Raises BadInput for a GPU without a place, or a model of unlike layers or with heads not 128 wide.
    """
    s, t, served = case.shape, found.training, found.serving
    alike = set(s.mixing_layers) == {"full"} and len(s.mlp_layers) == 1
    if s.latent or s.d_head != SET["d_h"] or s.n_shared_experts or not alike:
        raise BadInput(f"the page takes layers of one kind and heads of {SET['d_h']}, got {s.name}")
    inside = (s.d_ff_expert, s.expert_matrices) if s.n_experts else (s.d_ff, s.mlp_matrices)
    known = {"L": s.layers, "d": s.d_model, "n_h": s.n_heads, "n_kv": s.n_kv_heads, "V": s.vocab}
    known |= {"d_ff": inside[0], "E": max(1, s.n_experts), "k": max(1, s.top_k), "n_mat": inside[1]}
    if t:
        printed = [row.published.value for row in found.published if row.figure == "training.mfu"]
        share = (printed or [t.mfu.value])[0] / factors()["mfu"]
        known |= {"gpu": t.gpu, "n": t.gpus, "D": t.tokens / factors()["D"], "mfu": round(2 * share) / 2}
    if served:
        server, held = case.serving.server, case.serving.server.facts()
        experts = parameters(s).parts["experts"] / parameters(s).total
        weight = held["weight_bytes"] * (1 - experts) + held["expert_bytes"] * experts  # the mean
        known |= {"gpu": str(server.gpu), "tp": server.tensor, "p": server.pipeline}
        known |= {"B_seq": served.batch, "S": served.context_tokens, "weight_bytes": weight}
    pick(known.get("gpu", GPUS[0]), GPUS, "GPU of the page")
    return known


def page(*, description: str, presets: dict | None = None) -> Chart:
    """The workbench as a chart: a slider for each of `SLIDERS`, a bar for each of `OUT` against its start.

    `presets` are settings by name, in the sliders' units; "gpu" is a name of `GPUS`.
    """
    import altair as alt

    layers = alt.layer(*_bars()).properties(width=560, height=42 * len(OUT), description=description)
    chart = layers.add_params(*_params())
    spec = chart.configure_axis(labelFontSize=12, titleFontSize=13).to_dict()
    spec["$schema"] = "https://vega.github.io/schema/vega-lite/v5.json"
    known = []
    for name, settings in (presets or {}).items():
        own = {browser_name(s): GPUS.index(v) if s == "gpu" else v for s, v in settings.items()}
        known.append({"name": name, "settings": own})
    sliders = {name: browser_name(name) for name in SLIDERS}
    spec["usermeta"] = {"steps": [step.name for step in PAGE.links], "sliders": sliders, "presets": known}
    return Chart(spec)


def _params() -> list:
    """The sliders, the choice of a GPU, what its data sheet gives, and the laws in their order."""
    import altair as alt

    found = []
    for name, s in SLIDERS.items():
        bind = alt.binding_range(min=s.lo, max=s.hi, step=s.step, name=s.label + " ")
        found.append(alt.param(name=browser_name(name), value=s.start, bind=bind))
    choice = alt.binding_select(options=list(range(len(GPUS))), labels=list(GPUS), name="GPU ")
    found.insert(list(SLIDERS).index("D"), alt.param(name="gpu", value=0, bind=choice))
    found += [alt.param(name=name, expr=f"{numbers!r}[gpu]") for name, numbers in sheet().items()]
    return found + [alt.param(name=name, expr=expression) for name, expression in PAGE.browser(terms())]


def _bars() -> list:
    """For each of `OUT` a bar from its start to where it stands, a point there, and label and value above."""
    import altair as alt

    start, scales = values(), [unit_factor(unit, base_unit(unit)) for _, _, unit, _ in OUT]
    shown = [f"{step} / {scale!r}" for (_, step, *_), scale in zip(OUT, scales)]
    began = [start[step] / scale for (_, step, *_), scale in zip(OUT, scales)]
    texts = [re.sub(r"\bv\b", "datum.value", text) for *_, text in OUT]
    over = f"(datum.label == {OUT[4][0]!r} && Q_used > mem ? ' (does not fit)' : '')"
    base = (
        alt.Chart(alt.InlineData(values=[{"row": i, "label": label} for i, (label, *_) in enumerate(OUT)]))
        .transform_calculate(value=f"[{', '.join(shown)}][datum.row]")
        .transform_calculate(ratio=f"datum.value / {began!r}[datum.row]")
        .transform_calculate(text=f"datum.label + ': ' + [{', '.join(texts)}][datum.row] + {over}")
    )
    y = alt.Y("row:Q", scale=alt.Scale(domain=[-0.75, len(OUT) - 0.55], reverse=True, nice=False), axis=None)
    x = alt.X(
        "ratio:Q",
        title="against the start (GPT-4 as described)",
        scale=alt.Scale(type="log", domain=[0.02, 50], clamp=True),
        axis=alt.Axis(values=[0.02, 0.1, 0.5, 1, 2, 10, 50], format="~g", grid=True),
    )
    text = base.mark_text(align="left", dy=-15, fontSize=13, fontWeight="bold")
    return [
        base.mark_rule(strokeWidth=9, color="#0072B2").encode(x=x, x2=alt.X2Datum(1), y=y),
        base.mark_point(filled=True, size=90, opacity=1, color="#D55E00").encode(x=x, y=y),
        text.encode(x=alt.value(2), y=y, text="text:N"),
    ]
