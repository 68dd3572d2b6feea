"""What a page of the built site loads: one sheet, its icons, heavy scripts only on approach; and the PDF."""

import re

import pdf
import pytest
import site_weight
from fontTools.ttLib import TTFont
from site_pages import PAGES, SITE, outside


@pytest.fixture
def plain(browser, site):
    """A page as a reader gets it, nothing brought in ahead of time, and what it asked for."""
    page, asked = browser.new_page(viewport={"width": 412, "height": 823}), []
    page.on("request", lambda request: asked.append(request.url))
    yield page, asked
    assert outside(asked) == []
    page.close()


def test_pages_have_one_sheet_and_no_script_that_blocks(site):
    for name in PAGES:
        text = (SITE / name).read_text("utf-8")
        assert len(re.findall(r'rel="stylesheet"', text)) == 1, name
        assert not re.search(
            r"<script (?!defer|data-)[^>]*src=", text.replace('type="application/json"', "")
        ), name
        assert "fontawesome" not in text, name


def test_landing_page_is_light(plain):
    page, asked = plain
    page.goto((SITE / "book" / "index.html").as_uri(), wait_until="networkidle")
    assert not [url for url in asked if re.search("mathjax|vega|fontawesome", url)]
    files = [
        SITE / url.partition("_build/html/")[2].partition("?")[0].partition("#")[0]
        for url in asked
        if url.startswith("file")
    ]
    assert sum(file.stat().st_size for file in files) < 600_000


def test_a_chart_comes_when_the_reader_is_near(plain):
    page, asked = plain
    page.goto((SITE / "notebooks" / "05_training_cost.html").as_uri(), wait_until="networkidle")
    assert not [url for url in asked if "vega" in url] and page.locator(".gpt4-chart canvas").count() == 0
    page.locator(".gpt4-chart").first.scroll_into_view_if_needed()
    page.wait_for_selector(".gpt4-chart canvas")
    assert [url for url in asked if "vega" in url]


def test_equations_come_when_the_reader_is_near(plain):
    page, _ = plain
    page.goto((SITE / "notebooks" / "05_training_cost.html").as_uri())
    last = page.locator("article div.math").last
    last.scroll_into_view_if_needed()
    last.locator("mjx-container svg").first.wait_for(timeout=20_000)


def test_every_icon_is_in_the_font(site):
    rules = (SITE / "_static" / "joined.css").read_text("utf-8")
    codes = dict(re.findall(r'\.(fa-[a-z0-9-]+)::before\{content:"\\([0-9a-f]+)"', rules))
    shown = {
        name
        for page in PAGES
        for classes in re.findall(
            r'class="fa-(?:solid|brands|regular) ([^"]*)"', (SITE / page).read_text("utf-8")
        )
        for name in classes.split()
    } - {"fa-lg"}
    glyphs = TTFont(SITE / "_static" / "icons.woff").getBestCmap()
    assert shown and shown <= set(codes)
    assert {int(code, 16) for code in codes.values()} <= set(glyphs)
    assert {int(code, 16) for code in re.findall(r"\\(f[0-9a-f]{3})", rules)} <= set(glyphs)


def test_pictures_say_their_size(site):
    from PIL import Image

    text = (SITE / "notebooks" / "05_training_cost.html").read_text("utf-8")
    found = re.findall(
        r'<img width="(\d+)" height="(\d+)" loading="lazy" [^>]*src="\.\./(_images/[^"]+\.png)"', text
    )
    assert found
    for width, height, name in found:
        assert Image.open(SITE / name).size == (int(width), int(height))


def test_only_rules_of_absent_classes_are_dropped():
    import tinycss2

    css = ".a{x:1}.b{x:2}.a,.b{x:3}p{x:4}@media print{.b{x:5}.a .c{x:6}}.a:not(.b){x:7}:is(.b,.a){x:8}"
    kept = site_weight.in_use(tinycss2.parse_stylesheet(css), {"a", "c"})
    assert [int(x) for x in re.findall(r"x:(\d)", kept)] == [1, 3, 4, 6, 7, 8]
    assert ".b{" not in kept and ".a{x:3}" in kept


def test_the_pdf_has_the_pages_of_the_contents():
    assert pdf.pages()[0] == "book/index.html"
    assert {*pdf.pages()} == {name for name in PAGES if name.startswith(("book/", "notebooks/"))}


def test_without_a_browser_the_pdf_says_so(monkeypatch, capsys):
    monkeypatch.setattr(pdf, "find_chromium", lambda: None)
    assert pdf.main() == 2
    assert "Chromium" in capsys.readouterr().err


def test_pages_of_the_pdf_are_joined_and_linked(browser, site):
    papers = {name: pdf.printed(browser, name) for name in ("book/how-to-read.html", "book/glossary.html")}
    book = pdf.join(papers)
    assert len(book.pages) > 4 and [item["/Title"] for item in book.outline] == [
        "How to read this book",
        "Glossary",
    ]
    inside = [note.get_object() for page in book.pages for note in page.get("/Annots", [])]
    assert any("/Dest" in note for note in inside)
