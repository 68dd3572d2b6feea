"""What a notebook shows: texts of values, tables, the inverse readings, pictures with their alt text."""

import re

import numpy as np
import pytest

from gpt4lib import ledger
from gpt4lib.chapters import architecture, training_cost
from gpt4lib.chapters.index import symbols
from gpt4lib.facts.given import given
from gpt4lib.ledger import claim
from gpt4lib.show.claims import claims_table, verdict_legend
from gpt4lib.show.figures import COLORS, direct_label, show_figure, use_style
from gpt4lib.show.tables import assumptions, dollars, glue, must_be, sensitivities, table
from gpt4lib.spine.errors import BadInput
from gpt4lib.spine.interval import Interval
from gpt4lib.spine.stated import stated
from gpt4lib.spine.text import fmt, written


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("~1.8e12 parameter", "~1.8 trillion parameters"),
        ("~63e6 USD", "~$63 million"),
        ("=16", "16"),
        ("> 10", "> 10"),
        ("90-100 day", "90 to 100 days"),
        ("32-36 percent", "32% to 36%"),
        ("~3,700 TFLOP/token", "~3,700 TFLOP per token"),
        ("200-400 Gb/second", "200 to 400 Gb/s"),
        ("~2.15e25 FLOP", "~2.15 × 10²⁵ FLOP"),
        ("< 5e9 parameter", "< 5 billion parameters"),
        ("=8192 token", "8,192 tokens"),
        ("~25,000 GPU", "~25,000 GPUs"),
        ("=1 USD/GPU/hour", "$1 per GPU-hour"),
        ("1.2-4", "1.2 to 4"),
    ],
)
def test_a_stated_value_reads_as_its_author_wrote_it(text, read):
    assert written(stated(text)) == read


def test_every_stated_text_of_the_ledger_reads_without_loss():
    """The first number read back from the text is the stated one, to the digits it has."""
    for c in ledger.load().claims:
        for value in [c.stated, *(i.stated for i in c.inputs.values())]:
            if value is None or "×" in written(value) or not value.value:
                continue
            digits = re.search(r"[\d,.]+", written(value))[0].replace(",", "")
            first = float(re.search(r"[\d.,]+(e\d+)?", value.text)[0].replace(",", ""))
            if not first:
                assert float(digits) == 0
                continue
            ratio = float(digits) / first
            assert np.isclose(np.log10(ratio), round(np.log10(ratio)), atol=1e-6), (
                c.id,
                value.text,
                written(value),
            )


@pytest.mark.parametrize(
    ("interval", "unit", "read"),
    [
        (Interval(52.9e6, 61.2e6), "USD", "$52.9 to $61.2 million"),
        (Interval(86400 * 90, 86400 * 100), "second", "90.0 to 100 days"),
        (Interval(0.32, 0.36), "%", "32.0% to 36.0%"),
        (Interval(9e8, 2e9), "parameter", "900 million parameters to 2.00 billion parameters"),
        (Interval(5.0, 5.0), "1", "5.00"),
        (Interval(10.0, float("inf")), "GPU", "10.0 to ∞ GPUs"),
    ],
)
def test_an_interval_reads_as_a_range(interval, unit, read):
    assert fmt(interval, unit) == read


def test_given_and_claim_answer_from_the_ledger():
    assert given("claim:training-cost-days").interval == Interval(90 * 86400, 100 * 86400)
    assert given("hardware:A100-SXM 80GB.bf16_flop_per_s").value == 312e12
    assert claim("training-cost-63m").ours.startswith("$57.0 million (")
    with pytest.raises(BadInput, match=r"nearest known: .*training-cost-days"):
        claim("training-cost-dayz")
    for wrong, words in (
        ("article:gpus", "unknown article 'gpus'"),
        ("gpus-a100", "an input takes one of"),
        ("fact:pue", "unknown fact"),
    ):
        with pytest.raises(BadInput, match=words):
            given(wrong)


def test_assumptions_say_value_and_source():
    rows = assumptions(
        {
            symbols.n: "article:gpus-a100",
            symbols.k_train: (6, "kaplan2020"),
            symbols.price: "article:price-a100",
        }
    ).rows
    assert rows[0][1:] == ["GPUs at work", "~25,000 GPUs", "the article"]
    assert [row[0] for row in rows] == ["$n$", r"$k_{\mathrm{train}}$", "$r$"]  # a constant by its letter too
    assert rows[1][3] == "{cite}`kaplan2020`" and rows[2][2] == r"\$1 per GPU-hour"
    with pytest.raises(BadInput, match="takes quantities, got 'n'"):
        assumptions({"n": 1})


@pytest.mark.parametrize("chapter", sorted({c.chapter for c in ledger.load().claims}))
def test_the_inverse_table_holds_each_claim_that_misses(chapter):
    rows, missing = (
        must_be(chapter).rows,
        [c for c in ledger.load().chapter(chapter) if c.verdict != "holds" and c.inverse],
    )
    assert [row[0] for row in rows if row[0]] == [dollars(c.claim) for c in missing]
    for c in missing:
        for name in c.inverse:
            others = {n: i.stated.value for n, i in c.inputs.items()} | {name: c.must_be(name)}
            assert c.law(**others) == pytest.approx(c.target.value, rel=1e-6)


def test_sensitivities_are_slopes_largest_first():
    law, at = training_cost.lost_share, {"tau": 900, "mtbf": 8000, "write": 60, "restart": 900}
    shown = [float(row[2].replace("−", "-")) for row in sensitivities(law, **at).rows]
    assert [abs(x) for x in shown] == sorted(map(abs, shown), reverse=True) and len(shown) == 4
    slopes = sorted(
        (
            float(np.log(law(**{**at, n: 1.001 * v}) / law(**{**at, n: 0.999 * v})) / np.log(1.001 / 0.999))
            for n, v in at.items()
        ),
        key=abs,
    )
    assert shown[::-1] == pytest.approx(slopes, abs=0.006)


def test_a_table_refuses_a_short_row():
    with pytest.raises(BadInput, match="a row takes 2 cells, got 1"):
        table([("a",)], ("x", "y"))


def test_a_cell_with_a_bar_stays_one_cell():
    assert table([("a|b",)], ("x",))._repr_markdown_().splitlines()[-1] == r"| a\|b |"


def test_claim_tables_label_their_cells_for_narrow_screens():
    html = claims_table("05_training_cost")._repr_html_()
    assert (
        html.count("<tr><td>")
        == html.count('data-label="stated"')
        == html.count('data-label="verdict"')
        == 16
    )
    with pytest.raises(BadInput, match="no claims in chapter '99'"):
        claims_table("99")


def test_a_figure_carries_its_alt_text(monkeypatch):
    import IPython.display
    import matplotlib.pyplot as plt

    shown = []
    monkeypatch.setattr(IPython.display, "display", lambda figure, metadata: shown.append((figure, metadata)))
    use_style()
    fig, ax = plt.subplots()
    direct_label(ax, 0, 1, "here", COLORS["blue"])
    show_figure("a line that rises by 3")
    assert shown == [(fig, {"image/png": {"alt": "a line that rises by 3"}})] and not plt.get_fignums()


def test_glue_keeps_texts_unbroken_and_laws_as_bare_equations(monkeypatch):
    myst_nb, kept = pytest.importorskip("myst_nb"), {}
    monkeypatch.setattr(myst_nb, "glue", lambda name, value, display: kept.update({name: (value, display)}))
    glue("power", "2.18 × 10²⁵ FLOP")
    glue("law", architecture.compute)
    assert kept["power"] == ("2.18\u00a0×\u00a010²⁵ FLOP", False)
    equation = kept["law"][0]
    assert equation._repr_latex_() == f"${architecture.compute.latex()}$" and repr(equation) == repr(
        architecture.compute
    )


def test_the_whole_ledger_is_one_table_with_a_row_and_a_place_for_each_claim():
    every, html = ledger.load().claims, claims_table()._repr_html_()
    rows = [row for row in html.split("<tr ") if row.startswith('id="')]
    assert [re.match('id="([^"]+)"', row)[1] for row in rows] == [c.id for c in every]
    assert '<th scope="col">why</th>' in html
    for row, c in zip(rows, every, strict=True):
        assert f'href="{c.chapter}.ipynb"' in row and f'data-filter="{c.verdict}"' in row
        assert ("data-sort" in row) == (c.law is not None)


def test_the_legend_counts_every_claim_once():
    rows = verdict_legend().rows
    assert [row[0].split(" ", 1)[1] for row in rows] == list(ledger.VERDICTS)
    assert sum(int(row[2]) for row in rows) == len(ledger.load().claims)


def test_a_table_as_text_has_straight_columns():
    lines = repr(table([("a", "bcd"), ("longer", "e")], ("x", "y"))).splitlines()
    assert lines == ["x       y", "------  ---", "a       bcd", "longer  e"]
