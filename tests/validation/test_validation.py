"""The published tables: each checked or excused, no check reads the number it predicts, errors bounded."""

import csv
import importlib
import importlib.util
import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt4lib.chapters.index import find_law
from gpt4lib.facts import files, models
from gpt4lib.facts.files import data_file, published, read_csv, sources
from gpt4lib.facts.models import published_models
from gpt4lib.spine.errors import BadInput
from gpt4lib.spine.law import Law
from gpt4lib.systems import efficiency, step
from gpt4lib.systems.optimal_tokens import PIVOT
from gpt4lib.validation import check as ck
from gpt4lib.validation import sizes, tables

BY_FAMILY = {family: family() for family in tables.FAMILIES}
CHECKS = list(itertools.chain(*BY_FAMILY.values()))
TABLES = {p.name.removesuffix(".csv") for p in (data_file("models.csv").parent / "published").iterdir()}


# ---- the registry ---------------------------------------------------------------------------
def test_every_table_is_checked_or_excused():
    checked = {c.table for c in CHECKS}
    assert checked - {"models"} | set(tables.NOT_CHECKED) == TABLES
    assert not checked & set(tables.NOT_CHECKED) and all(tables.NOT_CHECKED.values())
    assert {r["source"] for name in TABLES for _, r in ck.rows_of(name)} <= sources()


def test_every_model_and_every_row_of_the_full_tables_is_there():
    lines = {(c.table, c.column): set() for c in CHECKS}
    for c in CHECKS:
        lines[c.table, c.column].add(c.line)
    partly = {  # columns that are not numbers in every row, or whose other rows no law predicts
        ("models", "published_active"),
        ("gpt3_tableD1_compute", "params_M"),
        ("chinchilla_table2_exponents", "a_Nopt"),
        ("scaling_law_constants", "a_N"),
        ("failures_and_mtbf", "value"),
        ("serving_speedups", "value"),
        ("training_runs", "train_flops"),
        ("training_runs", "hfu_or_tflops_per_accel"),
        ("training_runs", "cost_usd"),
        ("training_runs", "wall_time"),
        ("pope_tableD1_models", "PaLM 540B"),
        ("pope_tableD1_models", "Megatron 530B"),
        ("chen_speculative_sampling_table1", "speedup"),
        ("chen_speculative_sampling_models", "params"),
        ("spector_staged_speculation", "speculative"),
        ("spector_staged_speculation", "staged"),
        ("flamingo_table1_counts", "params"),
        ("visual_tokens", "tokens"),
    }
    for (table, name), found in lines.items():
        if (table, name) not in partly:
            assert found == {i for i, _ in ck.rows_of(table)}, (table, name)
    assert {c.row for c in CHECKS if c.column == "published_total"} == set(published_models())


def test_every_described_column_is_checked_by_its_law():
    rows = read_csv("validation/columns.csv")
    described = {(r["column"].partition(":")[0], r["law"]) for r in rows}
    assert described == {(f"{c.table}.{c.column}", c.law) for c in CHECKS}
    assert len(rows) == len({r["column"] for r in rows}) and {r["kind"] for r in rows} == set(ck.KINDS)


def test_each_cell_is_checked_once_by_a_law():
    keys = [(c.table, c.line, c.column, c.law, c.row) for c in CHECKS]
    assert len(set(keys)) == len(keys)
    assert {c.law for c in CHECKS} == set(tables.LAWS)
    assert sum(map(len, tables.by_law(CHECKS).values())) == len(CHECKS)
    assert tables.checks() == CHECKS


def named(name):
    """The law or function that `tables.LAWS` names, wherever its module stands."""
    module, attribute = name.split(".")
    homes = [f"gpt4lib.{folder}.{module}" for folder in ("chapters", "systems", "validation")]
    (home,) = (home for home in homes if importlib.util.find_spec(home))
    return getattr(importlib.import_module(home), attribute)


@pytest.mark.parametrize("name", tables.LAWS)
def test_laws_are_there(name):
    found = named(name)
    several = found.values() if isinstance(found, dict) else found if isinstance(found, tuple) else (found,)
    assert all(isinstance(x, Law) or callable(x) for x in several)
    assert 0 < len(tables.LAWS[name]) < 30


CALLED = [  # laws that a check calls by themselves; the others are called solved, combined or by a function
    "architecture.head_width",
    "architecture.joint_loss",
    "architecture.cutoff",
    "dataset.scaled_tokens",
    "dataset.optimal_tokens",
    "dataset.optimal_size",
    "dataset.size_exponent",
    "architecture.compute",
    "training_cost.throughput_mfu",
    "training_cost.rental",
    "training_cost.time_between",
    "training_step.stage_activations",
    "dense_wall.decode_mfu",
    "dense_wall.decode_rate",
    "batching.gain",
]


@pytest.mark.parametrize("name", CALLED)
def test_a_check_is_made_by_the_law_that_it_names(name, monkeypatch):
    """With the law 30% larger, all of its checks move: none is a copy of the formula."""
    law, call = find_law(name), Law.__call__
    before = [c for c in CHECKS if c.law == name]
    families = [family for family, found in BY_FAMILY.items() if any(c.law == name for c in found)]
    monkeypatch.setattr(Law, "__call__", lambda self, **x: call(self, **x) * (1.3 if self is law else 1.0))
    after = [c for f in families for c in f() if c.law == name]
    assert len(after) == len(before) > 0
    assert all(x.ours / c.ours == pytest.approx(1.3) for c, x in zip(before, after))


def test_checks_say_what_they_are():
    for c in CHECKS:
        assert (
            c.kind in ck.KINDS
            and c.inputs
            and c.row
            and np.isfinite([c.published, c.ours, c.half_digit]).all()
        )
        assert c.published > 0 < c.ours


# ---- circularity ----------------------------------------------------------------------------
@pytest.fixture
def changed(monkeypatch, tmp_path):
    """A function that makes every printed number in some cells a quarter larger, in a copy of the tables."""
    kept = [x for module in (models, step, efficiency) for x in vars(module).values()]
    caches = [function for function in kept if hasattr(function, "cache_clear")]
    real = data_file

    def change(cells):
        for table in {table for table, _, _ in cells}:
            name = "models.csv" if table == "models" else f"published/{table}.csv"
            rows = read_csv(name)
            for _, line, column in (cell for cell in cells if cell[0] == table):
                rows[line][column] = larger(rows[line][column])
            (tmp_path / name).parent.mkdir(exist_ok=True)
            with (tmp_path / name).open("w", newline="") as file:
                writer = csv.DictWriter(file, rows[0])
                writer.writeheader()
                writer.writerows(rows)
        monkeypatch.setattr(
            files, "data_file", lambda name: tmp_path / name if (tmp_path / name).exists() else real(name)
        )
        for cached in caches:
            cached.cache_clear()

    def back():
        monkeypatch.undo()
        for file in tmp_path.rglob("*.csv"):
            file.unlink()
        for cached in caches:
            cached.cache_clear()

    change.back = back
    yield change
    back()


def larger(text):
    if "*" in text:  # a formula
        return f"1.25*{text}"
    return re.sub(
        r"\d[\d,]*\.?\d*(?:[eE][+-]?\d+)?", lambda m: repr(1.25 * float(m[0].replace(",", ""))), text
    )


def cell(c):
    return c.table, c.line, c.column


@pytest.mark.parametrize("family", tables.FAMILIES, ids=lambda f: f.__name__)
def test_ours_stays_when_the_printed_number_changes(family, changed):
    """All cells of a column together; one at a time where other rows may enter by a fit."""
    before, key = enumerate(family()), lambda x: (x[1].table, x[1].column, x[1].law)
    for _, group in itertools.groupby(sorted(before, key=key), key=key):
        group = [(i, c) for i, c in group if not c.circular or "vocabulary" in c.fitted]
        fitted = any(c.fitted for _, c in group)
        for some in [[x] for x in group[:: max(1, len(group) // 3)]] if fitted else [group]:
            changed([cell(c) for _, c in some])
            after = family()
            changed.back()
            for i, c in some:
                assert cell(after[i]) == cell(c) and after[i].ours == pytest.approx(c.ours, rel=1e-9), c
                assert abs(after[i].published / c.published - 1) > 0.02, c


def test_the_row_that_a_fit_starts_from_is_circular(changed):
    """The test above can fail: ours is made of the pivot's own number, and every other row starts from it."""
    before = sizes.chinchilla_optima()
    pivots = [c for c in before if c.circular]
    assert [c.error for c in pivots] == pytest.approx([0, 0]) and len(pivots) == 2
    changed([cell(pivots[0])])
    after = sizes.chinchilla_optima()
    moved = [x.ours / c.ours for c, x in zip(before, after) if c.table == pivots[0].table]
    assert moved == pytest.approx([1.25] * 9)


def test_a_convention_is_chosen_without_the_row_it_is_used_on():
    """Each of two rows would choose the convention that suits it, and gets the other row's."""
    ours = np.array([[10.0, 12], [12, 10]])
    assert list(sizes.chosen_elsewhere(ours, np.array([10.0, 10]))) == [12, 12]
    ours = np.array([[10.0, 10, 10, 99], [11, 11, 11, 12]])
    assert list(sizes.chosen_elsewhere(ours, np.array([10.0, 10, 10, 12]))) == [10, 10, 10, 99]


def test_no_circular_row_and_no_misprint_in_a_headline():
    good = next(c for c in CHECKS if c.law == "architecture.compute" and not c.misprint)
    bad = [
        replace(good, ours=9 * good.published, circular=True),
        replace(good, ours=9 * good.published, misprint="so"),
    ]
    worse = replace(good, ours=1.5 * good.published)
    assert tables.headline([good, *bad]) == (1, good.error, good.error)
    assert tables.headline([good, worse, worse, *bad]) == pytest.approx((3, 0.5, 0.5))
    with pytest.raises(BadInput, match="some takes"):
        tables.headline(bad)


# ---- misprints ------------------------------------------------------------------------------
def test_misprints_are_these():
    assert {(c.table, c.row) for c in CHECKS if c.misprint} == {
        ("models", "GPT-3 XL"),
        ("models", "GPT-3 13B"),
        ("models", "Switch-XXL"),
        ("models", "GLaM 1.7B/32E"),
        ("gpt3_tableD1_compute", "GPT-3 XL, Table D.1"),
        ("gpt3_tableD1_compute", "GPT-3 13B, Table D.1"),
        ("gpt3_table2_1", "GPT-3 XL"),
        ("gpt3_table2_1", "GPT-3 13B"),
        ("chinchilla_table3_optimal", "67B, approach 1"),
        ("chinchilla_tableA3_optimal", "175B, approach 3"),
        ("llama3_table5_interruptions", "Faulty GPU"),
        ("flamingo_table1_counts", "Flamingo-9B, Frozen LM"),
        ("flamingo_table1_counts", "Flamingo-9B, GATED XATTN-DENSE"),
    }
    assert [c.row for c in CHECKS if c.misprint and c.within] == ["GPT-3 13B"]  # a head of 128.5 for 128


def test_mended_misprints_come_out(changed):
    """Each reason is true: with what it says, the law returns the printed number of the same paper."""
    flops, tokens = (
        next(c for c in CHECKS if c.misprint and c.column == name) for name in ("flops_3", "tokens")
    )
    assert flops.ours == pytest.approx(1.26e25, rel=0.005)
    assert 1.35e12 <= tokens.ours < 1.45e12 and pytest.approx(5.76e23, rel=0.036) == 6 * 67e9 * 1.4e12
    rows = published("llama3_table5_interruptions")
    printed = sum(float(r["pct_printed"]) for r in rows)
    assert printed == pytest.approx(94.9) and printed - 30.1 + 35.3 == pytest.approx(100, abs=0.2)
    assert 16 * 128 == 2048 and 40 * 128 == 5120


# ---- errors ---------------------------------------------------------------------------------
BOUNDS = {  # law, kind: rows, median and worst error
    ("count.parameters", "counted"): (112, 0.001, 0.17),
    ("architecture.head_width", "computed"): (6, 0, 1e-12),
    ("count.flop_per_token", "computed"): (6, 0.004, 0.01),
    ("dataset.scaled_tokens", "computed"): (15, 0.02, 0.07),
    ("dataset.optimal_tokens", "computed"): (27, 0.01, 0.19),
    ("dataset.optimal_size", "computed"): (18, 0.006, 0.03),
    ("dataset.size_exponent", "computed"): (3, 0.008, 0.22),
    ("architecture.joint_loss", "computed"): (6, 3e-4, 6e-4),
    ("architecture.cutoff", "computed"): (3, 0.7, 1.7),
    ("architecture.compute", "computed"): (48, 0.002, 0.13),
    ("training_cost.throughput_mfu", "computed"): (10, 0.003, 0.055),
    ("training_cost.duration", "computed"): (14, 0.02, 0.04),
    ("training_cost.gpu_seconds", "computed"): (2, 0.01, 0.012),
    ("training_cost.rental", "computed"): (4, 1e-12, 1e-12),
    ("training.share", "computed"): (20, 0.03, 0.05),
    ("training_cost.time_between", "measured"): (2, 2.5, 2.7),
    ("training_cost.time_between", "computed"): (2, 0.012, 0.025),
    ("training_step.kept", "computed"): (24, 1e-12, 1e-12),
    ("training_step.stage_activations", "computed"): (4, 1e-12, 1e-12),
    ("training_step.edge", "computed"): (4, 1e-12, 1e-12),
    ("step.STATE", "computed"): (24, 0.002, 0.025),
    ("step.STATE", "bound"): (10, 0.4, 0.61),
    ("efficiency.leave_one_out", "measured"): (10, 0.025, 0.055),
    ("efficiency.predicted", "measured"): (209, 0.035, 0.43),
    ("planner.explain", "measured"): (16, 0.03, 0.22),
    ("planner.explain", "bound"): (6, 1.0, 2.4),
    ("torus.predict", "measured"): (8, 0.09, 0.16),
    ("dense_wall.decode_mfu", "computed"): (8, 0.011, 0.02),
    ("dense_wall.decode_rate", "bound"): (4, 4.2, 5.8),
    ("batching.gain", "measured"): (1, 0.36, 0.36),
    ("speculative_decoding.speed_up_free", "computed"): (12, 0.017, 0.04),
    ("speculative_decoding.speed_up_free", "measured"): (12, 0.15, 0.47),
    ("mqa.longest", "computed"): (6, 0.01, 0.01),
    ("architecture.token_cache", "computed"): (3, 0, 1e-12),
    ("mqa.latent_cache", "computed"): (1, 0, 1e-12),
    ("architecture.mlp", "computed"): (7, 1e-12, 1e-12),
    ("vision_io.cross", "counted"): (2, 0.03, 0.04),
    ("vision_io.grid", "computed"): (6, 0, 1e-12),
    ("training.share", "bound"): (4, 0.42, 0.45),
}


def test_bounds_are_for_all():
    assert set(BOUNDS) == {(c.law, c.kind) for c in CHECKS}


@pytest.mark.parametrize(("law", "kind"), BOUNDS)
def test_errors_of_a_law(law, kind):
    rows, median, worst = BOUNDS[law, kind]
    found = tables.headline([c for c in CHECKS if (c.law, c.kind) == (law, kind)])
    assert found[0] == rows and found[1] <= median and found[2] <= worst


def test_bounds_lie_above_what_was_measured():
    bounds = [c for c in CHECKS if c.kind == "bound"]
    assert len(bounds) == 24 and all(c.ratio > 1 for c in bounds)


def test_shapes_of_known_models_as_the_architecture_tests_have_them():
    """The least that a reader may rely on: released weights to the last printed digit."""
    found = {c.row: c.ours for c in CHECKS if c.column == "published_total"}
    assert found["Llama-3.1-405B"] == 405_853_388_800 and found["Llama-2-7B"] == 6_738_415_616


# ---- reading --------------------------------------------------------------------------------
@given(st.integers(1, 999), st.integers(0, 3), st.sampled_from(["", "K", "M", "B", "T"]))
def test_numbers_are_read_as_printed(digits, places, suffix):
    printed = f"{digits / 10**places:.{places}f}"
    number, half = ck.number_in(f"about {printed}{suffix} of them")
    assert number == pytest.approx(float(printed) * {"": 1, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}[suffix])
    if places:
        assert half * 2 * 10**places == pytest.approx(
            {"": 1, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}[suffix]
        )


@pytest.mark.parametrize(
    ("text", "number", "half"),
    [
        ("3.14E+23", 3.14e23, 5e20),
        ("84", 84, 0.5),
        ("120", 120, 0.5 * 10),
        ("2.664M", 2.664e6, 500),
        ("60.1 s/iteration, batch 1920 x 2048", 60.1, 0.05),
        ("270e9 (recalled)", 270e9, 5e9),
        ("175B (GPT-3)", 175e9, 5e8),
        ("4096 TPU v3", 4096, 0.5),
        ("10 Tokens", 10, 0.5),
    ],
)
def test_numbers_of_known_cells(text, number, half):
    assert ck.number_in(text) == pytest.approx((number, half))


def test_within_is_half_a_digit():
    c = replace(CHECKS[0], published=1.3e9, half_digit=5e7, ours=1.3499e9)
    assert c.within and not replace(c, ours=1.351e9).within and c.ratio == c.ours / 1.3e9


def test_bad_input_is_named():
    with pytest.raises(BadInput, match="'none here'"):
        ck.value("none here")
    with pytest.raises(BadInput, match=r"kind takes one of measured, .*'guessed'"):
        ck.Column("models", "published_total", "count.parameters", kind="guessed", inputs="shape")
    with pytest.raises(
        BadInput, match=r"unknown column 'models.publishd_total'; nearest known: models.published_total"
    ):
        ck.column("models.publishd_total")
    assert PIVOT == 1e10


# ---- our numbers of chapters 6, 8, 10 and 11 by plain arithmetic ----------------------------
def ours_of(table, column):
    """Ours of one column: {line: number}."""
    return {c.line: c.ours for c in CHECKS if c.table == table and c.column == column}


def test_longest_contexts_of_palm_by_hand():
    """30% of 32 GiB on each of 64 chips, over the cache of a token in 118 layers, keys and values of two
    bytes.
    """
    room = 0.3 * 32 * 2**30
    a_token = [  # bytes on one chip: 48 heads of 128, less than one a chip; one head of 256, copied; divided
        2 * 118 * 128 * 2,
        2 * 118 * 256 * 2,
        2 * 118 * 256 * 2 / 64,
    ]
    for batch in (128, 512):
        found = ours_of("pope_table1_max_context", f"max_context_batch{batch}")
        assert found == pytest.approx({i: room / (batch * size) for i, size in enumerate(a_token)})


def test_sizes_of_popes_models_by_hand():
    """PaLM: 118 layers of 48 heads of 256 and a gated MLP, one table.

    Megatron: 105 plain layers of 20,480.
    """
    d = 18432
    palm = 118 * (d * 256 * (2 * 48 + 2) + 3 * d * 73728) + 256_000 * d
    assert ours_of("pope_tableD1_models", "PaLM 540B")[0] == pytest.approx(palm, rel=1e-4)
    plain = 105 * (4 + 8) * 20480**2 + 51200 * 20480
    assert ours_of("pope_tableD1_models", "Megatron 530B")[0] == pytest.approx(plain, rel=1e-3)


def test_widths_of_shazeer_by_hand():
    """Three attentions and two MLPs of width 1024: what the keys and values give up, the MLPs get."""
    whole = 3 * 4 * 1024 * 1024 + 2 * 2 * 1024 * 4096
    for line, (heads, wide, shared) in enumerate(
        [(8, 128, 8), (8, 128, 1), (8, 128, 8), (8, 128, 1), (1, 128, 1), (2, 64, 2), (4, 32, 4), (8, 16, 8)]
    ):
        rest = whole - 3 * 1024 * wide * (2 * heads + 2 * shared)
        assert ours_of("shazeer_mqa_table1", "d_ff")[line] == pytest.approx(rest / (4 * 1024))
    circular = [c.line for c in CHECKS if c.table == "shazeer_mqa_table1" and c.circular]
    assert circular == [0], "the first row is where the others start"


def test_cache_entries_of_deepseek_by_hand():
    """128 heads of 128 in 60 layers; eight groups; one head; a latent of 512 and a rotated key of 64."""
    whole = {0: 2 * 128 * 128 * 60, 1: 2 * 8 * 128 * 60, 2: 2 * 128 * 60, 3: (512 + 64) * 60}
    assert ours_of("deepseek_v2_mla_kv", "kv_elements_per_token") == whole
    printed = {c.line: c.published for c in CHECKS if c.table == "deepseek_v2_mla_kv"}
    assert printed == whole and all(c.half_digit == 0 for c in CHECKS if c.table == "deepseek_v2_mla_kv")


def test_speed_ups_of_speculation_by_hand():
    """(1 - a^(g + 1)) / (1 - a) tokens in g c + 1 passes; ratios of printed times; bytes that
    drafts leave.
    """
    for line, row in enumerate(published("leviathan_table2_table4")):
        a, c, g = float(row["alpha"]), float(row["c"]), int(row["gamma"])
        want = sum(a**i for i in range(g + 1)) / (g * c + 1)
        for column in ("expected_speedup", "empirical_speedup"):
            assert ours_of("leviathan_table2_table4", column)[line] == pytest.approx(want)
    chen = [float(row["ms_per_token"]) for row in published("chen_speculative_sampling_table1")]
    pairs = {1: chen[0] / chen[1], 3: chen[2] / chen[3], 5: chen[4] / chen[5]}
    assert ours_of("chen_speculative_sampling_table1", "speedup") == pytest.approx(pairs)
    rate, bytes_left = {2: 150, 3: 150}, {("speculative", 2): 0.31, ("staged", 2): 0.23}
    bytes_left |= {("speculative", 3): 0.48, ("staged", 3): 0.35}
    for (column, line), share in bytes_left.items():
        assert ours_of("spector_staged_speculation", column)[line] == pytest.approx(rate[line] / share)


def test_sizes_of_chens_and_flamingos_models_by_hand():
    """Layers of five squares of relative attention and eight of the MLP, and 32,000 rows of one table."""
    chinchilla = lambda d, layers: layers * (13 * d * d + 2 * d) + 32_000 * d + d
    found = ours_of("chen_speculative_sampling_models", "params")
    assert found == {0: chinchilla(8192, 80), 1: chinchilla(6144, 8)}
    blocks = lambda d, number: number * 12 * d * d  # query, key, value, output and MLP
    assert ours_of("flamingo_table1_counts", "params") == {
        0: chinchilla(2048, 24),
        2: blocks(2048, 24),
        5: chinchilla(4096, 40),
        7: blocks(4096, 10),
        10: chinchilla(8192, 80),
        12: blocks(8192, 12),
    }
    kinds = {c.kind for c in CHECKS if c.table == "flamingo_table1_counts"}
    assert kinds == {"counted"} and {c.unit for c in CHECKS if c.column == "params"} == {"parameter"}


def test_tokens_of_an_image_by_hand():
    sides = {0: (224, 32), 1: (224, 16), 2: (224, 14), 3: (224, 14), 4: (336, 14), 7: (512, 16)}
    found = ours_of("visual_tokens", "tokens")
    assert found == {line: (image // patch) ** 2 for line, (image, patch) in sides.items()}
