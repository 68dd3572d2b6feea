"""Every page of the built site, on a wide screen and on a phone, each loaded once for all its checks."""

import pytest
from site_pages import PAGES, Visit, outside, prepare, violations

WIDTHS = {"wide": 1280, "phone": 390}


@pytest.fixture(scope="module", params=[f"{name}-{screen}" for name in PAGES for screen in WIDTHS])
def visit(request, browser, site):
    """A page on a screen."""
    name, _, screen = request.param.rpartition("-")
    visit = Visit(browser, name, WIDTHS[screen])
    yield visit
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
          const { overflowX, position, clipPath } = getComputedStyle(up);
          if (/auto|scroll/.test(overflowX)) return up.tabIndex < 0 && !up.querySelector("a, button, input");
          if (position === "fixed" || clipPath !== "none" || up.tagName === "MJX-ASSISTIVE-MML") return false;
        }
        return true;
      }).map((node) => node.outerHTML.slice(0, 120))""")
    assert lost == []


def test_equations_are_set(visit):
    queries = ["article .math", "article mjx-container", "mjx-container merror, [data-mjx-error]"]
    sources, set_, broken = (visit.page.locator(query).count() for query in queries)
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
    visible = visit.page.locator("input[type=search]:visible:not(#sheet-search)")
    assert visible.count() <= 1 + (visit.name == "search.html")


def test_accessible(visit):
    """The last of a page, which is spent after it: its form, and once its colours, which no width changes."""
    prepare(visit.page)
    if visit.width == WIDTHS["wide"]:
        assert violations(visit.page, "light") == {}
        assert violations(visit.page, "dark", "runOnly: ['color-contrast', 'link-in-text-block'],") == {}
    else:
        assert violations(visit.page, "light", "rules: {'color-contrast': {enabled: false}},") == {}
