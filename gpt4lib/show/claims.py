"""The claims of the article as tables: stated value, ours and verdict."""

from html import escape

from ..ledger import SYMBOLS, VERDICTS, load
from ..spine.errors import BadInput
from ..spine.text import number
from .tables import Table, cell, html_table, long_table, unbroken


class Claims:
    """Claims with their verdicts as an HTML table; `full` adds chapter, reason and the rows' ids."""

    def __init__(self, claims, full=False):
        self.claims, self.full = tuple(claims), full

    def _repr_html_(self):
        heads = ("claim", *("chapter",) * self.full, "stated", "ours", "verdict", *("why",) * self.full)
        rows = map(self._row, self.claims)
        if self.full:
            return long_table(rows, heads, kind="ledger", noun="claims", filters="verdict chapter")
        return html_table(rows, heads, 'class="claims"')

    def _row(self, c):
        kind = c.verdict.replace(" ", "-")
        mark = f'<span class="verdict verdict-{kind}">{SYMBOLS[c.verdict]} {c.verdict}</span>'
        sort = "" if c.derived is None else f' data-sort="{c.derived:.6g}"'
        cells = [
            cell("stated", escape(unbroken(c.stated_text))),
            cell("ours", escape(unbroken(c.ours)), sort),
        ]
        cells.append(cell("verdict", mark, f' data-filter="{c.verdict}"'))
        if not self.full:
            link = f'<a href="12_ledger.ipynb#{c.id}">{escape(c.claim)}</a>'
            return f"<tr><td>{link}</td>{''.join(cells)}</tr>"
        link = f'<a href="#{c.id}"><code>{c.id}</code></a><br>{escape(c.claim)}'
        cells.insert(0, cell("chapter", f'<a href="{c.chapter}.ipynb">{c.chapter}</a>'))
        cells.append(cell("why", escape(c.why)))
        return f'<tr id="{c.id}"><td>{link}</td>{"".join(cells)}</tr>'

    def __repr__(self):
        rows = [(c.id, c.stated_text, c.ours, f"{SYMBOLS[c.verdict]} {c.verdict}") for c in self.claims]
        return repr(Table(rows, ("id", "stated", "ours", "verdict")))


def claims_table(chapter: str | None = None) -> Claims:
    """The claims of one chapter with stated value, ours and verdict; of all, with the reasons, for None.

    Raises BadInput for a chapter without claims.
    """
    ledger = load()
    if chapter is None:
        return Claims(ledger.claims, full=True)
    found = ledger.chapter(chapter)
    if not found:
        there = ", ".join(sorted({c.chapter for c in ledger.claims}))
        raise BadInput(f"no claims in chapter {chapter!r}; there are {there}")
    return Claims(found)


def verdict_legend() -> Table:
    """Every verdict with its symbol, its meaning and how many claims have it."""
    counts = load().counts()
    rows = [(f"{mark} {name}", meaning, number(counts[name])) for name, (mark, meaning) in VERDICTS.items()]
    return Table(rows, ("verdict", "it means", "claims"))
