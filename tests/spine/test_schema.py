"""The schema: its rules against the package jsonschema, its lines, the shipped documents and files."""

import copy
import json
import math
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from gpt4lib import ledger
from gpt4lib.__main__ import SCHEMAS, main
from gpt4lib.facts import given as facts_given
from gpt4lib.facts import models
from gpt4lib.facts.files import data_file
from gpt4lib.spine import schema
from gpt4lib.spine.errors import BadInput, nearest, pick, refuse
from gpt4lib.workbench import keys as workbench
from gpt4lib.workbench.file import check

DATA = Path(str(data_file("units.txt"))).parent
TABLES = {
    "model": models.MODEL_KEYS,
    "claim": ledger.CLAIM_KEYS,
    "article": facts_given.ARTICLE_KEYS,
    "constants": facts_given.CONSTANT_KEYS,
    **workbench.KEYS,
}
KINDS = [(table, key) for table, keys in TABLES.items() for key in keys]
numbers = st.one_of(
    st.integers(-3, 9), st.floats(-2, 3, allow_nan=False).filter(lambda x: not x.is_integer()), st.booleans()
)
texts = st.sampled_from(
    ["", " ", "a", "bf16", "full", "stated", "holds", "rotary", "claim:x", "claim", "x:y"]
)
plain = st.one_of(numbers, texts, st.none())
values = st.one_of(plain, st.lists(plain, max_size=3), st.dictionaries(texts, plain, max_size=2))


@pytest.mark.parametrize(("table", "key"), KINDS)
@settings(max_examples=40, deadline=None)
@given(value=values)
def test_the_checker_reads_rules_as_json_schema_does(table, key, value):
    kind = TABLES[table][key]
    falls = isinstance(value, list) and len(value) == 2 and "x-rising" in json.dumps(kind.limits())
    mine, theirs = schema.fits(value, kind.limits()), Draft202012Validator(kind.limits()).is_valid(value)
    assert mine == theirs or (theirs and falls)


@pytest.mark.parametrize(("table", "key"), KINDS)
def test_no_key_takes_anything_and_each_says_what_it_means(table, key):
    kind = TABLES[table][key]
    assert kind.about and kind(None) and kind(object())
    assert all(kind(example) is None for example in kind.schema().get("examples", ()))


def test_toml_tells_whole_numbers_from_others_and_pairs_rise():
    assert (
        schema.COUNT(2.0) and schema.COUNT(True) and schema.POSITIVE(math.nan) and schema.POSITIVE(math.inf)
    )
    assert schema.RANGE([1, 1]) is None and schema.RANGE([2, 1]) and schema.RANGE([1, 2, 3])
    with pytest.raises(KeyError):  # a rule with a misspelt word is a mistake of ours
        schema.fits(3, {"type": "integer", "minimun": 1})


def test_a_section_says_all_that_is_wrong_with_it():
    keys = {
        "n": schema.COUNT.of("GPUs", needed=True),
        "name": schema.Name(kind="fruit", names=lambda: ["apple"]).of("fruit", needed=True),
    }
    assert schema.wrong({"n": 6.0, "nmae": 1, "far": []}, keys, "[x]", homes={"[y]": {"far"}}) == {
        "n": "[x] n takes a positive whole number, got 6.0 (write 6, without point or exponent)",
        "nmae": "[x] unknown key 'nmae'; nearest known: name, n; its value is 1",
        "far": "[x] unknown key 'far'; it belongs to [y]; its value is []",
        "name": "[x] name takes the name of a known fruit, got nothing",
    }
    assert schema.wrong({"n": 1, "name": "aple"}, keys) == {
        "name": "name takes a known fruit (nearest known: apple), got 'aple'"
    }
    assert schema.wrong(3, keys, "[x]") == {"": "[x] takes a section of keys, got 3"}


def test_a_reason_is_kept_and_a_bug_is_not_taken_for_one():
    found = schema.Mistakes()
    assert found.attempt(pick, "a", ["a"], "letter") == "a" and found == []
    assert found.attempt(pick, "b", ["a"], "letter", place="here: ") is None
    assert found == ["here: unknown letter 'b'; known: a"] and nearest("b", ["a"]) == "known: a"
    with pytest.raises(TypeError):
        found.attempt(pick, "a")
    refuse("x.toml", [])
    with pytest.raises(BadInput, match=r"^x\.toml: 2 mistakes\n  a\n  b$"):
        refuse("x.toml", ["a", "b"])


# ---- the documents and the shipped files ------------------------------------------------------
@pytest.mark.parametrize("kind", SCHEMAS)
def test_the_shipped_schema_is_what_the_command_prints(kind, capsys):
    assert main(["schema", kind]) == 0
    printed = capsys.readouterr().out
    Draft202012Validator.check_schema(json.loads(printed))
    path = f"gpt4lib/data/schema/{kind}.json"
    again = f"python -m gpt4lib schema {kind} > {path}"
    assert (DATA / "schema" / f"{kind}.json").read_text("utf-8") == printed, f"write it anew: {again}"


def test_a_schema_has_descriptions_names_examples_and_what_is_needed():
    document = workbench.workbench_schema()
    cluster, known = document["properties"]["cluster"], document["then"]["properties"]["cluster"]
    gpu = cluster["properties"]["gpu"]
    assert gpu["examples"] == known["properties"]["gpu"]["enum"] and "H100-SXM 80GB" in gpu["examples"]
    assert gpu["description"].startswith("accelerator") and known["required"] == ["gpu"]
    assert cluster["required"] == ["n_gpus", "nic_gbit_per_s"]
    assert set(models.model_schema()["required"]) == set(models.REQUIRED)


FILES = sorted(p for p in DATA.rglob("*.toml") if p.parent.name not in ("text", "configs"))


@pytest.mark.parametrize("file", FILES, ids=lambda p: p.stem)
def test_a_shipped_file_names_its_schema_and_keeps_it(file):
    first, rest = file.read_text("utf-8").split("\n", 1)
    assert first.startswith("#:schema ") and "#:schema" not in rest
    document = json.loads((file.parent / first.removeprefix("#:schema ")).read_text("utf-8"))
    assert not [error.message for error in Draft202012Validator(document).iter_errors(tomllib.loads(rest))]


def test_all_files_are_held_to_a_schema():
    assert len(FILES) == 20 and {p.stem for p in (DATA / "schema").iterdir()} == set(SCHEMAS)


# ---- whatever stands in a file ----------------------------------------------------------------
CASE = tomllib.loads(data_file("workbench/deepseek-v3.toml").read_text("utf-8"))
MODEL = tomllib.loads(data_file("shapes/gpt4_multi_query.toml").read_text("utf-8"))
CLAIMS, ARTICLE, CONSTANTS = facts_given.shipped()
SECTIONS = {
    (): (*workbench.KEYS["file"], *workbench.SECTIONS),
    ("model",): (*models.MODEL_KEYS, "shape"),
    **{(name,): (*workbench.KEYS[name], "layout") for name in workbench.PLAIN},
    ("training", "layout"): workbench.KEYS["training.layout"],
    ("published", 0): workbench.KEYS["published"],
}


def put(tree, folders, key, value):
    """A copy of a tree with another value in one place."""
    tree = place = copy.deepcopy(tree)
    for folder in folders:
        place = place[folder] if isinstance(place, list) else place.setdefault(folder, {})
    place[key] = value
    return tree


@settings(max_examples=300, deadline=None)
@given(value=values, at=st.sampled_from([(path, key) for path, keys in SECTIONS.items() for key in keys]))
def test_any_value_in_a_workbench_file_is_read_or_refused(value, at):
    try:
        check(put(CASE, *at, value))
    except BadInput as error:
        assert "mistake" in str(error)


@settings(max_examples=200, deadline=None)
@given(changes=st.dictionaries(st.sampled_from([*models.MODEL_KEYS, "x"]), values, max_size=4))
def test_any_values_in_a_model_file_are_read_or_refused(changes):
    try:
        models.model_of(MODEL | changes)
    except BadInput as error:
        assert "mistake" in str(error)


@settings(max_examples=200, deadline=None)
@given(
    changes=st.dictionaries(st.sampled_from([*ledger.CLAIM_KEYS, "x"]), values, max_size=3),
    row=st.dictionaries(st.sampled_from([*facts_given.CONSTANT_KEYS, "x"]), values, max_size=3),
    entry=st.sampled_from([entry for _, entry in CLAIMS[::20]]),
)
def test_any_values_in_the_ledger_are_read_or_refused(changes, row, entry):
    rows = [(name, {**e, **changes, "id": e["id"]} if e is entry else e) for name, e in CLAIMS[::20]]
    key = next(iter(CONSTANTS))
    try:
        ledger.build(rows, article=ARTICLE, constants={**CONSTANTS, key: {**CONSTANTS[key], **row}})
    except BadInput as error:
        assert ".toml: " in str(error)
