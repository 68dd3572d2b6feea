"""Charts that the reader turns: the curve is the law itself, evaluated by the browser.

`explore` prints a law as a Vega expression over named parameters bound to sliders. JupyterLab and the
site draw it live; a stored picture stands in where scripts do not run.
"""

import base64
from dataclasses import dataclass

from ..chapters.index import find_law
from ..spine.browser import browser_name
from ..spine.errors import BadInput
from ..spine.units import unit_factor

POINTS = 201


@dataclass(frozen=True)
class Slider:
    """A slider for one input, in the reader's unit; `label` replaces the symbol's meaning and unit."""

    lo: float
    hi: float
    start: float
    unit: str = "1"
    step: float | None = None
    label: str = ""


class Chart:
    """A Vega-Lite chart that shows itself as specification, picture and text."""

    def __init__(self, spec: dict):
        self.spec = spec

    def _repr_mimebundle_(self, **_):
        import vl_convert

        png = vl_convert.vegalite_to_png(self.spec, scale=1)
        return {
            "application/vnd.vegalite.v5+json": self.spec,
            "image/png": base64.b64encode(png).decode(),
            "text/plain": self.spec["description"],
        }

    def __repr__(self):
        return self.spec["description"]


def explore(
    law: str,
    *,
    x: str,
    x_range: Slider,
    sliders: dict[str, Slider],
    y_unit: str,
    y_label: str,
    description: str,
    fixed: dict | None = None,
    band: tuple | None = None,
    log_x: bool = False,
    log_y: bool = False,
    y_range: tuple | None = None,
) -> Chart:
    """The law named "module.law" over its input `x`, every other input a slider or `fixed`.

    A dot and a number mark the value at `x_range.start`, itself a slider. `band` is (lo, hi, label) in
    `y_unit`: the stated range; `y_range` holds the axis still. Raises BadInput for an unknown law, a unit of
    another dimension, and where an input has no slider or a slider no input.
    """
    import altair as alt

    found, fixed = find_law(law), fixed or {}
    turned = {x: x_range, **sliders}
    units = _checked_units(law, found, turned, fixed)
    factors = {name: unit_factor(s.unit, units[name]) for name, s in turned.items()}
    factors["y"] = unit_factor(y_unit, found.lhs.unit)
    kind = {"type": "log"} if log_y else {"type": "linear", "zero": False}
    held = {"domain": list(y_range), "clamp": True} if y_range else {}
    y_axis = {"title": y_label, "scale": alt.Scale(**kind, **held)}
    scale = alt.Scale(type="log" if log_x else "linear", domain=[x_range.lo, x_range.hi], nice=False)
    x_axis = alt.X("x:Q", title=_label(x_range, x, found), scale=scale)
    where = {"x": x_axis, "y": alt.Y("y:Q", **y_axis)}
    below, above = _band(band, y_axis) if band else ([], [])
    layers = [*below, *_curve(_expression(found, x, factors, fixed), x_range, log_x, where), *above]
    params = [_param(found, name, slider, name == x) for name, slider in turned.items()]
    names = {name: browser_name(name) for name in sliders}
    meta = {"law": law, "x": x, "y": found.lhs.name, "factors": factors, "fixed": fixed, "sliders": names}
    return Chart(_finished(layers, params, description) | {"usermeta": meta})


def _checked_units(name, law, turned, fixed):
    """The unit of every letter of the law, once each input has a slider or a value and nothing else has."""
    given, units = {*turned, *fixed}, {s.name: s.unit for s in law.quantities.values()}
    if missing := {s.name for s in law.symbols} - given:
        raise BadInput(f"{name}: no slider for {sorted(missing)}")
    if strange := given - set(units):
        raise BadInput(f"{name} has no input {sorted(strange)}")
    return units


def _expression(law, x, factors, fixed):
    """The law for Vega, from the sliders' units to the axis's; x is the datum's."""
    terms = {name: f"{value!r}" for name, value in fixed.items()}
    for name in factors.keys() - {"y"}:
        terms[name] = f"({'datum.x' if name == x else browser_name(name)} * {factors[name]!r})"
    return f"({law.browser(terms)}) / {factors['y']!r}"


def _curve(expression, x_range, log_x, where):
    """The law's line, and the dot at x_at with its number."""
    import altair as alt

    lo, hi = x_range.lo, x_range.hi
    part = f"datum.i / {POINTS - 1}"
    spread = f"{lo!r} * pow({hi / lo!r}, {part})" if log_x else f"{lo!r} + {hi - lo!r} * {part}"
    points = alt.Chart(alt.sequence(0, POINTS, as_="i")).transform_calculate(x=spread)
    point = alt.Chart(alt.InlineData(values=[{}])).transform_calculate(x="x_at")
    line, dot = (data.transform_calculate(y=expression) for data in (points, point))
    written = dot.transform_calculate(label="format(datum.y, abs(datum.y) < 1 ? '.3~g' : '.3~s')")
    return (
        line.mark_line(strokeWidth=3, color="#0072B2").encode(**where),
        dot.mark_point(filled=True, size=110, opacity=1, color="#D55E00").encode(**where),
        written.mark_text(dy=-14, fontSize=14, fontWeight="bold").encode(**where, text="label:N"),
    )


def _band(band, y_axis):
    """The stated range below the curve, its label above it."""
    import altair as alt

    limits = alt.Chart(alt.InlineData(values=[dict(zip(("lo", "hi", "label"), band))]))
    low = alt.Y("lo:Q", **y_axis)
    stripe = limits.mark_rect(color="#E69F00", opacity=0.35).encode(y=low, y2="hi:Q")
    label = limits.mark_text(align="left", x=6, dy=-8, fontSize=13).encode(y="hi:Q", text="label:N")
    return [stripe], [label]


def _finished(layers, params, description):
    """The specification of all layers as one chart."""
    import altair as alt

    chart = alt.layer(*layers).properties(width=560, height=300, description=description).add_params(*params)
    spec = chart.configure_axis(labelFontSize=12, titleFontSize=13).to_dict()
    return spec | {"$schema": "https://vega.github.io/schema/vega-lite/v5.json"}


def _label(slider, name, law):
    meaning = law.quantities[name].meaning
    return slider.label or (meaning if slider.unit == "1" else f"{meaning} ({slider.unit})")


def _param(law, name, slider, on_axis):
    """The Vega parameter that a slider sets; that of the axis places the dot."""
    import altair as alt

    bound = "x_at" if on_axis else browser_name(name)
    step = slider.step or (slider.hi - slider.lo) / 200
    control = alt.binding_range(min=slider.lo, max=slider.hi, step=step, name=_label(slider, name, law) + " ")
    return alt.param(name=bound, value=slider.start, bind=control)
