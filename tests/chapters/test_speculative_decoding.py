"""Chapter 10's laws and measures: by every pattern of kept drafts, by clock, by published tables, by running
models.
"""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt4lib import ledger
from gpt4lib.chapters import speculative_decoding as sd
from gpt4lib.facts import given as facts_given
from gpt4lib.facts.devices import hardware
from gpt4lib.facts.files import published
from gpt4lib.mini import speculative as spec
from gpt4lib.simulate import novel as ngram
from gpt4lib.simulate.speculation import (
    acceptance,
    best_tree,
    draft_rank,
    kept_given,
    mean_rounds,
    rule_output,
    side_by_side,
    streams,
    tree_tokens,
)
from gpt4lib.spine.errors import BadInput
from gpt4lib.spine.law import Law
from gpt4lib.systems.count import served_model
from gpt4lib.systems.machine import Server
from gpt4lib.systems.serving import decode
from gpt4lib.systems.speculation import at_acceptance, batch_gain, best_draft_length

LAWS = {name: law for name, law in vars(sd).items() if isinstance(law, Law)}
RATES, COSTS = st.floats(0.02, 0.98), st.floats(0.005, 0.5)


@pytest.mark.parametrize("name", LAWS)
def test_dimensions(name):
    LAWS[name].check_dimensions()


# ---- tokens and time ----------------------------------------------------------------------
def patterns(accept, gamma):
    """Every pattern of gamma coins as (probability, drafts kept before the first refusal)."""
    for coins in itertools.product([True, False], repeat=gamma):
        weight = math.prod(accept if coin else 1 - accept for coin in coins)
        yield weight, next((i for i, coin in enumerate(coins) if not coin), gamma)


@pytest.mark.parametrize("gamma", [1, 2, 3, 7])
@pytest.mark.parametrize("accept", [Fraction(1, 10), Fraction(53, 100), Fraction(9, 10)])
def test_tokens_by_every_pattern(accept, gamma):
    found = list(patterns(accept, gamma))
    mean = sum(weight * (kept + 1) for weight, kept in found)
    assert sd.tokens.exact(accept=float(accept), gamma=gamma) == mean
    assert sd.all_kept.exact(accept=float(accept), gamma=gamma) == sum(
        w for w, kept in found if kept == gamma
    )
    longer = sum(weight * (kept + 1) for weight, kept in patterns(accept, 2 * gamma))
    assert sd.late(accept=float(accept), gamma=gamma) == pytest.approx(float((longer - mean) / (mean - 1)))


@pytest.mark.parametrize("accept, gamma, c", [(0.6, 1, 0.1), (0.75, 4, 0.05), (0.3, 6, 0.2), (0.9, 8, 0.01)])
def test_speed_and_work_by_the_clock(accept, gamma, c):
    """Draw coins for 40,000 rounds and add up the time and the FLOP of every draft and every
    oracle position.
    """
    rng = np.random.default_rng(3)
    clock, flop, out = 0.0, 0.0, 0
    for coins in rng.random((40_000, gamma)) < accept:
        for _ in coins:
            clock, flop = clock + c, flop + c
        clock, flop = clock + 1.5, flop + gamma + 1
        out += int(np.cumprod(coins).sum()) + 1
    assert sd.speed_up(accept=accept, gamma=gamma, c_draft=c, v_check=1.5) == pytest.approx(
        out / clock, rel=0.015
    )
    assert sd.draft_work(accept=accept, gamma=gamma, c_work=c) == pytest.approx(flop / out, rel=0.015)
    assert sd.round_gain(n_round=out / 40_000, gamma=gamma, c_draft=c, v_check=1.5) == pytest.approx(
        out / clock
    )
    free = sd.speed_up(accept=accept, gamma=gamma, c_draft=c, v_check=1)
    assert sd.speed_up_free(accept=accept, gamma=gamma, c_draft=c) == free


@settings(max_examples=60)
@given(RATES, COSTS)
def test_best_length_by_search_and_by_the_condition(accept, c):
    best = best_draft_length(accept=accept, c_draft=c)
    speed = [sd.speed_up_free(accept=accept, gamma=g, c_draft=c) for g in range(1, 66)]
    assert speed[best - 1] == pytest.approx(max(speed[:64]))
    ties = [sd.tie(accept=accept, gamma=g) for g in range(1, 65)]
    assert all(b <= a * (1 + 1e-9) + 1e-12 for a, b in itertools.pairwise(ties)), (
        "the bar falls with every draft"
    )
    by_condition = 1 + sum(c < tie for tie in ties)
    assert by_condition == best or min(abs(c / t - 1) for t in ties if t) < 1e-6 or by_condition > 64
    if best < 64:
        grown = sd.next_gain(accept=accept, gamma=best, c_draft=c)
        assert grown <= 1 + 1e-9 and grown == pytest.approx(speed[best] / speed[best - 1])


def test_best_length_takes_arrays():
    found = best_draft_length(accept=[[0.5], [0.9]], c_draft=[0.02, 0.128, 0.4])
    assert found.shape == (2, 3) and (np.diff(found, axis=1) <= 0).all() and (found[1] >= found[0]).all()
    assert found[0, 1] == best_draft_length(accept=0.5, c_draft=0.128) == 2


def test_drafts_never_pay_where_one_costs_more_than_it_brings():
    """With one draft the speed-up passes 1 exactly where the acceptance passes the cost."""
    for c in (0.05, 0.3):
        below, even, above = (sd.speed_up_free(accept=c + d, gamma=1, c_draft=c) for d in (-0.01, 0, 0.01))
        assert below < 1 < above and even == pytest.approx(1)


def test_value_at_certain_acceptance():
    assert at_acceptance(sd.tokens, accept=1, gamma=6) == 7
    found = at_acceptance(sd.speed_up_free, accept=np.array([0, 0.5, 1 - 1e-9, 1]), gamma=3, c_draft=0.1)
    assert found[0] == pytest.approx(1 / 1.3) and found[1] == pytest.approx(1.875 / 1.3)
    assert found[3] == pytest.approx(4 / 1.3) and found[2] == pytest.approx(found[3], rel=1e-6)
    assert at_acceptance(sd.tokens, accept=[0.2, 1.0], gamma=[1, 2]).tolist() == pytest.approx([1.2, 3])


# ---- published tables ---------------------------------------------------------------------
def test_leviathan_expected_speed_ups():
    rows = published("leviathan_table2_table4")
    assert len(rows) == 12
    for row in rows:
        ours = sd.speed_up_free(accept=float(row["alpha"]), gamma=int(row["gamma"]), c_draft=float(row["c"]))
        assert abs(ours - float(row["expected_speedup"])) < 0.1, row


def test_leviathan_acceptances_agree_between_the_tables():
    third = {
        (r["target"], r["draft"], r["temperature"]): r["alpha"] for r in published("leviathan_table3_alpha")
    }
    for row in published("leviathan_table2_table4"):
        assert float(third[f"T5-XXL ({row['task']})", row["draft"], row["temperature"]]) == float(
            row["alpha"]
        )
    neural = [float(a) for (_, draft, _), a in third.items() if draft not in ("Unigram", "Bigram")]
    for key in ("fact:acceptance-neural", "assume:draft-acceptance"):
        interval = facts_given.given(key).interval
        assert (interval.lo, interval.hi) == (min(neural), max(neural))


def test_draft_costs_are_the_published_ones():
    models = {r["model"]: float(r["ms_per_token"]) for r in published("chen_speculative_sampling_models")}
    chen = models["Draft"] / models["Chinchilla (target)"]
    costs = [float(r["c"]) for r in published("leviathan_table2_table4")] + [round(chen, 3)]
    interval = facts_given.given("assume:draft-cost").interval
    assert (interval.lo, interval.hi) == (min(costs), max(costs))
    for row in published("chen_speculative_sampling_table1"):
        assert 14.1 / float(row["ms_per_token"]) == pytest.approx(float(row["speedup"]), abs=0.05)


def test_spectors_two_tables_fit_together():
    """Fewer bytes allow at most that much more speed; staged drafts beat plain ones in both tables."""
    for row in published("spector_staged_speculation"):
        baseline, plain, staged = (float(row[k]) for k in ("baseline", "speculative", "staged"))
        assert (plain > staged) if "bandwidth" in row["metric"] else (baseline < plain < staged)
    by = {(r["mode"], r["metric"].split()[0]): r for r in published("spector_staged_speculation")}
    for mode in {m for m, _ in by}:
        for kind in ("speculative", "staged"):
            assert float(by[mode, "tokens/s"][kind]) / 150 < 1 / float(by[mode, "relative"][kind])


def test_inner_draft_is_the_draft_sped_up():
    inner = sd.speed_up_free(accept=0.5, gamma=2, c_draft=0)
    assert inner == 1.75 and sd.inner_draft(c_alone=0.07, x_inner=inner) == pytest.approx(0.04)


# ---- many sequences, many experts ---------------------------------------------------------
@pytest.mark.parametrize("experts, top_k, positions", [(3, 1, 1), (3, 2, 1), (4, 2, 2)])
def test_bytes_by_every_routing(experts, top_k, positions):
    """All choices of top_k experts for each position are written out; two drafts."""

    def read(n):
        every = itertools.product(itertools.combinations(range(experts), top_k), repeat=n)
        hit = [len(set().union(*choice)) for choice in every]
        return 7 + 5 * sum(hit) / len(hit)

    mean = sum(w * (kept + 1) for w, kept in patterns(0.6, 2))
    law = sd.bytes_ratio(accept=0.6, gamma=2, B_seq=positions, E=experts, k=top_k, N_fix=7, N_exp=5)
    assert law == pytest.approx(read(3 * positions) / read(positions) / mean)
    if positions == 1:
        assert sd.bytes_ratio_alone(
            accept=0.6, gamma=2, E=experts, k=top_k, N_fix=7, N_exp=5
        ) == pytest.approx(law)


def roofline(batch, positions, gpu, n=280e9, n_total=1800e9):
    """Time of a pass on one card with every expert read: the longer of memory and compute."""
    return max(2 * n_total / gpu.bandwidth_bytes_per_s, batch * positions * 2 * n / gpu.bf16_flop_per_s)


@pytest.mark.parametrize("name", ["A100-SXM 80GB", "H100-SXM 80GB"])
@pytest.mark.parametrize("n_total", [1800e9, 280e9])
def test_dead_batch_by_bisection(name, n_total):
    gpu = hardware(name)
    gamma, accept, c = 4, 0.7, 0.06
    card = {"F": gpu.bf16_flop_per_s, "mem_rate": gpu.bandwidth_bytes_per_s, "weight_bytes": 2}
    card |= {"N": 280e9, "N_total": n_total}
    ridge = sd.ridge_batch(**card)
    mean = sum(w * (kept + 1) for w, kept in patterns(accept, gamma))
    low, high = 1.0, 5000.0
    for _ in range(60):
        middle = (low + high) / 2
        plain, check = (roofline(middle, n, gpu, n_total=n_total) for n in (1, gamma + 1))
        round_time = gamma * c * roofline(0, 1, gpu, n_total=n_total) + check
        low, high = (middle, high) if mean * plain / round_time > 1 else (low, middle)
    assert sd.dead_batch_on(accept=accept, gamma=gamma, c_draft=c, **card) == pytest.approx(low, rel=1e-6)
    assert sd.dead_batch(accept=accept, gamma=gamma, c_draft=c, B_ridge=ridge) == pytest.approx(low, rel=1e-6)
    assert roofline(ridge, 1, gpu, n_total=n_total) == pytest.approx(2 * n_total / gpu.bandwidth_bytes_per_s)
    assert roofline(ridge * 1.01, 1, gpu, n_total=n_total) > roofline(0, 1, gpu, n_total=n_total)


def test_prefill_and_decode_by_the_roofline():
    gpu = hardware("A100-SXM 80GB")
    card = {"F": gpu.bf16_flop_per_s, "mem_rate": gpu.bandwidth_bytes_per_s, "weight_bytes": 2}
    lone = roofline(1, 1, gpu, n_total=280e9)
    for prompt in (20, 161, 8192):
        each = roofline(1, prompt, gpu) / prompt
        law = {"N": 280e9, "N_total": 1800e9, **card}
        assert sd.prompt_gain(n_tok=prompt, **law) == pytest.approx(lone / each)
        share = 338 * lone / (338 * lone + prompt * each)
        assert sd.decode_share(x_prompt=lone / each, n_in=prompt, n_out=338) == pytest.approx(share)
        assert sd.decode_share_alone(n_in=prompt, n_out=338, **law) == pytest.approx(share)
    busy = 2 * 280e9 * 3 / gpu.bf16_flop_per_s / (2 * 280e9 / gpu.bandwidth_bytes_per_s)
    assert sd.peak_share(B_seq=3, **card) == pytest.approx(busy)
    assert sd.output_price_ratio(c_tok=6e-5, c_in=3e-5) == 2


ORACLE, DRAFT = served_model("gpt4_multi_query"), served_model("PaLM 8B")


FAST_LINKS = {"nvlink_bytes_per_s": 1e18, "nic_bytes_per_s": 1e18}


def on(name, pipeline=16, **links):
    return Server(gpu=name, tensor=8, pipeline=pipeline, **links)


def gain(name, batch, **more):
    rules = {"accept": 0.71, "gamma": 4, "context": 1024} | {
        k: v for k, v in more.items() if k not in FAST_LINKS
    }
    links = {k: v for k, v in more.items() if k in FAST_LINKS}
    return batch_gain(ORACLE, DRAFT, on(name, **links), on(name, 1, **links), batch=batch, **rules)


@pytest.mark.parametrize("name", ["A100-SXM 80GB", "H100-SXM 80GB"])
def test_batch_gain_is_the_clock_of_the_serving_model(name):
    found = gain(name, np.array([1, 64, 700]))
    for i, batch in enumerate([1, 64, 700]):
        plain, check = (
            decode(ORACLE, on(name), batch=batch, context=1024, tokens=n).pass_seconds for n in (1, 5)
        )
        drafted = 4 * decode(DRAFT, on(name, 1), batch=batch, context=1024).pass_seconds
        mean = sum(w * (kept + 1) for w, kept in patterns(0.71, 4))
        assert found.speed_up[i] == pytest.approx(mean * float(plain) / float(drafted + check))
        assert found.plain_seconds[i] == pytest.approx(float(plain))
    assert found.speed_up[0] < 1 < 2.4 < found.speed_up[1], "a lone user gains nothing, sixty-four do"


def test_the_gain_dies_at_the_law_without_links_and_sooner_with_them():
    batch, ends = np.arange(100, 1500, 5), {}
    for name, links in itertools.product(("A100-SXM 80GB", "H100-SXM 80GB"), ({}, FAST_LINKS)):
        found, gpu = gain(name, batch, **links), hardware(name)
        last = np.flatnonzero(found.speed_up > 1)[-1]
        ends[name, bool(links)] = batch[last]
        law = sd.dead_batch_on(
            accept=0.71,
            gamma=4,
            c_draft=float(found.draft[last]),
            N=ORACLE.active,
            N_total=ORACLE.total,
            F=gpu.bf16_flop_per_s,
            mem_rate=gpu.bandwidth_bytes_per_s,
            weight_bytes=2,
        )
        assert 0.8 * law < batch[last] < law
        assert not links or batch[last] == pytest.approx(law, rel=0.03)
    assert all(ends[name, False] < ends[name, True] for name, _ in ends)
    assert 1.7 < ends["H100-SXM 80GB", False] / ends["A100-SXM 80GB", False] < 1.9


def test_drafts_that_share_their_experts_wake_no_others():
    together = gain("A100-SXM 80GB", 1, hit=(2, 2))
    assert together.check < 1.01 and together.speed_up > 2.4
    assert gain("A100-SXM 80GB", 1, hit=(2, 16)).speed_up < gain("A100-SXM 80GB", 1).speed_up < 1


# ---- the rule -----------------------------------------------------------------------------
def pair(seed, vocab=4):
    rng = np.random.default_rng(seed)
    found = rng.dirichlet(np.ones(vocab), 2) * (rng.random((2, vocab)) > 0.2)
    found[found.sum(axis=1) == 0] = 1
    return found / found.sum(axis=1, keepdims=True)


class Fixed:
    def __init__(self, p):
        self.p = p

    def probs(self, context):
        return self.p


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.sampled_from([1.0, 0.8, 0.4, 0.1]))
def test_rule_output_is_what_the_sampler_puts_out(seed, lenience):
    p, q = pair(seed)
    first = np.zeros(4)
    for out, weight in spec.outcomes(
        lambda c: spec.speculative_round(Fixed(p), Fixed(q), (0,), gamma=1, choose=c, lenience=lenience)
    ).items():
        first[out[0]] += weight
    ours = rule_output(p, q, lenience)
    np.testing.assert_allclose(ours, first, atol=1e-12)
    far = np.abs(ours - p).sum() / 2
    kept = {x: float(acceptance(p, q, x)) for x in (1.0, lenience)}
    assert kept[lenience] == pytest.approx(sum(q * spec.acceptance(p, q, lenience)))
    assert far == pytest.approx(sd.distortion(accept_len=min(kept[lenience], 1), accept=kept[1.0]), abs=1e-12)
    assert far <= sd.distortion_bound(accept=min(kept[1.0], 1), lenience=lenience) + 1e-12
    if lenience == 1:
        np.testing.assert_allclose(ours, p, atol=1e-12)


def test_the_bound_is_reached():
    p, q = np.array([0.2, 0.8]), np.array([1.0, 0.0])
    far = np.abs(rule_output(p, q, 0.5) - p).sum() / 2
    assert far == pytest.approx(sd.distortion_bound(accept=0.2, lenience=0.5))


# ---- measured on a text -------------------------------------------------------------------
def slow_rounds(keep, gamma):
    """Mean rounds and the kept shares by drawing every coin of the text both ways."""
    total = 0.0
    reached, kept = np.zeros(gamma), np.zeros(gamma)
    for coins in itertools.product([True, False], repeat=len(keep)):
        weight, at = math.prod(k if c else 1 - k for k, c in zip(keep, coins)), 0
        while at < len(keep):
            total += weight
            drafts, i = min(gamma, len(keep) - at - 1), 0
            while i < drafts:
                reached[i] += weight
                if not coins[at + i]:
                    break
                kept[i] += weight
                i += 1
            at += i + 1
    return total, kept / np.maximum(reached, 1e-300)


@pytest.mark.parametrize("gamma", [1, 2, 5])
def test_passes_by_every_coin(gamma):
    keep = np.array([[0.3, 0.9, 0.5, 1.0, 0.2, 0.7, 0.6], [0.8, 0.1, 0.0, 0.4, 0.9, 0.9, 0.3]])
    slow = [slow_rounds(row, gamma) for row in keep]
    for row, (rounds, shares) in zip(keep, slow):
        found, by_position = mean_rounds(row[None], gamma)
        assert found == pytest.approx(rounds)
        np.testing.assert_allclose(by_position, shares, atol=1e-12)
    assert mean_rounds(keep, gamma)[0] == pytest.approx(np.mean([rounds for rounds, _ in slow]))


@pytest.mark.parametrize("accept, gamma", [(0.6, 4), (0.9, 8)])
def test_passes_of_equal_coins_are_the_laws(accept, gamma):
    rounds, shares = mean_rounds(np.full((1, 20_000), accept), gamma)
    assert 20_000 / rounds == pytest.approx(sd.tokens(accept=accept, gamma=gamma), rel=1e-3)
    np.testing.assert_allclose(shares, accept, rtol=1e-9)


@pytest.fixture(scope="module")
def novel():
    oracle, draft = ngram.fitted(5), ngram.fitted(3)
    held, rng = ngram.corpus()[1], np.random.default_rng(0)
    starts = held[rng.integers(0, len(held) - 4, 400)[:, None] + np.arange(4)]
    text = np.concatenate([starts, streams(oracle, starts, 250, rng)], axis=1)
    return side_by_side(oracle, draft, text, 4)


def test_streams_follow_the_model(novel):
    p, _, token = novel
    seen = np.bincount(token.ravel(), minlength=p.shape[-1])
    want = p.reshape(-1, p.shape[-1]).sum(axis=0)
    assert np.abs(seen - want)[want > 50].max() < 4.5 * np.sqrt(want.max())
    assert np.mean(np.log2(np.take_along_axis(p, token[..., None], -1))) == pytest.approx(
        np.mean((p * np.log2(np.maximum(p, 1e-300))).sum(-1)), abs=0.03
    )


def test_passes_on_the_novel_are_those_of_the_running_sampler(novel):
    p, q, token = novel
    keep = kept_given(p, q, token)
    assert keep.mean() == pytest.approx(acceptance(p, q).mean(), abs=0.005)
    rounds, shares = mean_rounds(keep, 4)
    run = spec.generate(
        ngram.fitted(5),
        ngram.fitted(3),
        ngram.tokenise("It is a truth"),
        length=5000,
        gamma=4,
        choose=spec.sampler(np.random.default_rng(1)),
    )
    assert 250 / rounds == pytest.approx(5000 / run.passes, rel=0.03)
    for ours, (reached, kept) in zip(shares, run.by_position()):
        assert ours == pytest.approx(kept / reached, abs=4 * math.sqrt(0.25 / reached))
    assert shares[0] < keep.mean() - 0.02 < shares[1], "a round starts where the last one failed"


def test_measured_facts_of_the_ledger(novel):
    keep = kept_given(*novel)
    for key, length in (("fact:run-of-4", 4), ("fact:run-of-8", 8)):
        runs = np.lib.stride_tricks.sliding_window_view(keep, length, axis=1).prod(axis=-1)
        assert facts_given.given(key).interval.contains(runs.mean())
    p, q, token = side_by_side(ngram.fitted(5), ngram.fitted(3), ngram.corpus()[1][None], 4)
    hit = lambda x: np.take_along_axis(rule_output(p, q, x), token[..., None], -1)
    bits = {x: -np.mean(np.log2(hit(x))) for x in (1, 0.8, 0.03)}
    assert facts_given.given("fact:bits-exact").interval.contains(bits[1])
    relaxed = facts_given.given("fact:bits-relaxed").interval
    assert [relaxed.lo, relaxed.hi] == pytest.approx([bits[0.8], bits[0.03]], abs=0.001)
    assert bits[1] == pytest.approx(ngram.cross_entropy(ngram.fitted(5), ngram.corpus()[1]), abs=1e-9)


def test_runs_and_bits_by_hand():
    assert sd.doubling(p_long=0.25, p_run=0.5) == pytest.approx(2) and sd.doubling(p_long=0.5, p_run=0.5) == 1
    assert sd.bits_ratio(bits_len=3, bits=2) == 1.5


# ---- trees --------------------------------------------------------------------------------
def every_tree(ranks, nodes):
    """All sets of `nodes` paths that hold the beginning of each of their paths."""
    paths = [p for d in range(1, nodes + 1) for p in itertools.product(range(ranks), repeat=d)]
    for chosen in itertools.combinations(paths, nodes):
        if all(len(p) == 1 or p[:-1] in chosen for p in chosen):
            yield chosen


@pytest.mark.parametrize("share", [(0.6, 0.2), (0.4, 0.35, 0.1), (0.9, 0.05)])
@pytest.mark.parametrize("nodes", [1, 2, 3])
def test_best_tree_by_every_tree(share, nodes):
    best = max(
        sum(math.prod(share[r] for r in path) for path in tree) for tree in every_tree(len(share), nodes)
    )
    tree = best_tree(share, nodes)
    assert sum(tree.values()) == pytest.approx(best) and len(tree) == nodes
    assert all(len(p) == 1 or p[:-1] in tree for p in tree)


def test_tree_tokens_by_walking():
    rng, tree = np.random.default_rng(2), best_tree([0.5, 0.3, 0.1], 7)
    ranks = rng.integers(0, 5, (3, 40))
    depth, total = max(map(len, tree)), []
    for row in ranks.tolist():
        for start in range(40 - depth + 1):
            at = 0
            while tuple(row[start : start + at + 1]) in tree and at < depth:
                at += 1
            total.append(at + 1)
    assert tree_tokens(ranks, tree) == pytest.approx(np.mean(total))


def test_a_chain_of_first_choices_is_the_law():
    ranks = (np.random.default_rng(0).random((20, 5000)) > 0.7).astype(int)
    chain = {(0,) * n: 0.7**n for n in range(1, 5)}
    assert tree_tokens(ranks, chain) == pytest.approx(sd.tokens(accept=0.7, gamma=4), rel=0.01)
    assert set(best_tree([0.7], 4)) == set(chain)


def test_draft_rank():
    assert draft_rank([[0.1, 0.6, 0.3], [0.4, 0.4, 0.2]], [2, 1]).tolist() == [1, 1]


# ---- the ledger ---------------------------------------------------------------------------
def test_verdicts():
    for claim in ledger.load().chapter("10_speculative_decoding"):
        assert claim.verdict == claim.expect, claim.id


# ---- bad input ----------------------------------------------------------------------------
@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: at_acceptance(sd.tokens, accept=1.2, gamma=4), "accept takes .* of at most 1, got 1.2"),
        (lambda: at_acceptance(sd.tokens, accept=-0.1, gamma=4), "accept takes .*negative"),
        (lambda: at_acceptance(sd.tokens, accept=float("nan"), gamma=4), "accept takes .*NaN"),
        (lambda: at_acceptance(sd.tokens, accept=0.5, gamma=0), "gamma takes a number of at least 1, got 0"),
        (
            lambda: at_acceptance(sd.tokens, accept=0.5, gamma=[3, 0.5]),
            "gamma takes a number of at least 1, got 0.5",
        ),
        (lambda: at_acceptance(sd.tokens, accept=0.5), "gamma is missing"),
        (lambda: best_draft_length(accept=1.5, c_draft=0.1), "accept takes"),
        (lambda: best_draft_length(accept=0.5, c_draft=-0.1), "c_draft takes"),
        (lambda: best_draft_length(accept=0.5, c_draft=0.1, most=0), "most takes a whole number"),
        (lambda: gain("A100-SXM 80GB", 1, gamma=0), "gamma takes"),
        (lambda: gain("A100-SXM 80GB", 1, accept=2), "accept takes"),
        (lambda: acceptance([1.0], [1.0], 0), "lenience takes"),
        (lambda: rule_output([1.0], [1.0], 1.5), "lenience takes"),
        (lambda: mean_rounds([0.5, 0.5], 2), "keep takes"),
        (lambda: mean_rounds([[0.5, 1.5]], 2), "keep takes"),
        (lambda: mean_rounds([[0.5]], 0), "gamma takes"),
        (lambda: best_tree([0.5], 0), "nodes takes"),
        (lambda: best_tree([0.9, 0.3], 2), "rank_share takes"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(BadInput, match=message):
        call()


# ---- small cases, all of them -------------------------------------------------------------
CHANCES = st.sampled_from([0.0, 0.25, 0.5, 0.875, 1.0])


@settings(max_examples=40)
@given(
    st.lists(CHANCES, min_size=1, max_size=6), st.lists(CHANCES, min_size=1, max_size=6), st.integers(1, 7)
)
def test_passes_of_any_two_texts_by_every_coin(one, other, gamma):
    """Means over the texts; a position that is never reached keeps nothing."""
    texts = [one, (other * 6)[: len(one)]]
    found, shares = mean_rounds(texts, gamma)
    slow = [slow_rounds(row, gamma) for row in texts]
    assert found == pytest.approx(np.mean([rounds for rounds, _ in slow])) and shares.shape == (gamma,)
    alone = mean_rounds(texts[:1], gamma)[1]
    np.testing.assert_allclose(alone, slow[0][1], atol=1e-12)


def test_kept_shares_of_two_texts_weigh_how_often_each_gets_there():
    """Of two texts of three tokens one always keeps its drafts, the other never: by position."""
    found, shares = mean_rounds([[1, 1, 1], [0, 0, 0]], 2)
    # kept: one round, both drafts; never kept: three rounds of one token, the last without a draft
    assert found == 2 and shares.tolist() == [1 / 3, 1]


@given(st.lists(st.integers(0, 8), min_size=1, max_size=3), st.integers(1, 6))
def test_best_tree_is_the_likeliest_paths_of_all(weights, nodes):
    share = [w / 24 for w in weights]
    tree = best_tree(share, nodes)
    paths = [p for d in range(1, nodes + 1) for p in itertools.product(range(len(share)), repeat=d)]
    chance = sorted({p: math.prod(share[r] for r in p) for p in paths}.values(), reverse=True)
    positive = [p for p in tree.values() if p > 0]
    assert len(tree) == nodes and sorted(positive, reverse=True) == pytest.approx(chance[: len(positive)])
    assert all(p == pytest.approx(math.prod(share[r] for r in path)) for path, p in tree.items())
    assert all(len(path) == 1 or path[:-1] in tree for path in tree)


@given(st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=1, max_size=3), st.data())
def test_tree_tokens_of_any_tree_by_walking(ranks, data):
    """Trees of any shape, with a rank that no text has, and a text with a rank that no tree has."""
    rank, ranks = st.sampled_from([0, 1, 2, 3, 5]), [*ranks, [4, 0, 4, 1, 2, 4]]
    tree = {(data.draw(rank),)}
    for _ in range(data.draw(st.integers(0, 6))):
        path = data.draw(st.sampled_from(sorted(tree)))
        tree |= {((*path, data.draw(rank)) if len(path) < 4 else (data.draw(rank),))}
    depth, said = max(map(len, tree)), []
    for row in ranks:
        for start in range(len(row) - depth + 1):
            window = row[start : start + depth]
            said.append(1 + sum(tuple(window[: d + 1]) in tree for d in range(depth)))
    assert tree_tokens(ranks, tree) == pytest.approx(np.mean(said))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: mean_rounds([[0.5, 1.01]], 1), "keep takes probabilities from 0 to 1, texts by tokens"),
        (lambda: mean_rounds([[0.5, -0.01]], 1), "keep takes probabilities from 0 to 1, texts by tokens"),
        (lambda: mean_rounds([0.5], 1), "keep takes probabilities from 0 to 1, texts by tokens"),
        (lambda: mean_rounds([[]], 1), "keep takes probabilities .* at least one of each"),
        (lambda: mean_rounds([[0.5]], 0), "gamma takes a positive whole number, got 0"),
        (lambda: best_tree([0.5], 0), "nodes takes a positive whole number, got 0"),
        (lambda: best_tree([0.5, 0.6], 1), "rank_share takes probabilities that add up to at most 1"),
        (lambda: best_tree([-0.1], 1), "rank_share takes probabilities"),
        (lambda: best_tree([], 1), "rank_share takes probabilities"),
        (lambda: best_tree([[0.5]], 1), "rank_share takes probabilities"),
        (lambda: best_draft_length(accept=0.5, c_draft=0.1, most=0), "most takes .* at least 1, got 0"),
    ],
)
def test_what_cannot_be_is_refused(call, words):
    with pytest.raises(BadInput, match=words):
        call()


def test_the_least_and_the_most_that_are_taken():
    assert best_tree([1.0], 2) == {(0,): 1.0, (0, 0): 1.0} and best_tree([0.5, 0.5], 1) == {(0,): 0.5}
    assert mean_rounds([[0.5]], 1)[0] == 1 and mean_rounds([[0, 1]], 1)[0] == 2
    assert best_draft_length(accept=0.9, c_draft=0.01, most=1) == 1
    assert best_draft_length(accept=1.0, c_draft=0.01) == 64 == best_draft_length(accept=1, c_draft=0.1)
