"""Chapter 1's laws against things that do not know them: plain counting, the miniature's meter, published
figures.
"""

import math

import pytest

from gpt4lib import ledger
from gpt4lib.chapters import dense_wall as dw
from gpt4lib.facts import given as facts_given
from gpt4lib.facts.devices import devices, hardware
from gpt4lib.facts.files import data_file, published
from gpt4lib.facts.models import model_of, published_model
from gpt4lib.mini.meter import Meter
from gpt4lib.mini.model import Transformer
from gpt4lib.simulate.counting import days_to_spend, step_bytes
from gpt4lib.spine.errors import BadInput
from gpt4lib.spine.law import Law
from gpt4lib.systems.count import flop_per_token, parameters

LAWS = {name: law for name, law in vars(dw).items() if isinstance(law, Law)}
GPT3 = {"layers": 96, "d_model": 12288, "d_ff": 4 * 12288, "vocab": 50257}
H100 = hardware("H100-SXM 80GB")


@pytest.mark.parametrize("name", LAWS)
def test_dimensions(name):
    LAWS[name].check_dimensions()


@pytest.mark.parametrize("name", LAWS)
def test_bad_input_names_the_argument(name):
    law = LAWS[name]
    good = {s.name: 0.5 if s.at_most else 4.0 for s in law.symbols}
    for s in law.symbols:
        for bad in (-1, math.nan, "3 V/m"):
            with pytest.raises(BadInput, match=s.name):
                law(**good | {s.name: bad})
    with pytest.raises(BadInput, match="missing"):
        law()


# ---- reading ------------------------------------------------------------------------------


def test_a_reader_by_counting_words_one_by_one():
    """Three words every two seconds, each of two or three tokens in turn, for ten minutes."""
    seconds, tokens = 0.0, 0
    for word in range(900):
        seconds += 2 / 3
        tokens += 2 + word % 2
    assert seconds == pytest.approx(600)
    assert dw.reading_rate(wpm=900 / 10, tok_word=2.5) == pytest.approx(tokens / seconds)
    assert dw.pace(wpm_pub=238) == 238


def test_tokens_of_a_word_by_cutting_a_text():
    """A tokeniser that cuts a book into pieces of four characters, words counted by their spaces."""
    text = " ".join(data_file("text/pride_and_prejudice.txt").read_text(encoding="utf-8").split()) + " "
    pieces, words = len(range(0, len(text), 4)), text.count(" ")
    assert dw.word_tokens(chars_word=len(text) / words, chars_tok=4) == pytest.approx(
        pieces / words, rel=1e-4
    )
    assert 1.3 < pieces / words < 1.5, "near OpenAI's rule of four tokens for three words"


def test_published_tokenisers_need_fewer_than_two_tokens_a_word():
    rule = facts_given.given("fact:tokens-per-word").interval
    assert rule.contains(100 / 75) and rule.contains(2048 / 1500)
    assert dw.word_tokens(chars_word=5.65, chars_tok=3.17) < 2


# ---- reads, bandwidth, memory -------------------------------------------------------------


@pytest.mark.parametrize("sequences", [1, 2, 5])
def test_reads_of_the_miniature(sequences):
    shape = model_of(
        {
            "name": "dense",
            "layers": 3,
            "d_model": 32,
            "n_heads": 2,
            "n_kv_heads": 2,
            "d_head": 16,
            "vocab": 64,
            "tied_embeddings": False,
            "positions": "rotary",
            "d_ff": 96,
            "mlp_matrices": 2,
        }
    )
    model, meter = Transformer(shape, seed=2), Meter()
    parts = ("attention", "mlp", "unembedding")
    cache = model.cache(sequences, 8)
    model.forward([[1, 2, 3]] * sequences, cache)
    model.forward([[4]] * sequences, cache, meter=meter)
    read, stored = (sum(of[part] for part in parts) for of in (meter.parameters_read, model.parameters()))
    assert dw.reads(B_seq=sequences) == pytest.approx(read / stored / sequences)
    nbytes = sum(meter.weight_bytes_read[part] for part in parts)
    assert dw.bandwidth_needed(overhead=1, weight_bytes=8, N=stored, R_out=7) == 7 * nbytes


def test_bandwidth_by_counting_gpt3s_bytes_matrix_by_matrix():
    read = step_bytes(**GPT3, context=0)
    size = float(published("gpt3_tableD1_compute")[-1]["params_M"]) * 1e6
    assert dw.bandwidth_needed(overhead=1, weight_bytes=2, N=size, R_out=1) == pytest.approx(
        read.total(), rel=1e-3
    )
    twice = dw.bandwidth_needed(overhead=2, weight_bytes=1, N=size, R_out=3)
    assert twice == pytest.approx(3 * read.total(), rel=1e-3)
    by_words = dw.bandwidth_to_read(overhead=3, weight_bytes=2, N=size, wpm=90, tok_word=2)
    assert by_words == pytest.approx(9 * read.total(), rel=1e-3)


def test_counted_bytes_are_the_shapes_parameters():
    """The loop against the parameter count of the published shape, part by part."""
    counted, read = (
        parameters(published_model("GPT-3 175B").shape),
        step_bytes(**GPT3, context=3, kv_bytes=1),
    )
    for part in ("attention", "mlp"):
        assert read[part] == 2 * counted.parts[part]
    assert read["vocabulary"] == 2 * counted.parts["embedding"]
    assert read["cache"] == 96 * 3 * 2 * 12288


@pytest.mark.parametrize("n, width, rate", [(8, 2, 5.0), (3, 0.5, 33.0)])
def test_rate_and_size_by_a_clock(n, width, rate):
    """A step's time is what its bytes take at the rate of all cards, twice over for the overhead."""
    size = dw.largest(n=n, mem_rate=H100.bandwidth_bytes_per_s, overhead=2, weight_bytes=width, R_out=rate)
    seconds = 2 * size * width / (n * H100.bandwidth_bytes_per_s)
    assert 1 / seconds == pytest.approx(rate)
    found = dw.decode_rate(n=n, mem_rate=H100.bandwidth_bytes_per_s, overhead=2, weight_bytes=width, N=size)
    assert found == pytest.approx(rate)


def test_the_stated_300_billion_at_the_articles_20_tokens_a_second_and_3_terabytes():
    """Bytes a card gives in a twentieth of a second, in weights of two bytes, half of them lost to the
    overhead.
    """
    per_card = 3000e9 / 20 / 2 / 2
    rate, bandwidth = (
        facts_given.given(ref).value for ref in ("article:rate-20", "claim:inference-tradeoffs-h100-bw")
    )
    found = dw.largest(n=8, mem_rate=bandwidth, overhead=2, weight_bytes=2, R_out=rate)
    assert found == 8 * per_card == facts_given.given("claim:problem-300b-constraint").value


@pytest.mark.parametrize("name", ["A100-SXM 80GB", "H100-SXM 80GB", "H200-SXM", "TPU v5e"])
def test_full_memory_by_loading_cards_byte_by_gigabyte(name):
    """Put gigabytes on one card after another until all are full, then read them back, every card at once."""
    card, n = devices()[name], 4
    loaded = [0.0] * n
    while min(loaded) < card.memory_bytes:
        loaded[loaded.index(min(loaded))] += 1e8
    seconds = max(loaded) / card.bandwidth_bytes_per_s
    rate = dw.full_memory_rate(mem_rate=card.bandwidth_bytes_per_s, overhead=1, mem=card.memory_bytes)
    assert rate == pytest.approx(1 / seconds, rel=3e-3)
    half = dw.full_memory_rate(mem_rate=card.bandwidth_bytes_per_s, overhead=2, mem=card.memory_bytes)
    assert half == pytest.approx(rate / 2)
    share = dw.memory_share(weight_bytes=2, N_total=sum(loaded) / 2, n=n, mem=card.memory_bytes)
    assert share == pytest.approx(1, rel=3e-3)


def test_utilisation_by_time_at_peak():
    """Seconds of arithmetic at peak over the seconds of a step; FLOP as the shapes count them."""
    shape = published_model("GPT-3 175B").shape
    flop = sum(flop_per_token(shape, 0).values())
    share = flop / (8 * H100.bf16_flop_per_s) * 20
    size = float(published("gpt3_tableD1_compute")[-1]["params_M"]) * 1e6
    assert dw.decode_mfu(N=size, R_out=20, n=8, F=H100.bf16_flop_per_s) == pytest.approx(share, rel=2e-3)
    rate = dw.decode_rate(n=8, mem_rate=H100.bandwidth_bytes_per_s, overhead=2, weight_bytes=1, N=size)
    top = dw.mfu_at_the_wall(
        mem_rate=H100.bandwidth_bytes_per_s, overhead=2, weight_bytes=1, F=H100.bf16_flop_per_s
    )
    assert top == pytest.approx(rate * flop / (8 * H100.bf16_flop_per_s), rel=2e-3)


def test_published_decode_times_take_longer_than_the_weight_reads():
    """PaLM's 64 output tokens in 1.82 s on 64 chips: 7.04 ms of reads in 28.4 ms."""
    row = next(
        r for r in published("pope_table2_palm540b") if r["phase"] == "decode" and r["weights"] == "int8"
    )
    rate = float(row["tokens"]) / float(row["latency_s"])
    omega = dw.decode_rate.solve("overhead")(R_out=rate, n=64, mem_rate=1.2e12, weight_bytes=1, N=540.35e9)
    assert omega == pytest.approx(28.4375 / 7.0358, rel=1e-3)


# ---- scale and money ----------------------------------------------------------------------


def test_compute_ratio_by_its_factors():
    rows = {r["model"]: r for r in published("gpt3_tableD1_compute")}
    large, small = rows["GPT-3 175B"], rows["GPT-3 13B"]
    factors = [float(large[key]) / float(small[key]) for key in ("params_M", "tokens_B")]
    found = dw.compute_ratio(C=float(large["flops"]), C_ref=float(small["flops"]))
    assert found == pytest.approx(math.prod(factors), rel=5e-3)


def test_money_by_the_receipt():
    assert dw.money(M_pub=16.12e9) == 16.12e9
    assert dw.price_of_thousand(c_tok=6e-5) == pytest.approx(sum([6e-5] * 1000))


@pytest.mark.parametrize("users, messages, tokens, cost", [(2000, 4, 300, 2e-5), (500, 9, 50, 1e-4)])
def test_break_even_by_serving_users_one_message_at_a_time(users, messages, tokens, cost):
    budget = users * messages * tokens * cost * 200.4
    days = days_to_spend(
        users=users, messages=messages, tokens=tokens, cost_usd=cost, budget_usd=budget, seed=4
    )
    per_user = messages * tokens / 86400
    inputs = {"c_tok": cost, "t": days * 86400, "M": budget}
    assert dw.serving_ratio_of_users(**inputs, users=users, tok_user=per_user) == pytest.approx(1, rel=0.02)
    rate = dw.traffic(users=users, tok_user=per_user)
    assert dw.serving_ratio(**inputs, R_serve=rate) == pytest.approx(1, rel=0.02)
    assert dw.break_even(M=budget, c_tok=cost) == pytest.approx(days * users * messages * tokens, rel=0.02)


def test_serving_is_the_same_with_the_same_seed():
    given = {"users": 50, "messages": 3, "tokens": 20, "cost_usd": 1e-3, "budget_usd": 90}
    assert days_to_spend(**given, seed=1) == days_to_spend(**given, seed=1)
    assert days_to_spend(**given | {"tokens": 1, "budget_usd": 1e-9}) == 1


@pytest.mark.parametrize("name, bad", [("layers", 0), ("d_model", 2.5), ("vocab", -1), ("context", -1)])
def test_step_bytes_refuses(name, bad):
    with pytest.raises(BadInput, match=name):
        step_bytes(**{**GPT3, "context": 1, name: bad})


def test_serving_refuses():
    good = {"users": 5, "messages": 1, "tokens": 2, "cost_usd": 1, "budget_usd": 5}
    for name, bad in (
        ("users", 0),
        ("messages", -1),
        ("tokens", 0.5),
        ("cost_usd", math.nan),
        ("budget_usd", 0),
    ):
        with pytest.raises(BadInput, match=name):
            days_to_spend(**good | {name: bad})
    with pytest.raises(BadInput, match="not spent"):
        days_to_spend(**good | {"budget_usd": 1e9}, most=3)


# ---- what the chapter rests on ------------------------------------------------------------


def test_300_billion_is_exact_at_the_published_tokens_per_word():
    """A thousand words a minute, four tokens for three words: 22.2 a second, 26.8 TB/s, four
    bytes a weight.
    """
    limit = dw.largest(n=8, mem_rate=3.35e12, overhead=2, weight_bytes=2, R_out=1000 * 4 / 3 / 60)
    assert ledger.claim("problem-300b-constraint").stated.interval.contains(limit)


def test_no_axis_is_a_hundredfold():
    """Worked out from the printed figures alone."""
    axes = 2.15e25 / 3.14e23, 13e12 / 300e9, 1.8e12 / 175e9, 280e9 / 175e9
    assert ledger.claim("problem-scale-100x").derived == pytest.approx(max(axes)) and max(axes) < 95
