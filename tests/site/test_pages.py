"""The texts outside the chapters: what they say about the code is what the code says."""

import doctest
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import book_examples
import pytest
import yaml

import gpt4lib
from gpt4lib import ledger
from gpt4lib.facts.files import data_file, read_toml, sources
from gpt4lib.facts.given import ORIGINS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(ROOT.glob("book/*.md"))
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *PAGES]
NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))


def read(name):
    return (ROOT / name).read_text("utf-8")


def blocks(text, language):
    """The fenced blocks of a language in a Markdown text."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


def prose(path):
    """A page's Markdown, or the text cells of a notebook."""
    if path.suffix == ".md":
        return path.read_text("utf-8")
    return "\n".join(
        "".join(c["source"])
        for c in json.loads(path.read_text("utf-8"))["cells"]
        if c["cell_type"] == "markdown"
    )


def targets():
    """The targets of the Makefile."""
    return set(re.search(r"^\.PHONY: (help .*)$", read("Makefile"), re.M)[1].split())


def chapter_entries():
    return tomllib.loads(read("book/chapters.toml"))["chapter"]


# ---- README -------------------------------------------------------------------------------


def test_commands_in_the_texts_are_targets():
    for path in TEXTS:
        named = re.findall(r"(?:^\$ |`)make ([a-z]+)\b", path.read_text("utf-8"), re.M)
        assert set(named) <= targets(), path.name
    in_table = re.findall(r"^\| `make (\w+)`", read("README.md"), re.M)
    assert set(in_table) == targets() - {"help"}


def test_counts_of_the_readme_are_the_ledgers():
    counts = ledger.load().counts()
    rows = [
        f"| {symbol} {name} | {counts[name]} | {meaning} |"
        for name, (symbol, meaning) in ledger.VERDICTS.items()
    ]
    missing = [row for row in rows if row not in read("README.md").splitlines()]
    assert missing == [], "these rows belong into README.md"
    assert set(re.findall(r"(\d+) claims\b", read("README.md"))) == {str(len(ledger.load().claims))}


def test_the_finding_of_the_readme_is_the_ledgers():
    claim = ledger.load()["training-cost-63m"]
    text = re.sub(r"\s+", " ", read("README.md"))
    stated, ours = claim.stated_text.lstrip("~"), claim.show(claim.interval)
    assert f"at {stated}. Its own GPUs, days and price per hour multiply to {ours}:" in text
    assert claim.verdict == "contradicts"


def test_commands_of_the_readme_print_what_it_shows(tmp_path):
    text = read("README.md")
    (tmp_path / "mixtral.toml").write_text(blocks(text, "toml")[0])
    runs = re.findall(r"^\$ \.venv/bin/python (.+)\n((?:(?!\$|```).*\n)+)", text, re.M)
    assert len(runs) == 2
    for command, shown in runs:
        done = subprocess.run(
            [sys.executable, *shlex.split(command)], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert done.stdout.rstrip() == shown.rstrip()


def test_the_five_lines_of_the_readme_run():
    lines = doctest.DocTestParser().get_doctest(
        "".join(blocks(read("README.md"), "python")), {}, "README", "README.md", 0
    )
    done = doctest.DocTestRunner().run(lines)
    assert done.attempted >= 4 and done.failed == 0


def test_first_screen_of_the_readme():
    """What it is, one finding, one picture, two commands, before the first heading."""
    top = read("README.md").partition("\n## ")[0]
    assert blocks(top, "console")[0].count("$ make") == 2 and "$ make book" in top and "$ make test" in top
    assert "![" in top and "One finding" in top and len(top.splitlines()) < 30
    assert (
        "Python 3.11 or newer" in top
        and tomllib.loads(read("pyproject.toml"))["project"]["requires-python"] == ">=3.11"
    )


def test_picture_of_the_readme_is_the_saved_figure():
    """The picture is the one a notebook saves, with the alt text that its cell computed."""
    alt, picture = re.search(r"^!\[(.+?)\]\((.+?)\)$", read("README.md"), re.M).groups()
    saved = [
        cell["metadata"]
        for path in NOTEBOOKS
        for cell in json.loads(path.read_text("utf-8"))["cells"]
        if cell["metadata"].get("save") == Path(picture).stem
    ]
    assert [meta["mystnb"]["image"]["alt"] for meta in saved] == [alt], (
        "copy the notebook's alt text into README.md"
    )
    assert (ROOT / picture).is_file()


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_and_paths_exist(name):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", read(name))
    paths = re.findall(r"`((?:book|gpt4lib|tests|benchmarks|notebooks|\.github)/[\w./-]+)`", read(name))
    paths = [path for path in paths if "NN_" not in path and not path.endswith(("/name.py", "/test_name.py"))]
    assert [path for path in links + paths if not (ROOT / path).exists()] == []


def test_status_of_the_readme_names_every_notebook():
    there = {path.stem for path in NOTEBOOKS}
    entries = [entry for entry in chapter_entries() if entry["page"] in there]
    lines = [
        f"- [{entry['title']}](notebooks/{entry['page']}.ipynb): {entry['question']}" for entry in entries
    ]
    status = read("README.md").partition("## Status")[2].partition("\n## ")[0]
    assert [line for line in status.splitlines() if line.startswith("- ")] == lines


# ---- citation and versions ----------------------------------------------------------------


def test_citation_file():
    book = yaml.safe_load(read("CITATION.cff"))
    assert book["cff-version"] == "1.2.0" and book["message"] and book["title"] and book["type"] == "software"
    assert [set(author) for author in book["authors"]] == [{"name"}]
    assert book["license"] == ["BSD-3-Clause", "CC-BY-4.0"]
    assert set(book) <= {
        "cff-version",
        "message",
        "title",
        "abstract",
        "type",
        "authors",
        "version",
        "date-released",
        "keywords",
        "license",
        "repository-code",
        "url",
    }
    url = yaml.safe_load(read("_config.yml"))["repository"]["url"]
    assert book.get("repository-code", "") == url


def test_one_version_and_one_date():
    book = yaml.safe_load(read("CITATION.cff"))
    newest, date = re.search(r"^## \[(.+?)\] - (\d{4}-\d\d-\d\d)$", read("CHANGELOG.md"), re.M).groups()
    assert (
        book["version"]
        == newest
        == gpt4lib.__version__
        == tomllib.loads(read("pyproject.toml"))["project"]["version"]
    )
    assert f"{book['date-released']}" == date


def test_how_to_cite_is_the_citation_file():
    entry = book_examples.bibtex()
    assert blocks(read("README.md"), "bibtex") == [entry + "\n"]
    assert "{{GPT-4, Recomputed}}" in entry and "year = {2026}" in entry


# ---- the map of the chapters --------------------------------------------------------------


def test_the_map_names_every_notebook():
    entries = chapter_entries()
    pages = [entry["page"] for entry in entries]
    numbered = [page for page in pages if page[0].isdigit()]
    assert numbered == sorted(numbered) and len(pages) == len(set(pages))
    assert {path.stem for path in NOTEBOOKS} <= set(pages)
    assert all(entry["question"].endswith("?") for entry in entries)
    assert {claim.chapter for claim in ledger.load().claims} <= set(pages)


def test_the_map_has_the_titles_of_the_notebooks():
    titles = {entry["page"]: entry["title"] for entry in chapter_entries()}
    for path in NOTEBOOKS:
        assert re.search(r"^# (.+)$", prose(path), re.M)[1] == titles[path.stem]


def test_the_toc_holds_every_notebook_and_page():
    listed = re.findall(r"(?:file|root): (\S+)", read("_toc.yml"))
    there = [path.relative_to(ROOT).with_suffix("").as_posix() for path in (*PAGES, *NOTEBOOKS)]
    assert sorted(listed) == sorted(there)


# ---- how to read --------------------------------------------------------------------------

ARTICLE = {
    "size": {"value": "~280e9 parameter", "meaning": "size"},
    "tokens": {"value": "~13e12 token", "meaning": "tokens"},
}
TOKENS = {"value": "~13e12 token", "meaning": "tokens", "source": "kaplan2020"}
CONSTANTS = {kind: {**TOKENS, "kind": kind} for kind in ("constant", "fact", "assume")}
CONSTANTS["n"] = {"value": "~280e9 parameter", "meaning": "size", "source": "kaplan2020", "kind": "constant"}
MEETS = {
    "yes": {"stated": "~2.2e25 FLOP"},
    "no": {"stated": "~9e25 FLOP"},
    "no, but in the corrected unit they do": {"stated": "~22 TFLOP", "corrected_unit": "YFLOP"},
}
INPUTS = {
    "no assumption": [
        ("article:size", "article:tokens"),
        ("article:size", "constant:constant"),
        ("article:size", "fact:fact"),
    ],
    "an assumption": [("article:size", "assume:assume"), ("constant:n", "assume:assume")],
    "an assumption or an outside fact": [
        ("article:size", "assume:assume"),
        ("article:size", "fact:fact"),
        ("constant:n", "fact:fact"),
    ],
    "constants and data sheets only": [("constant:n", "constant:constant")],
    "the article's figures, constants and data sheets only": [
        ("article:size", "article:tokens"),
        ("article:size", "constant:constant"),
    ],
}
INPUTS["anything"] = [pair for pairs in INPUTS.values() for pair in pairs]


def rule():
    """The rows of the table that states the rule."""
    text = read("book/how-to-read.md").partition("## The rule")[2].partition("\n## ")[0]
    rows = [
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line in text.splitlines()
        if line.startswith("|")
    ]
    return rows[2:]


def test_the_rule_has_a_row_for_every_verdict():
    assert {verdict for _, _, verdict in rule()} == set(ledger.VERDICTS)


@pytest.mark.parametrize(("meet", "among", "verdict"), rule())
def test_the_rule_is_the_one_that_is_computed(meet, among, verdict):
    entry = {"id": "a", "chapter": "x", "kind": "stated", "claim": "c", "expect": verdict}
    entries = [{**entry, "reason": "none"}]
    if meet in MEETS:
        entry |= {"law": "architecture.compute", "inverse": ["D"], "note": "n", **MEETS[meet]}
        entries = [{**entry, "inputs": {"N": size, "D": tokens}} for size, tokens in INPUTS[among]]
    else:
        assert (meet, among) == ("there is no law to compute with", "anything")
    built = [
        ledger.build([("t", e)], article=ARTICLE, constants=CONSTANTS).claims[0].verdict for e in entries
    ]
    assert built == [verdict] * len(entries)


def test_the_page_names_every_origin():
    text = read("book/how-to-read.md").partition("## Where the inputs come from")[2].partition("\n## ")[0]
    named = tuple(re.findall(r"^\| (\w+) \|", text, re.M))[1:]
    assert named == (*ORIGINS[:2], "constant", "hardware", "fact", "assume")
    assert set(ORIGINS) == {"claim", "article", "constant", "hardware", "fact", "assume"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("~1.8e12 parameter", "1.75 to 1.85 trillion parameters"),
        ("~25,000 GPU", "24,500 to 25,500 GPUs"),
        ("8,192 GPU", "8,191.5 to 8,192.5 GPUs"),
        ("> 10", "anything above 10"),
        ("=16", "exactly 16"),
        ("32-36 percent", "32.0% to 36.0%"),
        ("~2.15e25 FLOP", "2.145 × 10²⁵ FLOP to 2.155 × 10²⁵ FLOP"),
    ],
)
def test_precision_in_words(text, words):
    assert book_examples.read_as(text) == words


# ---- glossary and bibliography ------------------------------------------------------------


def glossary():
    """The terms of the glossary, one list for each entry, and the definitions."""
    text = read("book/glossary.md").partition("```{glossary}\n")[2].partition("\n```")[0]
    entries = [re.match(r"((?:\S.*\n)+)((?:  .*(?:\n|$))+)", entry) for entry in text.split("\n\n")]
    return [(match[1].split("\n")[:-1], " ".join(match[2].split())) for match in entries]


def test_terms_are_sorted_and_unique():
    heads = [terms[0].lower() for terms, _ in glossary()]
    every = [term.lower() for terms, _ in glossary() for term in terms]
    assert heads == sorted(heads) and len(every) == len(set(every)) and len(heads) >= 50


def test_definitions_are_one_to_three_sentences():
    for terms, definition in glossary():
        sentences = re.findall(r"[.?](?=\s|$)", re.sub(r" See [^.]+\.$", "", definition))
        assert 1 <= len(sentences) <= 3 and definition.endswith("."), terms


@pytest.mark.parametrize("path", [*PAGES, *NOTEBOOKS], ids=lambda p: p.stem)
def test_references_are_known(path):
    """Terms, sources and claims that a page names exist."""
    text, terms = prose(path), {term.lower() for terms, _ in glossary() for term in terms}
    used = [re.sub(r"^.*<(.*)>$", r"\1", term) for term in re.findall(r"\{term\}`([^`]+)`", text)]
    assert {term.lower() for term in used} <= terms
    cited = [
        key.strip() for keys in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text) for key in keys.split(",")
    ]
    assert set(cited) <= sources()
    claims = [
        re.sub(r"^.*<(.*)>$", r"\1", name)
        for name in re.findall(r"\{(?:claim|stated|range)\}`([^`]+)`", text)
    ]
    assert set(claims) <= {claim.id for claim in ledger.load().claims}


def test_every_source_of_the_bibliography_is_whole():
    text = data_file("references.bib").read_text("utf-8")
    keys = re.findall(r"^@\w+\{([^,\s]+),", text, re.M)
    assert len(keys) == len(set(keys))
    for entry in re.split(r"^(?=@)", text, flags=re.M)[1:]:
        missing = [field for field in ("title", "author", "year") if not re.search(rf"\b{field}\s*=", entry)]
        assert not missing and re.search(r"\b(url|doi)\s*=", entry), entry[:80]


# ---- what every page says -----------------------------------------------------------------

QUOTES = re.compile(
    r"\{(?:claim|stated|range|verdict-strip|worked-claim)\}|\$63 million|13 trillion tokens|claims_table"
)
UNCONFIRMED = re.compile(r"unconfirmed|(?:never|none|not|nothing|nobody)\b[^.]{0,60}\bconfirm", re.I)


@pytest.mark.parametrize("path", [ROOT / "README.md", *PAGES, *NOTEBOOKS], ids=lambda p: p.stem)
def test_a_page_that_quotes_figures_says_that_they_are_unconfirmed(path):
    assert UNCONFIRMED.search(prose(path)) or not QUOTES.search(prose(path))


@pytest.mark.parametrize("name", ["README.md", "book/index.md"])
def test_no_connection_is_claimed(name):
    text = re.sub(r"\s+", " ", read(name))
    assert re.search(r"no connection with OpenAI or with the article's authors", text)


@pytest.mark.parametrize(
    "name", ["book/index.md", "book/how-to-read.md", "book/notation.md", "book/bibliography.md"]
)
def test_no_number_of_the_ledger_is_typed_into_a_page(name):
    """Values and counts of claims stand in pages as directives and roles only."""
    text = re.sub(r"^```\{precision\}.*?^```$", "", read(name), flags=re.M | re.S)
    assert not re.search(r"\b\d+ claims\b|\$\d", text.replace(r"\$1 per GPU-hour", ""))


# ---- CONTRIBUTING -------------------------------------------------------------------------


def test_tests_that_contributing_names_exist():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", read("CONTRIBUTING.md"))
    assert len(named) >= 12
    for path, function in named:
        assert f"def {function}(" in read(path), f"{path}::{function}"


def test_the_claim_in_contributing_gets_its_verdict():
    entry = tomllib.loads(blocks(read("CONTRIBUTING.md"), "toml")[0])["claim"][0]
    folder = ROOT / "gpt4lib" / "data" / "ledger"
    entries = [(path.name, e) for path in sorted(folder.glob("*.toml")) for e in read_toml(path)["claim"]]
    book = ledger.build(
        [*entries, ("contributing", entry)],
        article=read_toml(data_file("article.toml")),
        constants=read_toml(data_file("constants.toml")),
    )
    claim = book[entry["id"]]
    assert claim.verdict == entry["expect"] and "{" not in claim.why
    names, row = (line.split(",") for line in blocks(read("CONTRIBUTING.md"), "csv")[0].splitlines())
    second = dict(zip(names, row, strict=True))
    assert second["id"] == claim.id and claim.derived == pytest.approx(float(second["derived"])) == eval(
        second["how"]
    )
    assert [claim.stated.interval.lo, claim.stated.interval.hi] == pytest.approx(
        [float(second["stated_low"]), float(second["stated_high"])]
    )


def test_the_code_in_contributing_runs(monkeypatch):
    import IPython.display
    import matplotlib

    matplotlib.use("Agg")
    shown = []
    monkeypatch.setattr(
        IPython.display, "display", lambda figure, metadata: shown.append(metadata["image/png"]["alt"])
    )
    space = {}
    for block in blocks(read("CONTRIBUTING.md"), "python"):
        exec(block, space)
    space["run_energy"].check_dimensions()
    space["test_energy_against_a_meter_read_every_day"]()
    assert len(shown) == 1 and re.search(r"\d", shown[0])
