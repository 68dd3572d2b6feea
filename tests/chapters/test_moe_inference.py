"""Chapter 7's laws and distributions: against enumeration, draws, the miniature's meter, and counting on
paper.
"""

import itertools
import math
import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt4lib import ledger
from gpt4lib.chapters import moe_inference as mo
from gpt4lib.chapters import parallelism
from gpt4lib.facts import given as facts_given
from gpt4lib.mini.meter import Meter
from gpt4lib.mini.model import Transformer, tiny_shape
from gpt4lib.simulate import routing
from gpt4lib.spine.errors import BadInput
from gpt4lib.spine.law import Law
from gpt4lib.systems.count import served_model
from gpt4lib.systems.machine import Server
from gpt4lib.systems.serving import decode

LAWS = {name: law for name, law in vars(mo).items() if isinstance(law, Law)}
G9 = 1e9


@pytest.mark.parametrize("name", LAWS)
def test_dimensions(name):
    LAWS[name].check_dimensions()


# ---- exact distributions against every routing, written out -------------------------------


def by_hand(batch, weights, top_k, one_by_one=False):
    """P(distinct), P(busiest) by listing every routing of every token; the sets' odds are worked out here as
    well.
    """
    experts = len(weights)
    odds = {}
    for order in itertools.permutations(range(experts), top_k):
        left, p = sum(weights), 1.0
        for e in order:
            p *= weights[e] / (left if one_by_one else 1)
            left -= weights[e]
        odds[frozenset(order)] = odds.get(frozenset(order), 0) + p
    total = sum(odds.values())
    distinct, most = np.zeros(experts + 1), np.zeros(batch + 1)
    for tokens in itertools.product(odds, repeat=batch):
        p = math.prod(odds[s] / total for s in tokens)
        load = [sum(e in s for s in tokens) for e in range(experts)]
        distinct[sum(n > 0 for n in load)] += p
        most[max(load)] += p
    return distinct, most


CASES = [
    (1, (1, 1, 1), 2),
    (3, (1,) * 4, 2),
    (4, (1, 2, 3, 4), 2),
    (3, (4, 1, 1, 1, 1), 2),
    (5, (2, 1, 1), 2),
    (4, (1, 1), 2),
    (5, (4, 3, 2, 1), 1),
    (6, (1, 1, 1), 1),
]


@pytest.mark.parametrize("batch, weights, top_k", CASES)
def test_loads_by_every_routing(batch, weights, top_k):
    distinct, most = by_hand(batch, weights, top_k)
    routes = routing.sets(len(weights), top_k=top_k, weights=weights)
    assert routing.busiest(batch, top_k=top_k, weights=weights) == pytest.approx(most, abs=1e-13)
    assert routing.reached_of(routes, batch) == pytest.approx(distinct, abs=1e-13)
    if len(set(weights)) == 1:
        assert routing.reached(batch, experts=len(weights), top_k=top_k) == pytest.approx(distinct, abs=1e-14)
        assert routing.busiest(batch, top_k=top_k, experts=len(weights)) == pytest.approx(most, abs=1e-13)


@pytest.mark.parametrize("batch, weights, top_k", [(3, (1, 2, 3, 4), 2), (2, (5, 1, 1, 2), 3)])
def test_experts_drawn_one_by_one(batch, weights, top_k):
    distinct, _ = by_hand(batch, weights, top_k, one_by_one=True)
    routes = routing.sets(len(weights), top_k=top_k, weights=weights, one_by_one=True)
    assert routing.reached_of(routes, batch) == pytest.approx(distinct, abs=1e-13)


def test_batch_of_eight_in_fractions():
    loads = routing.enumerate_loads(8, experts=16, top_k=2)
    assert sum(loads.values()) == 1 and all(sum(n) == 16 for n in loads)
    most, distinct = np.zeros(9), np.zeros(17)
    for n, p in loads.items():
        most[n[0]] += float(p)
        distinct[np.count_nonzero(n)] += float(p)
    assert routing.busiest(8, top_k=2, experts=16) == pytest.approx(most, abs=1e-13)
    assert routing.reached(8, experts=16, top_k=2) == pytest.approx(distinct, abs=1e-14)
    assert loads[(8, 8) + (0,) * 14] == 120 * Fraction(1, 120) ** 8
    assert mo.all_on_one(E=16, k=2, B_seq=8) == pytest.approx(most[8])
    few = routing.enumerate_loads(2, experts=4, top_k=2)
    assert mo.all_on_one(E=4, k=2, B_seq=2) == pytest.approx(
        float(sum(p for n, p in few.items() if n[0] == 2))
    )
    perfect = math.factorial(16) / 2**8 / 120**8  # every expert once: pairings of 16, in order
    assert distinct[16] == pytest.approx(perfect)


@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_enumeration_by_every_routing(top_k):
    distinct, most = by_hand(3, (1,) * 4, top_k)
    loads = routing.enumerate_loads(3, experts=4, top_k=top_k)
    assert [float(sum(p for n, p in loads.items() if n[0] == m)) for m in range(4)] == pytest.approx(most)
    assert routing.reached(3, experts=4, top_k=top_k) == pytest.approx(distinct)


def test_busiest_by_another_recursion():
    """Expert after expert: how many tokens still owe two picks, one, none. Knows no polynomials."""
    batch, experts = 24, 6
    pick = [[math.comb(n, j) for j in range(n + 1)] for n in range(batch + 1)]

    def at_most(most):
        state = {(batch, 0): 1.0}
        for left in range(experts, 0, -1):
            after = {}
            for (two, one), p in state.items():
                for a in range(min(two, most) + 1):
                    for b in range(min(one, most - a) + 1):
                        q = p * pick[two][a] * (2 / left) ** a * (1 - min(2 / left, 1)) ** (two - a)
                        q *= pick[one][b] * (1 / left) ** b * (1 - 1 / left) ** (one - b)
                        if q:
                            after[two - a, one - b + a] = after.get((two - a, one - b + a), 0) + q
            state = after
        return state.get((0, 0), 0.0)

    below = np.cumsum(routing.busiest(batch, top_k=2, experts=experts))
    for most in (8, 9, 10, 12, 15):
        assert below[most] == pytest.approx(at_most(most), rel=1e-9)


@pytest.mark.parametrize(
    "batch, experts, weights",
    [(4096, 16, None), (512, 8, None), (400, 5, (5, 1, 2, 2, 3)), (256, 6, (3, 1, 1, 1, 0.5, 1))],
)
def test_busiest_by_draws(batch, experts, weights):
    p = routing.busiest(batch, top_k=2, experts=experts, weights=weights)
    assert abs(p.sum() - 1) < 1e-12 and p.min() > -1e-12 and len(p) == batch + 1
    drawn = routing.draw_loads(
        routing.sets(experts, top_k=2, weights=weights), batch, draws=20_000, seed=3
    ).max(axis=1)
    mean, deviation = routing.moments(p)
    assert drawn.mean() == pytest.approx(mean, abs=4 * deviation / math.sqrt(20_000))
    assert drawn.std() == pytest.approx(deviation, rel=0.03)
    for share in (0.05, 0.5, 0.95):
        m = int(np.searchsorted(np.cumsum(p), share))
        assert (drawn <= m).mean() == pytest.approx(p[: m + 1].sum(), abs=0.015)


@settings(max_examples=25)
@given(st.integers(1, 200), st.integers(3, 20), st.integers(1, 2))
def test_totals_and_means(batch, experts, top_k):
    most = routing.busiest(batch, top_k=top_k, experts=experts)
    distinct = routing.reached(batch, experts=experts, top_k=top_k)
    assert abs(most.sum() - 1) < 1e-12 and abs(distinct.sum() - 1) < 1e-12
    assert most[: math.ceil(top_k * batch / experts)].max(initial=0) < 1e-13, "never below the mean"
    mean, deviation = routing.moments(distinct)
    assert mo.experts_hit(E=experts, k=top_k, B_seq=batch) == pytest.approx(mean, rel=1e-9)
    if top_k < experts - 1:
        assert mo.hit_variance(E=experts, k=top_k, B_seq=batch) == pytest.approx(deviation**2, abs=1e-7)


def test_largest_batch_of_the_article():
    p = routing.busiest(4096, top_k=2, experts=16)
    assert abs(p.sum() - 1) < 1e-12
    normal = mo.busiest_load(B_seq=4096, k=2, E=16, z_max=1.766)
    assert normal == pytest.approx(routing.moments(p)[0], rel=2e-3)
    assert mo.imbalance(B_seq=4096, k=2, E=16, z_max=1.766) == pytest.approx(normal / 512)
    assert mo.busiest_normal(b_exp=512, k=2, E=16, z_max=1.766) == pytest.approx(normal)


def test_largest_of_sixteen_normal_numbers():
    x = np.linspace(-9, 9, 20_001)
    below = np.array([0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x])
    mean = x[-1] - np.trapezoid(below**16, x)
    assert facts_given.given("fact:largest-of-16").interval.contains(mean)


def test_draws_have_the_odds_of_their_sets():
    members, p = routing.sets(5, top_k=2, weights=(1, 2, 3, 4, 5))
    loads = routing.draw_loads((members, p), 50, draws=4000, seed=1)
    assert (loads.sum(axis=1) == 100).all()
    assert loads.mean(axis=0) == pytest.approx(50 * (p @ members), rel=0.02)
    pair = dict(zip(map(tuple, members.tolist()), p))
    assert pair[1, 1, 0, 0, 0] / pair[0, 0, 0, 1, 1] == pytest.approx(2 / 20)


@pytest.mark.parametrize(
    "call, number",
    [
        (lambda: routing.busiest(8, top_k=17, experts=16), "16.*17"),
        (lambda: routing.busiest(8, top_k=3, experts=16), "3"),
        (lambda: routing.busiest(0, top_k=2, experts=16), "0"),
        (lambda: routing.busiest(8, top_k=2, weights=(1, -2, 3)), "-2"),
        (lambda: routing.busiest(8, top_k=2, weights=(1, 1, 8)), "0.8"),
        (lambda: routing.reached(8, experts=4, top_k=5), "4.*5"),
        (lambda: routing.reached(2.5, experts=4, top_k=2), "2.5"),
        (lambda: routing.reached_of(routing.sets(21, top_k=1), 3), "21"),
        (lambda: routing.enumerate_loads(2, experts=2, top_k=3), "2.*3"),
        (lambda: routing.sets(4, top_k=2, weights=(1, 2)), "4"),
        (lambda: mo.rate_of_price(price="1 USD/GPU/hour", n=128, c_tok=-4.9e-6), "-4.9e-06"),
        (
            lambda: decode(
                served_model("gpt4_multi_query"), Server(gpu="A100-SXM 40GB", pipeline=8), batch=8, context=9
            ),
            "57.3 GB",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_its_number(call, number):
    with pytest.raises(BadInput, match=number):
        call()


# ---- weights read -------------------------------------------------------------------------


def test_reads_and_their_spread_by_the_miniatures_meter():
    """Decode one step for many small batches; the meter counts the parameters fetched."""
    mini, rng = Transformer(tiny_shape(layers=3, n_experts=4), seed=2), np.random.default_rng(0)
    one = mini.layers[0]["experts"]["in"][0].size + mini.layers[0]["experts"]["out"][0].size
    for batch in (1, 3):
        meter = Meter()
        mini.forward(rng.integers(0, 50, (batch, 1)), mini.cache(batch, 4), meter=meter)
        hit = [meter.distinct_experts(i)[0] for i in range(3)]
        rest = sum(size for part, size in meter.parameters_read.items() if part != "experts")
        read = mo.parameters_read(N_fix=rest, N_exp=3 * one, E_hit=sum(hit) / 3)
        assert read == pytest.approx(sum(meter.parameters_read.values()))
        assert mo.weights_read(weight_bytes=8, N_read=read) == pytest.approx(
            sum(meter.weight_bytes_read.values())
        )
        again = mo.weights_read_of_experts(weight_bytes=8, N_fix=rest, N_exp=3 * one, E_hit=sum(hit) / 3)
        assert again == pytest.approx(8 * read)


def test_bytes_for_a_token_by_adding_up():
    """One step of 8: attention once, each expert reached once, every sequence's cache."""
    hit = routing.moments(routing.reached(8, experts=16, top_k=2))[0]
    step = 2 * (55e9 + hit * 111e9) + 8 * 1000 * 61_440
    shape = {
        "N_fix": 55e9,
        "N_exp": 111e9,
        "E": 16,
        "k": 2,
        "B_seq": 8,
        "kv": 61_440,
        "S": 1000,
        "weight_bytes": 2,
    }
    assert mo.read_per_sparse_token(**shape) == pytest.approx(step / 8)
    assert mo.read_per_token(Q_w=step - 8 * 1000 * 61_440, B_seq=8, kv=61_440, S=1000) == pytest.approx(
        step / 8
    )
    dense = mo.read_per_dense_token(N_total=1.8e12, B_seq=8, kv=61_440, S=1000, weight_bytes=2)
    assert dense == pytest.approx(3.6e12 / 8 + 61.44e6)


@pytest.mark.parametrize("batch", [4, 8, 32])
def test_jitter_by_drawing_every_layer(batch):
    routes, layers = routing.sets(16, top_k=2), 20
    loads = routing.draw_loads(routes, batch, draws=layers * 3000, seed=batch).reshape(3000, layers, 16)
    read = 55e9 + (loads > 0).sum(axis=2).mean(axis=1) * 111e9
    got = mo.jitter_of_batch(B_seq=batch, k=2, E=16, N_fix=55e9, N_exp=111e9, L_free=layers)
    assert got == pytest.approx(read.std() / read.mean(), rel=0.06)
    assert mo.jitter(N_exp=111e9, var_hit=4, L_free=16, N_read=555e9) == pytest.approx(0.1)


# ---- layers on nodes ----------------------------------------------------------------------


def test_whole_layers_on_nodes_by_trying():
    """Deal 120 layers to 16 nodes as evenly as can be; the fullest node decides what a GPU must hold."""
    nodes = [0] * 16
    for layer in range(120):
        nodes[layer % 16] += 1
    per_layer = mo.node_parameters(N_total=1.8e12, p=120)
    assert max(nodes) == 8 and mo.node_weights(N_node=8 * per_layer, weight_bytes=2, tp=8) == pytest.approx(
        30e9
    )
    assert parallelism.weights_of_rank(N_total=1.8e12, p=16, weight_bytes=2, tp=8) == pytest.approx(
        1.8e12 * 2 / 128
    )
    assert mo.stage_layers(L=120, p=16) == 7.5 and mo.head_layers(L=120, p=16, l_node=7) == 15
    tables = 100 * 12 * 2
    assert mo.table_layers(V=100, d=12, L=10, N_total=24_000) == pytest.approx(tables / 2400)
    assert mo.draft_layers(n_guess=4, x_small=0.05, N=100, L=10, N_total=200) == pytest.approx(4 * 5 / 20)
    held = 10 * 2 + 3 * sum(7 * 5 for sequence in range(4))
    fill = mo.memory_fill(N_total=10, weight_bytes=2, copies=3, kv=7, B_fly=4, S=5, n=8, mem=10)
    assert fill == pytest.approx(held / 80)
    assert mo.stale_cache(x_own_kv=0.5, S=10) == 5


def test_fill_is_the_serving_models():
    gpt = served_model("gpt4_multi_query")
    x = decode(gpt, Server(gpu="A100-SXM 40GB", pipeline=16), batch=256, context=4096)
    sizes = {"N_total": gpt.total, "weight_bytes": 2, "kv": 2 * gpt.entries, "B_fly": 4096, "S": 4096}
    ours = mo.memory_fill(**sizes, copies=1, n=128, mem=40e9)
    assert ours == pytest.approx((x.weight_bytes_held + x.cache_bytes_held) / 40e9)


def test_cache_does_not_depend_on_the_experts():
    """Same prompt, other experts: the first layer's cache is the same to the last bit, and
    nothing old moves.
    """
    mini = Transformer(tiny_shape(), seed=4)
    cache = mini.cache(2, 8)
    mini.forward([[3, 9, 4], [7, 7, 1]], cache)
    before = cache.keys[:, :, :, :3].copy()
    other = Transformer(tiny_shape(), seed=4)
    for layer in other.layers:
        layer["experts"] = {name: w[::-1] * 2 for name, w in layer["experts"].items()}
        layer["router"]["w"] = -layer["router"]["w"]
    cold = other.cache(2, 8)
    other.forward([[3, 9, 4], [7, 7, 1]], cold)
    assert (cold.keys[0] == cache.keys[0]).all() and not np.allclose(cold.keys[1], cache.keys[1])
    mini.forward([[5], [6]], cache)
    assert (cache.keys[:, :, :, :3] == before).all()


# ---- money --------------------------------------------------------------------------------


def test_price_by_running_a_second():
    """A cluster of 128 GPUs for one second: FLOP done, tokens out, dollars paid."""
    dollars, peak = 128 * 1 / 3600, 128 * 312e12
    tokens = dollars / 4.9e-6
    assert mo.rate_of_price(price="1 USD/GPU/hour", n=128, c_tok=4.9e-6) == pytest.approx(tokens)
    share = tokens * 2 * 280e9 / peak
    assert mo.share_of_price(price="1 USD/GPU/hour", c_tok=4.9e-6, N=280e9, F=312e12) == pytest.approx(share)
    assert mo.cost_of_share(price="1 USD/GPU/hour", mfu=share, N=280e9, F=312e12) == pytest.approx(4.9e-6)
    assert mo.thousand_of_share(price="1 USD/GPU/hour", mfu=share, N=280e9, F=312e12) == pytest.approx(4.9e-3)
    assert mo.flight_rate(B_fly=871, R_out=8.33) == pytest.approx(tokens, rel=1e-3)
    flight = {"price": "1 USD/GPU/hour", "n": 128, "B_fly": 871, "R_out": 8.33}
    assert mo.cost_of_flight(**flight) == pytest.approx(4.9e-6, rel=1e-3)
    assert mo.thousand_of_flight(**flight) == pytest.approx(4.9e-3, rel=1e-3)


def test_the_serving_models_cost_is_the_law_at_its_own_utilisation():
    gpt, price = served_model("gpt4_multi_query"), 1 / 3600
    x = decode(gpt, Server(pipeline=16), batch=256, context=1000, price=price)
    assert mo.cost_of_share(price=price, mfu=float(x.mfu), N=gpt.active, F=312e12) == pytest.approx(
        float(x.cost)
    )


def test_comparisons_by_hand():
    assert mo.price_ratio(c_tok=6e-5, c_ref=2e-5) == pytest.approx(3)
    assert mo.utilisation_gap(x_price=3, N_ref=175, N=280) == pytest.approx(3 * 175 / 280)
    assert mo.mlp_ratio(k=2, N_exp=111e9, N_ff=96 * 2 * 4 * 12288**2) == pytest.approx(
        222e9 / 115.96e9, rel=1e-4
    )


def test_day_by_counting_clusters():
    """Whole clusters, minute by minute: on for the peak all day, or as many as the load needs."""
    minutes = np.arange(1440)
    load = 1000 * (1 + 0.6 * np.cos(2 * np.pi * minutes / 1440))
    need = np.ceil(load)
    ratio = 1440 * need.max() / need.sum()
    assert mo.always_on(load_day=load.mean() / load.max()) == pytest.approx(ratio, rel=2e-3)
    assert mo.always_on_cosine(swing=0.6) == pytest.approx(ratio, rel=2e-3)
    assert mo.cosine_day(swing=0.6) == pytest.approx(1 / 1.6)


# ---- inverses and ledger ------------------------------------------------------------------

NEAR = {
    "E": 16,
    "k": 2,
    "B_seq": 8,
    "E_hit": 10,
    "N_exp": 111,
    "N_fix": 55,
    "weight_bytes": 2,
    "kv": 60,
    "S": 40,
    "N_total": 1800,
    "N_read": 700,
    "Q_w": 900,
    "var_hit": 1.5,
    "L_free": 20,
    "b_exp": 30,
    "z_max": 1.7,
    "p": 16,
    "tp": 8,
    "L": 160,
    "l_node": 7,
    "V": 100,
    "d": 12,
    "n_guess": 4,
    "x_small": 0.05,
    "N": 280,
    "N_node": 130,
    "copies": 2,
    "B_fly": 40,
    "n": 128,
    "mem": 40,
    "x_own_kv": 0.5,
    "price": 3e-4,
    "c_tok": 5e-3,
    "F": 300,
    "mfu": 0.2,
    "R_out": 8,
    "c_ref": 2e-3,
    "x_price": 3,
    "N_ref": 175,
    "N_ff": 116,
    "load_day": 0.5,
    "swing": 0.4,
}
OPEN = {"E", "k", "B_seq", "b_exp"}  # inside and outside of powers and roots
IMPORTED = ("tables", "expert_batch", "serving_mfu", "token_cost", "price_of_thousand")
NOT_CLOSED = ("jitter_of_batch", "N_fix"), ("jitter_of_batch", "N_exp")  # of two signs in general
PAIRS = [
    (n, s.name) for n, law in LAWS.items() for s in law.symbols if s.name not in OPEN and n not in IMPORTED
]
PAIRS = [pair for pair in PAIRS if pair not in NOT_CLOSED]


@pytest.mark.parametrize("name, unknown", PAIRS)
def test_solve_then_evaluate_returns_the_input(name, unknown):
    law = LAWS[name]
    rng, inverse = random.Random(f"{name}{unknown}"), law.solve(unknown)
    values = {s.name: NEAR[s.name] * rng.uniform(0.9, 1.1) for s in law.symbols}
    there = law(**values)
    back = inverse(
        **{s.name: values[s.name] for s in inverse.symbols if s.name in values}, **{law.lhs.name: there}
    )
    assert back == pytest.approx(values[unknown], rel=1e-6)


def test_chapter_is_whole():
    claims = ledger.load().chapter("07_moe_inference")
    assert len(claims) == 25 and not [c.id for c in claims if "{" in c.why]


def test_one_stale_token_is_one_of_half_a_context():
    assert ledger.claim("moe-inference-kv-recompute").must_be("x_own_kv") == pytest.approx(1 / (8192 / 2))


def test_the_price_that_is_4096_readers():
    """The finding of the page, on paper: 128 GPUs at 2 dollars over 4,096 times 8.33 tokens a second."""
    claim = ledger.claim("inference-cost-h100")
    assert claim.stated.interval.contains(128 * 2 / 3600 / (4096 * 8.33) * 1000)
    assert ledger.claim("inference-cost-a100").must_be("B_fly") == pytest.approx(128 / 3600 / 4.9e-6 / 8.33)
    for name, peak, rent, stated in (("cents", 312e12, 1, 0.0049), ("cents-h100", 1979e12, 2, 0.0021)):
        least = 1000 * 2 * 280e9 / peak * rent / 3600
        claim = ledger.claim(f"inference-cost-{name}")
        assert stated / 100 < 0.2 * least < least < stated
        assert claim.must_be("mfu") == pytest.approx(least / stated)
        assert (
            claim.ours == f"at least ${least * 275 / 280:.6f}"
        )  # "about 280" begins at 275; no share, no upper end


def test_tiny_shares_carry_no_percent_sign():
    """Once in a million reads as such, not as a power of ten of a percent."""
    assert ledger.claim("moe-inference-batch8-skew").ours == "9.54 × 10⁻⁷"
    assert f"{16 / 8**8:.2e}" == "9.54e-07"


def test_ends_of_ranges():
    ends = {
        "moe-inference-40gb-room": [
            (2 * 1.75e12 + c * 61_440 * 4096**2) / (128 * 40 * 2**30) for c in (1, 8)
        ],
        "moe-inference-head-draft": [
            3.5 * 0.007 * 275e9 * 120 / 1.85e12,
            4.5 * 0.073 * 285e9 * 120 / 1.75e12,
        ],
        "inference-cost-more-than-double": [1 / 0.59, 1 / 0.36],
    }
    for claim_id, (low, high) in ends.items():
        found = ledger.claim(claim_id).interval
        assert found.lo == pytest.approx(low, rel=1e-6)
        assert found.hi == pytest.approx(high, rel=1e-6) or claim_id == "moe-inference-40gb-room"


def test_one_expert_gets_every_token():
    routes = routing.sets(1, top_k=1)
    assert routing.reached_of(routes, 7).tolist() == [0, 1] == routing.reached(7, experts=1, top_k=1).tolist()
    assert routing.draw_loads(routes, 7, draws=3).tolist() == [[7]] * 3
    assert routing.busiest(7, experts=1, top_k=1).tolist() == [0] * 7 + [1]


@pytest.mark.parametrize("experts", [2, 3])
@pytest.mark.parametrize("n", [1, 20, 99, 100, 101, 1000])
def test_loads_given_their_sum_add_up_to_the_last_digits(n, experts):
    """One over the probability of that sum is a product of n terms or, for large n, a series."""
    assert abs(routing.busiest(n, experts=experts, top_k=1).sum() - 1) < 4e-15
    if experts == 2 and n <= 101:
        for most in range((n + 1) // 2, (n + 1) // 2 + max(1, n // 10)):
            exact = Fraction(math.comb(n, most) * (2 if 2 * most > n else 1), 2**n)
            found = routing.busiest(n, experts=2, top_k=1)[most]
            assert found == pytest.approx(float(exact), rel=4e-14)


def test_draws_are_the_same_each_time_and_others_with_another_seed():
    routes = routing.sets(5, top_k=2)
    one, again, other = (
        routing.draw_loads(routes, 9, draws=4, **seed).tolist() for seed in ({}, {}, {"seed": 1})
    )
    assert one == again == routing.draw_loads(routes, 9, draws=4, seed=0).tolist() != other


@pytest.mark.parametrize("experts", [20, 21])
def test_every_set_of_twenty_experts_is_visited_and_of_no_more(experts):
    routes = routing.sets(experts, top_k=1)
    if experts == 21:
        with pytest.raises(BadInput, match=r"routes takes at most 20 experts, .*, got 21"):
            routing.reached_of(routes, 1)
        return
    assert routing.reached_of(routes, 2)[1:3] == pytest.approx([0.05, 0.95])


@pytest.mark.parametrize(("batch", "experts", "off"), [(30, 3, 5e-11), (100, 3, 2e-14), (400, 16, 1e-13)])
def test_loads_of_two_experts_a_token_add_up(batch, experts, off):
    """Finer steps where the polynomials swing: steps of 0.4 there would be off by 4e-10 and 9e-14."""
    assert abs(routing.busiest(batch, experts=experts, top_k=2).sum() - 1) < off
