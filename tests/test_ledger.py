"""The ledger: what is refused at load, how verdicts are computed, what the records hold."""

import copy
import math

import pytest
from jsonschema import Draft202012Validator

from gpt4lib import ledger
from gpt4lib.facts.files import data_file, read_toml
from gpt4lib.spine.errors import BadInput
from gpt4lib.spine.units import base_unit

ENTRY = {
    "id": "a-claim",
    "chapter": "05_training_cost",
    "kind": "stated",
    "claim": "The run takes so many FLOP",
    "stated": "~2.2e25 FLOP",
    "law": "architecture.compute",
    "inputs": {"N": "article:size", "D": "article:tokens"},
    "expect": "holds",
    "note": "gives {derived}",
}
ARTICLE = {
    "size": {"value": "~280e9 parameter", "meaning": "size"},
    "tokens": {"value": "~13e12 token", "meaning": "tokens"},
}
CONSTANTS = {
    "guess": {"value": "~13e12 token", "meaning": "a guess", "kind": "assume", "source": "kaplan2020"},
    "far": {"value": "~99e12 token", "meaning": "an outside figure", "kind": "fact", "source": "kaplan2020"},
    "sure": {"value": "~13e12 token", "meaning": "a constant", "kind": "constant", "source": "kaplan2020"},
}


def claim(**changes):
    entry = {**copy.deepcopy(ENTRY), **changes}
    entry = {key: value for key, value in entry.items() if value is not None}
    return ledger.build([("test.toml", entry)], article=ARTICLE, constants=CONSTANTS).claims[0]


def test_every_computed_verdict_is_the_expected_one():
    assert [c.id for c in ledger.load().unexpected()] == []


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "holds"),
        ({"inputs": {"N": "article:size", "D": "constant:sure"}}, "holds"),
        ({"inputs": {"N": "article:size", "D": "assume:guess"}, "inverse": ["D"]}, "holds if"),
        ({"inputs": {"N": "article:size", "D": "fact:far"}, "inverse": ["D"]}, "off"),
        ({"stated": "~5e25 FLOP", "inverse": ["D"]}, "contradicts"),
        ({"stated": "> 3e25 FLOP", "inverse": ["D"]}, "contradicts"),
        ({"stated": "> 2e25 FLOP"}, "holds"),
        ({"stated": "< 2e25 FLOP", "inverse": ["D"]}, "contradicts"),
        ({"stated": "~22 GFLOP", "corrected_unit": "YFLOP", "inverse": ["D"]}, "wrong unit"),
        ({"stated": "~2.2e25 FLOP/second", "corrected_unit": "FLOP", "inverse": ["D"]}, "wrong unit"),
        ({"stated": "~5 GFLOP", "corrected_unit": "YFLOP", "inverse": ["D"]}, "contradicts"),
    ],
)
def test_verdicts(changes, verdict):
    assert claim(**changes, expect=verdict).verdict == verdict


def test_an_inverse_brings_the_stated_value_out():
    off = claim(stated="~5e25 FLOP", inverse=["N", "D"], expect="contradicts")
    assert off.law(N=280e9, D=off.must_be("D")) == pytest.approx(5e25)
    assert off.law(N=off.must_be("N"), D=13e12) == pytest.approx(5e25)
    assert off.factor == pytest.approx(5e25 / (6 * 280e9 * 13e12))
    assert "trillion tokens" in off.why and "size" in off.why and off.why.startswith("gives 2.18 × 10²⁵ FLOP")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"law": "training_cost.nothing"}, "unknown law 'training_cost.nothing'"),
        ({"law": "nowhere.compute"}, "unknown law"),
        ({"inputs": {"N": "article:size", "Q": "article:tokens"}}, "unknown symbol 'Q'"),
        ({"inputs": {"N": "article:size"}}, "no input for D"),
        ({"inputs": {"N": "article:size", "D": "article:size"}}, "input D"),
        ({"inputs": {"N": "article:size", "D": "claim:none"}}, "unknown claim 'none'"),
        ({"inputs": {"N": "article:size", "D": "13e12"}}, "an input takes one of"),
        ({"inputs": {"N": "article:size", "D": "fact:guess"}}, "kept as 'assume'"),
        ({"inputs": {"N": "article:size", "D": "hardware:A100.mem"}}, "unknown accelerator"),
        ({"stated": "~2.2e25 FLAP"}, "unknown unit 'FLAP'"),
        ({"stated": "~2.2e25 token"}, "'token' is not a kind of 'FLOP'"),
        ({"stated": "a lot"}, "a stated value takes a form"),
        ({"expect": "true"}, "expect takes one of"),
        ({"kind": "rumour"}, "kind takes"),
        ({"inverse": ["Q"]}, "unknown symbol in inverse"),
        ({"expect": "off"}, "takes an inverse"),
        ({"colour": "red"}, "unknown key 'colour'"),
        ({"law": None}, "without a law"),
        ({"note": None}, "note takes a text"),
        ({"claim": 3}, "claim takes a text"),
    ],
)
def test_a_faulty_entry_is_refused_with_file_id_and_reason(changes, words):
    with pytest.raises(BadInput) as error:
        claim(**changes)
    assert str(error.value).startswith("test.toml: a-claim: ") and words in str(error.value)


def test_every_mistake_of_every_entry_comes_at_once():
    """A claim that another one reads tells its mistakes itself; who reads it does not repeat them."""
    wrong = {**ENTRY, "kind": "rumour", "colour": "red", "stated": "~2 FLAP", "inputs": {"N": "article:size"}}
    user = {**ENTRY, "id": "user", "inputs": {"N": "claim:a-claim", "D": "fact:guess", "Q": "assume:guess"}}
    user |= {"note": "gives {derived} and {colour}", "inverse": ["R"]}
    with pytest.raises(BadInput) as error:
        ledger.build(
            [("test.toml", wrong), ("more.toml", user), ("more.toml", {"claim": "x"})],
            article={**ARTICLE, "tokens": {"value": "~13e12 tokn", "meaning": ""}},
            constants=CONSTANTS,
        )
    lines = str(error.value).splitlines()
    expected = [
        ("more.toml: a claim without id",),
        ("article.toml: tokens: meaning takes a text, got ''",),
        ("article.toml: tokens: unknown unit 'tokn'",),
        ("test.toml: a-claim: kind takes one of stated, implicit, got 'rumour'",),
        ("test.toml: a-claim: unknown key 'colour'; nearest known: ", "its value is 'red'"),
        ("test.toml: a-claim: unknown unit 'FLAP'",),
        ("test.toml: a-claim: no input for D",),
        ("more.toml: user: 'guess' is kept as 'assume', not 'fact'",),
        ("more.toml: user: unknown symbol 'Q'",),
        ("more.toml: user: unknown symbol in inverse: 'R'",),
        ("more.toml: user: note takes derived, low, high, stated, factor, corrected in braces, got colour",),
    ]
    assert all(any(all(word in line for word in words) for line in lines) for words in expected), lines
    assert len(lines) == len(expected)


def test_inputs_that_cannot_be_read_are_not_told_as_missing_too():
    with pytest.raises(BadInput) as error:
        claim(inputs={"N": "13e12"})
    assert str(error.value).count("\n") == 0 and "inputs takes a table" in str(error.value)
    with pytest.raises(BadInput, match="no input for N, D"):
        claim(inputs=None)


@pytest.mark.parametrize(
    "changes",
    [
        {"inputs": {"D": "13e12"}},
        {"expect": "true"},
        {"kind": "rumour"},
        {"inverse": "D"},
        {"colour": "red"},
        {"law": None},
        {"law": "training_cost.nothing"},
        {"note": None},
        {"claim": 3},
        {"stated": "a lot"},
    ],
)
def test_an_editor_marks_what_is_refused(changes):
    editor = Draft202012Validator(ledger.claim_schema())
    assert editor.is_valid({"claim": [ENTRY]})
    entry = {key: value for key, value in {**ENTRY, **changes}.items() if value is not None}
    assert not editor.is_valid({"claim": [entry]})
    with pytest.raises(BadInput):
        claim(**changes)


def test_a_bug_is_not_taken_for_a_mistake_of_an_entry(monkeypatch):
    def broken(*_):
        raise KeyError("a bug")

    monkeypatch.setattr(ledger, "resolve", broken)
    with pytest.raises(KeyError, match="a bug"):
        claim()


def test_a_verdict_needs_no_range_where_the_derived_value_lies_in_the_stated_one():
    """And the two ways agree: the derived value lies in the range."""
    for one in ledger.load().claims:
        if one.law and one.target.interval.contains(one.derived):
            assert one.interval.meets(one.target.interval), one.id


def test_faults_beyond_one_entry_are_refused():
    def build(entries, article=ARTICLE, constants=CONSTANTS):
        return ledger.build([("test.toml", e) for e in entries], article=article, constants=constants)

    with pytest.raises(BadInput, match="stands twice"):
        build([ENTRY, ENTRY])
    with pytest.raises(BadInput, match="without id"):
        build([{"claim": "x"}])
    with pytest.raises(BadInput, match=r"constants.toml: guess: unknown source 'gossip'"):
        build([ENTRY], constants={**CONSTANTS, "guess": {**CONSTANTS["guess"], "source": "gossip"}})
    with pytest.raises(BadInput, match=r"article.toml: size: unknown unit"):
        build([ENTRY], article={**ARTICLE, "size": {"value": "~3 apples", "meaning": "size"}})


def test_a_broken_file_is_named(tmp_path):
    broken = tmp_path / "broken.toml"
    broken.write_text("[[claim]\nid = 3")
    with pytest.raises(BadInput, match=r"broken.toml.*line 1"):
        read_toml(broken)
    with pytest.raises(BadInput, match=r"no data file 'nothing.csv'"):
        data_file("nothing.csv")


@pytest.mark.parametrize("one", ledger.load().claims, ids=lambda c: c.id)
def test_each_claim_is_whole(one):
    record = one.record()
    assert list(record) == ["id", "chapter", "claim", "stated", "unit", "derived", "verdict", "why"]
    assert record["why"] and "{" not in record["why"]
    if one.law is None:
        assert record["derived"] is None and one.verdict == "not checkable"
        return
    one.law.check_dimensions()
    assert (
        math.isfinite(one.derived)
        and one.interval.lo <= one.derived * (1 + 1e-9)
        and one.derived <= one.interval.hi * (1 + 1e-9)
    )
    assert base_unit(record["unit"]) == record["unit"]
    for name in one.inverse if one.verdict != "holds" else ():
        others = {n: i.stated.value for n, i in one.inputs.items()}
        assert one.law(**{**others, name: one.must_be(name)}) == pytest.approx(one.target.value, rel=1e-6)


def test_an_unknown_claim_names_the_nearest():
    with pytest.raises(BadInput, match="training-cost-63m"):
        ledger.load()["training-cost-63"]
