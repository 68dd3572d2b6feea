"""Speculative decoding: the output is the oracle's, shown by running the sampler along every branch."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt4lib.mini import speculative as spec
from gpt4lib.mini.meter import Meter
from gpt4lib.mini.model import Transformer, tiny_shape
from gpt4lib.simulate import novel
from gpt4lib.spine.errors import BadInput


class Table:
    """Next-token distributions that depend on the last two tokens, drawn at random, some of them zero."""

    def __init__(self, seed, vocab=3, zeros=0.25):
        rng = np.random.default_rng(seed)
        p = rng.dirichlet(np.ones(vocab), size=(vocab, vocab)) * (rng.random((vocab, vocab, vocab)) > zeros)
        p[p.sum(axis=2) == 0] = 1
        self.p = p / p.sum(axis=2, keepdims=True)

    def probs(self, context):
        return self.p[context[-2], context[-1]]


def chain_rule(model, context, length, vocab=3):
    """The distribution of `length` tokens as the product of conditionals, without the library."""
    found = {}
    for tokens in itertools.product(range(vocab), repeat=length):
        sequence, p = list(context), 1.0
        for token in tokens:
            p *= model.probs(sequence)[token]
            sequence.append(token)
        found[tokens] = p
    return found


def exactly(oracle, draft, *, length, gamma, lenience=1.0, context=(0, 1)):
    return spec.outcomes(
        lambda choose: (
            spec.generate(
                oracle, draft, context, length=length, gamma=gamma, choose=choose, lenience=lenience
            ).tokens
        )
    )


SEEDS = st.integers(0, 10**6)


@settings(max_examples=25)
@given(SEEDS, SEEDS, st.integers(0, 3), st.integers(1, 3))
def test_exact_distribution_is_the_oracles(oracle, draft, gamma, length):
    oracle, draft = Table(oracle), Table(draft)
    found = exactly(oracle, draft, length=length, gamma=gamma)
    assert spec.total_variation(found, chain_rule(oracle, (0, 1), length)) < 1e-12


def test_one_long_round_and_what_follows_it():
    oracle, draft = Table(1, zeros=0), Table(2, zeros=0)
    found = exactly(oracle, draft, length=4, gamma=3)
    assert len(found) == 81 and spec.total_variation(found, chain_rule(oracle, (0, 1), 4)) < 1e-12
    first = spec.outcomes(lambda c: spec.speculative_round(oracle, draft, (0, 1), gamma=3, choose=c))
    assert {len(tokens) for tokens in first} == {1, 2, 3, 4} and abs(sum(first.values()) - 1) < 1e-12
    # A round that stops early ends in a refused draft's replacement; the oracle alone finishes the sequence.
    whole = {}
    for tokens, p in first.items():
        for rest, p_rest in chain_rule(oracle, (0, 1, *tokens), 4 - len(tokens)).items():
            whole[tokens + rest] = whole.get(tokens + rest, 0) + p * p_rest
    assert spec.total_variation(whole, chain_rule(oracle, (0, 1), 4)) < 1e-12


@settings(max_examples=40)
@given(SEEDS, SEEDS, st.sampled_from([1.0, 0.9, 0.5, 0.2, 0.01]))
def test_lenience_distorts_by_the_acceptance_it_gains_and_no_less_is_possible(oracle, draft, lenience):
    oracle, draft = Table(oracle), Table(draft)
    p, q = oracle.probs((0, 1)), draft.probs((0, 1))
    one = {}
    for tokens, weight in spec.outcomes(
        lambda c: spec.speculative_round(oracle, draft, (0, 1), gamma=1, choose=c, lenience=lenience)
    ).items():
        one[tokens[0]] = one.get(tokens[0], 0) + weight
    gained = np.minimum(q, p / lenience).sum() - np.minimum(q, p).sum()
    assert abs(spec.total_variation(one, dict(enumerate(p))) - gained) < 1e-12
    assert all(weight <= p[token] / lenience + 1e-12 for token, weight in one.items())


def test_lenience_goes_from_the_oracle_to_the_draft():
    oracle, draft = Table(5, zeros=0), Table(6, zeros=0)
    true = chain_rule(oracle, (0, 1), 3)
    distances = [
        spec.total_variation(exactly(oracle, draft, length=3, gamma=2, lenience=x), true)
        for x in (1, 0.8, 0.5, 0.2, 1e-9)
    ]
    assert distances[0] < 1e-12 and distances == sorted(distances) and distances[-1] > 0.05
    # With no refusals two drafts stand, and the third token is always the oracle's.
    all_kept = {
        t: p * oracle.probs((0, 1, *t[:2]))[t[2]] / draft.probs((0, 1, *t[:2]))[t[2]]
        for t, p in chain_rule(draft, (0, 1), 3).items()
    }
    assert spec.total_variation(exactly(oracle, draft, length=3, gamma=2, lenience=1e-9), all_kept) < 1e-12


@settings(max_examples=30)
@given(SEEDS, SEEDS, st.integers(1, 5))
def test_greedy_output_is_the_oracles_own(oracle, draft, gamma):
    oracle, draft = Table(oracle, vocab=5), Table(draft, vocab=5)
    sequence = [0, 1]
    while len(sequence) < 22:
        sequence.append(int(np.argmax(oracle.probs(sequence))))
    for helper in (spec.Greedy(draft), draft):
        run = spec.generate(
            spec.Greedy(oracle),
            helper,
            (0, 1),
            length=20,
            gamma=gamma,
            choose=spec.sampler(np.random.default_rng(0)),
        )
        assert list(run.tokens) == sequence[2:] and sum(run.kept) + run.passes == 20


def chi_square(counts, probabilities):
    """(statistic, degrees of freedom), outcomes that are expected less than 5 times pooled into one."""
    runs, cells = sum(counts.values()), {}
    for outcome, p in probabilities.items():
        key = outcome if runs * p >= 5 else "rare"
        seen, expected = cells.get(key, (0, 0))
        cells[key] = seen + counts.get(outcome, 0), expected + runs * p
    return sum((seen - expected) ** 2 / expected for seen, expected in cells.values()), len(cells) - 1


def test_chi_square_of_samples():
    """6,400 runs of 4 tokens, 81 outcomes; within 4 standard deviations of the chi-square's mean."""
    oracle, draft, rng = Table(1, zeros=0), Table(2, zeros=0), np.random.default_rng(0)
    counts = Counter(
        spec.generate(oracle, draft, (0, 1), length=4, gamma=2, choose=spec.sampler(rng)).tokens
        for _ in range(6400)
    )
    statistic, degrees = chi_square(counts, chain_rule(oracle, (0, 1), 4))
    assert degrees > 40 and abs(statistic - degrees) < 4 * np.sqrt(2 * degrees)
    assert chi_square(counts, chain_rule(draft, (0, 1), 4))[0] > 20 * degrees, "the test can fail"


def test_acceptance_on_the_novel_is_the_overlap_of_the_two_models():
    """Kept drafts at the first position against the sum of min(p, q), in the mean of the contexts met."""
    oracle, draft, choose = novel.fitted(5), novel.fitted(3), spec.sampler(np.random.default_rng(1))
    context = novel.tokenise("It is a truth universally acknowledged, that")
    run = spec.generate(oracle, draft, context, length=6000, gamma=3, choose=choose)
    text, starts = (
        np.concatenate([context, run.tokens]),
        len(context) + np.cumsum([0, *(np.array(run.kept) + 1)])[:-1],
    )
    overlap = np.mean([np.minimum(oracle.probs(text[:s]), draft.probs(text[:s])).sum() for s in starts])
    reached, kept = run.by_position()[0]
    assert reached == sum(d > 0 for d in run.drafted) and abs(kept / reached - overlap) < 4 * np.sqrt(
        0.25 / reached
    )
    assert 0.5 < kept / reached < 0.7 and run.passes < 0.55 * 6000
    for (_, kept_before), (reached, kept) in itertools.pairwise(run.by_position()):
        assert kept <= reached <= kept_before


def test_by_position_by_hand():
    run = spec.Decoded(tokens=(0,) * 9, drafted=(3, 3, 3, 1), kept=(3, 0, 1, 1))
    assert run.by_position() == [(4, 3), (2, 1), (1, 1)] and run.passes == 4


# ---- the miniature transformer as oracle and draft ----------------------------------------
ORACLE = Transformer(tiny_shape(vocab=12), seed=1)
DRAFT = Transformer(
    tiny_shape(vocab=12, layers=1), tables=ORACLE.tables, layers=ORACLE.layers[:1]
)  # the oracle's first layer alone
PROMPT = (3, 1, 4, 1, 5)


def fresh_logits(model, tokens):
    """The logits after `tokens` with an empty cache: nothing can be left over from before."""
    return model.forward([list(tokens)], model.cache(1, len(tokens)))[0, -1]


def test_transformer_greedy_in_fewer_passes():
    sequence = list(PROMPT)
    while len(sequence) < 45:
        sequence.append(int(np.argmax(fresh_logits(ORACLE, sequence))))
    for draft in (DRAFT, ORACLE):
        oracle, helper = spec.Cached(ORACLE, max_tokens=60), spec.Cached(draft, max_tokens=60)
        run = spec.generate(
            spec.Greedy(oracle),
            spec.Greedy(helper),
            PROMPT,
            length=40,
            gamma=4,
            choose=lambda p: int(np.argmax(p)),
        )
        assert list(run.tokens) == sequence[5:] and oracle.passes == run.passes
        if draft is ORACLE:
            assert run.passes == 8 and set(run.kept) == {4}
        else:
            assert 0 < sum(run.kept) < sum(run.drafted), (
                "some drafts are refused, so the cache is rolled back"
            )


def test_transformer_verifies_all_drafts_at_once_and_rolls_back():
    rng, meter = np.random.default_rng(3), Meter()
    cached, tokens = spec.Cached(ORACLE, max_tokens=40, meter=meter), list(PROMPT)
    for _ in range(12):
        keep = int(rng.integers(len(PROMPT), len(tokens) + 1))
        tokens = tokens[:keep] + rng.integers(12, size=int(rng.integers(1, 5))).tolist()
        n = int(rng.integers(1, 5))
        found = cached.distributions(tokens, n)
        for row, end in zip(found, range(len(tokens) - n + 1, len(tokens) + 1)):
            logits = fresh_logits(ORACLE, tokens[:end])
            np.testing.assert_allclose(row, np.exp(logits) / np.exp(logits).sum(), rtol=1e-9)
        assert cached.cache.lengths[0] == len(tokens)
    assert cached.passes == len(meter.loads[0]) == 12


def test_transformer_distribution_by_enumeration():
    oracle, draft = (
        Transformer(tiny_shape(vocab=3, top_k=1), seed=4),
        Transformer(tiny_shape(vocab=3, layers=1), seed=5),
    )
    models = spec.Cached(oracle, max_tokens=8), spec.Cached(draft, max_tokens=8)
    found = exactly(*models, length=3, gamma=2)
    true = {}
    for tokens in itertools.product(range(3), repeat=3):
        sequence, p = (0, 1), 1.0
        for token in tokens:
            logits = fresh_logits(oracle, sequence)
            p *= np.exp(logits[token]) / np.exp(logits).sum()
            sequence += (token,)
        true[tokens] = p
    assert spec.total_variation(found, true) < 1e-12


def test_outcomes_walks_every_branch_once():
    dice = spec.outcomes(lambda choose: choose([1 / 6] * 6) + choose([1 / 6] * 6))
    assert {k: round(36 * p) for k, p in dice.items()} == {k: 6 - abs(k - 5) for k in range(11)}
    assert spec.outcomes(lambda choose: choose([0, 1, 0])) == {1: 1.0}
    nested = spec.outcomes(lambda choose: "x" * (1 + choose([0.5, 0.5])) if choose([0.25, 0.75]) else "stop")
    assert nested == {"stop": 0.25, "x": 0.375, "xx": 0.375}


def test_sampler_draws_in_proportion():
    choose = spec.sampler(np.random.default_rng(0))
    counts = np.bincount([choose([0.2, 0, 0.5, 0.3]) for _ in range(4000)], minlength=4)
    np.testing.assert_allclose(counts / 4000, [0.2, 0, 0.5, 0.3], atol=0.03)
    assert counts[1] == 0


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: spec.acceptance([1.0], [1.0], 0), "lenience takes .* got 0"),
        (lambda: spec.acceptance([1.0], [1.0], 2), "lenience takes .* got 2"),
        (lambda: exactly(Table(0), Table(1), length=0, gamma=1), "length takes .* got 0"),
        (lambda: exactly(Table(0), Table(1), length=2, gamma=-1), "gamma takes .* got -1"),
        (lambda: spec.Cached(ORACLE, max_tokens=5, temperature=0), "temperature takes a positive"),
        (lambda: spec.Cached(ORACLE, max_tokens=5).distributions([], 1), "n takes"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(BadInput, match=message):
        call()
