"""Acceptance from what a log tells: tokens of a round, or the drafts kept by position."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt4lib.chapters.speculative_decoding import tokens
from gpt4lib.spine.errors import BadInput
from gpt4lib.systems.speculation import acceptance_of, at_acceptance, tokens_by_position


@given(st.floats(0, 1), st.integers(1, 12))
@settings(max_examples=200, deadline=None)
def test_the_acceptance_gives_the_tokens_back(accept, gamma):
    found = acceptance_of(sum(accept**i for i in range(gamma + 1)), gamma)
    assert found == pytest.approx(accept, abs=1e-6)
    law = at_acceptance(tokens, accept=found, gamma=gamma)
    assert law == pytest.approx(sum(accept**i for i in range(gamma + 1)), rel=1e-6)


def test_a_log_of_87_rounds():
    """167 of 259 drafts kept in 87 rounds of three: 2.92 tokens a round, by position as in total."""
    by_round = 1 + 167 / 87
    assert tokens_by_position([0.805, 0.632, 0.483]) == pytest.approx(by_round, abs=0.001)
    share_kept = 167 / 259  # the log's "acceptance" makes the round a fifth too short
    assert at_acceptance(tokens, accept=share_kept, gamma=3) == pytest.approx(2.33, abs=0.005)
    assert acceptance_of(by_round, 3) == pytest.approx(0.793, abs=0.0005)


@pytest.mark.parametrize(
    "call, names",
    [
        (lambda: acceptance_of(4.5, 3), "n_round takes a number from 1 to gamma"),
        (lambda: acceptance_of(0.5, 3), "n_round takes a number from 1 to gamma"),
        (lambda: acceptance_of(float("nan"), 3), "n_round takes a number from 1 to gamma"),
        (lambda: acceptance_of(2, 2.5), "gamma takes a positive whole number"),
        (lambda: tokens_by_position([0.5, 0.6]), "kept takes shares from 1 to 0 that do not rise"),
        (lambda: tokens_by_position([1.5]), "kept takes shares"),
        (lambda: tokens_by_position([float("nan")]), "kept takes shares"),
    ],
)
def test_bad_input_is_named(call, names):
    with pytest.raises(BadInput, match=names):
        call()


def test_drafts_that_are_all_kept():
    assert tokens_by_position([1.0, 1.0, 0.0]) == 3.0
