"""The charts of the built site: sliders, themes, and the picture where scripts do not run."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from site_pages import PAGES, SITE, Visit, outside

from gpt4lib.chapters.index import find_law

CURVES = r"""(chart) => {
  const data = chart.view.getState({ data: () => true }).data, found = [];
  for (const name of Object.keys(data))
    if (/^(data|source)_\d+$/.test(name)) for (const row of chart.view.data(name))
      if (Number.isFinite(row.x) && Number.isFinite(row.y)) found.push([row.x, row.y]);
  return found;
}"""

NEAR = """async () => {
  const chart = document.querySelectorAll(".gpt4-chart")[%d];
  chart.scrollIntoView({ block: "center", behavior: "instant" });
  while (!chart.view) await new Promise((done) => setTimeout(done, 20));
}"""  # scroll to one chart and wait until it is drawn; the rest of the page stays as it is

SIGNAL = "([chart, name]) => chart.view.signal(name)"


def charts():
    """(page, number of the chart on it, its specification) for every chart of the site."""
    for name in PAGES:
        found = re.findall(
            r'<div class="gpt4-chart">.*?<script type="application/json">(.*?)</script>',
            (SITE / name).read_text("utf-8"),
            re.S,
        )
        for number, text in enumerate(found):
            yield pytest.param(name, number, json.loads(text), id=f"{Path(name).stem}-{number}")


EVERY = list(charts()) if SITE.exists() else []
CHARTS = [chart for chart in EVERY if "law" in chart.values[2]["usermeta"]]
WORKBENCH = [chart for chart in EVERY if "steps" in chart.values[2]["usermeta"]]


def test_the_finished_chapters_have_charts():
    assert {p.values[0] for p in CHARTS} >= {
        "notebooks/02_architecture.html",
        "notebooks/05_training_cost.html",
    }


def law_values(meta, x, sliders):
    """What the law itself gives, through NumPy, in the chart's units."""
    law = find_law(meta["law"])
    inputs = {s: value * meta["factors"][s] for s, value in sliders.items()}
    known = {s.name for s in law.symbols}
    given = {**meta["fixed"], **inputs, meta["x"]: x * meta["factors"][meta["x"]]}
    return law(**{k: v for k, v in given.items() if k in known}) / meta["factors"]["y"]


@pytest.fixture(scope="module")
def reader(browser, site):
    """A function that scrolls to a chart; a page stays open while its charts are asked for in turn."""
    visits = {}

    def go(name, number):
        if name not in visits:
            leave()
            visits[name] = Visit(browser, name, 1280, "() => 0")
        visits[name].page.evaluate(NEAR % number)
        return visits[name]

    def leave():
        for visit in visits.values():
            visit.page.close()
        visits.clear()

    yield go
    leave()


@pytest.mark.parametrize("name, number, spec", CHARTS)
def test_sliders_redraw_the_law(reader, name, number, spec):
    """Each slider changes the curve, and the browser's numbers are those of NumPy."""
    visit = reader(name, number)
    page, meta = visit.page, spec["usermeta"]
    chart = page.locator(".gpt4-chart").nth(number)
    handle = chart.element_handle()
    sliders = {p["name"]: p for p in spec["params"] if p.get("bind", {}).get("input") == "range"}
    assert set(meta["sliders"].values()) <= set(sliders) and sliders
    before = page.evaluate(CURVES, handle)
    assert len(before) > 50
    for slider, param in sliders.items():
        control = chart.locator(f'input[type=range][name="{slider}"]')
        assert (control.get_attribute("aria-label") or "").strip()
        control.focus()
        for _ in range(3):
            page.keyboard.press("ArrowRight" if param["value"] < param["bind"]["max"] else "ArrowLeft")
        page.evaluate("(chart) => chart.view.runAsync().then(() => null)", handle)
        after = page.evaluate(CURVES, handle)
        assert after != before, f"moving {slider} changes nothing"
        before = after
        values = {s: page.evaluate(SIGNAL, [handle, name]) for s, name in meta["sliders"].items()}
        assert page.evaluate(SIGNAL, [handle, slider]) != param["value"]
        x, y = np.array(after).T
        np.testing.assert_allclose(y, law_values(meta, x, values), rtol=1e-9)
    assert not visit.problems and not outside(visit.requests)


@pytest.mark.parametrize("name, number, spec", CHARTS[:1])
def test_chart_follows_the_window(fresh, name, number, spec):
    """From a phone's width to a wide one: the chart is as wide as its box, and not squashed."""
    page = fresh(name, 390, NEAR % number)
    for width in (1280, 390, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function(
            """(number) => { const box = document.querySelectorAll(".gpt4-chart")[number];
          const canvas = box.querySelector("canvas").getBoundingClientRect();
          return box.querySelector("canvas").width === box.clientWidth && canvas.height > 200; }""",
            arg=number,
            timeout=5000,
        )
        page.wait_for_timeout(500)
    assert page.locator(".gpt4-chart canvas").nth(number).bounding_box()["height"] > 200


@pytest.mark.parametrize("name, number, spec", CHARTS[:1])
def test_change_of_theme_keeps_the_sliders(fresh, name, number, spec):
    page = fresh(name, ready=NEAR % number)
    slider = next(iter(spec["usermeta"]["sliders"].values()))
    chart = page.locator(".gpt4-chart").nth(number)
    chart.locator(f'input[name="{slider}"]').focus()
    page.keyboard.press("End")
    moved = page.evaluate(SIGNAL, [chart.element_handle(), slider])
    page.evaluate("""async () => {
      const root = document.documentElement, chart = document.querySelector(".gpt4-chart");
      const old = chart.view; root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
      while (chart.view === old) await new Promise((done) => setTimeout(done, 20)); }""")
    assert moved == next(p["bind"]["max"] for p in spec["params"] if p.get("name") == slider)
    assert page.evaluate(SIGNAL, [chart.element_handle(), slider]) == moved


@pytest.mark.parametrize("name, number, spec", WORKBENCH)
def test_workbench_computes_the_laws(fresh, name, number, spec):
    """Each slider moves some figure, a preset moves all, and every step is what NumPy gives."""
    from gpt4lib.workbench import page as workbench_page

    page, steps = fresh(name, ready=NEAR % number), spec["usermeta"]["steps"]
    chart = page.locator(".gpt4-chart").nth(number)
    handle = chart.element_handle()
    sliders, gpus = spec["usermeta"]["sliders"], workbench_page.GPUS

    def read():
        page.evaluate("(chart) => chart.view.runAsync().then(() => null)", handle)
        found = {step: page.evaluate(SIGNAL, [handle, step]) for step in steps}
        set_ = {symbol: page.evaluate(SIGNAL, [handle, signal]) for symbol, signal in sliders.items()}
        ours = workbench_page.values(gpu=gpus[page.evaluate(SIGNAL, [handle, "gpu"])], **set_)
        np.testing.assert_allclose([found[s] for s in steps], [ours[s] for s in steps], rtol=1e-9)
        return found

    before = read()
    for symbol, signal in sliders.items():
        control = chart.locator(f'input[type=range][name="{signal}"]')
        assert (control.get_attribute("aria-label") or "").strip()
        control.focus()
        lowest = workbench_page.SLIDERS[symbol].lo
        page.keyboard.press("ArrowLeft" if page.evaluate(SIGNAL, [handle, signal]) > lowest else "ArrowRight")
        after = read()
        assert after != before, f"moving {signal} changes nothing"
        before = after
    presets = spec["usermeta"]["presets"]
    chart.get_by_label("start from").select_option(presets[-1]["name"])
    for signal, value in presets[-1]["settings"].items():
        assert page.evaluate(SIGNAL, [handle, signal]) == value
    read()


def test_the_workbench_is_on_the_site():
    assert [p.values[0] for p in WORKBENCH] == ["notebooks/14_workbench.html"]


@pytest.mark.parametrize("name", dict.fromkeys(chart.values[0] for chart in EVERY))
def test_pictures_stand_where_scripts_do_not_run(browser, site, name):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((SITE / name).as_uri())
    pictures = page.locator(".gpt4-chart img").all()
    assert len(pictures) == sum(chart.values[0] == name for chart in EVERY)
    for picture in pictures:
        assert picture.is_visible() and re.search(r"\d", picture.get_attribute("alt"))
        assert picture.bounding_box()["height"] > 100
    context.close()
