"""Chapter 8's laws: by hand, by filling memory array by array, on the miniature, against published tables."""

import itertools
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt4lib import ledger
from gpt4lib.chapters import architecture, mqa
from gpt4lib.facts import given as facts_given
from gpt4lib.facts.devices import hardware
from gpt4lib.facts.files import published
from gpt4lib.facts.models import published_model
from gpt4lib.mini.model import Transformer, tiny_shape
from gpt4lib.mini.parallel import PipelineParallel, TensorParallel
from gpt4lib.simulate.counting import fill_cache, fullest_stage
from gpt4lib.simulate.pipeline import pipeline_rate
from gpt4lib.spine.errors import BadInput
from gpt4lib.spine.interval import Interval
from gpt4lib.spine.law import Law
from gpt4lib.systems.count import fitting_shapes, served_model, serving_view
from gpt4lib.systems.machine import Server
from gpt4lib.systems.serving import at_the_limit, decode

LAWS = {name: law for name, law in vars(mqa).items() if isinstance(law, Law)}
SMALL = st.integers(1, 6)
A100 = {"tensor": 8, "pipeline": 15, "usable": 0.94}
HOUR = 1 / 3600  # a dollar an hour


@pytest.mark.parametrize("name", LAWS)
def test_dimensions(name):
    LAWS[name].check_dimensions()


# ---- the cache of a token -----------------------------------------------------------------


def family():
    """The multi-head shapes of chapter 2 that fit 55 and 111 billion, a coarse search."""
    found = fitting_shapes(
        Interval(54.5e9, 55.5e9),
        Interval(110.5e9, 111.5e9),
        layers=120,
        multi_head=True,
        widths=range(9728, 12417, 128),
        head_widths=(64, 112, 128),
        mlp_shapes=[(2, Fraction(4)), (2, Fraction(3)), (3, Fraction(13, 4))],
    )
    assert len({s["d"] for s in found}) >= 3
    return found


@pytest.mark.parametrize("shape", family(), ids=lambda s: f"{s['d']}-{s['n_h']}x{s['d_h']}")
def test_cache_from_the_attention_count_by_whole_shapes(shape):
    """Keys and values of every head, entry by entry, against the law that knows only the parameters."""
    entries = sum(2 * shape["d_h"] for _layer in range(120) for _head in range(shape["n_h"]))
    law = mqa.cache_of_attention(N_attn=shape["N_attn"], L=120, a_w=shape["a_w"], g_kv=1, kv_bytes=2)
    assert law == pytest.approx(2 * entries, rel=1e-12)
    assert mqa.cache_of_width(L=120, a_w=shape["a_w"], d=shape["d"], g_kv=1, kv_bytes=2) == pytest.approx(
        2 * entries
    )


def test_latent_cache_against_the_shape_of_deepseek_v2():
    s = published_model("DeepSeek-V2").shape
    ours = mqa.latent_cache(L=s.layers, r_kv=s.mla_kv_rank, d_rope=s.mla_d_rope, kv_bytes=2)
    assert ours == 2 * serving_view(s).entries == 2 * 34_560


def test_latent_cache_holds_all_that_attention_needs():
    """Keys and values of every head rebuilt from the cached vectors give the scores of the vectors
    themselves.
    """
    rng = np.random.default_rng(0)
    heads, width, rank, rope, tokens = 4, 8, 6, 2, 5
    latent, rotated = rng.standard_normal((tokens, rank)), rng.standard_normal((tokens, rope))
    up = rng.standard_normal((heads, rank, width))
    query, query_rope = rng.standard_normal((heads, width)), rng.standard_normal((heads, rope))
    keys = np.concatenate([latent @ up, np.broadcast_to(rotated, (heads, tokens, rope))], axis=2)
    full = np.einsum("htw,hw->ht", keys, np.concatenate([query, query_rope], axis=1))
    absorbed = np.einsum("hrw,hw->hr", up, query) @ latent.T + query_rope @ rotated.T
    assert np.allclose(full, absorbed)
    cached = latent.nbytes + rotated.nbytes
    assert cached == tokens * mqa.latent_cache(L=1, r_kv=rank, d_rope=rope, kv_bytes=8)


@pytest.mark.parametrize("n_kv", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("over", ["heads", "batch"])
def test_cache_on_eight_ranks_of_the_miniature(n_kv, over):
    """One to sixteen key-value heads on eight ranks: what a rank's arrays hold, and the same logits as on
    one.
    """
    whole = Transformer(tiny_shape(n_heads=16, n_kv_heads=n_kv))
    split = TensorParallel(whole, 8, cache_over=over)
    caches, alone = split.cache(8, 6), whole.cache(8, 6)
    tokens = np.random.default_rng(n_kv).integers(0, 50, (8, 6))
    assert np.allclose(split.forward(tokens, caches), whole.forward(tokens, alone))
    places = 8 * 6
    shape = {"L": 2, "n_kv": n_kv, "d_h": 4, "kv_bytes": 8, "tp": 8}
    if over == "heads":
        held = mqa.cache_copied(**shape) * places
        twin = TensorParallel(Transformer(tiny_shape(n_heads=16, n_kv_heads=16)), 8).cache(8, 6)
        assert twin[0].nbytes / caches[0].nbytes == mqa.saving(n_h=16, n_kv=n_kv, tp=8)
    else:
        held = mqa.token_cache(**{k: v for k, v in shape.items() if k != "tp"}) * places / 8
    assert {cache.nbytes for cache in caches} == {held}


# ---- what fits ----------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(
    room=st.integers(0, 40_000),
    stages=SMALL,
    per_stage=SMALL,
    tp=st.sampled_from([1, 2, 4, 8]),
    power=st.integers(0, 5),
    head=SMALL,
    context=st.integers(1, 9),
)
def test_fit_by_filling(room, stages, per_stage, tp, power, head, context):
    """Memory filled sequence by sequence: a stage of `per_stage` layers holds every sequence in flight."""
    n_kv = 2**power
    whole = {"L": stages * per_stage, "p": stages, "tp": tp, "n_kv": n_kv, "d_h": head, "kv_bytes": 2}
    whole |= {"S": context}
    memory = {"mem": room + 1000, "usable": 1, "weight_bytes": 2, "N_held": 0, "E": 1}
    memory |= {"N_exp": 500 * tp * stages}
    one = {"layers": per_stage, "kv_heads": max(1, n_kv // tp), "head_width": head, "context": context}
    count = fill_cache(room_bytes=room or 0.5, **one)
    assert count == math.floor(mqa.fitting_copied(**whole, **memory) + 1e-9)
    if n_kv >= tp:  # enough heads: nothing is copied, and it does not matter how the cache is divided
        assert mqa.fitting_divided(**whole, **memory) == pytest.approx(mqa.fitting_copied(**whole, **memory))
    else:
        ranks = tp // n_kv
        assert mqa.fitting_divided(**whole, **memory) == pytest.approx(
            ranks * mqa.fitting_copied(**whole, **memory)
        )


@pytest.mark.parametrize("stages", [1, 3, 5])
@pytest.mark.parametrize("ranks, heads", [(1, 1), (4, 2)])
def test_longest_context_by_filling(stages, ranks, heads):
    """Four sequences of the longest context fit into every GPU, of one token more they do not."""
    whole = mqa.token_cache(L=6 * stages, n_kv=heads * ranks, d_h=3, kv_bytes=2)
    most = math.floor(mqa.longest(B_fly=4, kv=whole, cache_ranks=ranks, p=stages, Q_left=100_000))
    one = {"room_bytes": 100_000, "layers": 6, "kv_heads": heads, "head_width": 3}
    assert fill_cache(**one, context=most) >= 4 > fill_cache(**one, context=most + 1)


def test_each_stage_of_the_miniature_holds_every_sequence():
    split = PipelineParallel(Transformer(tiny_shape(layers=6)), 3)
    caches = split.cache(batch=4, max_tokens=5)
    tokens = np.random.default_rng(2).integers(0, 50, (4, 5))
    split.forward(tokens, caches, micro_batches=2)
    one = fill_cache(room_bytes=caches[0].nbytes, layers=2, kv_heads=1, head_width=4, context=5, kv_bytes=8)
    less = fill_cache(
        room_bytes=caches[0].nbytes - 1, layers=2, kv_heads=1, head_width=4, context=5, kv_bytes=8
    )
    assert (one, less) == (4, 3) and all((cache.lengths == 5).all() for cache in caches)


@pytest.mark.parametrize("layers, stages", [(120, 15), (120, 16), (7, 3), (5, 5), (9, 1)])
def test_fullest_stage_by_every_way_to_cut(layers, stages):
    if math.comb(layers - 1, stages - 1) < 1e4:
        cuts = itertools.combinations(range(1, layers), stages - 1)
        best = min(max(b - a for a, b in itertools.pairwise((0, *cut, layers))) for cut in cuts)
        assert fullest_stage(layers, stages) == best
    assert fullest_stage(layers, stages) == -(-layers // stages)


def test_scores_of_a_prompt_by_the_array():
    for heads, new, keys in ((2, 3, 7), (4, 5, 5)):
        array = np.empty((heads // 2, new, keys), np.float16)
        assert mqa.prompt_scores(act_bytes=2, n_h=heads, tp=2, n_tok=new, S=keys) == array.nbytes


def test_long_prompts_overflow_only_when_scores_are_stored():
    """At 32k the scores of one layer are larger than any A100, at 8k they are not; in chunks of 256 they
    never are.
    """
    heads, weights = {"act_bytes": 2, "n_h": 144, "tp": 8}, 30.5e9
    assert mqa.prompt_scores(**heads, n_tok=32768, S=32768) + weights > 40e9
    assert mqa.prompt_scores(**heads, n_tok=8192, S=8192) + weights < 40e9
    assert mqa.prompt_scores(**heads, n_tok=256, S=32768) < 0.5e9


# ---- what a token costs -------------------------------------------------------------------


@pytest.mark.parametrize("stages, each", [(3, 1), (3, 4), (5, 2)])
def test_rate_of_a_pipeline_step_by_step(stages, each):
    seconds = lambda size: 0.5 + size / 8
    all_of_them = {"sequences": stages * each, "stages": stages, "stage_seconds": seconds}
    full = pipeline_rate(**all_of_them)
    assert full == pytest.approx(each / seconds(each))
    for parts in range(1, stages * each + 1):
        assert pipeline_rate(**all_of_them, micro_batches=parts) <= full * (1 + 1e-9)
    few = pipeline_rate(sequences=stages - 1, stages=stages, stage_seconds=seconds)
    assert few == pytest.approx((stages - 1) / (stages * seconds(1)))


def test_cost_by_reading_experts_one_by_one():
    """Expected distinct experts of a pass from every choice of pairs; bytes over rate; dollars
    over tokens.
    """
    e, size = 4, 3
    pairs = list(itertools.combinations(range(e), 2))
    reached = [len(set().union(*choice)) for choice in itertools.product(pairs, repeat=size)]
    read = 2 * (10 + 100 * sum(reached) / len(reached))
    seconds = (read / 2 + size * 50 * 7 / 2) / 1000
    law = mqa.cost_of_reads(
        price=3,
        tp=2,
        weight_bytes=2,
        N_fix=10,
        N_exp=100,
        E=e,
        k=2,
        B_seq=size,
        S=50,
        kv=7,
        cache_ranks=2,
        mem_rate=1000,
    )
    assert law == pytest.approx(3 * 2 * seconds / size)


@pytest.mark.parametrize("gpu", ["A100-SXM 40GB", "A100-SXM 80GB"])
@pytest.mark.parametrize("name, kv", [("gpt4_multi_query", 1), ("gpt4_multi_head", 96)])
def test_law_of_the_cost_is_the_serving_model_without_links(gpu, name, kv):
    card, whole = hardware(gpu), served_model(name)
    server = Server(gpu=gpu, divide_cache=False, nvlink_bytes_per_s=1e18, nic_bytes_per_s=1e18, **A100)
    found = at_the_limit(whole, server, context=8192, price=HOUR)
    law = mqa.thousand_copied(
        price=HOUR,
        tp=8,
        p=15,
        L=120,
        d_h=whole.d_h,
        n_kv=kv,
        E=16,
        k=2,
        S=8192,
        N_fix=whole.N_fix,
        N_held=whole.N_held,
        N_exp=whole.N_exp,
        kv_bytes=2,
        weight_bytes=2,
        usable=0.94,
        mem_rate=card.bandwidth_bytes_per_s,
        mem=card.memory_bytes,
    )
    assert 1000 * found.cost == pytest.approx(law, rel=1e-6)
    assert found.fits and found.in_flight == pytest.approx(15 * found.batch_limit)


def test_at_the_limit_fills_the_memory_and_no_more():
    whole, server = served_model("gpt4_multi_query"), Server(gpu="A100-SXM 40GB", **A100)
    at = at_the_limit(whole, server, context=8192, price=HOUR)
    assert at.cache_bytes_held == pytest.approx(at.left_bytes)
    assert not decode(whole, server, batch=1.01 * at.in_flight / 15, context=8192).fits


def test_fewer_sequences_than_stages_leave_stages_waiting():
    whole, server = served_model("gpt4_multi_head"), Server(gpu="A100-SXM 40GB", **A100)
    at = at_the_limit(whole, server, context=32768, price=HOUR)
    each = 120 / 15 * 2 * 96 * 112 * 2 * 32768 / 8  # bytes of a sequence on each GPU of a stage
    assert at.in_flight == at.left_bytes // each == 6 and at.fits
    one = decode(whole, server, batch=1, context=32768)
    rate = pipeline_rate(sequences=6, stages=15, stage_seconds=lambda size: float(one.pass_seconds) / 15)
    assert at.rate == pytest.approx(rate)
    assert at.cost == pytest.approx(120 * HOUR / rate)


@pytest.mark.parametrize(
    "gpu, weight_bytes, dear",
    [("A100-SXM 40GB", 2, True), ("A100-SXM 80GB", 2, False), ("A100-SXM 40GB", 1, False)],
)
def test_multi_head_is_dearer_than_the_list_price_on_small_cards_with_two_bytes_only(gpu, weight_bytes, dear):
    server = Server(gpu=gpu, weight_bytes=weight_bytes, **A100)
    at = at_the_limit(served_model("gpt4_multi_head"), server, context=8192, price=HOUR)
    assert (at.cost > 6e-5) == dear
    if dear:
        assert ledger.claim("mqa-without-uneconomic").interval.contains(float(1000 * at.cost))


# ---- published tables ---------------------------------------------------------------------


def contexts(memory):
    """Our longest context for each cell of Pope et al.'s Table 1, with its printed value, `memory` bytes a
    chip.
    """
    found = {}
    for row in published("pope_table1_max_context"):
        heads, width = (48 if row["variant"] == "Multihead" else 1), int(row["d_head"])
        for batch in (128, 512):
            whole = {"L": 118, "n_kv": heads, "d_h": width, "kv_bytes": 2}
            if row["variant"].startswith("Optimized"):
                kv, ranks = mqa.token_cache(**whole), 64
            else:
                kv, ranks = mqa.cache_copied(**whole, tp=64), 1
            ours = mqa.longest(B_fly=batch, kv=kv, cache_ranks=ranks, p=1, Q_left=0.3 * memory)
            found[row["variant"], batch] = ours, float(row[f"max_context_batch{batch}"])
    return found


def test_longest_contexts_of_palm():
    ratios = [printed / ours for ours, printed in contexts(32 * 2**30).values()]
    assert len(ratios) == 6 and all(abs(r - 1) < 0.0105 for r in ratios)
    assert all(printed / ours > 1.05 for ours, printed in contexts(32e9).values())


def test_shapes_of_table_1_are_those_of_table_d1():
    printed = {row["field"]: row["PaLM 540B"] for row in published("pope_tableD1_models")}
    palm = published_model("PaLM 540B").shape
    assert [int(printed[k]) for k in ("n_layers", "d_model", "d_ff", "n_heads", "d_head")] == [
        palm.layers,
        palm.d_model,
        palm.d_ff,
        palm.n_heads,
        palm.d_head,
    ] and palm.n_kv_heads == 1


@pytest.mark.parametrize("row", published("shazeer_mqa_table1"), ids=lambda r: f"{r['attention']}-{r['h']}")
def test_mlp_widths_of_shazeer_keep_the_parameters_equal(row):
    """Per pair of encoder and decoder layers: three attentions, two MLPs, width 1024."""
    heads, width = int(row["h"]), int(row["dk_dv"])
    size = lambda h, kv, w: 3 * architecture.attention(L=1, d=1024, d_h=w, n_h=h, n_kv=kv)
    mlps = lambda inner: 2 * architecture.mlp(L=1, n_mat=2, d=1024, d_ff=inner)
    kv = 1 if row["attention"].startswith("multi-query") else heads
    assert size(heads, kv, width) + mlps(int(row["d_ff"])) == size(8, 8, 128) + mlps(4096)


def test_savings_of_deepseek_v2():
    """93.3% less than DeepSeek 67B: 82% by shapes alone, the printed figure with six bits an entry for
    sixteen.
    """
    before = mqa.token_cache(L=95, n_kv=8, d_h=128, kv_bytes=2)
    after = {bits: mqa.latent_cache(L=60, r_kv=512, d_rope=64, kv_bytes=bits / 8) for bits in (16, 6)}
    assert 1 - after[16] / before == pytest.approx(0.822, abs=5e-4)
    assert 1 - after[6] / before == pytest.approx(0.933, abs=5e-4)
    assert after[16] == 4.5 * 128 * 60 * 2  # as printed


def test_models_that_share_heads():
    rows = published("kv_heads_2023")
    assert all(row["published"] < "2023-07" for row in rows)
    assert len(rows) == facts_given.given("fact:kv-models-all").value
    assert sum(row["n_kv_heads"] == "1" for row in rows) == facts_given.given("fact:kv-models-one").value
    for row in rows:
        if row["source"] not in (
            "smith2022",
            "bloom2022",
            "touvron2023a",
            "li2023starcoder",
            "almazrouei2023",
        ):
            s = published_model(row["model"]).shape
            assert (s.n_heads, s.n_kv_heads) == (int(row["n_heads"]), int(row["n_kv_heads"]))


# ---- bad input ----------------------------------------------------------------------------


def limit(server, context):
    return at_the_limit(served_model("gpt4_multi_head"), server, context=context, price=HOUR)


@pytest.mark.parametrize(
    "call, names",
    [
        (lambda: fill_cache(room_bytes=1, layers=0, kv_heads=1, head_width=1, context=1), "layers"),
        (lambda: fill_cache(room_bytes=1, layers=True, kv_heads=1, head_width=1, context=1), "layers"),
        (lambda: fill_cache(room_bytes=0, layers=1, kv_heads=1, head_width=1, context=1), "room_bytes"),
        (
            lambda: fill_cache(room_bytes=1, layers=1, kv_heads=1, head_width=1, context=1, kv_bytes=-1),
            "kv_bytes",
        ),
        (lambda: fullest_stage(4, 5), "stages"),
        (lambda: fullest_stage(4, 0), "stages"),
        (lambda: pipeline_rate(sequences=2, stages=2, stage_seconds=float, micro_batches=3), "micro_batches"),
        (lambda: pipeline_rate(sequences=2, stages=2, stage_seconds=float, rounds=1), "rounds"),
        (lambda: limit(Server(gpu="A100-SXM 40GB", **A100), 1e6), "context"),
        (lambda: limit(replace(Server(), pipeline=2), 10), "fit"),
    ],
)
def test_bad_input_is_named(call, names):
    with pytest.raises(BadInput, match=names):
        call()


# ---- pipelines, stages and memory, event by event -----------------------------------------
def ends_of_a_pipeline(times, stages, rounds):
    """When each round's last micro-batch leaves the last stage: a stage serves whoever waits longest."""
    waiting = [[] for _ in range(stages)]
    waiting[0] = [(0, 0, j) for j in range(len(times))]  # (since, round, micro-batch)
    busy, ends = [None] * stages, {}
    now = 0
    while any(waiting) or any(busy):
        for s in range(stages):
            if busy[s] is None and waiting[s]:
                _, turn, j = waiting[s].pop(0)
                busy[s] = now + times[j], turn, j
        now = min(job[0] for job in busy if job)
        for s in range(stages):
            if busy[s] and busy[s][0] == now:
                _, turn, j = busy[s]
                busy[s] = None
                if s + 1 < stages:
                    waiting[s + 1].append((now, turn, j))
                    continue
                ends[turn] = max(ends.get(turn, 0), now)
                if turn + 1 < rounds:
                    waiting[0].append((now, turn + 1, j))
    return ends


@settings(max_examples=60)
@given(st.integers(1, 9), st.integers(1, 4), st.integers(2, 7), st.data())
def test_rate_of_a_pipeline_event_by_event(sequences, stages, rounds, data):
    """Parts of equal size to within one, the larger first; the first half of the rounds is not counted."""
    parts = data.draw(st.one_of(st.none(), st.integers(1, sequences)))
    number = min(sequences, stages) if parts is None else parts
    sizes = [len(range(j, sequences, number)) for j in range(number)]
    assert sum(sizes) == sequences
    seconds = lambda size: 0.25 + 0.5 * size
    ends = ends_of_a_pipeline([seconds(size) for size in sizes], stages, rounds)
    counted, half = rounds - rounds // 2, rounds // 2
    task = {"sequences": sequences, "stages": stages, "stage_seconds": seconds, "rounds": rounds}
    rate = pipeline_rate(**task, micro_batches=parts)
    assert rate == pytest.approx(sequences * counted / (ends[rounds - 1] - ends[half - 1]))


def test_rate_of_a_pipeline_counts_forty_rounds_where_none_are_given():
    task = {"sequences": 5, "stages": 3, "stage_seconds": lambda size: 1 + 0.5 * size}
    assert pipeline_rate(**task) == pipeline_rate(**task, rounds=40) == pytest.approx(5 / 6)
    assert pipeline_rate(sequences=1, stages=1, stage_seconds=float, rounds=2) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"micro_batches": 0}, r"micro_batches takes 1 to sequences = 2, got 0 \(stages=2, rounds=4\)"),
        ({"micro_batches": 3}, r"micro_batches takes 1 to sequences = 2, got 3 \(stages=2, rounds=4\)"),
        ({"stages": 0, "micro_batches": 1}, r"got 1 \(stages=0, rounds=4\)"),
        ({"rounds": 1}, r"got 2 \(stages=2, rounds=1\)"),
    ],
)
def test_a_pipeline_that_cannot_be_is_refused(change, words):
    with pytest.raises(BadInput, match=words):
        pipeline_rate(**{"sequences": 2, "stages": 2, "stage_seconds": float, "rounds": 4} | change)


@given(st.integers(1, 12), st.integers(1, 12))
def test_layers_are_dealt_out_as_evenly_as_can_be(stages, more):
    layers = stages + more - 1
    held = [len(range(s, layers, stages)) for s in range(stages)]
    assert fullest_stage(layers, stages) == max(held) and sum(held) == layers


def test_memory_filled_by_hand():
    """Two layers of one head of 3 for 5 tokens of 2 bytes: 120 bytes a sequence; of 4 bytes as many again."""
    one = {"layers": 2, "kv_heads": 1, "head_width": 3, "context": 5}
    assert [fill_cache(room_bytes=r, **one) for r in (119, 120, 121, 239, 240, 0.5)] == [0, 1, 1, 1, 2, 0]
    assert (
        fill_cache(room_bytes=240, **one, kv_bytes=4) == 1
        and fill_cache(room_bytes=60, **one, kv_bytes=1) == 1
    )
    assert fill_cache(room_bytes=2, layers=1, kv_heads=1, head_width=1, context=1, kv_bytes=1) == 1


@pytest.mark.parametrize("name", ["layers", "kv_heads", "head_width", "context"])
@pytest.mark.parametrize("size", [0, True, 1.0])
def test_memory_takes_whole_sizes(name, size):
    sizes = {"layers": 1, "kv_heads": 1, "head_width": 1, "context": 1} | {name: size}
    with pytest.raises(BadInput, match=f"{name} takes a positive whole number, got {size!r}"):
        fill_cache(room_bytes=9, **sizes)


def test_whole_sequences_only_where_stages_wait():
    """Fewer sequences than stages: as many whole ones as fit, a micro-batch each."""
    server = replace(Server(gpu="A100-SXM 40GB", **A100), micro_batches=15)
    for context in (2**17, 2**19, 2**20):
        most = 15 * float(
            decode(served_model("gpt4_multi_query"), server, batch=1, context=context).batch_limit
        )
        x = at_the_limit(served_model("gpt4_multi_query"), server, context=context, price=HOUR)
        if most >= 15:
            assert x.in_flight == pytest.approx(most) and x.fits
            continue
        assert x.in_flight == int(most) >= 1
        alone = decode(
            served_model("gpt4_multi_query"),
            replace(server, micro_batches=int(most)),
            batch=1,
            context=context,
            price=HOUR,
        )
        assert float(x.rate) == float(alone.rate) and float(x.cost) == float(alone.cost)
