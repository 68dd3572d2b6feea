"""Print the built site into one PDF: every page in the order of the contents, with figures and equations.

    python book/pdf.py

Reads `_build/html`, writes `_build/html/gpt-4-recomputed.pdf`, and shows the link to it on the landing page.
Needs Chromium; without it says so and stops with status 2.
"""

import html
import io
import re
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml
from browser import chromium, find_chromium

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "_build" / "html"
TARGET = SITE / "gpt-4-recomputed.pdf"
LINK = re.compile(r'<p class="pdf-link"[^>]*>.*?</p>', re.S)
PAPER = """
.gpt4-chart-live, .headerlink, .copybtn, .bd-header, .bd-sidebar-secondary, .prev-next-footer,
.gpt4-chart-hint, .skip-link, #pst-back-to-top, details.above-input, .onlyprint.page-toc,
#jb-print-toc { display: none !important }
.gpt4-chart img { display: block !important }
figure, .cell_output img, tr, .admonition > .admonition-title { break-inside: avoid }
.cell_output img, figure img { max-height: 105mm; width: auto }
h1, h2, h3 { break-after: avoid }
.table-scroll, .cell_output, .highlight pre, div.math,
.pst-scrollable-table-container { overflow: visible !important }
.highlight pre { white-space: pre-wrap; font-size: 8.5pt }
table { font-size: 8.5pt }
body { font-size: 10.5pt }
"""
READY = """async () => {
  document.documentElement.dataset.theme = "light";
  if (window.book) await book.everything();
  for (const box of document.querySelectorAll("details")) box.open = true;
  for (const image of document.images) image.hidden = false;
}"""


def pages() -> list[str]:
    """The pages of the table of contents, in order, as paths below the site."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    return [
        f"{name}.html"
        for name in [toc["root"], *(c["file"] for part in toc["parts"] for c in part["chapters"])]
    ]


def printed(browser, name: str) -> bytes:
    """One page of the site on A4."""
    page = browser.new_page(viewport={"width": 900, "height": 1200}, color_scheme="light")
    page.goto((SITE / name).as_uri())
    page.add_style_tag(content=PAPER)
    page.evaluate(READY)
    foot = (
        '<div style="font-size:8px;width:100%;text-align:center;color:#555"><span class="title"></span></div>'
    )
    paper = page.pdf(
        format="A4",
        scale=0.8,
        print_background=True,
        tagged=True,
        display_header_footer=True,
        header_template="<span></span>",
        footer_template=foot,
        margin={"top": "15mm", "bottom": "15mm", "left": "15mm", "right": "15mm"},
    )
    page.close()
    return paper


def join(papers: dict):
    """One document of all pages: an entry for each in the outline, links between pages lead inside it."""
    from pypdf import PdfReader, PdfWriter
    from pypdf.generic import ArrayObject, NameObject, NullObject

    book, first = PdfWriter(), {}
    for name, paper in papers.items():
        first[(SITE / name).resolve()] = len(book.pages)
        reader = PdfReader(io.BytesIO(paper))
        title = re.search(r"<title>(.*?) &#8212; ", (SITE / name).read_text(encoding="utf-8"))
        book.append(reader, outline_item=html.unescape(title[1]) if title else name, import_outline=False)
    for page in book.pages:
        for reference in page.get("/Annots", []):
            note = reference.get_object()
            address = urlsplit(str(note.get("/A", {}).get("/URI", "")))
            target = first.get(Path(unquote(address.path)).resolve()) if address.scheme == "file" else None
            if target is not None:
                del note["/A"]
                note[NameObject("/Dest")] = ArrayObject(
                    [book.pages[target].indirect_reference, NameObject("/FitH"), NullObject()]
                )
    book.add_metadata({"/Title": "GPT-4, Recomputed"})
    book.compress_identical_objects()
    return book


def main() -> int:
    """Print all pages, join them, and show the link."""
    if find_chromium() is None:
        print(
            "no PDF: it is printed by Chromium, and none was found (Debian: apt-get install chromium)",
            file=sys.stderr,
        )
        return 2
    with chromium() as browser:
        book = join({name: printed(browser, name) for name in pages()})
    book.write(TARGET)
    size = f"{len(book.pages)} pages, {TARGET.stat().st_size / 1e6:.0f} MB"
    landing = SITE / "book" / "index.html"
    link = f'<p class="pdf-link"><a href="../{TARGET.name}">The whole book as a PDF</a> ({size})</p>'
    landing.write_text(LINK.sub(link, landing.read_text(encoding="utf-8"), count=1), encoding="utf-8")
    print(f"{TARGET}: {size}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
