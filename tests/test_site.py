"""The built site in headless Chromium, opened from the folder: every page, wide and on a phone."""

import importlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from axe_playwright_python.base import AXE_SCRIPT

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "_build" / "html"
PAGES = sorted(p.relative_to(SITE).as_posix() for folder in ("book", "notebooks") for p in (SITE / folder).glob("*.html"))
PAGES += ["search.html", "genindex.html"]
WIDTHS = {"wide": 1280, "phone": 390}
READY = """async () => {
  await document.fonts.ready;
  if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
}"""
LEDGER = "notebooks/12_ledger.html"


class Visit:
    """One page at one width, with everything it asked for and complained about."""

    def __init__(self, browser, name, width):
        self.problems, self.requests = [], []
        self.page = browser.new_page(viewport={"width": width, "height": 900})
        self.page.on("console", lambda m: m.type in ("error", "warning") and self.problems.append(m.text))
        self.page.on("pageerror", lambda e: self.problems.append(str(e)))
        self.page.on("request", lambda r: self.requests.append(r.url))
        self.page.on("requestfailed", lambda r: self.problems.append(f"failed: {r.url}"))
        self.open(name)

    def open(self, name):
        """Load a page of the site and wait until equations and charts stand."""
        self.page.goto((SITE / name.partition("#")[0].partition("?")[0]).as_uri() + re.sub(r"^[^#?]*", "", name))
        self.page.evaluate(READY)
        if self.page.locator(".gpt4-chart").count():
            self.page.wait_for_function("document.documentElement.dataset.charts === 'ready'")
        return self.page


@pytest.fixture(scope="module", params=[(name, width) for name in PAGES for width in WIDTHS], ids="-".join)
def visit(request, browser, site):
    """Each page at each width, loaded once for all the tests below."""
    name, width = request.param
    visit = Visit(browser, name, WIDTHS[width])
    visit.name, visit.width = name, width
    yield visit
    visit.page.close()


@pytest.fixture
def fresh(browser, site):
    """A function that opens a page for one test alone."""
    opened = []

    def open_page(name, width=1280):
        opened.append(Visit(browser, name, width))
        return opened[-1].page

    yield open_page
    for visit in opened:
        assert not visit.problems and not outside(visit.requests)
        visit.page.close()


def outside(urls):
    """The addresses that are not files of the site."""
    return [u for u in urls if urlsplit(u).scheme not in ("file", "data", "blob")]


def test_there_are_pages(site):
    assert LEDGER in PAGES and "book/index.html" in PAGES and len(PAGES) >= 10


def test_every_notebook_has_its_page():
    built = {Path(p).stem for p in PAGES if p.startswith("notebooks/")}
    assert built == {p.stem for p in (ROOT / "notebooks").glob("*.ipynb")}


def test_page_is_quiet_and_asks_nobody(visit):
    assert visit.requests and outside(visit.requests) == []
    assert visit.problems == []


def test_page_does_not_scroll_sideways(visit):
    wide = visit.page.evaluate("""() => [document.documentElement.scrollWidth, document.body.scrollWidth]
        .map((width) => width - document.documentElement.clientWidth)""")
    assert max(wide) <= 0


def test_nothing_is_cut_off(visit):
    """What reaches beyond the screen lies in a box that scrolls and that the keyboard reaches."""
    lost = visit.page.evaluate("""() => [...document.querySelectorAll("article *")].filter((node) => {
        const box = node.getBoundingClientRect();
        if (!box.width || !box.height || box.right <= innerWidth + 1) return false;
        for (let up = node; up && up.tagName !== "ARTICLE"; up = up.parentElement) {
          const style = getComputedStyle(up);
          if (/auto|scroll/.test(style.overflowX)) return up.tabIndex < 0 && !up.querySelector("a, button, input");
          if (style.position === "fixed" || style.clipPath !== "none" || up.tagName === "MJX-ASSISTIVE-MML") return false;
        }
        return true;
      }).map((node) => node.outerHTML.slice(0, 120))""")
    assert lost == []


def test_equations_are_set(visit):
    sources, set_, broken = visit.page.evaluate("""() => ["article .math", "article mjx-container", "mjx-container merror, [data-mjx-error]"]
        .map((query) => document.querySelectorAll(query).length)""")
    assert broken == 0
    assert set_ >= sources


def test_charts_are_live(visit):
    charts = visit.page.locator(".gpt4-chart")
    for chart in charts.all():
        assert chart.locator("canvas, svg.marks").count() == 1
        assert chart.locator("img").is_hidden()
        box = chart.locator("canvas, svg.marks").bounding_box()
        assert box["height"] > 100 and box["width"] <= WIDTHS[visit.width]


def test_one_header_and_one_search(visit):
    assert visit.page.locator("header.bd-header").count() <= 1
    assert visit.page.locator("h1:visible").count() == 1
    visible = visit.page.locator("input[type=search]:visible:not(#ledger-search)")
    assert visible.count() <= 1 + (visit.name == "search.html")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_accessible(visit, theme):
    """No serious or critical violation that axe-core knows, in both themes."""
    visit.page.evaluate("(theme) => { document.documentElement.dataset.theme = theme; }", theme)
    visit.page.wait_for_timeout(100)
    visit.page.evaluate(f"window.axe || (() => {{ {AXE_SCRIPT} }})()")
    found = visit.page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    serious = {v["id"]: [n["html"][:150] for n in v["nodes"]][:4] for v in found if v["impact"] in ("serious", "critical")}
    assert serious == {}


def test_dark_mode_changes_the_page_and_keeps_figures_readable(fresh):
    page = fresh(next(p for p in PAGES if p.startswith("notebooks/")))
    colours = {}
    for theme in ("light", "dark"):
        page.evaluate("(theme) => { document.documentElement.dataset.theme = theme; }", theme)
        colours[theme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
        for style in page.evaluate("""() => [...document.querySelectorAll("article img")].map((image) => {
            const style = getComputedStyle(image); return [style.filter, style.backgroundColor]; })"""):
            assert style == ["none", "rgb(255, 255, 255)"]
    assert colours["light"] != colours["dark"]


# ---- charts -------------------------------------------------------------------------------

CURVES = r"""(chart) => {
  const data = chart.view.getState({ data: () => true }).data, found = [];
  for (const name of Object.keys(data))
    if (/^(data|source)_\d+$/.test(name)) for (const row of chart.view.data(name))
      if (Number.isFinite(row.x) && Number.isFinite(row.y)) found.push([row.x, row.y]);
  return found;
}"""

SIGNAL = "([chart, name]) => chart.view.signal(name)"


def charts():
    """(page, number of the chart on it, its specification) for every chart of the site."""
    for name in PAGES:
        found = re.findall(r'<div class="gpt4-chart">.*?<script type="application/json">(.*?)</script>', (SITE / name).read_text("utf-8"), re.S)
        for number, text in enumerate(found):
            yield pytest.param(name, number, json.loads(text), id=f"{Path(name).stem}-{number}")


EVERY = list(charts()) if SITE.exists() else []
CHARTS = [chart for chart in EVERY if "law" in chart.values[2]["usermeta"]]
WORKBENCH = [chart for chart in EVERY if "steps" in chart.values[2]["usermeta"]]


def test_the_finished_chapters_have_charts():
    assert {p.values[0] for p in CHARTS} >= {"notebooks/02_architecture.html", "notebooks/05_training_cost.html"}


def law_values(meta, x, sliders):
    """What the law itself gives, through NumPy, in the chart's units."""
    module, _, name = meta["law"].rpartition(".")
    law = getattr(importlib.import_module(f"gpt4lib.{module}"), name)
    inputs = {s: value * meta["factors"][s] for s, value in sliders.items()}
    known = {s.name for s in law.symbols}
    given = {**meta["fixed"], **inputs, meta["x"]: x * meta["factors"][meta["x"]]}
    return law(**{k: v for k, v in given.items() if k in known}) / meta["factors"]["y"]


@pytest.mark.parametrize("name, number, spec", CHARTS)
def test_sliders_redraw_the_law(fresh, name, number, spec):
    """Each slider changes the curve, and the browser's numbers are those of NumPy."""
    page = fresh(name)
    meta = spec["usermeta"]
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


@pytest.mark.parametrize("name, number, spec", CHARTS[:1])
def test_change_of_theme_keeps_the_sliders(fresh, name, number, spec):
    page = fresh(name)
    slider = next(iter(spec["usermeta"]["sliders"].values()))
    chart = page.locator(".gpt4-chart").nth(number)
    chart.locator(f'input[name="{slider}"]').focus()
    page.keyboard.press("End")
    moved = page.evaluate(SIGNAL, [chart.element_handle(), slider])
    page.evaluate("""async () => { const root = document.documentElement, chart = document.querySelector(".gpt4-chart");
      const old = chart.view; root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
      while (chart.view === old) await new Promise((done) => setTimeout(done, 20)); }""")
    assert moved == next(p["bind"]["max"] for p in spec["params"] if p.get("name") == slider)
    assert page.evaluate(SIGNAL, [chart.element_handle(), slider]) == moved


@pytest.mark.parametrize("name, number, spec", WORKBENCH)
def test_workbench_computes_the_laws(fresh, name, number, spec):
    """Each slider moves some figure, a preset moves all, and every step is what NumPy gives."""
    from gpt4lib import workbench_page

    page, steps = fresh(name), spec["usermeta"]["steps"]
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
    for signal in sliders.values():
        control = chart.locator(f'input[type=range][name="{signal}"]')
        assert (control.get_attribute("aria-label") or "").strip()
        control.focus()
        page.keyboard.press("ArrowLeft" if page.evaluate(SIGNAL, [handle, signal]) > 1 else "ArrowRight")
        after = read()
        assert after != before, f"moving {signal} changes nothing"
        before = after
    presets = spec["usermeta"]["presets"]
    chart.get_by_label("start from").select_option(presets[-1]["name"])
    for signal, value in presets[-1]["settings"].items():
        assert page.evaluate(SIGNAL, [handle, signal]) == value
    read()


@pytest.mark.parametrize("name, number, spec", EVERY)
def test_picture_stands_where_scripts_do_not_run(browser, site, name, number, spec):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((SITE / name).as_uri())
    picture = page.locator(".gpt4-chart img").nth(number)
    assert picture.is_visible() and re.search(r"\d", picture.get_attribute("alt"))
    assert picture.bounding_box()["height"] > 100
    context.close()


# ---- links, downloads, search, ledger -----------------------------------------------------


class Links(HTMLParser):
    """Links and anchors of a page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors |= {attributes.get("id"), attributes.get("name") if tag == "a" else None} - {None}
        for key in ("href", "src"):
            if attributes.get(key):
                self.links.append(attributes[key])


def test_links_and_downloads_resolve(site):
    parsed, dead, checked = {}, [], 0
    for name in [*PAGES, "index.html"]:
        page = parsed.setdefault(SITE / name, Links(SITE / name))
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (SITE / name).parent / unquote(parts.path) if parts.path else SITE / name
            target = target.resolve()
            checked += 1
            if not target.is_file() or SITE not in target.parents:
                dead.append(f"{name}: {link}")
            elif parts.fragment and target.suffix == ".html":
                if unquote(parts.fragment) not in parsed.setdefault(target, Links(target)).anchors:
                    dead.append(f"{name}: {link}")
    assert dead == [] and checked > 100


def test_nothing_leads_to_a_repository_that_is_not_set(site):
    config = (ROOT / "_config.yml").read_text("utf-8")
    if re.search(r'^  url: ""$', config, re.M):
        for name in PAGES:
            text = (SITE / name).read_text("utf-8")
            assert not re.search(r"mybinder\.org|colab\.research|executablebooks/jupyter-book", text), name


def test_each_chapter_downloads_as_a_notebook(site):
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        page = Links(SITE / "notebooks" / f"{notebook.stem}.html")
        links = [link for link in page.links if link.endswith(".ipynb")]
        assert links, notebook.name
        copy = json.loads((SITE / "notebooks" / links[0]).resolve().read_text("utf-8"))
        assert [c["source"] for c in copy["cells"]] == [c["source"] for c in json.loads(notebook.read_text("utf-8"))["cells"]]


def test_search_finds_a_word(fresh):
    page = fresh("search.html?q=bibliography")
    page.wait_for_selector("#search-results li a")
    assert "bibliography" in " ".join(a.get_attribute("href") for a in page.locator("#search-results li a").all())
    nothing = fresh("search.html?q=xyzzyplugh")
    nothing.wait_for_selector("#search-results p")
    assert nothing.locator("#search-results li a").count() == 0


def test_ledger_searches_filters_and_sorts(fresh):
    page = fresh(LEDGER)
    rows = page.locator("table.ledger tbody tr")
    everything = rows.count()
    shown = lambda: page.locator("table.ledger tbody tr:visible").count()  # noqa: E731
    assert everything == len(json.loads((SITE / "_static" / "ledger.json").read_text("utf-8"))) and shown() == everything
    some = rows.first.get_attribute("id")
    page.fill("#ledger-search", some)
    assert 1 <= shown() < everything and page.inner_text("#ledger-count").startswith(f"{shown()} of {everything}")
    page.fill("#ledger-search", "")
    chapters = page.locator("#ledger-chapter option").count() - 1
    page.select_option("#ledger-chapter", index=1)
    assert (0 < shown() < everything) if chapters > 1 else shown() == everything
    page.select_option("#ledger-chapter", index=0)
    page.select_option("#ledger-verdict", index=1)
    assert 0 < shown() < everything
    page.select_option("#ledger-verdict", index=0)
    values = lambda: [float(v) for v in page.eval_on_selector_all("table.ledger td[data-sort]", "(cells) => cells.map((c) => c.dataset.sort)") if v]  # noqa: E731
    head = page.locator("table.ledger th", has=page.locator("button", has_text="ours"))
    for wish in ("ascending", "descending"):
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == wish
        assert values() == sorted(values(), reverse=wish == "descending") and len(values()) > 0


def test_ledger_permalink_and_filter_link(fresh):
    last = json.loads((SITE / "_static" / "ledger.json").read_text("utf-8"))[-1]
    page = fresh(f"{LEDGER}#{last['id']}")
    page.wait_for_selector(f"tr.target[id='{last['id']}']")
    page.wait_for_function("""(id) => { const row = document.getElementById(id).getBoundingClientRect();
      return row.top >= 0 && row.top < innerHeight; }""", arg=last["id"], timeout=5000)
    page = fresh(f"{LEDGER}?verdict={last['verdict'].replace(' ', '+')}")
    verdicts = page.eval_on_selector_all("table.ledger tbody tr:not([hidden]) td[data-filter]", "(cells) => cells.map((c) => c.dataset.filter)")
    assert set(verdicts) == {last["verdict"]}


def test_ledger_downloads_hold_every_claim(site):
    import csv

    records = json.loads((site / "_static" / "ledger.json").read_text("utf-8"))
    with open(site / "_static" / "ledger.csv", newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [r["id"] for r in records] == [r["id"] for r in table]
    assert list(table[0]) == ["id", "chapter", "claim", "stated", "unit", "derived", "verdict", "why"]
    for record, row in zip(records, table):
        assert row["derived"] == ("" if record["derived"] is None else str(record["derived"]))


@pytest.mark.parametrize("name", [p for p in PAGES if p.startswith("notebooks/")])
def test_chapter_page_is_light(name):
    """A chapter's own HTML and pictures stay under 1.5 MB."""
    page = Links(SITE / name)
    pictures = {(SITE / name).parent / link for link in page.links if "_images/" in link}
    assert (SITE / name).stat().st_size + sum(p.stat().st_size for p in pictures) < 1.5e6
