"""Directives that print examples: stated values, one claim step by step, a saved figure, how to cite."""

import json
import re

import yaml
from book_facts import ROOT, Facts, dollars, ledger, markdown_table
from docutils import nodes

CITATION = ROOT / "CITATION.cff"


def read_as(text):
    """The range that a stated value is read as, in words: "1.75 to 1.85 trillion parameters"."""
    from gpt4lib.spine.stated import parts, stated
    from gpt4lib.spine.text import fmt, written

    value, (mark, first, _) = stated(text), parts(text)
    if mark in ("=", "<", ">", "<=", ">="):
        words = {
            "=": "exactly",
            "<": "anything below",
            ">": "anything above",
            "<=": "at most",
            ">=": "at least",
        }[mark]
        return f"{words} {written(value).lstrip('<>= ')}"
    significant = re.sub(r"[eE].*|\D", "", first)
    digits = len(significant if "." in first else significant.rstrip("0"))
    return fmt(
        value.interval, "%" if value.written_unit in ("percent", "%") else value.unit, max(digits, 2) + 1
    )


class Precision(Facts):
    """Stated values, one a line, and the range that each is read as."""

    has_content = True

    def run(self):
        rows = [(f"`{line}`", dollars(read_as(line))) for line in self.content if line.strip()]
        return self.markdown(markdown_table(("in the data file", "read as"), rows))


class WorkedClaim(Facts):
    """One claim checked step by step: stated value, law, inputs, range, comparison, inverse."""

    required_arguments = 1

    def run(self):
        claim = ledger().load()[self.arguments[0]]
        known = {s.name: s for s in (*claim.law.symbols, *claim.law.constants)}
        lines = [*self.question(claim), *self.inputs(claim, known)]
        lines += [*self.answer(claim), *self.inverse(claim, known)]
        return self.markdown(lines)

    @staticmethod
    def question(claim):
        """The claim as the ledger keeps it, and the law that checks it."""
        return [
            f"**The claim.** “{dollars(claim.claim)}.” The ledger keeps the value as `{claim.stated.text}` "
            f"and reads it as {dollars(read_as(claim.stated.text))}.",
            "",
            f"**The law.** `{claim.law_name}` in the library:",
            "",
            "$$",
            claim.law.latex(),
            "$$",
            "",
        ]

    @staticmethod
    def inputs(claim, known):
        """What goes in: symbol, meaning, stated value and range."""
        from gpt4lib.spine.text import written

        rows = []
        for name, i in claim.inputs.items():
            values = dollars(written(i.stated)), dollars(read_as(i.stated.text))
            rows.append((f"${known[name].tex}$", f"{i.meaning} (*{i.origin}*)", *values))
        table = markdown_table(("symbol", "meaning (*origin*)", "stated", "read as"), rows)
        return ["**The inputs.** Each with its precision and its origin:", "", *table, ""]

    @staticmethod
    def answer(claim):
        """What comes out, and how it compares."""
        common = "a point" if claim.interval.meets(claim.target.interval) else "no point"
        origins = ", ".join(sorted({i.origin for i in claim.inputs.values()}))
        return [
            f"**The range.** The law gives {dollars(claim.show(claim.derived))} at the central values. Over "
            f"every combination of the inputs it gives {dollars(claim.show(claim.interval))}.",
            "",
            f"**The comparison.** The stated range and ours have {common} in common. Among the inputs are: "
            f"{origins}. By the [rule](#read-rule) the verdict is {{claim}}`{claim.id}`.",
        ]

    @staticmethod
    def inverse(claim, known):
        """What one input alone would have to be, where the claim does not hold."""
        if not claim.inverse or claim.verdict == "holds":
            return []
        lines = ["", "**The inverse reading.** One of these alone would bring the stated value out:", ""]
        for name in claim.inverse:
            value = ledger().display(claim.must_be(name), known[name])
            lines.append(f"- {known[name].meaning}: {dollars(value)}")
        return lines


class Elasticities(Facts):
    """The elasticities of a claim's law at its inputs' central values."""

    required_arguments = 1

    def run(self):
        from gpt4lib.show.tables import sensitivities

        claim = ledger().load()[self.arguments[0]]
        table = sensitivities(claim.law, **{name: i.stated.value for name, i in claim.inputs.items()})
        return self.markdown(table._repr_markdown_().splitlines())


class SavedFigure(Facts):
    """A figure that a notebook saves (cell metadata `save`), with its computed alt text; unnumbered."""

    required_arguments = 1
    has_content = True

    def run(self):
        name = self.arguments[0]
        for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
            for cell in json.loads(path.read_text("utf-8"))["cells"]:
                alt = cell["metadata"].get("mystnb", {}).get("image", {}).get("alt")
                if cell["metadata"].get("save") == name and alt:
                    self.env.note_dependency(str(path))
                    image = [f":::{{image}} /book/_static/{name}.png", f":alt: {alt}", ":::"]
                    return self.markdown([*image, "", *self.content])
        message = f"no notebook has saved a figure {name!r}: run make execute"
        return [self.state.document.reporter.warning(message, line=self.lineno)]


def bibtex():
    """The book as a BibTeX entry, from CITATION.cff."""
    book = yaml.safe_load(CITATION.read_text("utf-8"))
    rows = {
        "title": f"{{{book['title']}}}",
        "author": f"{{{book['authors'][0]['name']}}}",
        "year": f"{book['date-released']}"[:4],
        "version": book["version"],
        "url": book.get("repository-code"),
    }
    lines = [f"  {key} = {{{value}}}," for key, value in rows.items() if value]
    return "\n".join(["@book{gpt4recomputed,", *lines, "}"])


class HowToCite(Facts):
    """The BibTeX entry of the book."""

    def run(self):
        self.env.note_dependency(str(CITATION))
        return [nodes.literal_block(bibtex(), bibtex(), language="bibtex")]


DIRECTIVES = {
    "precision": Precision,
    "worked-claim": WorkedClaim,
    "elasticities": Elasticities,
    "saved-figure": SavedFigure,
    "how-to-cite": HowToCite,
}
