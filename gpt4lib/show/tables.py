"""What a notebook shows: glued values and tables."""

from ..facts.files import sources
from ..facts.given import look_up
from ..spine.errors import BadInput
from ..spine.law import Law, Quantity
from ..spine.text import display, written


def glue(name: str, value) -> None:
    """Keep `value` (a text or a Law) under `name` for the page's prose; shown where MyST-NB is missing."""
    try:
        from myst_nb import glue as keep
    except ImportError:
        from IPython.display import display

        display(value)
    else:
        text = unbroken(value) if isinstance(value, str) else value
        keep(name, _Equation(value) if isinstance(value, Law) else text, display=False)


class _Equation:
    """A law as a glued equation: LaTeX alone, without the inline dollar signs."""

    def __init__(self, law):
        self.law = law

    def __repr__(self):
        return repr(self.law)

    def _repr_latex_(self):
        return f"${self.law.latex()}$"


class Table:
    """Rows under headers; Markdown for notebook and site, aligned text elsewhere."""

    def __init__(self, rows, headers):
        self.headers, self.rows = [str(h) for h in headers], [[str(c) for c in row] for row in rows]
        for row in self.rows:
            if len(row) != len(self.headers):
                raise BadInput(f"a row takes {len(self.headers)} cells, got {len(row)}: {row}")

    def _repr_markdown_(self):
        clean = lambda cell: unbroken(cell.replace("|", r"\|").replace("\n", " "))
        lines = [self.headers, ["---"] * len(self.headers), *self.rows]
        return "\n".join("| " + " | ".join(map(clean, line)) + " |" for line in lines)

    def __repr__(self):
        widths = [max(len(line[i]) for line in [self.headers, *self.rows]) for i in range(len(self.headers))]
        lines = [self.headers, ["-" * w for w in widths], *self.rows]
        return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths)).rstrip() for line in lines)


def table(rows, headers) -> Table:
    """A table of texts; raises BadInput for a row of another length than the headers."""
    return Table(rows, headers)


def assumptions(values: dict) -> Table:
    """Symbol, meaning, value and source of each letter: {quantity: reference}, {quantity: (value, source)}.

    A reference is one that `given.look_up` takes: "article:gpus-a100", "hardware:NAME.field", ...; a value is
    a text or a number, and needs no source where it is a constant's own. Sources are set as citations, the
    article's own figures marked as such. Raises BadInput for a key that is no quantity and for an unknown
    reference.
    """
    rows = []
    for quantity, given in values.items():
        if not isinstance(quantity, Quantity):
            raise BadInput(f"assumptions takes quantities, got {quantity!r}")
        if isinstance(given, str):
            found = look_up(given)
            value = _stated(found, quantity)
            source = "the article" if found.origin in ("claim", "article") else found.source
        else:
            value, source = given if isinstance(given, tuple) else (given, "")
        text = value if isinstance(value, str) else display(value, quantity)
        cited = f"{{cite}}`{source}`" if source in sources() else source
        rows.append((f"${_tex(quantity)}$", quantity.meaning, dollars(text), cited))
    return Table(rows, ("symbol", "meaning", "value", "source"))


def _stated(found, quantity):
    """A value that was looked up: as its author wrote it, a data sheet's in the quantity's unit."""
    return written(found.stated) if found.origin != "hardware" else display(found.stated.value, quantity)


def must_be(chapter: str) -> Table:
    """What would have to be true: for each claim of a chapter that misses, the inputs that would mend it.

    One input changes at a time. Raises BadInput where no value of it brings the stated one out.
    """
    from ..ledger import load  # not every table needs the claims

    missing = [claim for claim in load().chapter(chapter) if claim.verdict != "holds"]
    rows = [row for claim in missing for row in _mended(claim)]
    return Table(rows, ("claim", "if only this changes", "from", "to"))


def _mended(claim):
    """The rows of one claim: each input of its inverse, what it is and what it would have to be."""
    for name in claim.inverse:
        given, letter = claim.inputs.get(name), claim.law.quantities[name]
        now = _stated(given, letter) if given else display(float(letter.value), letter)
        needs = "past " * (claim.stated.text[0] in "<>") + display(claim.must_be(name), letter)
        first = dollars(claim.claim) if name == claim.inverse[0] else ""
        meaning = letter.meaning.partition(":")[0]
        yield first, f"{meaning} ${_tex(letter)}$", dollars(now), dollars(needs)


def sensitivities(law: Law, **values) -> Table:
    """Elasticity of a law in each input, largest first: by how many percent it moves for one percent more.

    Raises BadInput for an input that is missing or unknown.
    """
    slopes = law.elasticities(**values)
    order = sorted(law.symbols, key=lambda s: -abs(slopes[s.name]))
    rows = [(f"${s.tex}$", s.meaning, f"{slopes[s.name]:+.2f}".replace("-", "−")) for s in order]
    return Table(rows, ("symbol", "one percent more of", f"moves {law.lhs.meaning} by (%)"))


def _tex(quantity) -> str:
    """The symbol in LaTeX, for a constant too, which equations show as its number."""
    name, _, index = quantity.name.partition("_")
    return f"{name}_{{\\mathrm{{{index}}}}}" if index and quantity.tex == quantity.name else quantity.tex


def unbroken(text: str) -> str:
    """A text whose powers of ten stay on one line."""
    return text.replace(" × 10", "\u00a0×\u00a010")


def dollars(text: str) -> str:
    """A text for Markdown, its dollar signs kept from opening an equation."""
    return text.replace("$", r"\$")


def long_table(rows, heads, *, kind: str, noun: str, filters: str) -> str:
    """A long HTML table that a reader searches, sorts and filters: `rows` of HTML, `filters` by column."""
    return html_table(rows, heads, f'class="sheet {kind}" data-noun="{noun}" data-filters="{filters}"')


def html_table(rows, heads, attributes: str) -> str:
    """Rows of HTML under heads, in a box that scrolls."""
    head = "".join(f'<th scope="col">{h}</th>' for h in heads)
    body = "\n".join(rows)
    table = f"<table {attributes}><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"
    return f'<div class="table-scroll">{table}</div>'


def cell(label: str, inside: str, more: str = "") -> str:
    """A cell that says on a narrow screen what it holds."""
    return f'<td data-label="{label}"{more}>{inside}</td>'
