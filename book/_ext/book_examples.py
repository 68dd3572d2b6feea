"""Directives that print examples and extracts: stated values, one claim step by step, a saved figure, how to cite."""

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
        from gpt4lib.spine.text import written

        claim = ledger().load()[self.arguments[0]]
        known = {s.name: s for s in (*claim.law.symbols, *claim.law.constants)}
        inputs = []
        for name, i in claim.inputs.items():
            values = dollars(written(i.stated)), dollars(read_as(i.stated.text))
            inputs.append((f"${known[name].tex}$", f"{i.meaning} (*{i.origin}*)", *values))
        meet = (
            "have a point in common"
            if claim.interval.meets(claim.target.interval)
            else "have no point in common"
        )
        origins = ", ".join(sorted({i.origin for i in claim.inputs.values()}))
        lines = [
            f"**The claim.** “{dollars(claim.claim)}.” The ledger keeps the value as `{claim.stated.text}` and reads "
            f"it as {dollars(read_as(claim.stated.text))}.",
            "",
            f"**The law.** `{claim.law_name}` in the library:",
            "",
            "$$",
            claim.law.latex(),
            "$$",
            "",
            "**The inputs.** Each with its precision and its origin:",
            "",
            *markdown_table(("symbol", "meaning (*origin*)", "stated", "read as"), inputs),
            "",
            f"**The range.** The law gives {dollars(claim.show(claim.derived))} at the central values. Over every "
            f"combination of the inputs it gives {dollars(claim.show(claim.interval))}.",
            "",
            f"**The comparison.** The stated range and ours {meet}. Among the inputs are: {origins}. "
            f"By the [rule](#read-rule) the verdict is {{claim}}`{claim.id}`.",
        ]
        if claim.inverse and claim.verdict != "holds":
            lines += ["", "**The inverse reading.** One of these alone would bring the stated value out:", ""]
            for name in claim.inverse:
                value = ledger().display(claim.must_be(name), known[name])
                lines.append(f"- {known[name].meaning}: {dollars(value)}")
        return self.markdown(lines)


class Elasticities(Facts):
    """The elasticities of a claim's law at its inputs' central values."""

    required_arguments = 1

    def run(self):
        from gpt4lib.show.tables import sensitivities

        claim = ledger().load()[self.arguments[0]]
        table = sensitivities(claim.law, **{name: i.stated.value for name, i in claim.inputs.items()})
        return self.markdown(table._repr_markdown_().splitlines())


class SavedFigure(Facts):
    """A figure that a notebook saves (cell metadata `save`), with the alt text that its cell computed; unnumbered."""

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
