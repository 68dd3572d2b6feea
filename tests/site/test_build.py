"""Pins, settings, and what the repository may not hold."""

import json
import re
import subprocess
from pathlib import Path

import execute
import gpt4book
import outputs
import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PIN = re.compile(r"[a-z0-9][a-z0-9.-]*==[0-9][\w.!+]*( ; [\w .'<>=!-]+( (and|or) [\w .'<>=!()-]+)*)?")


def files():
    """The repository's own text files (not notebooks' outputs, not what was built)."""
    kinds = {".py", ".md", ".toml", ".yml", ".txt", ".csv", ".bib", ".ipynb", ".css", ".js", ".cff", ""}
    skip = {
        ".git",
        ".venv",
        "_build",
        "__pycache__",
        ".pytest_cache",
        ".hypothesis",
        ".ipynb_checkpoints",
        ".idea",
        ".vscode",
        "gpt4lib.egg-info",
        ".ruff_cache",
        ".import_linter_cache",
    }
    for path in ROOT.rglob("*"):
        if path.is_file() and path.suffix in kinds and not skip & set(path.relative_to(ROOT).parts):
            yield path


def test_requirements_are_exact_pins():
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    assert [line for line in lines if not PIN.fullmatch(line)] == []
    assert len(lines) > 100 and len({line.partition("==")[0] for line in lines}) == len(lines)


def test_requirements_satisfy_pyproject():
    """Each direct dependency is pinned inside the range that pyproject.toml states."""
    import tomllib

    from packaging.requirements import Requirement

    pins = {}
    for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines():
        name, _, version = line.partition(" ;")[0].partition("==")
        pins[name] = version
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = {
        name: extra for name, extra in project["optional-dependencies"].items() if name != "gpu"
    }  # one script's own
    direct = project["dependencies"] + [r for extra in extras.values() for r in extra]
    assert len(direct) > 15
    for requirement in map(Requirement, direct):
        assert pins[requirement.name] in requirement.specifier, requirement


def test_no_machine_path_and_no_package_index():
    """Nothing in the repository names a place on somebody's machine or a package index."""
    banned = re.compile(
        r"/(?:home|root|Users|tmp|work)/[\w.-]|--(?:extra-)?index-url [^\s\\]|--find-links|https?://(?:pypi|files)\."
    )
    found = [
        f"{p.relative_to(ROOT)}: {m.group()}"
        for p in files()
        if p != Path(__file__)
        for m in [banned.search(p.read_text("utf-8"))]
        if m
    ]
    assert found == []


@pytest.mark.parametrize(
    "url, buttons", [("", False), ("  ", False), (None, False), ("https://github.com/someone/book", True)]
)
def test_launch_buttons_only_with_a_repository(url, buttons):
    options = {
        "repository_url": url,
        "repository_branch": "main",
        "launch_buttons": {"colab_url": "https://colab.research.google.com"},
        "other": 1,
    }
    kept = gpt4book.launch_buttons(options)
    assert ("launch_buttons" in kept) is buttons and ("repository_url" in kept) is buttons
    assert kept["other"] == 1 and "launch_buttons" in options


def test_repository_is_one_setting():
    """Both launch services are configured, and the address stands in one place."""
    import yaml

    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
    assert config["launch_buttons"]["binderhub_url"] and config["launch_buttons"]["colab_url"]
    assert set(config["repository"]) == {"url", "branch"}


def test_notebook_links_lead_to_pages():
    link = gpt4book.NOTEBOOK_LINK
    swap = lambda text: link.sub(r"\1.html\2", text)
    assert swap('<a href="12_ledger.ipynb#a-b">') == '<a href="12_ledger.html#a-b">'
    assert swap('<a class="x" href="05_x.ipynb">') == '<a class="x" href="05_x.html">'
    for kept in ('<a href="https://example.org/a.ipynb">', "<code>a.ipynb</code>"):
        assert swap(kept) == kept


def test_make_help_names_every_target():
    text = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("book", "test", "lint", "format", "lab", "execute", "clean", "help"):
        assert re.search(rf"make {target}\b", text) or target == "help"


def test_make_refuses_an_old_interpreter(tmp_path):
    """A Python that is too old, or none at all, is answered in one line that says what to do."""
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    for python in (str(old), "no-such-python"):
        done = subprocess.run(
            ["make", "book", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, text=True
        )
        lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
        assert (
            done.returncode
            and len(lines) == 1
            and "Python 3.11 or newer" in lines[0]
            and "make PYTHON=" in lines[0]
        )


# ---- notebooks ----------------------------------------------------------------------------


def cells(path):
    """The code cells of a notebook that hold code, numbered from 1."""
    found = json.loads(path.read_text("utf-8"))["cells"]
    return [
        (n, c) for n, c in enumerate(found, 1) if c["cell_type"] == "code" and "".join(c["source"]).strip()
    ]


def test_there_are_notebooks():
    assert {p.stem for p in NOTEBOOKS} >= {"02_architecture", "05_training_cost", "12_ledger"}


def test_stored_outputs_are_those_of_this_library():
    """The site is built from them: each notebook's checksums are those of the library and of its code."""
    old = [path.stem for path in outputs.stale(NOTEBOOKS)]
    assert old == [], "the library or these notebooks have changed since: run make execute"
    assert set(outputs.stored()) == {path.stem for path in NOTEBOOKS}


def notebook_of(source, text, **cell):
    """A notebook of one code cell that prints a text, as JSON."""
    cell |= {"cell_type": "code", "source": source, "outputs": [{"output_type": "stream", "text": text}]}
    return json.dumps({"cells": [{"cell_type": "markdown", "source": "# Title"}, cell]})


def test_a_checksum_sees_what_changes_outputs_and_nothing_else(tmp_path):
    sums, path, library = tmp_path / "outputs.sum", tmp_path / "a.ipynb", tmp_path / "gpt4lib"
    (library / "__pycache__").mkdir(parents=True)
    (library / "law.py").write_bytes(b"x = 1\n")
    ours = outputs.library(tmp_path)
    (library / "law.py").write_bytes(b"x = 1\r\n")
    (library / "__pycache__" / "law.pyc").write_bytes(b"compiled")
    assert outputs.library(tmp_path) == ours
    (library / "law.py").write_bytes(b"x = 2\n")
    assert outputs.library(tmp_path) != ours
    path.write_text(notebook_of("a\nb", "1\n"))
    outputs.keep(path, outputs.library(), sums)
    path.write_text(
        notebook_of(["a\n", "b"], ["1\n"], metadata={"tags": ["hide-input"]}).replace("Title", "T")
    )
    assert outputs.stale([path], sums) == []
    for changed in (notebook_of("a\nc", "1\n"), notebook_of("a\nb", "2\n")):
        path.write_text(changed)
        assert outputs.stale([path], sums) == [path]
    path.write_text(notebook_of("a\nb", "1\n"))
    outputs.keep(path, "another library", sums)
    assert outputs.stale([path], sums) == [path]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_every_cell_is_executed_in_order(path):
    counts = [c["execution_count"] for _, c in cells(path)]
    assert counts == list(range(1, len(counts) + 1)) and counts


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_no_cell_failed_or_complained(path):
    bad = [
        n
        for n, c in cells(path)
        for o in c["outputs"]
        if o["output_type"] == "error" or o.get("name") == "stderr"
    ]
    assert bad == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_every_figure_has_alt_text_with_a_number(path):
    bad = []
    for number, cell in cells(path):
        shown = [o for o in cell["outputs"] if any(kind.startswith("image/") for kind in o.get("data", {}))]
        alt = cell["metadata"].get("mystnb", {}).get("image", {}).get("alt", "")
        if shown and not (re.search(r"\d", alt) and len(alt) > 20):
            bad.append(f"cell {number}: {alt!r}")
        if any(call in "".join(cell["source"]) for call in ("plt.show()", "show_figure(")) and not shown:
            bad.append(f"cell {number}: no picture stored")
    assert bad == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_alt_text_is_the_computed_one(path):
    """What the site shows as alt text is what the cell computed (`make execute` copies it)."""
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        for alt in filter(None, map(execute.alt_text, cell.get("outputs", []))):
            assert cell.metadata["mystnb"]["image"]["alt"] == alt
    for name, picture in execute.saved_pictures(notebook):
        assert (ROOT / "book" / "_static" / f"{name}.png").read_bytes() == picture, (
            f"{name}.png: run make execute"
        )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_code_fits_the_page(path):
    """No line of code is wider than the page shows it (88 characters)."""
    wide = [
        f"cell {n}: {line}"
        for n, c in cells(path)
        for line in "".join(c["source"]).splitlines()
        if len(line) > 88
    ]
    assert wide == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_defines_no_long_functions(path):
    """A notebook holds narrative and calls: no function longer than five lines."""
    import ast

    long = []
    for number, cell in cells(path):
        code = "\n".join(
            line for line in "".join(cell["source"]).splitlines() if not line.startswith(("%", "!"))
        )
        long += [
            f"cell {number}: {node.name}"
            for node in ast.walk(ast.parse(code))
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.end_lineno - node.lineno >= 5
        ]
    assert long == []
