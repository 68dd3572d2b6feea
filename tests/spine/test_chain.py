"""A chain of laws: three uses of one program agree, and what a link lacks is named."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt4lib.spine.chain import Chain, link
from gpt4lib.spine.errors import BadInput
from gpt4lib.spine.law import Law, constant, symbol

a, b, c, d, E = (symbol(name, "1", name) for name in ("a", "b", "c", "d", "E"))
ONE = constant("one", 1, "1", "one")
SUM, PRODUCT, ROOT = Law(c, a + ONE * b), Law(d, b * c), Law(E, a**0.5)


def larger(left, right):
    """A plain function."""
    return np.maximum(left, right)


CHAIN = Chain(SUM, PRODUCT, link("c_again", SUM, b="d"), link("half", PRODUCT, b=0.5, c="c_again"))
positive = st.floats(1e-3, 1e3)


@given(positive, positive)
def test_a_chain_is_its_laws_in_turn(x, y):
    c_, d_ = x + y, y * (x + y)
    want = {"a": x, "b": y, "c": c_, "d": d_, "c_again": x + d_, "half": 0.5 * (x + d_)}
    assert CHAIN.run({"a": x, "b": y}) == pytest.approx(want)
    arrays = CHAIN.on_arrays({"a": np.array([x, y]), "b": y})
    assert {name: np.broadcast_to(v, 2)[0] for name, v in arrays.items()} == pytest.approx(want)
    assert all(isinstance(value, float) for value in CHAIN.run({"a": x, "b": y}).values())
    names = {"a": x, "b": y}
    for name, expression in CHAIN.browser({"a": "a", "b": "b"}):  # these few expressions are Python too
        names[name] = eval(expression, {}, names)
    assert names == pytest.approx(want)


def test_what_is_known_is_left_as_it_was():
    known = {"a": 1.0, "b": 2.0}
    for use in (CHAIN.run, CHAIN.on_arrays):
        assert set(use(known)) == {"a", "b", "c", "d", "c_again", "half"} and known == {"a": 1.0, "b": 2.0}


def test_run_checks_and_on_arrays_does_not():
    with pytest.raises(BadInput, match="a"):
        CHAIN.run({"a": -1.0, "b": 2.0})
    assert CHAIN.on_arrays({"a": -1.0, "b": 2.0})["c"] == 1.0


def test_chains_join_and_links_are_replaced_or_left_out():
    both = Chain(SUM) + Chain(PRODUCT)
    assert [step.name for step in both.links] == ["c", "d"]
    other = CHAIN.but(link("d", SUM, b="c"), without=("half",))
    assert [step.name for step in other.links] == ["c", "d", "c_again"]
    assert other.run({"a": 1.0, "b": 2.0})["d"] == 4.0 and CHAIN.run({"a": 1.0, "b": 2.0})["d"] == 6.0


def test_a_later_link_replaces_an_earlier_result():
    assert Chain(SUM, link("c", SUM, b="c")).run({"a": 1.0, "b": 2.0})["c"] == 4.0


def test_plain_functions_are_links_but_not_for_the_browser():
    chain = Chain(SUM, link("most", larger, left="a", right="c"))
    assert chain.run({"a": 1.0, "b": 2.0})["most"] == 3.0
    assert chain.on_arrays({"a": np.ones(2), "b": 2.0})["most"].tolist() == [3.0, 3.0]
    with pytest.raises(BadInput, match="most is by larger, and a browser takes laws only"):
        chain.browser({"a": "a", "b": "b"})
    parts = Chain(link("all", lambda **parts: sum(parts.values()), first="a", second="b"))
    assert parts.run({"a": 1.0, "b": 2.0})["all"] == 3.0


def test_words_that_the_browser_keeps_for_itself_are_renamed():
    chain = Chain(ROOT, link("next", SUM, b="E"))
    assert [name for name, _ in chain.browser({"a": "a"})] == ["E_", "next"]
    assert chain.browser({"a": "(x * 2)"})[1] == ("next", "(x * 2) + E_")


@pytest.mark.parametrize("use", ["run", "on_arrays", "browser"])
def test_a_missing_input_is_named_with_link_and_law(use):
    with pytest.raises(BadInput, match=r"c_again by Law\(c = .*\) lacks z"):
        getattr(Chain(SUM, link("c_again", SUM, b="z")), use)({"a": 1.0, "b": 2.0})
    with pytest.raises(BadInput, match="most by larger lacks left, right"):
        Chain(link("most", larger)).run({})


def test_a_link_takes_no_input_that_its_law_does_not_have():
    with pytest.raises(BadInput, match="c has no input z; it takes a, b"):
        link("c", SUM, z="a")
    with pytest.raises(BadInput, match="most has no input z; it takes left, right"):
        link("most", larger, z="a")
