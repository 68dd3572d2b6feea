"""The built site as a whole: pages, links, downloads, search, ledger."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from site_pages import LEDGER, PAGES, ROOT, SITE


def test_there_are_pages(site):
    assert LEDGER in PAGES and "book/index.html" in PAGES and len(PAGES) >= 10


def test_every_notebook_has_its_page():
    built = {Path(p).stem for p in PAGES if p.startswith("notebooks/")}
    assert built == {p.stem for p in (ROOT / "notebooks").glob("*.ipynb")}


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
    parsed, there = {}, {}
    dead = set()

    def anchors(path):
        if path not in parsed:
            parsed[path] = Links(path)
        return parsed[path].anchors

    for name in [*PAGES, "index.html"]:
        anchors(SITE / name)
        for link in set(parsed[SITE / name].links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            asked = (SITE / name).parent / unquote(parts.path) if parts.path else SITE / name
            if asked not in there:
                target = asked.resolve()
                there[asked] = target if target.is_file() and SITE in target.parents else None
            target = there[asked]
            if target is None or (
                parts.fragment and target.suffix == ".html" and unquote(parts.fragment) not in anchors(target)
            ):
                dead.add(f"{name}: {link}")
    assert dead == set() and len(there) > 100


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
        assert [c["source"] for c in copy["cells"]] == [
            c["source"] for c in json.loads(notebook.read_text("utf-8"))["cells"]
        ]


def test_search_finds_a_word(fresh):
    page = fresh("search.html?q=bibliography")
    page.wait_for_selector("#search-results li a")
    assert "bibliography" in " ".join(
        a.get_attribute("href") for a in page.locator("#search-results li a").all()
    )
    nothing = fresh("search.html?q=xyzzyplugh")
    nothing.wait_for_selector("#search-results p")
    assert nothing.locator("#search-results li a").count() == 0


def test_ledger_searches_filters_and_sorts(fresh):
    page = fresh(LEDGER)
    rows = page.locator("table.ledger tbody tr")
    everything = rows.count()
    shown = lambda: page.locator("table.ledger tbody tr:visible").count()
    assert (
        everything == len(json.loads((SITE / "_static" / "ledger.json").read_text("utf-8")))
        and shown() == everything
    )
    some = rows.first.get_attribute("id")
    page.fill("#sheet-search", some)
    assert 1 <= shown() < everything and page.inner_text("#sheet-count").startswith(
        f"{shown()} of {everything}"
    )
    page.fill("#sheet-search", "")
    chapters = page.locator("#sheet-chapter option").count() - 1
    page.select_option("#sheet-chapter", index=1)
    assert (0 < shown() < everything) if chapters > 1 else shown() == everything
    page.select_option("#sheet-chapter", index=0)
    page.select_option("#sheet-verdict", index=1)
    assert 0 < shown() < everything
    page.select_option("#sheet-verdict", index=0)
    values = lambda: [
        float(v)
        for v in page.eval_on_selector_all(
            "table.ledger td[data-sort]", "(cells) => cells.map((c) => c.dataset.sort)"
        )
        if v
    ]
    head = page.locator("table.ledger th", has=page.locator("button", has_text="ours"))
    for wish in ("ascending", "descending"):
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == wish
        assert values() == sorted(values(), reverse=wish == "descending") and len(values()) > 0


@pytest.mark.parametrize("width", [1280, 1440, 1920])
@pytest.mark.parametrize("name", [LEDGER, "notebooks/models.html"])
def test_long_tables_fit_a_wide_screen(fresh, name, width):
    """The last column, a claim's reason, is in sight without scrolling sideways."""
    page = fresh(name)
    page.set_viewport_size({"width": width, "height": 900})
    box = "document.querySelector('table.sheet').closest('.table-scroll')"
    assert page.evaluate(f"{box}.scrollWidth - {box}.clientWidth") <= 1


def test_models_sort_and_filter(fresh):
    page = fresh("notebooks/models.html")
    rows = page.locator("table.models tbody tr")
    everything = rows.count()
    assert everything > 40 and not page.locator("tr.target").count()
    page.locator("table.models th button", has_text="at 128k").click()
    cells = page.locator("table.models td[data-label='at 128k']")
    sizes = [float(cell.get_attribute("data-sort")) for cell in cells.all()]
    assert sizes == sorted(sizes) and len(sizes) == everything
    page.select_option("#sheet-layers", "windows")
    shown = page.locator("table.models tbody tr:visible").count()
    assert 0 < shown < everything and page.inner_text("#sheet-count") == f"{shown} of {everything} models"


def test_ledger_permalink_and_filter_link(fresh):
    last = json.loads((SITE / "_static" / "ledger.json").read_text("utf-8"))[-1]
    page = fresh(f"{LEDGER}#{last['id']}")
    page.wait_for_selector(f"tr.target[id='{last['id']}']")
    page.wait_for_function(
        """(id) => { const row = document.getElementById(id).getBoundingClientRect();
      return row.top >= 0 && row.top < innerHeight; }""",
        arg=last["id"],
        timeout=5000,
    )
    page = fresh(f"{LEDGER}?verdict={last['verdict'].replace(' ', '+')}")
    verdicts = page.eval_on_selector_all(
        "table.ledger tbody tr:not([hidden]) td[data-filter]", "(cells) => cells.map((c) => c.dataset.filter)"
    )
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
