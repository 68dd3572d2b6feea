"""Every letter has one place: the first chapter that needs it, or notation.py. No law stands twice."""

import ast
import random
from collections import defaultdict
from functools import cache

import pytest
import sympy

from gpt4lib.chapters.index import LAWS, LETTERS, MODULES, find_law
from gpt4lib.spine.errors import BadInput
from gpt4lib.spine.law import Law, Quantity

ORDER = [module.__name__.rpartition(".")[2] for module in MODULES]
SHARED, CHAPTERS = ORDER[0], ORDER[1:]
OF = dict(zip(ORDER, MODULES))


@cache
def tree(chapter):
    with open(OF[chapter].__file__, encoding="utf-8") as file:
        return ast.parse(file.read())


@cache
def defined(chapter):
    """The names that a chapter assigns; what it only imports is not among them."""
    targets = [t for node in tree(chapter).body if isinstance(node, ast.Assign) for t in node.targets]
    return [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]


@cache
def imports(chapter):
    """(chapter, name) of what a chapter takes from others by name."""
    found = [n for n in ast.walk(tree(chapter)) if isinstance(n, ast.ImportFrom) and n.level == 1]
    return [(node.module or name.name, name.name) for node in found for name in node.names]


def laws_in(value):
    """The laws that a name stands for: itself, or those of a table or a tuple."""
    if isinstance(value, dict):
        value = tuple(value.values())
    return [law for law in (value if isinstance(value, tuple) else (value,)) if isinstance(law, Law)]


@cache
def users():
    """The chapters whose own laws have a letter, by its name."""
    found = defaultdict(set)
    for chapter in CHAPTERS:
        for name in {name for name in defined(chapter) if not name.startswith("_")}:
            for law in laws_in(getattr(OF[chapter], name)):
                for letter in (law.lhs, *law.symbols, *law.constants):
                    found[letter.name].add(chapter)
    return found


def is_letter(chapter, name):
    found = getattr(OF[chapter], name, None)
    return isinstance(found, Quantity) and found.name == name


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapters_laws_are_found_by_its_name(chapter):
    own = {n: getattr(OF[chapter], n) for n in defined(chapter) if not n.startswith("_")}
    own = {f"{chapter}.{n}": law for n, law in own.items() if isinstance(law, Law)}
    assert own == {name: law for name, law in LAWS.items() if name.startswith(f"{chapter}.")}
    assert all(find_law(name) is law for name, law in own.items())


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_misspelt_law_names_the_nearest(chapter):
    name = next(name for name in LAWS if name.startswith(f"{chapter}."))
    with pytest.raises(BadInput, match=rf"unknown law '{name}_'; nearest known: .*\b{name}\b"):
        find_law(f"{name}_")


def test_a_letter_is_declared_once():
    declared = [name for chapter in ORDER for name in defined(chapter) if is_letter(chapter, name)]
    assert sorted(declared) == sorted(set(declared)) == sorted(LETTERS)


def test_shared_letters_are_those_of_three_or_more_chapters():
    shared = {name for name in defined(SHARED) if is_letter(SHARED, name)}
    assert shared == {name for name, chapters in users().items() if len(chapters) >= 3}
    assert len(shared) <= 65


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_other_letters_are_declared_where_they_are_first_used(chapter):
    named = {n.id for n in ast.walk(tree(chapter)) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    for name in filter(lambda name: is_letter(chapter, name), defined(chapter)):
        before = CHAPTERS[: CHAPTERS.index(chapter)]
        assert name in named and not users()[name].intersection(before), name


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_takes_few_letters_and_from_earlier_chapters_only(chapter):
    taken = [(home, name) for home, name in imports(chapter) if home in OF and name != "*"]
    assert sum(is_letter(home, name) for home, name in taken) <= 13
    assert {home for home, _ in taken} <= set(ORDER[: ORDER.index(chapter)])


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_what_a_law_reads_later_is_assigned_once(chapter):
    later = [node for node in ast.walk(tree(chapter)) if isinstance(node, ast.Lambda)]
    read = {name.id for node in later for name in ast.walk(node) if isinstance(name, ast.Name)}
    assert not {name for name in read if defined(chapter).count(name) > 1}


def at_random(law, seed):
    """The right side to eight digits where each letter has a value drawn by its name."""
    values = {}
    for letter in law.symbols:
        draw = random.Random(f"{letter.name}{seed}").uniform
        values[letter.name] = complex(draw(*((0.05, 0.4) if letter.at_most else (2, 9))))
    return f"{complex(law.on_arrays(values)):.7e}"


def test_no_law_stands_twice():
    """Two names for one right side say two letters, as where what is sent is the payload."""
    alike = defaultdict(list)
    for name, law in LAWS.items():
        alike[law.lhs, *(at_random(law, seed) for seed in range(3))].append(name)
    twice = [names for names in alike.values() if len(names) > 1]
    same = lambda names: all(sympy.simplify(LAWS[names[0]].rhs - LAWS[n].rhs) == 0 for n in names[1:])
    assert not [names for names in twice if same(names)]
