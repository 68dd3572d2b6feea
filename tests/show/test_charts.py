"""What the browser evaluates is what NumPy evaluates; the library imports lightly; notation is unique."""

import re
import subprocess
import sys

import numpy as np
import pytest
import vl_convert

from gpt4lib.chapters.index import LAWS, symbols
from gpt4lib.show.charts import Slider, explore
from gpt4lib.spine.browser import browser_name
from gpt4lib.spine.errors import BadInput
from gpt4lib.spine.law import Quantity
from gpt4lib.spine.units import base_unit


def vega(expression, rows):
    """The values that Vega's own interpreter gives for `expression` on rows of data."""
    spec = {
        "data": {"values": rows},
        "transform": [{"calculate": expression, "as": "value"}],
        "mark": "text",
        "encoding": {"text": {"field": "value", "type": "quantitative", "format": ".15e"}},
    }
    svg = vl_convert.vegalite_to_svg(spec)
    return np.array([float(t.replace("−", "-")) for t in re.findall(r"<text[^>]*>([^<]+)</text>", svg)])


@pytest.mark.parametrize("name", LAWS)
def test_browser_and_numpy_agree_at_random_points(name):
    law, rng = LAWS[name], np.random.default_rng(7)
    draws = {}
    for s in law.symbols:
        draws[s.name] = rng.uniform(0.05, 0.4, 8) if s.at_most else rng.uniform(2, 9, 8)
    try:
        ours = law(**draws)
    except BadInput:
        pytest.skip("no value at these points")
    expression = law.browser({s: f"datum.{s}" for s in draws})
    rows = [{s: draws[s][i] for s in draws} for i in range(8)]
    assert vega(expression, rows) == pytest.approx(ours, rel=1e-9)


@pytest.mark.parametrize("name", LAWS)
def test_both_sides_of_every_law_have_one_dimension(name):
    LAWS[name].check_dimensions()
    assert LAWS[name].title


def test_a_chart_carries_its_law_and_starts_at_the_stated_point():
    chart = explore(
        "training_cost.rental_from_compute",
        x="mfu",
        x_range=Slider(10, 70, 34, "percent"),
        fixed={"F": 312e12},
        sliders={"C": Slider(5, 50, 21.5, "YFLOP"), "price": Slider(0.5, 4, 1, "USD/GPU/hour")},
        y_unit="MUSD",
        y_label="cost",
        description="57 million at 34%",
        band=(62.5, 63.5, "stated"),
        y_range=(0, 200),
    )
    bundle = chart._repr_mimebundle_()
    assert {"application/vnd.vegalite.v5+json", "image/png", "text/plain"} == set(bundle)
    assert bundle == chart._repr_mimebundle_(), "two runs must store the same"
    steps = [
        t["calculate"] for layer in chart.spec["layer"] for t in layer.get("transform", []) if t["as"] == "y"
    ]
    by_hand = 1 / 3600 * 21.5e24 / (312e12 * 0.34) / 1e6
    assert vega(steps[0].replace("price", "1").replace("C", "21.5"), [{"x": 34}]) == pytest.approx([by_hand])


def test_a_chart_without_a_slider_for_an_input_is_refused():
    with pytest.raises(BadInput, match="no slider for"):
        explore(
            "architecture.compute",
            x="N",
            x_range=Slider(1, 2, 1, "parameter"),
            sliders={},
            y_unit="FLOP",
            y_label="",
            description="",
        )
    with pytest.raises(BadInput, match="no input"):
        explore(
            "architecture.compute",
            x="N",
            x_range=Slider(1, 2, 1, "parameter"),
            fixed={"D": 1, "Z": 1},
            sliders={},
            y_unit="FLOP",
            y_label="",
            description="",
        )


def test_notation_is_unique_and_coherent():
    found = [s for s in vars(symbols).values() if isinstance(s, Quantity)]
    assert len({s.name for s in found}) == len(found)
    shown = [s.tex for s in found if s.value is None]
    assert sorted(set(shown)) == sorted(shown), "two symbols are typeset alike"
    for s in found:
        assert base_unit(s.unit) and s.meaning and vars(symbols)[s.name] is s
    assert browser_name("E") == "E_" and browser_name("mfu") == "mfu"


def test_importing_the_library_loads_nothing_heavy():
    code = (
        "import gpt4lib.chapters.index, gpt4lib.ledger, sys; "
        "print([m for m in ('pint', 'matplotlib', 'altair', 'pandas') if m in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


def test_glue_works_without_myst_nb():
    code = "import sys; sys.modules['myst_nb'] = None; from gpt4lib import glue; glue('a', '57')"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "57"
    )
