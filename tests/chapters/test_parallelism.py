"""Chapter 4's laws against arrays dealt out, transfers counted, schedules replayed and published tables."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt4lib import ledger
from gpt4lib.chapters import parallelism as par
from gpt4lib.facts.devices import hardware
from gpt4lib.facts.files import published, sources
from gpt4lib.facts.models import model_of
from gpt4lib.mini.model import Transformer, tiny_shape
from gpt4lib.mini.parallel import Communicator, ZeroAdam
from gpt4lib.simulate.pipeline import pipeline_schedule, stage_idle_share
from gpt4lib.spine.errors import BadInput
from gpt4lib.systems import step
from gpt4lib.systems.count import parameters
from gpt4lib.systems.efficiency import gpt
from gpt4lib.systems.machine import Cluster, Layout
from gpt4lib.systems.planner import explain, plan

A100, GB = 312e12, 1e9
BYTES = {"weight_bytes": 2, "grad_bytes": 2, "opt_bytes": 12}
CHAPTER = [c for c in ledger.load().claims if c.chapter == "04_parallelism"]
DESCRIBED = model_of(
    {
        "name": "as described",
        "layers": 120,
        "d_model": 10752,
        "n_heads": 96,
        "n_kv_heads": 96,
        "d_head": 112,
        "d_ff_expert": 43008,
        "expert_matrices": 2,
        "n_experts": 16,
        "top_k": 2,
        "vocab": 100277,
        "tied_embeddings": False,
        "positions": "rotary",
    }
)


# ---- memory ---------------------------------------------------------------------------------
def test_weights_of_a_rank_by_dealing_out_blocks():
    tensor, stages, blocks = 4, 6, 240
    held = np.zeros((stages, tensor))
    for block in range(blocks):
        held[block % stages, block // stages % tensor] += 2 * 1000  # a block of 1,000 weights of two bytes
    inputs = {"N_total": blocks * 1000, "weight_bytes": 2, "tp": tensor}
    assert par.weights_of_rank(p=stages, **inputs) == held.max() == held.min()
    assert par.stages_of_weights(Q_w=held.max(), **inputs) == pytest.approx(stages)


@pytest.mark.parametrize(("tensor", "stages", "replicas"), [(1, 1, 8), (2, 3, 8), (4, 2, 6)])
def test_stage_1_of_a_cluster_holds_the_arrays_of_its_ranks(tensor, stages, replicas):
    size = 4800
    mine = np.ones(size // tensor // stages)
    rank = ZeroAdam(mine, replicas, 1, dtype=np.float16, state_dtype=np.float32).held[0]
    held = sum(array.nbytes for array in rank.values())
    # the miniature keeps its own part of the gradient in the full array, as stage 1 does
    n = tensor * stages * replicas
    got = par.zero_1_of_cluster(N_total=size, tp=tensor, p=stages, n=n, **BYTES)
    assert got == pytest.approx(held)
    assert par.rank_memory_1(N_total=size, tp=tensor, p=stages, n=n, Q_more=77, **BYTES) == pytest.approx(
        held + 77
    )


@settings(deadline=None)
@given(st.floats(40, 140), st.floats(1, 20), st.integers(1, 16))
def test_fewest_stages_by_trial(card, more, tensor):
    inputs = {"N_total": 1.8e12, "tp": tensor, "n": 25_000, "Q_more": more * GB} | BYTES
    state = lambda p: 1.8e12 * 4 / tensor / p + 1.8e12 * 12 / 25_000 + more * GB
    fits = next(p for p in range(1, 10_000) if state(p) <= card * GB)
    assert math.ceil(par.fewest_stages(Q_rank=card * GB, **inputs) - 1e-9) == fits


def test_tokens_in_a_cache_are_those_of_earlier_passes():
    model = Transformer(tiny_shape(), seed=0)
    tokens = np.arange(2 * 9).reshape(2, 9) % model.shape.vocab
    for new in (1, 4, 9):  # decoding, a chunk, a training pass over the whole sequence
        cache = model.cache(batch=2, max_tokens=9)
        if new < 9:
            model.forward(tokens[:, : 9 - new], cache)
        assert par.tokens_in_cache(T=9, n_tok=2 * new, b=2) == cache.lengths[0]
        model.forward(tokens[:, 9 - new :], cache)


def test_the_stated_layout_fits_what_the_chapter_says():
    split = {"tensor": 8, "pipeline": 15, "data": 208, "batch": 7280, "sequence": True}
    cluster = Cluster(device="A100-SXM 80GB", n_gpus=24_960, nic_bytes_per_s=25e9)
    need = lambda **own: explain(DESCRIBED, cluster, Layout(**split | own), seq=8192).memory_bytes
    whole = {how: need(zero=1, recompute=how) for how in ("none", "selective", "full")}
    assert 40 * GB < whole["full"] < 80 * GB < whole["selective"] < whole["none"]
    assert need(zero=1, recompute="selective", expert=16) < 80 * GB
    assert need(zero=1, recompute="full", expert=16) < 40 * GB
    found = plan(DESCRIBED, cluster, batch_tokens=7280 * 8192, seq=8192, only={"tensor": (1, 2, 4, 8)})
    stated, best = found.best(tensor=8, pipeline=15, expert=1, zero=1), found.layout(found.best())
    assert (best.tensor, best.pipeline, best.expert, best.recompute) == (8, 15, 16, "selective")
    assert 1.25 < found.step_seconds[stated] / found.step_seconds[found.best()] < 1.45
    with pytest.raises(BadInput):
        exact = Cluster(device="A100-SXM 80GB", n_gpus=25_000, nic_bytes_per_s=25e9)
        plan(DESCRIBED, exact, batch_tokens=[k * 8192 for k in range(7264, 7386)], seq=8192)


# ---- links ----------------------------------------------------------------------------------
def test_nvlink_width_is_the_widest_group_at_the_full_rate():
    cluster = Cluster(device="A100-SXM 80GB", n_gpus=48, nic_bytes_per_s=25e9)
    rates = {
        w: explain(DESCRIBED, cluster, Layout(w, 1, 48 // w, batch=48), seq=64).terms["link_tensor"]
        for w in (1, 2, 4, 8, 16)
    }
    assert max(w for w, rate in rates.items() if rate == 300e9) == par.nvlink_width(node=8)
    assert hardware("A100-SXM 80GB").interconnect_bytes_per_s == 2 * 300e9


def test_hand_over_between_stages_by_sending_arrays():
    stages, tensor, tokens, width, sharing, link = 5, 2, 12, 16, 3, 1e6
    comm = Communicator(stages)
    for s in range(stages - 1):
        comm.send("forward", s, s + 1, np.zeros((tokens, width // tensor), np.float16))
        comm.send("backward", s + 1, s, np.zeros((tokens, width // tensor), np.float16))
    sent = sum(comm.sent.values())[1]  # an inner stage
    flop = sum(6 for _ in range(tokens)) * 4000 / stages / tensor
    seconds = flop / (1e9 * 0.4)
    got = par.hop_share(act_bytes=2, d=width, sharing=sharing, link=link, p=stages, N=4000, F=1e9, mfu=0.4)
    assert got == pytest.approx(sent * sharing / link / seconds)


@pytest.mark.parametrize("ranks", [2, 5, 8])
def test_ring_sends_and_messages(ranks):
    data = np.random.default_rng(ranks).normal(size=(ranks, 40 * ranks))
    comm, messages = Communicator(ranks), []
    send = comm.send
    comm.send = lambda kind, here, there, array: (messages.append(here), send(kind, here, there, array))[1]
    assert all(np.allclose(x, data.sum(0)) for x in comm.all_reduce(list(data)))
    got = par.ring_of_messages(dp=ranks, G=data[0].nbytes, sharing=2, link=10, latency=7)
    assert got == pytest.approx(2 * comm.sent["all-reduce"].max() / 10 + 7 * messages.count(0))


def tree(size):
    """Parent of each of the nodes 1 to size = 2**k in an in-order binary tree; the root is its own."""
    parent = {}
    for node in range(1, size + 1):
        low = node & -node
        parent[node] = node if node == size else (node ^ low | low << 1)
    return parent


@pytest.mark.parametrize("power", [2, 3, 4])
def test_double_tree_by_walking_it(power):
    size, half = 2**power, 50.0
    sent, depth = np.zeros(size), 0
    for shift in (0, 1):  # the second tree is the first one moved on by a rank
        rank = lambda node: (node + shift) % size  # noqa: B023
        for node, up in tree(size).items():
            steps, at = 0, node
            while tree(size)[at] != at:
                at, steps = tree(size)[at], steps + 1
            depth = max(depth, steps)
            if up != node:
                sent[rank(node)] += half  # up: the sum so far
                sent[rank(up)] += half  # down: the result
    assert max(sent) == 2 * 2 * half
    got = par.tree_reduce(G=2 * half, sharing=3, link=10, dp=size, latency=7)
    assert got == pytest.approx(3 * max(sent) / 10 + 2 * depth * 7)


@pytest.mark.parametrize(("inner", "outer"), [(2, 3), (6, 4), (5, 1), (1, 5)])
def test_two_levels_by_counting_both(inner, outer):
    data = np.random.default_rng(1).normal(size=(inner * outer, 60 * inner * outer))
    inside, across = [Communicator(inner) for _ in range(outer)], [Communicator(outer) for _ in range(inner)]
    parts = [c.reduce_scatter(list(x)) for c, x in zip(inside, np.split(data, outer))]
    summed = [c.all_reduce(list(x)) for c, x in zip(across, zip(*parts))]
    done = [c.all_gather(list(x)) for c, x in zip(inside, zip(*summed))]
    assert np.allclose(np.concatenate(done), data.sum(0))
    most = lambda comms: max(sum(c.sent.values(), np.zeros(1)).max() for c in comms)
    got = par.two_level_reduce(
        G=data[0].nbytes, sharing=2, local=inner, islands=outer, link_in=40, link_out=10
    )
    assert got == pytest.approx(2 * most(inside) / 40 + 2 * most(across) / 10)


def test_full_fsdp_by_counting_a_step_of_stage_3():
    tensor, groups, size, tokens = 2, 6, 2400, 1000
    zero = ZeroAdam(np.ones(size // tensor), groups, 3, dtype=np.float16)
    zero.step(lambda rank, weights: weights)
    sent = sum(zero.comm.sent.values())[0]
    n = tensor * groups
    compute = sum(6 * 300 for _ in range(tokens)) / (n * 1e9 * 0.5)
    got = par.full_fsdp_share(
        N_total=size,
        weight_bytes=2,
        grad_bytes=2,
        tp=tensor,
        n=n,
        sharing=4,
        link=1e5,
        N=300,
        B_tok=tokens,
        F=1e9,
        mfu=0.5,
    )
    assert got == pytest.approx(4 * sent / 1e5 / compute)


def test_kernels_beside_the_bubble_of_a_replayed_schedule():
    for v, m in ((1, 35), (2, 30)):
        idle = stage_idle_share(pipeline_schedule(15, m, v))
        got = par.kernels_beside_bubble(
            mfu=0.34, p=15, v=v, b=1, tp=8, n=24_960, T=8192, B_tok=208 * m * 8192, redone=8 / 6
        )
        assert got == pytest.approx((2 + 2 + 4) / 6 * 0.34 / (1 - idle))  # forward, forward again, backward


# ---- published tables -----------------------------------------------------------------------
@pytest.mark.parametrize("name", ["korthikanti_table3_configs", "zero_fig1_memory", "nvlink_generations"])
def test_published_rows_name_a_known_source(name):
    assert all(row["source"] in sources() and row["place"] and row["evidence"] for row in published(name))


def test_zero_figure_1():
    for row, law in zip(published("zero_fig1_memory"), step.STATE, strict=True):
        got = law(
            **{s.name: ({"N_total": 7.5e9, "tp": 1, "p": 1, "dp": 64} | BYTES)[s.name] for s in law.symbols}
        )
        digits = len(row["GB_psi7.5B_nd64"].partition(".")[2])
        assert round(got / GB, digits) == float(row["GB_psi7.5B_nd64"])


def test_models_of_korthikantis_table_3_have_their_names_size():
    for row in published("korthikanti_table3_configs"):
        heads, hidden, layers, tp, pp, n = (
            int(row[k]) for k in ("heads", "hidden", "layers", "tp", "pp", "n_gpus")
        )
        size = parameters(gpt(heads=heads, hidden=hidden, layers=layers)).total
        name = row["model"].split()[0]
        assert round(size / {"B": 1e9, "T": 1e12}[name[-1]]) == float(name[:-1])
        assert tp * pp == n and layers % (pp * int(row["interleave_m"] or 1)) == 0


def test_nvlink_rates_are_half_of_the_data_sheets():
    cards = ("V100-SXM2 32GB", "A100-SXM 80GB", "H100-SXM 80GB", "B200-SXM")
    for row, card in zip(published("nvlink_generations"), cards, strict=True):
        one_way = float(row["unidir_GBps_per_gpu"]) * GB
        assert hardware(card).interconnect_bytes_per_s == 2 * one_way == float(row["bidir_GBps_per_gpu"]) * GB


# ---- the claims -----------------------------------------------------------------------------
def test_claims_stand_in_the_order_of_the_article():
    with (Path(__file__).parents[1] / "double_entry.csv").open(newline="") as file:
        own = [row["id"] for row in csv.DictReader(file) if row["id"].startswith("parallelism-")]
    assert [c.id for c in CHAPTER] == own and len(own) == 11


@pytest.mark.parametrize("claim", CHAPTER, ids=lambda c: c.id)
def test_claims(claim):
    assert claim.verdict == claim.expect and claim.note
    if claim.verdict != "holds":
        for name in claim.inverse:  # the inverse reading, put back, gives what was stated
            inputs = {k: i.stated.value for k, i in claim.inputs.items()} | {name: claim.must_be(name)}
            assert claim.law(**inputs) == pytest.approx(claim.target.value, rel=1e-9, abs=1e-6)


def test_readings_rest_on_the_tables_that_their_notes_name():
    stated = {c.id: c.stated for c in CHAPTER}
    divisors = [q for q in range(1, 121) if 120 % q == 0]
    below = divisors[divisors.index(15) - 1]
    assert (stated["parallelism-15-because-memory"].interval.lo, 15) == (
        below,
        divisors[divisors.index(below) + 1],
    )
    best = 0.0
    for row in published("megatron_table1"):
        tp, pp, n, batch = (int(row[k]) for k in ("tp", "pp", "n_gpus", "batch"))
        idle = stage_idle_share(pipeline_schedule(pp, batch * tp * pp // n))
        best = max(best, float(row["tflops_per_gpu"]) * 1e12 / A100 / (1 - idle))
    assert round(best, 2) == stated["parallelism-bubble-eaten"].value
    assert stated["parallelism-zero1-needed"].value == hardware("A100-SXM 80GB").memory_bytes


def test_where_the_verdicts_turn():
    at = lambda claim, **own: claim.law(**{k: i.stated.value for k, i in claim.inputs.items()} | own)
    by = {c.id: c for c in CHAPTER}
    hop, fsdp = by["parallelism-too-many-for-comm"], by["parallelism-no-fsdp"]
    slow = at(hop, link=25e9, mfu=0.36)
    assert (
        8 * slow > 0.1 > slow
    )  # eight copies over the slowest shared link are the only reading that reaches it
    assert at(fsdp, link=50e9, mfu=0.32) > 0.5
    assert at(by["parallelism-40gb-zero1"], opt_bytes=1e-9) > 40 * GB  # whatever the optimiser
    assert at(by["parallelism-15-because-memory"], Q_rank=40 * GB, Q_more=5 * GB) > 24
    eaten = by["parallelism-bubble-eaten"]
    assert at(eaten) < 0.59 < at(eaten, redone=8 / 6)  # with full recomputation there is no room


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: par.weights_of_rank(N_total=-1, weight_bytes=2, tp=8, p=15), "N_total"),
        (lambda: par.weights_of_rank(N_total=1, weight_bytes=2, tp=8), "p is missing"),
        (lambda: par.weights_of_rank(N_total="1 GPU", weight_bytes=2, tp=8, p=15), "N_total"),
        (
            lambda: par.kernels_beside_bubble(redone=1, mfu=1.2, p=15, v=1, b=1, tp=8, n=1, T=1, B_tok=1),
            "mfu",
        ),
        (lambda: par.fewest_stages(Q_rank=1, Q_more=1, N_total=0, tp=1, n=1, **BYTES), "no finite value"),
        (lambda: par.hop_share(layers=3), "no input 'layers'"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(BadInput, match=message):
        call()


def test_bubble_of_the_ledger_is_the_replayed_one():
    claim = next(c for c in CHAPTER if c.id == "parallelism-bubble")
    low, high = (stage_idle_share(pipeline_schedule(15, m)) for m in (36, 34))
    assert low < claim.derived < high
    assert par.bubble_share(p=15, m=35, v=1) == pytest.approx(stage_idle_share(pipeline_schedule(15, 35)))
