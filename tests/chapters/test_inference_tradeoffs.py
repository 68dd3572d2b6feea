"""Chapter 6's laws against counts, small simulations and published figures."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt4lib import ledger
from gpt4lib.chapters import architecture
from gpt4lib.chapters import inference_tradeoffs as it
from gpt4lib.facts import given as facts_given
from gpt4lib.facts.devices import devices, hardware
from gpt4lib.facts.files import published
from gpt4lib.facts.models import model_of
from gpt4lib.mini.meter import Meter
from gpt4lib.mini.model import Transformer
from gpt4lib.spine.errors import BadInput
from gpt4lib.spine.law import Law

LAWS = {name: law for name, law in vars(it).items() if isinstance(law, Law)}
A100, H100 = hardware("A100-SXM 40GB"), hardware("H100-SXM 80GB")


@pytest.mark.parametrize("name", LAWS)
def test_dimensions(name):
    LAWS[name].check_dimensions()


# ---- roofline -----------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_flop_of_a_weight_and_intensity_are_what_the_miniature_counts(batch):
    shape = model_of(
        {
            "name": "dense",
            "layers": 2,
            "d_model": 32,
            "n_heads": 4,
            "n_kv_heads": 4,
            "d_head": 8,
            "vocab": 64,
            "tied_embeddings": False,
            "positions": "rotary",
            "d_ff": 128,
            "mlp_matrices": 2,
        }
    )
    small, meter = Transformer(shape, seed=1), Meter()
    cache = small.cache(batch, 4)
    small.forward([[1]] * batch, cache)
    small.forward([[2]] * batch, cache, meter=meter)
    parts = ("attention", "mlp", "unembedding")
    read, flop = (sum(counted[p] for p in parts) for counted in (meter.parameters_read, meter.flop))
    assert it.weight_flop(B_seq=batch) == flop / read
    assert it.weight_intensity(B_seq=batch, weight_bytes=2) == flop / (2 * read)


def test_intensity_of_the_cache_counted_entry_by_entry():
    for n_h, n_kv, kv_bytes in ((8, 8, 2), (8, 2, 2), (8, 1, 2), (8, 1, 1)):
        flop = read = 0
        for _ in range(3):  # layers
            for _ in range(11):  # tokens of context
                read += 2 * n_kv * 16 * kv_bytes
                flop += sum(2 * 16 + 2 * 16 for _ in range(n_h))  # a score, a mixed value
        assert it.cache_intensity(n_h=n_h, n_kv=n_kv, kv_bytes=kv_bytes) == pytest.approx(flop / read)
        busy = it.cache_busy(
            F=H100.bf16_flop_per_s, mem_rate=H100.bandwidth_bytes_per_s, g_kv=n_kv / n_h, kv_bytes=kv_bytes
        )
        took = (read / H100.bandwidth_bytes_per_s, flop / H100.bf16_flop_per_s)
        assert busy == pytest.approx(min(1, took[1] / took[0]))
    with pytest.raises(BadInput):
        it.cache_busy(F=1e15, mem_rate=1e12, g_kv=0, kv_bytes=2)


def test_at_the_ridge_both_take_equally_long():
    for card in devices().values():
        ridge = it.ridge_point(F=card.bf16_flop_per_s, mem_rate=card.bandwidth_bytes_per_s)
        data = 1e9
        assert data / card.bandwidth_bytes_per_s == pytest.approx(data * ridge / card.bf16_flop_per_s)
        assert 35 < ridge < 570  # from the H20, which is all memory, to the TPU v6e
    # Printed by others: about 153 (A100 80 GB), 295 (H100 SXM), 206 (H200).
    printed = {"A100-SXM 80GB": 153, "H100-SXM 80GB": 295, "H200-SXM": 206, "TPU v5e": 240}
    for name, value in printed.items():
        card = hardware(name)
        assert it.ridge_point(F=card.bf16_flop_per_s, mem_rate=card.bandwidth_bytes_per_s) == pytest.approx(
            value, rel=0.01
        )


def test_imbalance_and_share_at_work_are_two_times_divided():
    F, rate = 2e15, 3e12
    for batch, width in ((1, 1), (64, 1), (256, 2), (4096, 1)):
        read, work = width * 1e9 / rate, batch * 2e9 / F
        x = {"F": F, "mem_rate": rate, "B_seq": batch, "weight_bytes": width}
        assert it.read_over_compute(**x) == pytest.approx(read / work)
        assert it.weights_busy(**x) == pytest.approx(min(1, work / read))


def test_data_sheets_pass_through():
    assert it.sheet_rate(mem_pub=3.35e12) == 3.35e12 and it.sheet_peak(F_pub=1.979e15) == 1.979e15


# ---- memory -------------------------------------------------------------------------------


@given(st.integers(1, 64), st.integers(1, 32), st.integers(1, 4096), st.floats(30, 100))
def test_room_by_filling_memory_one_sequence_at_a_time(heads, layers, context, gigabytes):
    tp, p = 8, 4
    kv = 2 * layers * heads * 128 * 2
    weights, memory = 2 * 400e9, gigabytes * 1e9
    x = {"mem": memory, "weight_bytes": 2, "N_total": 400e9, "tp": tp, "p": p, "kv": kv, "S": context}
    free = tp * p * memory - weights  # on all GPUs, for p passes under way
    assert it.room(**x) == pytest.approx(free / (p * kv * context))


def test_capacity_against_a_search_over_batches():
    x = {
        "mem": A100.memory_bytes,
        "F": A100.bf16_flop_per_s,
        "mem_rate": A100.bandwidth_bytes_per_s,
        "weight_bytes": 2,
        "N_total": 1.8e12,
        "N": 280e9,
        "tp": 8,
        "p": 16,
        "kv": 61440,
        "S": 8192,
    }
    fits = max(b for b in range(1, 400) if 1.8e12 * 2 / 128 + b * 61440 * 8192 / 8 <= 40 * 2**30)
    full = min(
        b
        for b in range(1, 3000)
        if b * 2 * 280e9 / A100.bf16_flop_per_s >= 3.6e12 / A100.bandwidth_bytes_per_s
    )
    assert int(it.room(**{k: v for k, v in x.items() if k not in ("F", "mem_rate", "N")})) == fits
    ridge = it.ridge_batch(**{k: x[k] for k in ("weight_bytes", "N_total", "F", "N", "mem_rate")})
    assert full - 1 < ridge <= full
    assert it.capacity_share(**x) == pytest.approx(fits / full, rel=0.01)


def test_room_and_speed_of_twice_the_gpus_by_hand():
    before, after = 40 - 3600 / 128, 40 - 3600 / 256
    x = {"mem": 40e9, "weight_bytes": 2, "N_total": 1.8e12, "tp": 8, "p": 16}
    assert it.room_gain(**x, g_n=2) == pytest.approx(after / before)
    assert it.chips_gain(**x, g_n=2) == 2.0
    roomy = x | {"mem": 400e9}
    assert it.chips_gain(**roomy, g_n=2) == pytest.approx((400 - 3600 / 256) / (400 - 3600 / 128))


def test_cache_over_weights_by_hand():
    assert it.cache_over_weights(
        kv=61440, B_seq=4096, S=32768, weight_bytes=2, N_total=1.8e12
    ) == pytest.approx(61440 * 2**27 / 3.6e12)
    shape = {"L": 118, "n_kv": 48, "d_h": 128, "kv_bytes": 2, "B_seq": 512, "S": 2048}
    assert it.cache_over_weights_of_shape(**shape, weight_bytes=2, N_total=540e9) == pytest.approx(
        architecture.cache_read_of_shape(**shape) / 1.08e12
    )


def test_the_papers_three_terabytes():
    """118 layers, 48 heads of 128, 512 x 2,048 tokens, 16 bits: the paper rounds to 3 TB, three times the
    weights.
    """
    total = sum(2 * 48 * 128 * 2 for _ in range(118)) * 512 * 2048
    assert architecture.cache_read_of_shape(L=118, n_kv=48, d_h=128, kv_bytes=2, B_seq=512, S=2048) == total
    assert round(total / 1e12) == 3 and round(total / (2 * 540e9)) == 3
    field = {r["field"]: r["Megatron 530B"] for r in published("pope_tableD1_models")}
    megatron = 2 * int(field["n_layers"]) * int(field["n_heads"]) * int(field["d_head"]) * 2 * 512 * 2048
    assert round(megatron / 1e12) == 9


def test_long_contexts_by_filling_memory():
    free, kv, full = 1e12, 1e5, 0.02
    cost = {s: full / (free / (kv * s)) for s in (8192, 32768)}  # a step reads all memory, whatever fills it
    assert it.length_cost(S=8192, S_long=32768) == pytest.approx(cost[32768] / cost[8192])


# ---- chips and batches --------------------------------------------------------------------


@pytest.mark.parametrize("tp", [2, 8, 64])
def test_communication_against_compute_by_messages(tp):
    def sent(ranks):  # a ring all-reduce: reduce-scatter, then all-gather, a piece a step
        return sum(1 / ranks for _ in range(2 * (ranks - 1)))

    assert it.link_growth(g_n=2, tp=tp) == pytest.approx((sent(2 * tp) / sent(tp)) / (1 / 2))


def test_first_token_by_hand():
    assert it.first_token(N=280e9, n_tok=8192, F=312e12, tp=8) == pytest.approx(2 * 280e9 * 8192 / 2.496e15)


def test_the_papers_trade():
    rows = [r for r in published("pope_table2_palm540b") if r["phase"] == "decode"]
    small, large = ((float(r["mfu_pct"]) / 100, float(r["latency_s"]) / 64) for r in rows)
    assert it.trade(mfu=large[0], mfu_one=small[0], t_pass=large[1], t_one=small[1]) == pytest.approx(33 / 14)
    assert it.trade(mfu=0.3, mfu_one=0.1, t_pass=2, t_one=1) == pytest.approx(2)
    facts = [
        facts_given.given(f"fact:trade-{k}").value
        for k in ("mfu-small", "step-small", "mfu-large", "step-large")
    ]
    assert facts == pytest.approx([*small, *large])


def test_size_over_chips_in_the_papers_prefills():
    big, small = (
        next(r for r in published(t) if r["batch"] == "512" and r["phase"] == "prefill")
        for t in ("pope_table2_palm540b", "pope_table3_palm62b")
    )
    ratio = (float(big["latency_s"]) / float(small["latency_s"])) / (
        (540.35 / int(big["chips"])) / (62.5 / int(small["chips"]))
    )
    got = it.size_over_chips(t_pass=85.2, t_one=20.2, N=540.35e9, N_ref=62.5e9, n=64, n_ref=32)
    assert got == pytest.approx(ratio) and abs(got - 1) < 0.03


def test_readings_of_the_claims_are_whole():
    claims = ledger.load().chapter("06_inference_tradeoffs")
    assert len(claims) == 20
    assert ledger.claim("inference-tradeoffs-kv-3tb").must_be("n_kv") == pytest.approx(
        3e12 / (2 * 118 * 128 * 2 * 512 * 2048)
    )


def test_loads_are_positive():
    for law, inputs in (
        (it.ridge_point, {"F": -1, "mem_rate": 1}),
        (it.weight_intensity, {"B_seq": 1, "weight_bytes": 0}),
        (it.link_growth, {"g_n": 2, "tp": 1}),
        (it.room_gain, {"mem": 1}),
    ):
        with pytest.raises(BadInput):
            law(**inputs)


def test_the_more_a_batch_the_busier_until_the_ridge():
    batch = np.arange(1, 2000)
    busy = it.weights_busy(
        F=H100.bf16_flop_per_s, mem_rate=H100.bandwidth_bytes_per_s, B_seq=batch, weight_bytes=2
    )
    ridge = it.ridge_point(F=H100.bf16_flop_per_s, mem_rate=H100.bandwidth_bytes_per_s)
    assert np.all(np.diff(busy[batch < ridge]) > 0) and np.all(busy[batch > ridge] == 1)
