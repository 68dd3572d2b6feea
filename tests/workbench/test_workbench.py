"""The workbench: published figures, every kind of mistake, the report against hand calculation, the browser's
page.
"""

import copy
import dataclasses
import json
import math
import re
import tomllib

import numpy as np
import pytest
import sympy
import vl_convert
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from gpt4lib.chapters import training_step
from gpt4lib.facts.devices import Device, hardware
from gpt4lib.facts.files import data_file, read_json, read_toml, sources
from gpt4lib.facts.models import model_mistakes, model_of
from gpt4lib.spine.errors import BadInput
from gpt4lib.spine.interval import Interval
from gpt4lib.spine.law import Law
from gpt4lib.systems import efficiency, planner, step
from gpt4lib.systems.count import cache_of, flop_per_token, parameters, serving_view
from gpt4lib.systems.efficiency import efficiency_sets
from gpt4lib.systems.machine import Cluster, Layout, Recipe, Server
from gpt4lib.systems.planner import explain, plan
from gpt4lib.systems.serving import NAMES, decode, prefill
from gpt4lib.workbench import page, report
from gpt4lib.workbench import text as workbench_text
from gpt4lib.workbench.file import FIGURES, KEYS, NEEDED, check, examples, load_case
from gpt4lib.workbench.keys import workbench_schema

CASES = {name: load_case(name) for name in examples()}
FOUND = {name: report.report(case) for name, case in CASES.items()}
REPORTS = {name: found.record() for name, found in FOUND.items()}
# Set before anything was computed: what follows from a shape is exact but for rounding and conventions, what
# the
# planner predicts is good to a factor of two, and no server beats the data sheet's rates by much.
TOLERANCE = {"counted": (1 / 1.03, 1.03), "predicted": (0.5, 2.0)}


def source(name):
    """An example file as a dict."""
    return read_toml(data_file(f"workbench/{name}.toml"))


def changed(name, /, **changes):
    """An example with some keys replaced: changed("gpt-4", training__mfu=0.3); None takes a key away."""
    mapping = copy.deepcopy(source(name))
    for path, value in changes.items():
        *folders, key = path.split("__")
        place = mapping
        for folder in folders:
            place = place.setdefault(folder, {})
        if value is None:
            place.pop(key)
        else:
            place[key] = value
    return mapping


# ---- published figures ----------------------------------------------------------------------
@pytest.mark.parametrize("name", CASES)
def test_published_figures(name):
    rows = REPORTS[name]["published"]
    assert len(rows) >= 2 and all(row["source"] in sources() for row in rows)
    for row in rows:
        if row["kind"] in TOLERANCE:
            low, high = TOLERANCE[row["kind"]]
            assert low <= row["ratio"] <= high, row
    assert len(rows) == len(CASES[name].published), "a published figure has nothing to be set against"


def test_the_five_examples():
    assert examples() == ["deepseek-v3", "gpt-3-175b", "gpt-4", "llama-3.1-405b", "mixtral-8x7b"]
    assert sum(len(found["published"]) for found in REPORTS.values()) >= 20
    assert "training" not in REPORTS["mixtral-8x7b"]
    assert REPORTS["mixtral-8x7b"]["left_out"] == ["training: the file has no [training]"]


def test_a_server_is_no_faster_than_its_data_sheet():
    """Published rates of serving lie below ours, published costs above."""
    rows = [row for found in REPORTS.values() for row in found["published"] if row["kind"] == "data sheet"]
    assert len(rows) >= 2
    for row in rows:
        assert row["ratio"] < 1 if "cost" in row["figure"] else row["ratio"] > 1


def test_figures_that_nobody_may_get_wrong():
    """By hand, from the printed widths."""
    kv = {name: REPORTS[name]["serving"]["kv_cache_bytes_per_token"] for name in CASES}
    assert kv == {
        "deepseek-v3": 61 * (512 + 64) * 2,
        "gpt-3-175b": 96 * 2 * 12288 * 2,
        "gpt-4": 120 * 2 * 128 * 2,
        "llama-3.1-405b": 126 * 2 * 8 * 128 * 2,
        "mixtral-8x7b": 32 * 2 * 8 * 128 * 2,
    }
    assert REPORTS["llama-3.1-405b"]["training"]["flop"] == pytest.approx(
        6 * 405853388800 * 15.6e12, rel=1e-12
    )
    assert REPORTS["gpt-4"]["serving"]["gpus"] == 8 * 16


# ---- the report against other routes --------------------------------------------------------
def test_days_and_cost_are_those_of_the_steps():
    """The planner's step, as often as the tokens need it, at the price of an hour."""
    for name, found in REPORTS.items():
        if "training" not in found:
            continue
        t, case = found["training"], CASES[name]
        lost = (case.training.lost_share.lo + case.training.lost_share.hi) / 2
        steps = t["tokens"] / (t["layout"]["batch"] * case.training.seq)
        seconds = steps * t["layout"]["step_seconds"] / (1 - lost)
        assert t["days"] * 86400 == pytest.approx(seconds, rel=1e-9)
        assert t["gpu_hours"] == pytest.approx(seconds / 3600 * t["gpus"], rel=1e-9)
        hour = np.mean(source(name)["cluster"]["price_usd_per_gpu_hour"])
        assert t["cost_usd"] == pytest.approx(t["gpu_hours"] * hour, rel=1e-9)
        assert sum(t["step_share"].values()) == pytest.approx(1)
        assert (
            t["cost_usd_low"]
            <= t["cost_usd_p5"]
            < t["cost_usd_p50"]
            < t["cost_usd_p95"]
            <= t["cost_usd_high"]
        )
        assert t["days_low"] < t["days"] < t["days_high"]


def test_the_layouts_are_the_planners():
    case, t = CASES["gpt-3-175b"], REPORTS["gpt-3-175b"]["training"]
    cluster = Cluster(device="A100-SXM 80GB", n_gpus=1024, nic_bytes_per_s=25e9)
    every = plan(case.shape, cluster, batch_tokens=1536 * 2048, seq=2048)
    assert t["layouts"] == len(every) and t["layouts_that_fit"] == every.feasible.sum()
    assert t["best_layout"]["step_seconds"] == every.step_seconds[every.feasible].min()
    mine = every.where(recompute="full", sequence=0, zero=0) & every.feasible
    assert t["layout"]["step_seconds"] == every.step_seconds[mine].min()


def test_a_given_utilisation_is_used_and_the_planner_only_shown():
    """The article's own 32 to 36% give chapter 5's range of the cost."""
    from gpt4lib import ledger

    found = report.report(check(changed("gpt-4", training__mfu=[0.32, 0.36]))).record()["training"]
    assert found["mfu_from"] == "the file" and found["mfu"] == pytest.approx(0.34)
    assert found["layout"] == REPORTS["gpt-4"]["training"]["layout"]
    days = ledger.claim("training-cost-days").interval
    assert days.meets(Interval(found["days_low"] * 86400, found["days_high"] * 86400))
    assert found["cost_usd_low"] == pytest.approx(6 * found["flop"] / 6 / (312e12 * 0.36) / 3600, rel=1e-9)


def test_no_layout_is_no_obstacle_where_the_utilisation_is_given():
    mapping = changed("gpt-3-175b", cluster__n_gpus=10000, cluster__gpu="V100-SXM2 32GB")
    with pytest.raises(BadInput, match=r"no layout fills n_gpus = 10,000: .* have 9,216 or 12,288 GPUs"):
        report.report(check(mapping))
    mapping["training"]["mfu"] = 0.197  # 24.6 of 125 TFLOP/s
    found = report.report(check({k: mapping[k] for k in ("model", "cluster", "training")})).record()
    assert "no layout fills n_gpus = 10,000" in found["training"]["no_layout"]
    assert found["training"]["days"] == pytest.approx(14.8, rel=0.01)  # Patterson et al. 2021


def test_the_batch_is_the_largest_that_keeps_the_rate():
    case, s = CASES["deepseek-v3"], REPORTS["deepseek-v3"]["serving"]
    batch = np.array([s["batch"], s["batch"] + 1])
    rate = decode(serving_view(case.shape), case.serving.server, batch=batch, context=4989).user_rate
    assert rate[0] >= 21 > rate[1] and s["batch_from"] == "the rate asked for"
    assert REPORTS["llama-3.1-405b"]["serving"]["batch_from"] == "memory"
    full = REPORTS["llama-3.1-405b"]["serving"]
    held, cache = full["weight_bytes_per_gpu"], full["cache_bytes_per_gpu"]
    assert held + cache <= 81559 * 2**20 < held + cache * (full["batch"] + 1) / full["batch"]


def test_the_batch_for_a_rate_is_the_largest_of_all_that_are_tried():
    """Every batch up to the limit of memory is timed; the search by halves finds the last that is fast
    enough.
    """
    small = {"serving__context": 100_000, "serving__price_usd_per_gpu_hour": None, "serving__prompt": None}
    case = check(changed("mixtral-8x7b", **small, serving__user_tokens_per_s=None, published=None))
    limit = report.report(case).serving.largest_batch
    every = np.arange(1, limit + 1)
    rates = decode(serving_view(case.shape), case.serving.server, batch=every, context=100_000).user_rate
    assert limit == 5 and (np.diff(rates) < 0).all()
    for asked in (*rates, *((rates[1:] + rates[:-1]) / 2), rates[-1] / 2):
        mapping = changed("mixtral-8x7b", **small, serving__user_tokens_per_s=float(asked), published=None)
        found = report.report(check(mapping)).record()["serving"]
        assert found["batch"] == every[rates >= asked].max()
        assert found["batch_from"] == ("memory" if rates[-1] >= asked else "the rate asked for")
    for batch in (1, limit):
        mapping = changed("mixtral-8x7b", **small, serving__user_tokens_per_s=None, published=None)
        mapping["serving"]["batch"] = batch
        found = report.report(check(mapping)).record()["serving"]
        assert found["batch"] == batch and found["batch_from"] == "the file"


def test_largest_is_a_search_by_halves():
    for limit in range(12):
        for edge in range(limit + 2):
            assert report.largest_that_holds(lambda b, edge=edge: b <= edge, limit) == min(edge, limit)


def without_softmax(monkeypatch):
    """Take the bytes of the softmax, and nothing else, out of the laws of the step."""
    softmax = training_step.kernels_of_scores
    none = Law(softmax.lhs, softmax.rhs * sympy.Rational(1, 10**15), "")
    monkeypatch.setattr(training_step, "kernels_of_scores", none)
    for chain in ("before_kinds", "of_kind"):  # made anew of the laws of this test
        monkeypatch.setattr(planner, chain, getattr(step, chain).__wrapped__)


@pytest.mark.parametrize("name", ["gpt-4", "gpt-3-175b", "llama-3.1-405b"])
def test_softmax_share_is_what_the_step_loses_without_those_kernels(name, monkeypatch):
    """Take the softmax out of the laws of the step, and compute the same layout again."""
    case = check(changed(name, training__attention="unfused"))
    t = report.report(case).record()["training"]
    task = {"seq": case.training.seq, "recipe": case.training.recipe}
    task["efficiency"] = case.training.efficiency.efficiency
    fields = {k: v for k, v in t["layout"].items() if k not in ("step_seconds", "mfu")}
    with_it = explain(case.shape, case.cluster, Layout(**fields), **task)
    without_softmax(monkeypatch)
    without = explain(case.shape, case.cluster, Layout(**fields), **task)
    saved = with_it.step_seconds - without.step_seconds
    assert report.softmax_seconds(with_it) == pytest.approx(saved, rel=1e-9)
    assert t["softmax_share"] == pytest.approx(saved / t["step_seconds"], rel=1e-9)
    assert t["mfu_if_attention_were_fused"] == pytest.approx(t["mfu"] / (1 - t["softmax_share"]))


@pytest.mark.parametrize("name", ["gpt-4", "llama-3.1-405b", "deepseek-v3"])
def test_fused_attention_is_the_default_and_saves_nothing_more(name):
    t = REPORTS[name]["training"]
    assert t["attention"] == "fused" and t["softmax_share"] == 0
    assert t["mfu_if_attention_were_fused"] == t["mfu"]
    assert report.report(check(changed(name, training__attention=None))).record()["training"] == t
    slower = report.report(check(changed(name, training__attention="unfused"))).record()["training"]
    assert slower["attention"] == "unfused" and slower["step_seconds"] > 1.01 * t["step_seconds"]


def test_selective_recomputation_takes_unfused_attention():
    own = {"training__layout": {"recompute": "selective"}}
    words = 'none or full beside fused attention, which stores no scores, or attention = "unfused", got'
    with pytest.raises(BadInput, match=re.escape(f"[training.layout] recompute takes {words} 'selective'")):
        check(changed("llama-3.1-405b", **own))
    check(changed("llama-3.1-405b", training__attention="unfused", **own))
    check(changed("llama-3.1-405b", training__layout={"recompute": ["selective", "full"]}))


def test_the_efficiency_is_that_of_the_card_or_as_named(monkeypatch):
    found = {name: REPORTS[name]["training"] for name in ("gpt-4", "gpt-3-175b", "llama-3.1-405b")}
    assert {name: t["efficiency"] for name, t in found.items()} == {
        "gpt-4": "A100 2023 MosaicML",
        "gpt-3-175b": "A100 2021 Megatron",
        "llama-3.1-405b": "H100 2023 MosaicML",
    }
    for t in found.values():
        known = efficiency_sets()[t["efficiency"]]
        assert t["efficiency_card"] == t["gpu"] == known.card and t["efficiency_error"] == known.error
        ends = t["mfu_low"] / t["mfu"], t["mfu_high"] / t["mfu"]
        assert ends == pytest.approx((known.low, known.high), rel=1e-12)
    monkeypatch.setattr(efficiency, "fits", None)  # nothing is fitted for a report
    case = check(changed("gpt-4", training__efficiency="A100 2021 Megatron"))
    other = report.report(case).record()["training"]
    assert other["efficiency"] == "A100 2021 Megatron"
    assert abs(other["days"] / found["gpt-4"]["days"] - 1) > 0.02
    assert case.training.recipe.data_overlap == 0 and CASES["gpt-4"].training.recipe.data_overlap == 1
    words = "[training] efficiency takes a known efficiency (nearest known: A100 2023 MosaicML, "
    with pytest.raises(BadInput, match=re.escape(words)):
        check(changed("gpt-4", training__efficiency="A100 2023 Mosaic"))


def test_units_of_the_file():
    """Gb and GB per second, GB held back, dollars an hour: each as what it says."""
    changes = {"cluster__reserve_gb": 10, "cluster__nvlink_gb_per_s": 200, "serving__nic_gbit_per_s": 80}
    case = check(changed("llama-3.1-405b", **changes))
    assert case.cluster.reserve_bytes == 10e9 and case.cluster.nvlink_bytes_per_s == 200e9
    assert case.cluster.nic_bytes_per_s == 400e9 / 8 and case.training.price == Interval(2 / 3600, 2 / 3600)
    assert case.serving.server.nvlink_bytes_per_s == 200e9 and case.serving.server.nic_bytes_per_s == 10e9
    assert report.report(case).training.layouts.memory_bytes_limit == 81559 * 2**20 - 10e9


# ---- files with mistakes --------------------------------------------------------------------
MISTAKES = [  # a change, and what its line must name
    ({"titel": "x"}, ["unknown key 'titel'", "its value is 'x'"]),
    ({"name": 3}, ["name takes a text, got 3"]),
    ({"model__shape": "Llama-3.1-405"}, ["[model] shape", "Llama-3.1-405B", "got 'Llama-3.1-405'"]),
    ({"model__layers": 3}, ["[model] layers takes no value beside shape, got 3"]),
    ({"model": {"layres": 3}}, ["[model] unknown key 'layres'", "layers", "its value is 3"]),
    ({"model": {"layers": -3}}, ["[model] layers takes a positive whole number, got -3"]),
    ({"model": None}, ["[model] takes shape", "got nothing"]),
    ({"model": 4}, ["[model] takes a section of keys, got 4"]),
    ({"cluster__gpu": "A100"}, ["[cluster] gpu", "A100-SXM 80GB", "got 'A100'"]),
    ({"cluster__gpu": None}, ["[cluster] gpu takes the name of a known accelerator, got nothing"]),
    ({"cluster__n_gpus": 2.5}, ["[cluster] n_gpus takes a positive whole number, got 2.5"]),
    ({"cluster__n_gpus": True}, ["[cluster] n_gpus", "got True"]),
    ({"cluster__nic_gbit_per_s": 0}, ["nic_gbit_per_s takes a positive number, got 0"]),
    ({"cluster__price_usd_per_gpu_hour": [2, 1]}, ["price_usd_per_gpu_hour", "[low, high], got [2, 1]"]),
    ({"cluster__reserve_gb": -1}, ["reserve_gb takes a number of at least 0, got -1"]),
    (
        {"cluster__gpu": "TPU v4"},
        ["[cluster] nvlink_gb_per_s takes a positive number", "TPU v4", "got nothing"],
    ),
    ({"cluster": None}, ["[cluster] is missing"]),
    ({"training__tokens": "13T"}, ["tokens", "got '13T'"]),
    ({"training__tokens": math.inf}, ["tokens", "got inf"]),
    ({"training__seq": None}, ["[training] seq", "got nothing"]),
    (
        {"training__batch_tokens": 8193},
        ["batch_tokens takes multiples of seq = 8,192, such as 8,192, got 8,193"],
    ),
    ({"training__mfu": 1.2}, ["mfu takes a share above 0 and up to 1", "got 1.2"]),
    ({"training__lost_share": 1.0}, ["lost_share takes a share from 0 to 0.99", "got 1.0"]),
    ({"training__layuot": 1}, ["[training] unknown key 'layuot'", "layout", "its value is 1"]),
    ({"training__data_overlap": 2}, ["data_overlap takes a share from 0 to 1, got 2"]),
    ({"training__layout__tensr": 8}, ["[training.layout] unknown key 'tensr'", "tensor", "its value is 8"]),
    ({"training__layout__zero": [1, 4]}, ["[training.layout] zero takes a stage from 0 to 3", "got [1, 4]"]),
    ({"training__layout__recompute": "some"}, ["recompute takes one of none, selective, full", "got 'some'"]),
    ({"training__layout__sequence": 1}, ["sequence takes true or false, got 1"]),
    ({"training__layout__stage_layers": [8, 0]}, ["takes a list of positive whole numbers, got [8, 0]"]),
    ({"training__layout__last_stage_fewer": -1}, ["takes a whole number of at least 0, got -1"]),
    (
        {"training__layout__stage_layers": [8] * 14 + [7]},
        ["[training.layout] stage_layers takes layers = 120 in all, got 119"],
    ),
    ({"training__layout__stage_layers": [60, 60]}, ["pipeline takes 2, the stages of stage_layers, got 15"]),
    ({"training__layout__first_stage_fewer": 1.5}, ["takes a whole number of at least 0, got 1.5"]),
    (
        {"training__layout__last_stage_fewer": 1},
        ["pipeline takes a divisor of 121, the layers and those that stages have fewer (11), got 15"],
    ),
    ({"serving__context": None}, ["[serving] context takes a positive whole number, got nothing"]),
    ({"serving__compute": "fp9"}, ["[serving] compute takes one of bf16, fp8, int8, got 'fp9'"]),
    (
        {"serving__tensor": 32},
        ["[serving] tensor takes a divisor of n_heads = 144 (1, 2, 3, 4, 6, 8,", "got 32"],
    ),
    ({"serving__compute": "fp8"}, ["[serving] compute takes one of bf16, int8 on A100-SXM 80GB, got 'fp8'"]),
    ({"serving__cache": "rows"}, ["[serving] cache takes one of heads, sequences, got 'rows'"]),
    ({"serving__weight_bytes": {"expert": 1}}, ["weight_bytes takes a positive number, or", "{'expert': 1}"]),
    ({"serving__weight_bytes": {"experts": 0}}, ["by part: experts, matrices, other, got {'experts': 0}"]),
    ({"serving__overhead": 0.5}, ["overhead takes a number of at least 1, got 0.5"]),
    ({"serving__ceiling": 0}, ["ceiling takes a share above 0 and up to 1, got 0"]),
    (
        {"published": [{"figure": "training.day", "value": 1, "source": "kaplan2020"}]},
        ["training.days", "got 'training.day'"],
    ),
    (
        {"published": [{"figure": "training.days", "value": 1, "source": "kaplan20"}]},
        ["kaplan2020", "got 'kaplan20'"],
    ),
    (
        {"published": [{"figure": "training.days", "source": "kaplan2020"}]},
        ["[[published]] 1: takes either value or ref, got neither"],
    ),
    (
        {"published": [{"figure": "training.days", "ref": "claim:nothing", "source": "kaplan2020"}]},
        ["ref", "claim:nothing"],
    ),
    (
        {
            "published": [
                {"figure": "training.days", "ref": "claim:training-cost-mfu", "source": "kaplan2020"}
            ]
        },
        ["in day"],
    ),
    ({"serving__expert": 3}, ["[serving] expert takes a divisor of n_experts = 16 (1, 2, 4, 8, 16), got 3"]),
    ({"serving__expert": 0}, ["[serving] expert takes a positive whole number, got 0"]),
    ({"serving__pipeline": -4}, ["[serving] pipeline takes a positive whole number, got -4"]),
    ({"serving__pipeline": 121}, ["[serving] pipeline takes at most layers = 120, got 121"]),
    ({"serving__tensor": 9}, ["[serving] tensor takes a divisor of d_ff_expert = 37248 (1, 2,", "got 9"]),
    ({"serving__redundant_experts": 0.5}, ["redundant_experts takes a whole number of at least 0, got 0.5"]),
    (
        {"cluster__reserve_gb": 86},
        ["[cluster] reserve_gb takes less than the 85.8993 GB of A100-SXM 80GB, got 86"],
    ),
    ({"serving__seq": 8192}, ["[serving] unknown key 'seq'; it belongs to [training]"]),
    ({"training__published": 3}, ["[training] unknown key 'published'; it belongs to the top of the file"]),
    ({"training__batch_tokens": 6e7}, ["got 60000000.0 (write 60_000_000, without point or exponent)"]),
    (
        {"published": [{"figure": "training.days", "value": 1, "source": " "}]},
        ["in your own words or as a URL, got ' '"],
    ),
    ({"published": 3}, ["[[published]] takes a section of keys, got 3"]),
]


OWN = {"memory_gib": 80, "bandwidth_gb_per_s": 2039, "bf16_tflop_per_s": 312, "nvlink_gb_per_s": 300}
MISTAKES += [  # of [gpu], beside a [cluster] that names another accelerator
    ({"gpu": 3}, ["[gpu] takes a section of keys, got 3"]),
    ({"gpu": {**OWN, "bandwith": 1}}, ["[gpu] unknown key 'bandwith'; nearest known: bandwidth_gb_per_s"]),
    ({"gpu": {**OWN, "memory_gb": 86}}, ["[gpu] takes either memory_gb or memory_gib, got both"]),
    (
        {"gpu": {"bandwidth_gb_per_s": 1, "bf16_tflop_per_s": 1}},
        ["either memory_gb or memory_gib, got neither"],
    ),
    ({"gpu": {**OWN, "name": " "}}, ["[gpu] name takes a text, got ' '"]),
    ({"gpu": {**OWN, "fp8_tflop_per_s": 0}}, ["[gpu] fp8_tflop_per_s takes a positive number, got 0"]),
]


UNSEEN = (  # what no schema sees: sizes that do not divide, data sheets, the ledger, 6e7 for a whole number
    *(
        "in all",
        "the stages of stage_layers",
        "multiples of",
        "divisor",
        "at most layers",
        "60000000.0",
        "no sheet has",
        "less than the",
        "on A100",
    ),
    *("'kaplan20'", "claim:nothing", "in day", "[2, 1]", "got inf"),
)


@pytest.mark.parametrize(("changes", "words"), MISTAKES, ids=range(len(MISTAKES)))
def test_an_editor_marks_all_but_what_needs_sizes_and_data_sheets(changes, words):
    broken, editor = changed("gpt-4", **changes), Draft202012Validator(workbench_schema())
    with pytest.raises(BadInput) as caught:
        check(broken)
    assert editor.is_valid(broken) == any(word in str(caught.value) for word in UNSEEN)


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"model": {}}, '[model] takes shape = "NAME", config = "FILE" or the keys of a shape, got nothing'),
        ({"published": {"figure": "training.days"}}, "[[published]] takes double brackets"),
        ({"published": [3]}, "[[published]] 1: takes a section of keys, got 3"),
        ({"cluster": {"gpu": ["A100-SXM 80GB"]}}, "[cluster] gpu takes a known accelerator"),
        ({"training": {"layout": 3}}, "[training.layout] takes a section of keys, got 3"),
        ({"layers": 3}, "unknown key 'layers'; it belongs to [model]; its value is 3"),
        ({"serving": {"compute": ["bf16"]}}, "[serving] compute takes one of bf16, fp8, int8, got ['bf16']"),
    ],
)
def test_what_has_the_wrong_form_is_told_as_well(mapping, words):
    with pytest.raises(BadInput) as caught:
        check({"model": {"shape": "Llama-2-7B"}, **mapping})
    assert words in str(caught.value)


def test_the_keys_are_those_of_the_library():
    fields = {kind: {f.name for f in dataclasses.fields(kind)} for kind in (Recipe, Layout)}
    assert set(KEYS["training"]) > fields[Recipe]
    assert set(KEYS["training.layout"]) - {"first_stage_fewer", "last_stage_fewer"} == fields[Layout] - {
        "batch"
    }


@pytest.mark.parametrize(("changes", "words"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_is_named_with_key_value_and_what_is_allowed(changes, words):
    with pytest.raises(BadInput) as caught:
        check(changed("gpt-4", **changes), "mine.toml")
    head, *lines = str(caught.value).splitlines()
    assert head.startswith("mine.toml: ") and "mistake" in head
    assert any(all(word in line for word in words) for line in lines), str(caught.value)


def test_every_mistake_of_a_file_is_listed_at_once():
    """All single changes that leave each other alone, in one file: none hides another."""
    together, expected = {}, []
    for changes, words in MISTAKES:
        ((path, value),) = changes.items()
        alone = (
            value is None or value in ("TPU v4", "fp8", 8193) or path.startswith("model") or "__" not in path
        )
        if not alone and path not in together:
            together[path] = value
            expected.append(words)
    assert len(expected) > 15
    with pytest.raises(BadInput) as caught:
        check(changed("gpt-4", **together))
    lines = str(caught.value).splitlines()[1:]
    assert all(any(all(word in line for word in words) for line in lines) for words in expected)
    assert len(lines) == len(expected) and str(caught.value).startswith(f"case: {len(lines)} mistakes")


def test_shapes_mistakes_come_together_too():
    wrong = model_mistakes(
        {
            "name": "",
            "layers": 2,
            "d_model": 0,
            "n_heads": 6,
            "n_kv_heads": 4,
            "d_head": 2,
            "positions": "spiral",
            "n_experts": 4,
            "top_k": 5,
            "d_ff_expert": 0,
            "tied_embeddings": 1,
        }
    )
    assert [line.split()[0] for line in wrong] == [
        "name",
        "d_model",
        "positions",
        "tied_embeddings",
        "vocab",
        "n_kv_heads",
        "top_k",
        "d_ff_expert",
        "expert_matrices",
    ]


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("llama-3.1-405b", {"serving__weight_bytes": 2}, ["[serving]", "does not fit: 101.5 GB", "85.5 GB"]),
        (
            "llama-3.1-405b",
            {"training__layout": {"tensor": 8, "zero": 0}},
            ["[training]", "no layout fits a GPU", "more than the 85.5 GB of a GPU", "layouts fit"],
        ),
        (
            "gpt-4",
            {"training__layout": {"tensor": 7}},
            ["[training] layout.tensor takes 1, 2, 3, 4,", "got 7"],
        ),
        ("gpt-4", {"serving__batch": 1000}, ["batch = 1,000 does not fit", "62.9 GB", "57.2 GB", "909"]),
        (
            "gpt-4",
            {"serving__context": 10**8, "serving__batch": None},  # 61,440 bytes x 1e8 over eight ranks
            ["cache of one sequence a pass, of 100,000,000 tokens, is 768.0 GB", "57.2 GB"],
        ),
        (
            "mixtral-8x7b",
            {"serving__user_tokens_per_s": 500},
            ["user_tokens_per_s = 500 is out of reach", "gets 1"],
        ),
        (
            "gpt-4",
            {"training__layout": {"tensor": 8, "pipeline": 15, "data": 104}},
            ["layout.data takes 208 beside tensor = 8, pipeline = 15", "n_gpus = 24,960", "got 104"],
        ),
        ("gpt-4", {"training__layout": {"tensor": 24960}}, ["layout.tensor takes 1, 2, 3,", "got 24960"]),
        (
            "gpt-4",
            {"training__layout": {"tensor": 7}, "training__mfu": 0.3},
            ["layout.tensor takes 1, 2, 3,", "got 7"],
        ),
        (
            "gpt-4",
            {"cluster__n_gpus": 120, "training": None},
            ["tensor x pipeline x expert = 8 x 16 x 1 takes 128 GPUs", "n_gpus = 120"],
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_numbers(name, changes, words):
    with pytest.raises(BadInput) as caught:
        report.report(check(changed(name, **changes)))
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_both_sections_clashes_come_together():
    with pytest.raises(BadInput, match=r"(?s)does not fit\n  \[training\] .*\n  \[serving\] "):
        changes = {"serving__weight_bytes": 2, "training__layout": {"tensor": 8, "zero": 0}}
        report.report(check(changed("llama-3.1-405b", **changes)))


def test_a_report_without_price_says_so():
    typed = report.report(check(changed("gpt-4", cluster__price_usd_per_gpu_hour=None)))
    found = typed.record()
    assert len(found["left_out"]) == 2 and all("price_usd_per_gpu_hour" in text for text in found["left_out"])
    assert "cost_usd" not in found["training"] and "cost_usd_per_1000_tokens" not in found["serving"]
    assert [row["figure"] for row in found["published"] if "cost" in row["figure"]] == []
    assert "1,000 tokens cost" not in workbench_text.to_text(typed)


def test_every_key_has_a_check_and_every_needed_key_exists():
    assert all(key in KEYS[section] for section, keys in NEEDED.items() for key in keys)
    assert all(takes(object()) for keys in KEYS.values() for takes in keys.values()), (
        "a key that takes anything"
    )


# ---- pipeline stages ------------------------------------------------------------------------
def layouts_of(name, **layout):
    """The report on an example's layouts with these keys in [training.layout]."""
    mapping = changed(name, training__layout=layout) | {"published": []}
    mapping.pop("serving")
    return report.report(check(mapping))


def test_stages_as_published_are_within_reach():
    """61 layers on 16 stages: 15 of ceil(61 / 16) = 4, and what is left on the last."""
    found = FOUND["deepseek-v3"].training.layouts
    assert found.layout.layout.stage_layers == (4,) * 15 + (1,)
    assert found.limits == {"tensor": 1, "pipeline": 16, "expert": 64, "zero": 1}
    assert "stages              15 stages of 4 layers, 1 of 1\n" in workbench_text.to_text(
        FOUND["deepseek-v3"]
    )
    llama = FOUND["llama-3.1-405b"].training.layouts
    assert llama.layout.layout.stage_layers == (7, *[8] * 14, 7) and llama.layout.layout.chunks == 8
    assert llama.limits["pipeline"] == [16]
    assert REPORTS["llama-3.1-405b"]["training"]["layout"]["stage_layers"] == (7, *[8] * 14, 7)
    assert "stage_layers" not in REPORTS["gpt-4"]["training"]["layout"]
    assert "stages of" not in workbench_text.to_text(FOUND["gpt-4"]).split("Serving")[0]


def test_a_list_says_what_fewer_says():
    fixed = {"tensor": 8, "zero": 2}
    fewer = {"first_stage_fewer": 1, "last_stage_fewer": 1}
    listed = layouts_of("llama-3.1-405b", **fixed, stage_layers=[7, *[8] * 14, 7])
    assert (
        listed.record()["training"]
        == layouts_of("llama-3.1-405b", **fixed, pipeline=16, **fewer).record()["training"]
    )
    every = layouts_of("llama-3.1-405b", **fixed, **fewer).training.layouts
    tried = {p: layouts_of("llama-3.1-405b", **fixed, **fewer, pipeline=p) for p in (2, 4, 8, 16, 32)}
    assert every.mfu_with_scores == max(x.training.layouts.mfu_with_scores for x in tried.values())


def test_the_space_of_all_layouts_stays_but_for_a_wish():
    """Without one, equal stages alone; with one, those and the stages that are wished."""
    without = layouts_of("llama-3.1-405b", tensor=8).training.layouts
    case = CASES["llama-3.1-405b"]
    task = {"batch_tokens": case.training.batch_tokens, "seq": 8192, "recipe": case.training.recipe}
    assert without.layouts == len(plan(case.shape, case.cluster, **task)) == 1776
    every = layouts_of("llama-3.1-405b", tensor=8, pipeline=[2, 16]).training.layouts
    filled = plan(case.shape, case.cluster, **task, stages=[(8,) * 15 + (6,)])
    assert every.layouts == len(filled) == 1776 + filled.where(pipeline=16).sum()


def test_every_mistake_of_stages_at_once():
    stages = {"pipeline": [4, 8], "chunks": [1, 3], "stage_layers": [40, 40, 41], "last_stage_fewer": 1}
    with pytest.raises(BadInput) as caught:
        check(changed("gpt-4", training__layout=stages | {"tensr": 8}), "mine")
    assert "unknown key 'tensr'" in str(caught.value)
    assert str(caught.value).splitlines()[2:] == [
        "  [training.layout] stage_layers takes layers = 120 in all, got 121",
        "  [training.layout] chunks takes a divisor of every stage's layers, or of the fullest's 41 if none "
        "lacks more than a chunk of them, got 3",
        "  [training.layout] last_stage_fewer takes no value beside stage_layers, got 1",
        "  [training.layout] pipeline takes 3, the stages of stage_layers, got [4, 8]",
    ]
    with pytest.raises(BadInput, match=r"\[training\] layout.pipeline takes 1, 2, .*, got 130"):
        layouts_of("gpt-4", pipeline=130)
    with pytest.raises(BadInput, match="fewer take less than the layers of a stage, got 120"):
        check(changed("gpt-4", training__layout={"first_stage_fewer": 120}))


def test_the_stage_that_binds_is_told():
    """Stage 1 and a small vocabulary: the first; nothing repeated: the fullest of those between."""
    assert REPORTS["gpt-4"]["training"]["memory_stage"] == "first"
    assert REPORTS["gpt-3-175b"]["training"]["memory_stage"] in ("first", "last")
    words = " ".join(workbench_text.to_text(FOUND["llama-3.1-405b"]).split())
    assert "on the fullest inner stage, mostly activations" in words
    one = layouts_of("gpt-3-175b", pipeline=1, zero=3)
    assert one.training.layouts.memory_stage == "only" and "stage," not in workbench_text.to_text(one)


def test_softmax_of_a_stage_that_waits_for_the_loss(monkeypatch):
    """Where the shorter last stage sets the beat, less softmax saves less there: against the laws without."""
    shape = dataclasses.replace(CASES["gpt-3-175b"].shape, layers=23, vocab=250_000)
    cluster = CASES["gpt-3-175b"].cluster
    layout = Layout(8, 4, 32, batch=256, recompute="selective", stage_layers=(6, 6, 6, 5))
    x = explain(shape, cluster, layout, seq=2048)
    assert 0 < x.terms["t_loss"] < x.terms["t_head"]
    without_softmax(monkeypatch)
    without = explain(shape, cluster, layout, seq=2048)
    assert report.softmax_seconds(x) == pytest.approx(x.step_seconds - without.step_seconds, rel=1e-9)


# ---- random files ---------------------------------------------------------------------------
def random_file(draw):
    """A whole file of a dense model or a mixture."""
    heads, seq = draw(st.sampled_from([8, 16, 32])), draw(st.sampled_from([512, 2048]))
    model = {
        "layers": draw(st.integers(1, 24)),
        "d_model": 128 * heads,
        "n_heads": heads,
        "d_head": 128,
        "n_kv_heads": draw(st.sampled_from([1, 8])),
        "vocab": draw(st.integers(1000, 60000)),
        "tied_embeddings": draw(st.booleans()),
        "positions": "rotary",
    }
    if draw(st.booleans()):
        model |= {"n_experts": 8, "top_k": draw(st.integers(1, 8)), "d_ff_expert": 2048, "expert_matrices": 2}
    else:
        model |= {"d_ff": 8192, "mlp_matrices": draw(st.sampled_from([2, 3]))}
    price, tokens = draw(st.floats(0.1, 9)), draw(st.floats(1e9, 1e13))
    mapping = {
        "name": "random",
        "model": model,
        "cluster": {
            "gpu": draw(st.sampled_from(["A100-SXM 80GB", "H100-SXM 80GB"])),
            "n_gpus": draw(st.integers(1, 64)),
            "nic_gbit_per_s": 200,
            "price_usd_per_gpu_hour": [price, 2 * price],
        },
        "training": {"tokens": tokens, "seq": seq, "batch_tokens": seq * draw(st.integers(1, 128))},
        "serving": {"context": draw(st.integers(1, 9000)), "tensor": draw(st.sampled_from([1, 2, 8]))},
    }
    if draw(st.booleans()):
        mapping["training"]["mfu"] = draw(st.floats(0.05, 0.9))
    return mapping


@settings(max_examples=40)
@given(st.data())
def test_random_files_give_a_report_or_a_reason(data):
    mapping = random_file(data.draw)
    try:
        typed = report.report(check(mapping))
    except BadInput as error:
        assert "does not fit" in str(error) and re.search(r"\d", str(error))
        return
    found, text = typed.record(), workbench_text.to_text(typed)
    json.dumps(found, allow_nan=False)
    assert max(map(len, text.splitlines())) <= 80
    t, s = found["training"], found["serving"]
    assert (
        t["cost_usd_high"] >= 2 * t["cost_usd_low"] * (1 - 1e-9)
        and t["days_low"] <= t["days"] <= t["days_high"]
    )
    peak = hardware(t["gpu"]).bf16_flop_per_s
    done = t["days"] * 86400 * t["gpus"] * peak * t["mfu"]
    assert done == pytest.approx(6 * found["model"]["active_parameters"] * mapping["training"]["tokens"])
    assert s["cache_bytes_per_gpu"] + s["weight_bytes_per_gpu"] <= s["memory_bytes_limit"] * (1 + 1e-12)
    assert s["tokens_per_s_per_user"] * s["sequences_in_flight"] == pytest.approx(s["tokens_per_s"])


# ---- text -----------------------------------------------------------------------------------
@pytest.mark.parametrize("name", REPORTS)
def test_text_fits_80_columns_and_names_every_published_figure(name):
    found = REPORTS[name]
    text = workbench_text.to_text(FOUND[name])
    assert max(map(len, text.splitlines())) <= 80
    assert all(row["words"] in text and row["source"] in text for row in found["published"])
    assert all(reason in text for reason in found["left_out"])


def test_figures_are_written_with_their_units():
    shown = {name: workbench_text.figure(name, 0.5) for name in FIGURES}
    assert shown["training.mfu"] == "50.0%" and shown["training.days"] == "12.0 hours"
    assert workbench_text.figure("serving.tokens_per_s_per_gpu", 1850.0) == "1,850 tokens/s"
    assert workbench_text.figure("training.days", Interval(90, 100)) == "90.0 to 100 days"


# ---- the page -------------------------------------------------------------------------------
def shown(chart, **signals):
    """The texts of the chart's rows, with some of its sliders moved, as Vega's own interpreter gives them."""
    spec = copy.deepcopy(chart.spec)
    for param in spec["params"]:
        if param["name"] in signals:
            param["value"] = signals[param["name"]]
    svg = vl_convert.vegalite_to_svg(spec)
    return [text for text in re.findall(r"<text[^>]*>([^<]+)</text>", svg) if ":" in text]


def numbers(spec, expressions, **signals):
    """The values that Vega gives to expressions over the chart's parameters."""
    params = [{k: v for k, v in p.items() if k != "bind"} for p in spec["params"]]
    params = [p | ({"value": signals[p["name"]]} if p["name"] in signals else {}) for p in params]
    svg = vl_convert.vegalite_to_svg(
        {
            "params": params,
            "data": {"values": [{"row": i} for i in range(len(expressions))]},
            "transform": [{"calculate": f"[{', '.join(expressions)}][datum.row]", "as": "v"}],
            "mark": "text",
            "encoding": {
                "text": {"field": "v", "type": "quantitative", "format": ".15e"},
                "y": {"field": "row", "axis": None},
            },
        }
    )
    return [float(t.replace("−", "-")) for t in re.findall(r"<text[^>]*>([^<]+)</text>", svg)]


PAGE = page.page(description="60 million")


def settings_of(draw):
    """A GPU and a value for every slider, such that the model fits."""
    moved = {name: draw(st.floats(0, 1)) for name in page.SLIDERS}
    set_ = {}
    for name, share in moved.items():
        s = page.SLIDERS[name]
        set_[name] = s.lo + round(share * (s.hi - s.lo) / s.step / 2) * s.step  # lower half: the model fits
    set_ |= {"L": 8 + round(8 * moved["L"]), "E": 1 + round(7 * moved["E"]), "p": 8 + round(24 * moved["p"])}
    return draw(st.sampled_from(page.GPUS)), set_ | {"tp": 8}


def by_vega(names, gpu, set_):
    """What Vega computes for these letters of the page at these settings."""
    sent = {PAGE.spec["usermeta"]["sliders"][name]: value for name, value in set_.items()}
    return numbers(PAGE.spec, names, gpu=page.GPUS.index(gpu), **sent)


@settings(max_examples=15)
@given(st.data())
def test_the_browser_computes_what_the_laws_compute(data):
    """Every step, at random settings: Vega's numbers are NumPy's."""
    gpu, set_ = settings_of(data.draw)
    ours, names = page.values(gpu=gpu, **set_), [step.name for step in page.PAGE.links]
    assert names == PAGE.spec["usermeta"]["steps"] and len(set(names)) == len(names)
    assert by_vega(names, gpu, set_) == pytest.approx([ours[name] for name in names], rel=1e-9)


@settings(max_examples=15)
@given(st.data())
def test_the_browser_computes_the_serving_models_own_pass(data):
    """The page's pass against `decode` of a model counted from its shape, on a server of the same sizes."""
    gpu, x = settings_of(data.draw)
    x |= {"n_h": 8 * max(1, round(x["n_h"] / 8))}  # eight ranks divide or copy heads
    shared = [i for i in range(1, x["n_h"] + 1) if x["n_h"] % i == 0 and (i % 8 == 0 or 8 % i == 0)]
    x |= {"n_kv": data.draw(st.sampled_from(shared))}
    x |= {"k": min(x["k"], x["E"])}
    inside = {"d_ff": x["d_ff"], "mlp_matrices": x["n_mat"]}
    if x["E"] > 1:
        inside = {
            "n_experts": x["E"],
            "top_k": x["k"],
            "d_ff_expert": x["d_ff"],
            "expert_matrices": x["n_mat"],
        }
    shape = {
        "name": "page",
        "layers": x["L"],
        "d_model": x["d"],
        "n_heads": x["n_h"],
        "n_kv_heads": x["n_kv"],
    }
    shape |= {"d_head": 128, "vocab": x["V"], "tied_embeddings": False, "positions": "rotary"}
    server = Server(
        gpu=gpu,
        tensor=8,
        pipeline=x["p"],
        weight_bytes=x["weight_bytes"],
        overhead=float(x["overhead"]),
        divide_cache=x["n_kv"] < 8,
    )
    served = serving_view(model_of(shape | inside))
    ours = decode(served, server, batch=x["B_seq"], context=x["S"], price=x["price"] / 3600)
    names = dict.fromkeys([*NAMES.values(), "t_tensor", "t_split", "t_expert", "t_hop"])
    theirs = dict(zip(names, by_vega(list(names), gpu, x)))
    for name, letter in NAMES.items():
        assert theirs[letter] == pytest.approx(getattr(ours, name), rel=1e-9), name
    for part in ("tensor", "split", "expert", "hop"):
        assert theirs[f"t_{part}"] == pytest.approx(ours.seconds[part], rel=1e-9)


@pytest.mark.parametrize("name", ["gpt-4", "llama-3.1-405b", "mixtral-8x7b", "gpt-3-175b"])
def test_the_page_agrees_with_the_report(name):
    found = REPORTS[name]
    ours = page.values(**page.preset(CASES[name], FOUND[name]))
    tied = name == "gpt-3-175b"  # tied tables, biases, learned positions: the page has none of them
    assert ours["N_total"] == pytest.approx(found["model"]["parameters"], rel=0.004 if tied else 1e-12)
    assert ours["kv"] == found["serving"]["kv_cache_bytes_per_token"]
    assert ours["C_tok"] == pytest.approx(sum(flop_per_token(CASES[name].shape, 0).values()), rel=1e-12)
    on_gpu = found["serving"]["weight_bytes_per_gpu"] + found["serving"]["cache_bytes_per_gpu"]
    assert ours["Q_used"] == pytest.approx(on_gpu, rel=0.004 if tied else 1e-12)
    close = {"gpt-3-175b": 0.01, "llama-3.1-405b": 0.005}.get(
        name, 1e-9
    )  # Llama computes in FP8, the page in BF16
    assert ours["R_out"] == pytest.approx(found["serving"]["tokens_per_s_per_user"], rel=close)
    assert int(ours["B_max"]) == pytest.approx(found["serving"]["largest_batch"], abs=1)
    if name == "gpt-4":
        assert ours["C"] == pytest.approx(found["training"]["flop"])
        assert ours["M_thousand"] == pytest.approx(found["serving"]["cost_usd_per_1000_tokens"])


def test_the_page_refuses_what_it_has_no_sliders_for():
    with pytest.raises(BadInput, match=r"layers of one kind .*DeepSeek-V3"):
        page.preset(CASES["deepseek-v3"], FOUND["deepseek-v3"])


def test_the_page_shows_every_output_and_says_what_does_not_fit():
    texts = shown(PAGE)
    assert [text.partition(":")[0] for text in texts] == [label for label, *_ in page.OUT]
    assert texts[0] == "Parameters: 1.83T" and texts[3] == "Training cost: $57.2M"
    assert "does not fit" not in " ".join(texts)
    full = shown(PAGE, p=1)
    assert "does not fit" in full[4] and full[5].endswith("none")
    twice = shown(PAGE, price=2)
    assert [a == b for a, b in zip(texts, twice)] == [True, True, True, False, True, True, True, False]


def test_the_page_is_the_same_twice():
    assert PAGE._repr_mimebundle_() == page.page(description="60 million")._repr_mimebundle_()


@pytest.mark.parametrize("name", REPORTS)
def test_the_text_says_the_reports_own_numbers(name):
    """Each line read back: its first number is the report's, to three digits."""
    found = REPORTS[name]
    body = workbench_text.to_text(FOUND[name]).split("Against published")[0]
    lines = dict(re.findall(r"^(\S.{0,18}?)\s{2,}(\S.*)$", body, re.M))  # serving's, of a label of both
    first = lambda text: float(re.search(r"\d[\d.,]*", text)[0].replace(",", ""))
    about = lambda value: pytest.approx(value, rel=6e-3)
    if t := found.get("training"):
        assert first(lines["time"]) == about(t["days"]) and first(lines["cluster"]) == t["gpus"]
        hours, million = re.search(r"([\d.,]+)( million)? GPU-hours", " ".join(body.split())).groups()
        assert first(hours) * (1e6 if million else 1) == about(t["gpu_hours"])
    if s := found.get("serving"):
        scale = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
        shown = [
            float(x) * scale[prefix] for x, prefix in re.findall(r"([\d.]+) ([kMGT]?)B", lines["KV cache"])
        ]
        assert shown == [about(s["kv_cache_bytes_per_token"]), about(s["kv_cache_bytes_per_sequence"])]
        share = max(s["pass_seconds_by_part"].values()) / s["pass_seconds"]
        assert float(re.search(r"([\d.]+)%", lines["binds"])[1]) == about(100 * share)
        assert first(lines["largest batch"]) == s["largest_batch"]
        assert first(lines["speed"]) == about(s["tokens_per_s_per_user"])


@pytest.mark.parametrize("name", REPORTS)
def test_what_binds_is_the_largest_part(name):
    """Of the step, the largest beside the passes themselves."""
    if (t := REPORTS[name].get("training")) and "layout" in t:
        assert t["memory_bytes_by_part"][t["binds_memory"]] == max(t["memory_bytes_by_part"].values())
        beside = {part: share for part, share in t["step_share"].items() if part != "forward and backward"}
        assert beside[t["binds_step"]] == max(beside.values())
    if s := REPORTS[name].get("serving"):
        assert s["pass_seconds_by_part"][s["binds_pass"]] == max(s["pass_seconds_by_part"].values())


# ---- files that cannot be read, sources of one's own, layouts that cannot be ----------------
@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b'name = "x"\n[model\n', "not valid TOML: line 2, '[model': Expected ']'"),
        (b'name = "x"\nname = "y"\n', "not valid TOML: line 2, 'name = \"y\"': Cannot overwrite a value"),
        (b'name = "x"\nabout = """\nopen', "not valid TOML: line 3, 'open': "),
        (b'name = "x"\nabout = "Zo\xeb"\n', "not UTF-8 text (byte 0xeb in line 2)"),
        (None, "there is no such file"),
        ("folder", "is a folder that holds no config.json"),
    ],
)
def test_a_file_that_cannot_be_read_says_why_in_one_line(tmp_path, raw, words):
    file = tmp_path / "mine.toml"
    if raw == "folder":
        file.mkdir()
    elif raw is not None:
        file.write_bytes(raw)
    with pytest.raises(BadInput) as caught:
        load_case(file)
    said = str(caught.value)
    assert said.startswith(str(file)) and words in said and "\n" not in said


def test_names_that_are_neither_file_nor_example(tmp_path):
    for name, words in (
        ("gpt4", "nearest known: gpt-4"),
        ("", "a model; examples: deepseek-v3, "),
        ("gpt-4.toml", "without .toml"),
    ):
        with pytest.raises(BadInput, match=words):
            load_case(name)
    file = tmp_path / "mine.toml"
    file.write_text("\ufeff[model]\nshape = 'gpt4_multi_query'\n", "utf-8")  # as a Windows editor saves it
    assert load_case(file).shape == CASES["gpt-4"].shape


@pytest.mark.parametrize(
    "source",
    [
        "Kaplan 2020",
        "https://example.org/a-report",
        "internal",
        "Our own log of the run, written in May 2024 by three of us, "
        "with the rate of every day and the hours in which nothing ran at all",
        "https://example.org/" + "a-long-address-without-a-space/" * 3,
    ],
)
def test_a_source_in_ones_own_words_is_shown_as_it_is(source):
    row = {"figure": "model.parameters", "value": 1.8e12, "source": source}
    found = report.report(check(changed("gpt-4", published=[row])))
    assert found.published[0].source == source
    lines = workbench_text.to_text(found).splitlines()
    assert source in " ".join(lines)
    assert all(len(line) <= 80 or "example.org" in line for line in lines)


def test_a_server_with_a_gpu_of_its_own_is_not_bound_to_the_cluster():
    changes = {"cluster__n_gpus": 120, "training": None, "published": []}
    found = report.report(check(changed("gpt-4", serving__gpu="A100-SXM 80GB", **changes)))
    assert found.serving.gpus == 128


def test_the_default_width_must_divide_too_and_a_dense_model_has_no_experts_to_spread():
    dense = {
        "layers": 12,
        "d_model": 1536,
        "n_heads": 12,
        "n_kv_heads": 12,
        "d_head": 128,
        "d_ff": 6144,
        "mlp_matrices": 2,
        "vocab": 50257,
        "tied_embeddings": True,
        "positions": "rotary",
    }
    mapping = {"model": dense, "serving": {"gpu": "A100-SXM 80GB", "context": 2048}}
    with pytest.raises(
        BadInput, match=r"1 mistake\n.* a divisor of n_heads = 12 \(1, 2, 3, 4, 6, 12\), got 8, the default"
    ):
        check(mapping)
    mapping["serving"] |= {"tensor": 4, "expert": 2, "redundant_experts": 1, "weight_bytes": {"experts": 1}}
    with pytest.raises(BadInput, match="3 mistakes") as caught:
        check(mapping)
    assert "weight_bytes takes no experts without experts in [model]" in str(caught.value)
    assert "expert takes no value above 1 without experts in [model], got 2" in str(caught.value)
    assert report.report(check(mapping | {"serving": {"gpu": "A100-SXM 80GB", "context": 2048, "tensor": 4}}))


def test_copies_of_experts_take_memory_and_no_time():
    """288 on 144 GPUs are two on each; without the copies 256 do not divide, and 128 GPUs hold two each as
    well.
    """
    with pytest.raises(BadInput, match=r"expert takes a divisor of n_experts = 256 \(1, 2, 4, .*\), got 144"):
        check(changed("deepseek-v3", serving__redundant_experts=None))
    s, case = REPORTS["deepseek-v3"]["serving"], CASES["deepseek-v3"]
    two = 2 * 58 * 3 * 7168 * 2048  # two experts of 58 layers, a byte each
    rest = 671026404352 - 256 * 58 * 3 * 7168 * 2048
    rest += 2 * 129280 * 7168 + 58 * 256 * 7168  # tables and routers take two bytes
    assert s["weight_bytes_per_gpu"] == pytest.approx(two + rest, rel=1e-3)
    plain = decode(serving_view(case.shape), case.serving.server, batch=s["batch"], context=4989)
    assert s["pass_seconds"] == pytest.approx(float(plain.pass_seconds), rel=1e-12)
    assert s["largest_batch"] < float(plain.batch_limit)


def test_stages_that_do_not_divide_the_layers_are_told():
    assert "7.50 layers each on average" in workbench_text.to_text(FOUND["gpt-4"])
    even = report.report(check(changed("gpt-4", serving__pipeline=15)))
    assert "on average" not in workbench_text.to_text(even)


# ---- sections of the report by hand -------------------------------------------------------
@pytest.mark.parametrize("name", REPORTS)
def test_the_models_section_by_hand(name):
    """Half the sequence as mean context: the training's, or the serving's where nothing is trained."""
    case, found = CASES[name], REPORTS[name]["model"]
    whole = source(name).get("training", {}).get("seq") or source(name)["serving"]["context"]
    assert found["mean_context_tokens"] == whole / 2
    s, parts = case.shape, parameters(case.shape).parts
    width = s.mla_d_nope + s.mla_d_rope + s.mla_d_value if s.latent else 2 * s.d_head
    scores = 2 * s.layers * s.n_heads * width * whole / 2
    matrices = {k: v for k, v in parts.items() if k not in ("embedding", "positions", "norms", "biases")}
    matrices["experts"] = parts["experts"] / s.n_experts * s.top_k if s.n_experts else 0
    matrices["unembedding"] = s.vocab * s.d_model
    forward = 2 * sum(matrices.values()) + scores
    assert found["forward_flop_per_token"] == pytest.approx(forward, rel=1e-9)
    assert found["training_flop_per_token"] == pytest.approx(3 * forward, rel=1e-9)
    assert found["scores_share"] == pytest.approx(scores / forward, rel=1e-9)
    assert found["parameters"] == sum(parts.values()) == sum(found["parameters_by_part"].values())
    assert found["active_parameters"] == found["parameters"] - parts["experts"] + matrices["experts"]
    assert found["shape"] == s.name and all(found["parameters_by_part"].values())


def test_a_model_alone_is_reported_without_context():
    found = report.report(check(changed("mixtral-8x7b", serving=None, published=None))).record()
    assert found["model"]["mean_context_tokens"] == found["model"]["scores_share"] == 0
    assert found["left_out"] == ["training: the file has no [training]", "serving: the file has no [serving]"]
    assert found["published"] == [] and not {"training", "serving"} & set(found)


def test_the_serving_section_of_gpt_4_by_hand():
    """256 sequences a pass, 16 stages of eight A100, 16 micro-batches under way."""
    s, x = CASES["gpt-4"].shape, REPORTS["gpt-4"]["serving"]
    entries = 120 * 2 * 1 * 128
    assert (x["gpu"], x["gpus"], x["context_tokens"]) == ("A100-SXM 80GB", 128, 8192)
    assert x["kv_cache_bytes_per_token"] == 2 * entries and x["batch_from"] == "the file"
    assert x["kv_cache_bytes_per_sequence"] == 2 * entries * 8192
    assert x["weight_bytes_per_gpu"] == pytest.approx(2 * parameters(s).total / 128)
    assert x["cache_bytes_per_gpu"] == pytest.approx(16 * 256 * 2 * entries * 8192 / 128)
    assert x["memory_bytes_limit"] == 80 * 2**30 and x["layers_per_stage"] == 7.5
    each = x["cache_bytes_per_gpu"] / 256
    assert x["largest_batch"] == int((80 * 2**30 - x["weight_bytes_per_gpu"]) / each) == 909
    assert x["batch"] == 256 and x["sequences_in_flight"] == 4096
    assert x["experts_hit"] == pytest.approx(16 * (1 - (14 / 16) ** 256))
    assert x["tokens_per_s_per_user"] == pytest.approx(1 / x["pass_seconds"])
    assert x["tokens_per_s"] == pytest.approx(4096 / x["pass_seconds"])
    assert x["tokens_per_s_per_gpu"] == pytest.approx(x["tokens_per_s"] / 128)
    parts = x["pass_seconds_by_part"]
    links = parts["tensor"] + parts["split"] + parts["hop"]
    assert x["pass_seconds"] == pytest.approx(max(parts["memory"], parts["compute"]) + links)
    assert x["binds_pass"] == "memory" == max(parts, key=parts.get) and "expert" not in parts
    assert x["cost_usd_per_1000_tokens"] == pytest.approx(1000 * 128 / 3600 / x["tokens_per_s"])


# ---- how a server divides the cache, and the formats of weights ----------------------------
MIXED = {"layers": 24, "d_model": 3072, "n_heads": 96, "n_kv_heads": 8, "d_head": 64, "vocab": 50000}
MIXED |= {"tied_embeddings": False, "positions": "rotary", "layer_kinds": ["window", "full"], "window": 128}
MIXED |= {"n_experts": 32, "top_k": 4, "d_ff_expert": 2880, "expert_matrices": 3, "n_mtp_layers": 1}


def served(model, **keys):
    """The report of a model on A100s, as a record, and its text."""
    mapping = {"model": model, "serving": {"gpu": "A100-SXM 80GB", "context": 4100, "tensor": 8} | keys}
    found = report.report(check(mapping))
    return found.record(), workbench_text.to_text(found)


def test_a_file_divides_the_cache_by_heads_unless_it_says_otherwise():
    """Eight heads on 32 ranks are copied four times; the report has the figures of both ways."""
    heads, text = served(MIXED | {"d_ff_expert": 3072}, tensor=32)
    sequences, _ = served(MIXED | {"d_ff_expert": 3072}, tensor=32, cache="sequences")
    token, other = "kv_cache_bytes_per_token_and_gpu", "other_kv_cache_bytes_per_token_and_gpu"
    a, b = heads["serving"], sequences["serving"]
    assert (a["cache"], a["other_cache"], b["cache"]) == ("heads", "sequences", "sequences")
    assert a[token] == b[other] == 24 * 2 * 64 * 2 and a[other] == b[token] == a[token] / 4
    assert a["largest_batch"] == b["other_largest_batch"] < a["other_largest_batch"] == b["largest_batch"]
    assert "divided by heads; by sequences 1.54 kB, largest batch" in " ".join(text.split())
    whole, text = served(MIXED)
    assert whole["serving"][token] == whole["serving"][other] and "by sequences" not in text
    staged, _ = served(MIXED, pipeline=2)
    assert staged["serving"][token] == whole["serving"][token] / 2


def test_a_sequence_with_windows_by_hand():
    """12 layers keep 4,100 tokens, 12 keep 128; pages of 16 tokens make 4,112 of each layer."""
    found, text = served(MIXED, kv_bytes=1)
    s, each = found["serving"], 2 * 8 * 64
    assert s["kv_cache_bytes_per_token"] == 24 * each
    assert s["kv_cache_bytes_per_sequence"] == 12 * (4100 + 128) * each
    assert s["kv_cache_bytes_full_pages"] == 24 * 4112 * each and s["state_bytes_per_sequence"] == 0
    assert s["cache_bytes_per_gpu"] == pytest.approx(s["batch"] * s["kv_cache_bytes_per_sequence"] / 8)
    assert "52.0 MB a sequence (101 MB in whole pages)" in " ".join(text.split())


def test_weights_are_served_as_released_or_as_the_file_says():
    """One number for all, a number for some parts, or what the model's own keys say."""
    formats = lambda found: [found["serving"][f"bytes_per_{of}weight"] for of in ("expert_", "")]
    plain, text = served(MIXED)
    assert formats(plain) == [2, 2] and "bytes each in experts" not in text
    released, text = served(MIXED | {"matrix_bytes": 1.0, "expert_bytes": 0.5})
    count = plain["model"]["parameters_by_part"]
    parts = {part: n for part, n in count.items() if part not in ("experts", "mtp")}
    mean = 2 - parts["attention"] / sum(parts.values())
    assert formats(released) == [0.5, pytest.approx(mean)] and "0.500 bytes each in experts, 1.24" in text
    held = (0.5 * count["experts"] + mean * sum(parts.values())) / 8
    assert released["serving"]["weight_bytes_per_gpu"] == pytest.approx(held)
    some, _ = served(MIXED, weight_bytes={"matrices": 1, "experts": 0.5})
    assert some["serving"] == released["serving"]
    assert formats(served(MIXED | {"expert_bytes": 0.5}, weight_bytes=1)[0]) == [1, 1]


def test_stages_by_hand_are_those_of_training():
    """126 layers in 16 stages, the ends one shorter; a token's cache is largest on a stage of eight."""
    keys = {"serving__pipeline": 16, "serving__user_tokens_per_s": None, "serving__prompt": None}
    keys |= {"training": None, "published": None}
    case = check(changed("llama-3.1-405b", **keys, serving__first_stage_fewer=1, serving__last_stage_fewer=1))
    assert case.serving.server.stage_layers == (7, *[8] * 14, 7)
    found = report.report(case)
    s, text = found.record()["serving"], " ".join(workbench_text.to_text(found).split())
    assert "stages 1 stage of 7 layers, 14 of 8, 1 of 7" in text
    assert s["kv_cache_bytes_per_token_and_gpu"] == 8 * 2 * 8 * 128 * 2 / 8
    layer = (405_853_388_800 - 2 * 128_256 * 16_384) / 126  # eight of them, a byte each, over eight ranks
    assert s["weight_bytes_per_gpu"] == pytest.approx(layer, rel=1e-5)
    listed = check(changed("llama-3.1-405b", **keys, serving__stage_layers=[7, *[8] * 14, 7]))
    assert listed.serving.server == case.serving.server
    del keys["serving__pipeline"]
    listed = check(changed("llama-3.1-405b", **keys, serving__stage_layers=[7, *[8] * 14, 7]))
    assert listed.serving.server == case.serving.server
    for wrong, words in (
        ({"serving__stage_layers": [8] * 16}, "[serving] stage_layers takes layers = 126 in all, got 128"),
        ({"serving__last_stage_fewer": 2}, "[serving] pipeline takes a divisor of 128, "),
        ({"serving__stage_layers": [126], "serving__pipeline": 2}, "[serving] pipeline takes 1, the stages"),
        ({"serving__stage_layers": 16}, "[serving] stage_layers takes a list of positive whole numbers, got"),
    ):
        with pytest.raises(BadInput) as caught:
            check(changed("llama-3.1-405b", **keys, **wrong))
        assert words in str(caught.value) and "1 mistake\n" in str(caught.value)


def test_widths_that_split_heads_are_each_refused_on_their_line():
    """Six ranks split no query head of 96, but key-value heads and the experts' width of 2,884."""
    with pytest.raises(BadInput, match="2 mistakes") as caught:
        served(MIXED | {"d_ff_expert": 2884}, tensor=6)
    assert str(caught.value).splitlines()[1:] == [
        "  [serving] tensor takes a divisor of d_ff_expert = 2884 (1, 2, 4), got 6",
        "  [serving] tensor takes a divisor or a multiple of n_kv_heads = 8 (1, 2, 4), got 6",
    ]


def test_a_model_alone_has_its_counts_and_its_cache_at_two_lengths():
    found = report.report(check({"model": MIXED}))
    m, text = found.record()["model"], " ".join(workbench_text.to_text(found).split())
    table = 50000 * 3072
    assert m["active_without_input_table"] == m["active_parameters"] - table
    assert m["parameters_without_mtp"] == m["parameters"] - m["parameters_by_part"]["mtp"]
    assert [x["context_tokens"] for x in m["caches"]] == [8192, 131072]
    each = 2 * 8 * 64 * 2
    for x in m["caches"]:
        assert x["kv_cache_bytes_per_sequence"] == 12 * (x["context_tokens"] + 128) * each
        assert x["kv_cache_bytes_full_pages"] == 24 * x["context_tokens"] * each
    assert "without the input table, by which forward FLOP are counted" in text
    assert "without the blocks that predict further tokens" in text
    assert "(6.44 GB in whole pages) of 131,072 tokens" in text
    plain = report.report(check({"model": {"shape": "GPT-3 175B"}}))
    assert "parameters_without_mtp" not in plain.record()["model"]
    assert "input table" not in workbench_text.to_text(plain)  # one table serves both


def test_flop_of_windows_are_the_mean_of_every_token_of_a_sequence():
    """Token by token: each sees those before it, half of itself too, and a window at most 128."""
    m = served(MIXED)[0]["model"]
    tokens = np.arange(4100) + 0.5
    seen = 12 * tokens.mean() + 12 * np.minimum(tokens, 128).mean()
    scores = m["scores_share"] * m["forward_flop_per_token"]
    assert scores == pytest.approx(4 * 96 * 64 * seen, rel=1e-4)


def test_a_range_of_prices_is_a_range_of_costs():
    """1.03 to 1.45 dollars: the ends, and their middle; a first token is a pass over the prompt."""
    x = REPORTS["mixtral-8x7b"]["serving"]
    for key, price in (("_low", 1.03), ("", 1.24), ("_high", 1.45)):
        cost = 1000 * 2 * price / 3600 / x["tokens_per_s"]
        assert x[f"cost_usd_per_1000_tokens{key}"] == pytest.approx(cost)
    served = prefill(
        serving_view(CASES["mixtral-8x7b"].shape), CASES["mixtral-8x7b"].serving.server, batch=1, prompt=2048
    )
    assert x["first_token_seconds"] == pytest.approx(float(served.pass_seconds))
    assert "first_token_seconds" not in REPORTS["gpt-4"]["serving"]


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        (
            "gpt-4",
            {"serving__batch": 910},
            "  [serving] batch = 910 does not fit: its cache is 57.3 GB on each GPU, and the weights leave "
            "57.2 GB, enough for 909",
        ),
        (
            "gpt-4",
            {"serving__context": 10**8, "serving__batch": None},
            "  [serving] the cache of one sequence a pass, of 100,000,000 tokens, is 768.0 GB on each GPU, "
            "and the weights leave 57.2 GB",
        ),
        (
            "gpt-4",
            {"cluster__n_gpus": 127},
            "  [serving] tensor x pipeline x expert = 8 x 16 x 1 takes 128 GPUs, and [cluster] has "
            "n_gpus = 127; a gpu in [serving] says that it is served elsewhere",
        ),
        (
            "mixtral-8x7b",
            {"serving__user_tokens_per_s": 200},
            "  [serving] user_tokens_per_s = 200 is out of reach: one sequence gets 156.6",
        ),
    ],
)
def test_every_refusal_of_a_section_in_full(name, changes, words):
    """Head, then a line for each section that does not fit."""
    mapping = {key: section for key, section in changed(name, **changes).items() if key != "training"}
    with pytest.raises(BadInput) as caught:
        report.report(check(mapping))
    assert str(caught.value).splitlines() == [f"{CASES[name].name}: does not fit", words]


def test_a_cluster_of_exactly_the_serving_gpus_is_enough():
    found = report.report(check(changed("gpt-4", cluster__n_gpus=128, training=None))).record()
    assert found["serving"]["gpus"] == 128 and found["left_out"] == ["training: the file has no [training]"]


def test_both_prices_are_missed_by_name():
    found = report.report(check(changed("gpt-4", cluster__price_usd_per_gpu_hour=None))).record()
    assert found["left_out"] == [
        "cost of training: the file has no price_usd_per_gpu_hour for it",
        "cost of serving: the file has no price_usd_per_gpu_hour for it",
    ]


@pytest.mark.parametrize("name", REPORTS)
def test_a_published_row_is_set_against_the_reports_number(name):
    for row in REPORTS[name]["published"]:
        section, key = row["figure"].split(".")
        assert row["ours"] == REPORTS[name][section][key]
        assert row["published"] == (row["published_low"] + row["published_high"]) / 2
        assert row["ratio"] == row["ours"] / row["published"]


# ---- the page's presets by the files ------------------------------------------------------
SERVED = {"S": "context", "tp": "tensor", "p": "pipeline"}


@pytest.mark.parametrize("name", ["gpt-4", "llama-3.1-405b", "mixtral-8x7b", "gpt-3-175b"])
def test_a_preset_is_what_the_file_and_the_shape_say(name):
    s, file = CASES[name].shape, source(name)
    want = {"L": s.layers, "d": s.d_model, "n_h": s.n_heads, "n_kv": s.n_kv_heads, "V": s.vocab}
    mixture = name in ("gpt-4", "mixtral-8x7b")
    want |= {"E": {"gpt-4": 16, "mixtral-8x7b": 8}.get(name, 1), "k": 2 if mixture else 1}
    want |= {"d_ff": s.d_ff_expert if mixture else s.d_ff, "n_mat": 3 if name[0] in "lm" else 2}
    for slider, key in SERVED.items():
        want[slider] = file["serving"].get(key, 1)
    want["B_seq"] = {"gpt-4": 256, "llama-3.1-405b": 131, "mixtral-8x7b": 146, "gpt-3-175b": 34}[name]
    want["weight_bytes"] = file["serving"].get("weight_bytes", 2)
    # such as Mixtral: 80 GiB less 46.70e9 of weights, over 32 x 2 x 8 x 128 x 2 x 4096 / 2 bytes
    want["gpu"] = "H100-SXM 80GB" if name[0] == "l" else "A100-SXM 80GB"
    if "training" in file:
        want |= {"n": file["cluster"]["n_gpus"], "D": file["training"]["tokens"] / 1e12}
        # published: 32 to 36% of GPT-4; otherwise the report's, to half a percent
        want["mfu"] = {"gpt-4": 34, "llama-3.1-405b": 36.5, "gpt-3-175b": 38}[name]
        shown = 100 * REPORTS[name]["training"]["mfu"]
        assert name == "gpt-4" or name[0] == "l" or abs(want["mfu"] - shown) <= 0.25
    assert page.preset(CASES[name], FOUND[name]) == want


def test_the_pages_one_format_is_the_mean():
    case = check(changed("mixtral-8x7b", serving__weight_bytes={"experts": 0.5}))
    found = report.report(case)
    s, ours = found.serving, page.values(**page.preset(case, found))
    assert ours["Q_used"] == pytest.approx(s.weight_bytes_per_gpu + s.cache_bytes_per_gpu)


@pytest.mark.parametrize(
    "change",
    [
        {"d_head": 64},
        {"n_shared_experts": 1, "d_ff_shared": 64},
        {"n_dense_layers": 1, "d_ff": 64, "mlp_matrices": 2},
    ],
)
def test_shapes_without_a_slider_are_refused(change):
    shape = {"layers": 2, "d_model": 512, "n_heads": 8, "n_kv_heads": 8, "d_head": 128, "vocab": 1000}
    shape |= {"tied_embeddings": False, "positions": "rotary", "name": "odd", "n_experts": 4, "top_k": 2}
    shape |= {"d_ff_expert": 64, "expert_matrices": 3}
    case = lambda keys: check(
        {"name": "odd", "model": keys, "serving": {"gpu": "H100-SXM 80GB", "context": 64}}
    )
    assert page.preset(case(shape), report.report(case(shape)))["d_ff"] == 64
    odd = case(shape | change)
    with pytest.raises(BadInput, match="the page takes layers of one kind and heads of 128, got odd"):
        page.preset(odd, report.report(odd))


def test_memory_that_is_held_back_is_no_limit():
    case = check(changed("gpt-4", serving__usable=0.5, serving__batch=None, training=None))
    found = report.report(case).record()["serving"]
    assert found["memory_bytes_limit"] == 40 * 2**30
    assert found["largest_batch"] == int((40 * 2**30 - found["weight_bytes_per_gpu"]) / (16106127360 / 256))


@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
def test_softmax_is_run_once_more_where_something_is_repeated(recompute):
    """Each micro-batch of a stage: forward, backward as long as two, and forward again; filling included."""
    mapping = changed("gpt-3-175b", training__layout={"recompute": recompute, "tensor": 8, "pipeline": 8})
    found = report.report(check(mapping)).record()["training"]
    fields = {k: v for k, v in found["layout"].items() if k not in ("step_seconds", "mfu")}
    case = CASES["gpt-3-175b"]
    x = explain(case.shape, case.cluster, Layout(**fields), seq=2048).terms
    runs = 3 if recompute == "none" else 4
    turns = x["m"] + 7 / fields["chunks"]
    saved = turns * runs * x["t_softmax"]
    assert found["softmax_share"] == pytest.approx(float(saved) / found["step_seconds"], rel=1e-9)


# ---- an accelerator described by numbers --------------------------------------------------------
def own(**changes):
    """GPT-4's example with the A100 of its cluster described in [gpu] instead of named."""
    return {"gpu": OWN} | changed("gpt-4", cluster__gpu=None, **changes)


def test_an_own_gpu_reports_as_the_shipped_card_with_the_same_numbers():
    found = report.report(check(own(), where="GPT-4 as described")).record()
    want = REPORTS["gpt-4"]
    for section in ("training", "serving"):
        assert found[section].pop("gpu") == "own GPU"
        assert found[section] == {key: value for key, value in want[section].items() if key != "gpu"}
    with pytest.raises(BadInput, match="unknown GPU of the page 'own GPU'"):
        page.preset(check(own()), report.report(check(own())))
    assert "24,960 x own GPU" in workbench_text.to_text(report.report(check(own())))


@pytest.mark.parametrize("named", [{}, {"gpu": "mine"}])
def test_cluster_and_server_take_the_own_gpu_by_default_or_by_name(named):
    mapping = own(gpu={**OWN, "name": "mine"})
    mapping["cluster"] |= named
    case = check(mapping)
    assert str(case.cluster.device) == str(case.serving.server.gpu) == "mine"
    assert case.serving.n_gpus == 24960, "the server stands in the cluster"
    elsewhere = {"model": mapping["model"], "gpu": mapping["gpu"], "serving": mapping["serving"] | named}
    assert check(elsewhere).serving.server.gpu == case.cluster.device
    shipped = check({**mapping, "cluster": {**mapping["cluster"], "gpu": "H200-SXM"}})
    assert shipped.cluster.device == shipped.serving.server.gpu == "H200-SXM"


def test_units_of_an_own_gpu():
    more = {"fp8_tflop_per_s": 2, "int8_top_per_s": 3, "tdp_watt": 4}
    device = check(own(gpu={**OWN, **more})).cluster.device
    assert device == Device(
        name="own GPU",
        memory_bytes=80 * 2**30,
        bandwidth_bytes_per_s=2039e9,
        bf16_flop_per_s=312e12,
        fp8_flop_per_s=2e12,
        int8_op_per_s=3e12,
        interconnect_bytes_per_s=600e9,
        tdp_watt=4,
    )
    less = {key: value for key, value in OWN.items() if key != "memory_gib"}
    assert check(own(gpu={**less, "memory_gb": 80})).cluster.device.memory_bytes == 80e9


def test_a_missing_own_gpu_and_its_mistakes_are_told():
    with pytest.raises(BadInput) as caught:
        check(own(gpu={"bf16_tflop_per_s": "fast"}, training__seq=0))
    assert str(caught.value).splitlines()[1:] == [
        "  [gpu] bf16_tflop_per_s takes a positive number, got 'fast'",
        "  [gpu] bandwidth_gb_per_s takes a positive number, got nothing",
        "  [training] seq takes a positive whole number, got 0",
        "  [gpu] takes either memory_gb or memory_gib, got neither",
    ]
    with pytest.raises(BadInput, match=r"\[serving\] gpu takes a known accelerator \(no known chip .*A30"):
        check(own(serving__gpu="A30"))
    slow = {key: value for key, value in OWN.items() if key != "nvlink_gb_per_s"}
    with pytest.raises(BadInput, match=r"nvlink_gb_per_s takes a positive number \(no sheet has own GPU's\)"):
        check(own(gpu=slow))


# ---- a model that stands in a config.json ----------------------------------------------------
ON_ONE_GPU = """
[serving]
gpu = "A100-SXM 80GB"
tensor = 1
context = 4096
"""


def test_a_file_names_a_config_beside_it(tmp_path):
    """From the file's own folder; the notes on how it was read are the report's."""
    raw = read_json(data_file("configs/gemma_3_4b.json"))
    (tmp_path / "config.json").write_text(json.dumps(raw), "utf-8")
    file = tmp_path / "mine.toml"
    for place in ("config.json", "."):
        file.write_text(f'[model]\nconfig = "{place}"\n{ON_ONE_GPU}', "utf-8")
        case = load_case(file)
        whole = report.report(case)
        assert parameters(case.shape).total == whole.model.parameters == 3_880_263_168
        assert any("the text model only" in note for note in whole.notes)
        assert "Note: the text model only" in workbench_text.to_text(whole)
    assert whole.serving.kv_cache_bytes_per_sequence == cache_of(case.shape, 4096).kept_bytes


@pytest.mark.parametrize(
    "model, words",
    [
        ('config = "none.json"', "[model] config: "),
        ("config = 3", "[model] config takes a text, got 3"),
        ('config = "c.json"\nlayers = 3', "[model] layers takes no value beside config, got 3"),
        ('config = "c.json"\nshape = "gpt4_multi_query"', "[model] config takes no value beside shape"),
        ('config = "bad.json"', "n_wings takes no value in the family qwen3"),
    ],
)
def test_a_config_that_cannot_be_taken(tmp_path, model, words):
    raw = read_json(data_file("configs/qwen3_8b.json"))
    (tmp_path / "bad.json").write_text(json.dumps(raw | {"n_wings": 2}), "utf-8")
    file = tmp_path / "mine.toml"
    file.write_text(f"[model]\n{model}\n{ON_ONE_GPU}", "utf-8")
    with pytest.raises(BadInput) as error:
        load_case(file)
    assert words in str(error.value) and str(file) in str(error.value)


# ---- what a section must not ask for ---------------------------------------------------------
A_GPU = "[gpu]\nmemory_gb = 24\nbandwidth_gb_per_s = 900\nbf16_tflop_per_s = 100\n"
A_RUN = "[training]\ntokens = 1e9\nseq = 2048\nbatch_tokens = 204800\n"


@pytest.mark.parametrize(
    "text, words",
    [
        (A_GPU + "[serving]\ncontext = 512\ntensor = 2", "[serving] nvlink_gb_per_s takes a positive number"),
        (A_GPU + "[serving]\ncontext = 512", "[serving] nvlink_gb_per_s takes a positive number"),
        (
            f'{A_GPU}name = "H200-SXM"\n[serving]\ncontext = 512\ntensor = 1',
            "[gpu] name takes one that no known",
        ),
        (
            A_GPU + "[serving]\ncontext = 512\nprompt = 513\ntensor = 1",
            "prompt takes at most context = 512, got 513",
        ),
        (
            f"{A_GPU}[cluster]\nn_gpus = {10**20}\nnic_gbit_per_s = 9\nnvlink_gb_per_s = 9\n{A_RUN}",
            "n_gpus takes at most 2,147,483,647",
        ),
        (f"{A_GPU}[cluster]\nn_gpus = 2\nnic_gbit_per_s = 9\n{A_RUN}", "[cluster] nvlink_gb_per_s takes"),
        (f"{A_GPU}[serving]\ncontext = {10**20}\ntensor = 1", "the cache of one sequence a pass"),
    ],
)
def test_what_no_machine_has_is_refused(tmp_path, text, words):
    file = tmp_path / "mine.toml"
    file.write_text(f"[model]\nshape = 'Llama-2-7B'\n{text}", "utf-8")
    with pytest.raises(BadInput) as error:
        report.report(load_case(file))
    assert words in str(error.value)


def test_one_gpu_needs_no_link():
    """A rank alone sends nothing: the speed is that of memory, with any link or none."""
    base = {"model": {"shape": "Llama-2-7B"}, "gpu": tomllib.loads(A_GPU)["gpu"]}
    serving = {"context": 512, "tensor": 1, "batch": 1}
    alone = report.report(check(base | {"serving": serving})).serving
    linked = report.report(check(base | {"serving": serving | {"nvlink_gb_per_s": 3}})).serving
    assert alone.tokens_per_s == linked.tokens_per_s > 0


def test_a_file_of_ones_own_may_have_an_examples_name(tmp_path):
    file = tmp_path / "gpt-4.toml"
    file.write_text("[model]\nshape = 'Llama-2-7B'\n", "utf-8")
    assert load_case(file).shape.layers == 32
