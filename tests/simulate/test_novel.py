"""The shipped text and its n-gram models against counts by hand, the smoothing's definition, unseen text."""

import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt4lib.facts.files import data_file, read_toml
from gpt4lib.simulate import novel
from gpt4lib.spine.errors import BadInput

TEXT = st.lists(st.integers(0, 3), min_size=6, max_size=60)


def slow_probs(tokens, order, vocab, context):
    """Witten-Bell by recursion over plain lists, from the n-grams of the text as they stand."""
    if order == 0:
        return np.full(vocab, 1 / vocab)
    h = tuple(context[len(context) - order + 1 :]) if order > 1 else ()
    after = Counter(
        tokens[i + len(h)] for i in range(len(tokens) - len(h)) if tuple(tokens[i : i + len(h)]) == h
    )
    below = slow_probs(tokens, order - 1, vocab, context)
    total, kinds = sum(after.values()), len(after)
    return (np.array([after[x] for x in range(vocab)]) + kinds * below) / (total + kinds) if total else below


@settings(max_examples=60)
@given(TEXT, st.integers(1, 4), st.lists(st.integers(0, 3), min_size=3, max_size=6))
def test_probabilities_by_recursion(tokens, order, context):
    model = novel.NGram(tokens, order, vocab=4)
    p = model.probs(context)
    np.testing.assert_allclose(p, slow_probs(tokens, order, 4, context), rtol=1e-12)
    assert (p > 0).all() and abs(p.sum() - 1) < 1e-12


def test_stacked_contexts_are_the_single_ones():
    model = novel.fitted(5)
    contexts = novel.windows(novel.corpus()[1], 7)[:600].reshape(20, 30, 7)
    np.testing.assert_array_equal(model.probs(contexts)[3, 4], model.probs(contexts[3, 4]))
    assert model.probs(contexts).shape == (20, 30, len(novel.alphabet()))


@pytest.mark.parametrize("length", range(6))
def test_a_short_context_is_that_of_a_lower_order(length):
    context = novel.tokenise("Darcy"[:length])
    np.testing.assert_allclose(
        novel.fitted(6).probs(context), novel.fitted(min(6, length + 1)).probs(context), rtol=1e-12
    )


def test_held_out_bits_fall_with_the_order_until_the_counts_run_thin():
    held_out = novel.corpus()[1]
    bits = [novel.cross_entropy(novel.fitted(order), held_out) for order in range(1, 8)]
    assert np.argmin(bits) + 1 == 5 and bits[0] > bits[1] > bits[2] > bits[3] > bits[4] and bits[6] > bits[5]
    fitted = [novel.cross_entropy(novel.fitted(order), novel.corpus()[0]) for order in range(1, 8)]
    assert fitted == sorted(fitted, reverse=True), "on its own text a longer memory always helps"
    counts = np.bincount(novel.corpus()[0])
    share = counts[counts > 0] / counts.sum()
    assert abs(fitted[0] - -(share * np.log2(share)).sum()) < 0.001, (
        "order 1 is the entropy of single characters"
    )


def test_no_text_is_in_both_parts():
    training, held_out = (novel.detokenise(part) for part in novel.corpus())
    assert training + held_out == "".join(p + "\n" for p in novel.paragraphs())
    assert 0.08 < len(held_out) / len(training + held_out) < 0.12


def test_the_text_is_the_one_its_note_describes():
    note = read_toml(data_file("text/source.toml"))["pride_and_prejudice"]
    content = data_file(f"text/{note['file']}").read_bytes()
    assert hashlib.sha256(content).hexdigest() == note["sha256"]
    assert len(content) < 500_000 and content.isascii()
    assert (
        "public domain" in note["licence"]
        and {"title", "author", "published", "transcription", "changes"} <= note.keys()
    )
    assert b"Gutenberg" not in content and b"Chapter" not in content and b"_" not in content
    assert novel.paragraphs()[0].startswith("It is a truth universally acknowledged")


def test_lengths_are_words():
    words = novel.paragraph_words()
    assert words[0] == 23 and words.sum() == len(
        data_file("text/pride_and_prejudice.txt").read_text().split()
    )
    assert words.std() > 0.9 * words.mean(), "long-tailed, as lengths of answers are"


def test_bad_input():
    with pytest.raises(BadInput, match="got 'é'"):
        novel.tokenise("née")
    with pytest.raises(BadInput, match=r"order takes .* got 11"):
        novel.NGram([0, 1], 11, vocab=66)
