"""Charts that the reader turns: the curve is the law itself, evaluated by the browser.

`explore` prints a law as a Vega expression over named parameters bound to sliders. JupyterLab and the
site draw it live; a stored picture stands in where scripts do not run.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from ..spine.browser import browser_name
from ..spine.errors import BadInput
from ..spine.units import unit_factor

POINTS = 201


@dataclass(frozen=True)
class Slider:
    """A slider for one input, in the reader's unit: from `lo` to `hi`, starting at `start`.

    `label` replaces the symbol's meaning and unit.
    """

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
    `y_unit`: the stated range; `y_range` holds the axis still. Raises BadInput where an input has no slider or a slider no input.
    """
    import altair as alt

    from ..chapters.index import find_law

    found, fixed = find_law(law), fixed or {}
    missing = {s.name for s in found.symbols} - {x, *sliders, *fixed}
    strange = {x, *sliders, *fixed} - {s.name for s in (*found.symbols, *found.constants)}
    if missing or strange:
        raise BadInput(
            f"{law}: no slider for {sorted(missing)}" if missing else f"{law} has no input {sorted(strange)}"
        )
    units = {s.name: s.unit for s in (*found.symbols, *found.constants)}
    factors = {name: unit_factor(s.unit, units[name]) for name, s in {x: x_range, **sliders}.items()}
    y_factor = unit_factor(y_unit, found.lhs.unit)
    terms = {name: f"{value!r}" for name, value in fixed.items()}
    terms |= {
        name: f"({'datum.x' if name == x else browser_name(name)} * {factor!r})"
        for name, factor in factors.items()
    }
    expression = f"({found.browser(terms)}) / {y_factor!r}"

    params = [alt.param(name="x_at", value=x_range.start, bind=_range(x_range, x, found))]
    params += [
        alt.param(name=browser_name(name), value=s.start, bind=_range(s, name, found))
        for name, s in sliders.items()
    ]
    ratio = f"datum.i / {POINTS - 1}"
    spread = (
        f"{x_range.lo!r} * pow({x_range.hi / x_range.lo!r}, {ratio})"
        if log_x
        else f"{x_range.lo!r} + {x_range.hi - x_range.lo!r} * {ratio}"
    )
    curve = (
        alt.Chart(alt.sequence(0, POINTS, as_="i"))
        .transform_calculate(x=spread)
        .transform_calculate(y=expression)
    )
    dot = (
        alt.Chart(alt.InlineData(values=[{}])).transform_calculate(x="x_at").transform_calculate(y=expression)
    )
    y_scale = alt.Scale(
        type="log" if log_y else "linear",
        **({} if log_y else {"zero": False}),
        **({"domain": list(y_range), "clamp": True} if y_range else {}),
    )
    where = {
        "x": alt.X(
            "x:Q",
            title=_label(x_range, x, found),
            scale=alt.Scale(type="log" if log_x else "linear", domain=[x_range.lo, x_range.hi], nice=False),
        ),
        "y": alt.Y("y:Q", title=y_label, scale=y_scale),
    }
    layers = [
        curve.mark_line(strokeWidth=3, color="#0072B2").encode(**where),
        dot.mark_point(filled=True, size=110, opacity=1, color="#D55E00").encode(**where),
        dot.transform_calculate(label="format(datum.y, abs(datum.y) < 1 ? '.3~g' : '.3~s')")
        .mark_text(dy=-14, fontSize=14, fontWeight="bold")
        .encode(**where, text="label:N"),
    ]
    if band:
        limits = alt.Chart(alt.InlineData(values=[{"lo": band[0], "hi": band[1], "label": band[2]}]))
        layers.insert(
            0,
            limits.mark_rect(color="#E69F00", opacity=0.35).encode(
                y=alt.Y("lo:Q", title=y_label, scale=y_scale), y2="hi:Q"
            ),
        )
        layers.append(
            limits.mark_text(align="left", x=6, dy=-8, fontSize=13).encode(y="hi:Q", text="label:N")
        )
    chart = alt.layer(*layers).properties(width=560, height=300, description=description).add_params(*params)
    spec = chart.configure_axis(labelFontSize=12, titleFontSize=13).to_dict()
    spec["$schema"] = "https://vega.github.io/schema/vega-lite/v5.json"
    spec["usermeta"] = {
        "law": law,
        "x": x,
        "y": found.lhs.name,
        "factors": {**factors, "y": y_factor},
        "fixed": fixed,
        "sliders": {name: browser_name(name) for name in sliders},
    }
    return Chart(spec)


def _label(slider, name, law):
    meaning = next(s.meaning for s in (*law.symbols, *law.constants) if s.name == name)
    return slider.label or (meaning if slider.unit == "1" else f"{meaning} ({slider.unit})")


def _range(slider, name, law):
    import altair as alt

    return alt.binding_range(
        min=slider.lo,
        max=slider.hi,
        step=slider.step or (slider.hi - slider.lo) / 200,
        name=_label(slider, name, law) + " ",
    )
