"""Directives and roles that print facts from data: verdicts, claims, chapters, symbols.

What code knows is not typed into a page: it is printed by one of these, or by those of `book_examples`.
The library is imported late, so that other builds of Sphinx need none of it.
"""

from functools import cache
from itertools import groupby
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective, SphinxRole

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = ROOT / "book" / "chapters.toml"
LEDGER_PAGE = "notebooks/12_ledger"


def ledger():
    """The module gpt4lib.ledger."""
    from gpt4lib import ledger as module

    return module


@cache
def chapters():
    """The entries of chapters.toml by page, each with the number of its claims and how many hold.

    Raises BadInput that lists every mistake of the file.
    """
    from gpt4lib.facts.files import read_toml
    from gpt4lib.spine.errors import refuse
    from gpt4lib.spine.schema import TEXT, entries, wrong

    keys = {key: TEXT.of("", needed=True) for key in ("page", "title", "question")}
    read = read_toml(CHAPTERS)
    refuse(CHAPTERS.name, list(wrong(read, {"chapter": entries("chapter")}).values()))
    places = [(f"[[chapter]] {i}:", entry) for i, entry in enumerate(read["chapter"], 1)]
    refuse(CHAPTERS.name, [line for at, entry in places for line in wrong(entry, keys, at).values()])
    found = {entry["page"]: dict(entry) for entry in read["chapter"]}
    for page, entry in found.items():
        everything = f"notebooks/{page}" == LEDGER_PAGE
        verdicts = [claim.verdict for claim in ledger().load().claims if everything or claim.chapter == page]
        entry["claims"], entry["hold"] = len(verdicts), verdicts.count("holds")
    return found


def css_class(verdict):
    """A verdict as a CSS class."""
    return "verdict-" + verdict.replace(" ", "-")


def dollars(text):
    """A text for Markdown, its dollar signs kept from opening an equation."""
    return text.replace("$", r"\$")


def markdown_table(heads, rows):
    """The lines of a Markdown table."""
    return ["| " + " | ".join(row) + " |" for row in (heads, ["---"] * len(heads), *rows)]


# ---- directives ---------------------------------------------------------------------------


class Facts(SphinxDirective):
    """A directive that prints generated Markdown."""

    def markdown(self, lines):
        """The nodes of generated Markdown."""
        box = nodes.container()
        self.state.nested_parse(
            StringList(lines, self.state.document.current_source), self.content_offset, box
        )
        return box.children

    def page(self, name):
        """Relative address of another page of the book."""
        return self.env.app.builder.get_relative_uri(self.env.docname, name)


class VerdictStrip(Facts):
    """How many claims have which verdict, each linked to the ledger."""

    def run(self):
        strip = nodes.bullet_list(classes=["verdict-strip"])
        for verdict, count in ledger().load().counts().items():
            text = f"{count} {ledger().SYMBOLS[verdict]} {verdict}"
            link = nodes.reference(
                "",
                text,
                refuri=f"{self.page(LEDGER_PAGE)}?verdict={verdict.replace(' ', '+')}",
                internal=True,
                classes=["verdict", css_class(verdict)],
            )
            strip += nodes.list_item("", nodes.paragraph("", "", link))
        return [strip]


class VerdictTable(Facts):
    """Every verdict with its symbol and meaning."""

    def run(self):
        rows = [(f"{symbol} {verdict}", meaning) for verdict, (symbol, meaning) in ledger().VERDICTS.items()]
        return self.markdown(markdown_table(("verdict", "it means"), rows))


class ChapterMap(Facts):
    """The chapters that are ready, or those that are planned, each with its question."""

    required_arguments = 1

    def run(self):
        ready = directives.choice(self.arguments[0], ("ready", "planned")) == "ready"
        box = nodes.bullet_list(classes=["chapter-map"])
        self.env.note_dependency(str(CHAPTERS))
        for page, entry in chapters().items():
            name = f"notebooks/{page}"
            if (name in self.env.found_docs) != ready:
                continue
            number, separator, _ = page.partition("_")
            title = f"{int(number)} {entry['title']}" if separator else entry["title"]
            if ready:
                link = nodes.reference("", title, refuri=self.page(name), internal=True)
                head = nodes.paragraph("", "", link, classes=["chapter-title"])
                if entry["claims"]:
                    state = f" {entry['claims']} claims, {entry['hold']} hold as stated"
                    head += nodes.inline("", state, classes=["chapter-state"])
                box += nodes.list_item("", head, nodes.paragraph("", entry["question"]))
            else:
                known = f" ({entry['claims']} claims in the ledger)" if entry["claims"] else ""
                text = nodes.Text(f" {entry['question']}{known}")
                box += nodes.list_item("", nodes.paragraph("", "", nodes.strong("", f"{title}."), text))
        return [box]


class SymbolTable(Facts):
    """Every letter under the heading it was declared with: notation, name in code, meaning and unit."""

    def run(self):
        from gpt4lib.chapters.index import LETTERS

        found = []
        for heading, letters in groupby(LETTERS.values(), key=lambda letter: letter.heading):
            found.append(nodes.rubric("", heading))
            rows = [self.row(letter) for letter in letters]
            found += self.markdown(markdown_table(("Symbol", "In code", "Meaning"), rows))
        return found

    @staticmethod
    def row(s):
        tex = s.tex if s.value is None or s.tex != s.name else s.value
        unit = (
            "" if s.unit == "1" else f" {s.unit}".replace("**2", "²").replace("/", "/\u200b")
        )  # breaks at a stroke
        if s.value is None:
            return f"${tex}$", f"`{s.name}`", s.meaning + (f" [{unit.strip()}]" if unit else "")
        origin = f"{{cite}}`{s.source}`" if s.source else "by definition"
        return f"${tex}$", f"`{s.name}`", f"{s.meaning}; always {float(s.value):g}{unit}, {origin}"


# ---- roles --------------------------------------------------------------------------------


class Fact(SphinxRole):
    """A role whose target is looked up; one that is unknown is an error of the build."""

    def run(self):
        text, _, target = self.text.rpartition("<")
        try:
            return [self.node(target.rstrip(">").strip(), text.strip())], []
        except (ValueError, KeyError) as error:
            return [], [self.inliner.reporter.error(f"{self.name}: {error}", line=self.lineno)]

    def link(self, text, page, anchor="", **attributes):
        """A link to a page of the book."""
        uri = self.env.app.builder.get_relative_uri(self.env.docname, page)
        return nodes.reference("", text, refuri=uri + anchor, internal=True, **attributes)


class ClaimRole(Fact):
    """{claim}`id` or {claim}`text <id>`: verdict of a claim, linked to its row."""

    def node(self, target, text):
        claim = ledger().load()[target]
        label = f"{ledger().SYMBOLS[claim.verdict]} {claim.verdict}"
        label = f"{text} ({label})" if text else label
        classes = ["verdict", css_class(claim.verdict)]
        return self.link(label, LEDGER_PAGE, f"#{target}", reftitle=claim.claim, classes=classes)


class StatedRole(Fact):
    """{stated}`id`: the value that a claim states."""

    def node(self, target, text):
        return nodes.Text(ledger().load()[target].stated_text.lstrip("~"))


class RangeRole(Fact):
    """{range}`id`: what a claim's law gives over the precision of its inputs."""

    def node(self, target, text):
        claim = ledger().load()[target]
        return nodes.Text(claim.show(claim.interval))


class TallyRole(Fact):
    """{tally}`claims`, `checkable`, `chapters` or a verdict: how many."""

    def node(self, target, text):
        book = ledger().load()
        counts = book.counts()
        counts |= {
            "claims": len(book.claims),
            "checkable": len(book.claims) - counts["not checkable"],
            "chapters": len({claim.chapter for claim in book.claims}),
        }
        return nodes.Text(str(counts[target]))


class ChapterRole(Fact):
    """{chapter}`02_architecture`: a chapter's title, linked when it is ready, marked when it is planned."""

    def node(self, target, text):
        title = text or chapters()[target]["title"]
        if f"notebooks/{target}" in self.env.found_docs:
            return self.link(title, f"notebooks/{target}")
        return nodes.Text(f"{title} (planned)")


class PdfLink(Facts):
    """Where `make pdf` puts the link to the book as a PDF; nothing is seen until then."""

    def run(self):
        return [nodes.raw("", '<p class="pdf-link" hidden></p>', format="html")]


DIRECTIVES = {
    "pdf-link": PdfLink,
    "verdict-strip": VerdictStrip,
    "verdict-table": VerdictTable,
    "chapter-map": ChapterMap,
    "symbol-table": SymbolTable,
}
ROLES = {
    "claim": ClaimRole,
    "stated": StatedRole,
    "range": RangeRole,
    "tally": TallyRole,
    "chapter": ChapterRole,
}
