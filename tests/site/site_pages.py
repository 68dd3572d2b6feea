"""The built site in headless Chromium: how a page is opened, and the checks that every page passes.

`test_site_wide.py` and `test_site_phone.py` run the checks; two files, so that two processes share the work.
"""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.base import AXE_SCRIPT

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "_build" / "html"
PAGES = sorted(
    p.relative_to(SITE).as_posix() for folder in ("book", "notebooks") for p in (SITE / folder).glob("*.html")
)
PAGES += ["search.html", "genindex.html"]
READY = """async () => {
  await document.fonts.ready;
  if (window.book) await book.everything();
}"""
LEDGER = "notebooks/12_ledger.html"


class Visit:
    """One page at one width, with everything it asked for and complained about."""

    def __init__(self, browser, name, width, ready=READY):
        self.problems, self.requests = [], []
        self.page = browser.new_page(viewport={"width": width, "height": 900})
        self.page.on("console", lambda m: m.type in ("error", "warning") and self.problems.append(m.text))
        self.page.on("pageerror", lambda e: self.problems.append(str(e)))
        self.page.on("request", lambda r: self.requests.append(r.url))
        self.page.on("requestfailed", lambda r: self.problems.append(f"failed: {r.url}"))
        self.open(name, ready)

    def open(self, name, ready=READY):
        """Load a page of the site and wait until equations and charts stand, or for what `ready` waits for."""
        self.page.goto(
            (SITE / name.partition("#")[0].partition("?")[0]).as_uri() + re.sub(r"^[^#?]*", "", name)
        )
        self.page.evaluate(ready)
        return self.page


def outside(urls):
    """The addresses that are not files of the site."""
    return [u for u in urls if urlsplit(u).scheme not in ("file", "data", "blob")]


@pytest.fixture(scope="module", params=PAGES)
def visit(request, browser, site):
    """Each page at the width of the file that asks, loaded once for all the checks."""
    visit = Visit(browser, request.param, request.module.WIDTH)
    visit.name, visit.width = request.param, request.module.WIDTH
    yield visit
    visit.page.close()


@pytest.fixture
def fresh(browser, site):
    """A function that opens a page for one test alone."""
    opened = []

    def open_page(name, width=1280, ready=READY):
        opened.append(Visit(browser, name, width, ready))
        return opened[-1].page

    yield open_page
    for visit in opened:
        assert not visit.problems and not outside(visit.requests)
        visit.page.close()


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
    sources, set_, broken = (
        visit.page.evaluate("""() => ["article .math", "article mjx-container", "mjx-container merror, [data-mjx-error]"]
        .map((query) => document.querySelectorAll(query).length)""")
    )
    assert broken == 0
    assert set_ >= sources


def test_charts_are_live(visit):
    charts = visit.page.locator(".gpt4-chart")
    for chart in charts.all():
        assert chart.locator("canvas, svg.marks").count() == 1
        assert chart.locator("img").is_hidden()
        box = chart.locator("canvas, svg.marks").bounding_box()
        assert box["height"] > 100 and box["width"] <= visit.width


def test_one_header_and_one_search(visit):
    assert visit.page.locator("header.bd-header").count() <= 1
    assert visit.page.locator("h1:visible").count() == 1
    visible = visit.page.locator("input[type=search]:visible:not(#ledger-search)")
    assert visible.count() <= 1 + (visit.name == "search.html")


SLIM = """() => {
  document.querySelectorAll("mjx-container").forEach((node) => node.remove());
  const seen = new Set();
  for (const token of document.querySelectorAll(".highlight span")) {
    const kind = [token.className, token.parentElement.className, token.closest(".highlight").parentElement.className].join("|");
    if (seen.has(kind)) token.replaceWith(...token.childNodes);
    else seen.add(kind);
  }
}"""


def violations(page, theme, what=""):
    """What axe-core finds serious or critical, by rule. The page is spent after it.

    Equations are MathJax's own and are taken out; of the code's coloured words one of each kind stays, because
    ten thousand of them would be looked at one by one. `what` narrows the rules.
    """
    page.evaluate(SLIM)
    page.evaluate("(theme) => { document.documentElement.dataset.theme = theme; }", theme)
    page.wait_for_timeout(100)
    page.evaluate(f"window.axe || (() => {{ {AXE_SCRIPT} }})()")
    found = page.evaluate(f"axe.run({{{what} resultTypes: ['violations']}})")["violations"]
    return {
        v["id"]: [n["html"][:150] for n in v["nodes"]][:4]
        for v in found
        if v["impact"] in ("serious", "critical")
    }
