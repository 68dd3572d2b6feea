"""The mutation check's own parts: lines taken out of the draw give a reason, and everything else is drawn."""

import ast
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent / "benchmarks"))

import mutants

SOURCE = '''
SIZE = 1 << 13  # not mutated: block size, changes no result


def grow(x, most=3):
    """x + 2, up to `most`."""
    step = 2  # not mutated: a seed
    if x < most:
        return min(x + step, most)
    return -x
'''


def done(text):
    return [what for _, _, what, _ in mutants.edits(ast.parse(text), mutants.spared(text))]


def test_every_line_that_is_taken_out_of_the_draw_gives_a_reason():
    for name in mutants.sources():
        assert mutants.spared(mutants.text_of(name)) is not None, name


@pytest.mark.parametrize(
    "mark", ["# not mutated", "# not mutated:", "# not mutated:  ", "# not mutated - fast"]
)
def test_a_mark_without_a_reason_is_refused(mark):
    with pytest.raises(ValueError, match="line 2: `not mutated` takes a reason"):
        mutants.spared(f"a = 1\nb = 2  {mark}\n")


def test_marked_lines_are_left_out_and_all_others_drawn():
    left = {"3 -> 4", "x < most -> x <= most", "x + step -> x - step", "min -> max"}
    assert mutants.spared(SOURCE) == {2, 7} and set(done(SOURCE)) == left
    every = set(done(SOURCE.replace("# not mutated", "# so")))
    assert every - left == {"1 -> 2", "13 -> 14", "2 -> 3"}


def test_a_change_is_made_when_it_is_called_and_not_before():
    tree = ast.parse(SOURCE)
    before = ast.unparse(tree)
    ((_, _, _, change),) = [edit for edit in mutants.edits(tree) if edit[2] == "min -> max"]
    assert ast.unparse(tree) == before
    change()
    assert ast.unparse(tree) == before.replace("min(", "max(")


def test_modules_are_found_in_whatever_folder():
    """Every file of the library but looks and what only gathers names; each import path is its own."""
    names = mutants.sources()
    assert {path.stem for path in names.values()} >= {"law", "ledger", "interval", "batching", "planner"}
    for name, path in names.items():
        assert path.as_posix().endswith(f"/gpt4lib/{name.replace('.', '/')}.py")
    assert (
        mutants.home("Law").__name__
        == f"gpt4lib.{mutants.named('Law')}"
        == mutants.home("Law").Law.__module__
    )
    with pytest.raises(LookupError, match="one module defines Nothing"):
        mutants.named("Nothing")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [("~1.8e12 parameter", "~2.34e+12 parameter"), ("90-100 day", "117-130 day"), ("=16", "=20.8 1")],
)
def test_a_stated_value_is_scaled_in_its_own_words(text, wrong):
    assert mutants.scaled(text) == wrong and mutants.scaled("=0") is None
