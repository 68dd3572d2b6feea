"""Character n-gram models of a novel: a draft and an oracle whose agreement is real, not invented.

    draft, oracle = fitted(3), fitted(5)
    oracle.probs(encode("It is a trut"))          # over the alphabet; contexts may be stacked: (..., length)

The text is the first two volumes of Pride and Prejudice (`data/text/source.toml`), one token a character. The
last tenth of the paragraphs is held out.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np

from ..spine.errors import BadInput


@cache
def paragraphs() -> tuple[str, ...]:
    """The paragraphs of the text, each on one line."""
    text = (files("gpt4lib") / "data" / "text" / "pride_and_prejudice.txt").read_text(encoding="ascii")
    return tuple(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def paragraph_words() -> np.ndarray:
    """Words in each paragraph, in order: lengths as people write them, a word standing for a token."""
    return np.array([len(paragraph.split()) for paragraph in paragraphs()])


@cache
def alphabet() -> str:
    """The characters of the text, sorted; the line break comes first and ends each paragraph."""
    return "".join(sorted(set("".join(paragraphs())) | {"\n"}))


def tokenise(text: str) -> np.ndarray:
    """Characters as tokens, numbers from 0 to len(alphabet()) - 1. Raises BadInput for a stranger."""
    tokens = np.array([alphabet().find(character) for character in text], dtype=int)
    if (tokens < 0).any():
        raise BadInput(f"text takes the characters {alphabet()!r}, got {text[int(np.argmin(tokens))]!r}")
    return tokens


def detokenise(tokens) -> str:
    """The text that `tokenise` took."""
    return "".join(alphabet()[token] for token in tokens)


@cache
def corpus() -> tuple[np.ndarray, np.ndarray]:
    """(training tokens, held-out tokens)."""
    cut = round(0.9 * len(paragraphs()))
    parts = paragraphs()[:cut], paragraphs()[cut:]
    return tuple(tokenise("".join(p + "\n" for p in part)) for part in parts)


@cache
def fitted(order: int) -> NGram:
    """The n-gram model of this order, fitted on the training part."""
    return NGram(corpus()[0], order, len(alphabet()))


class NGram:
    """p_k(x | h) = (count(h x) + T(h) p_{k-1}(x | h')) / (count(h) + T(h)), p_{-1} = 1 / vocab.

    h is the last k tokens, h' is h without its oldest one, T(h) the number of different tokens seen after h;
    order n looks back k = n - 1 tokens. An unseen h leaves the word to h', and no token has probability zero.
    Source: interpolated Witten-Bell smoothing (witten1991).
    """

    def __init__(self, tokens, order: int, vocab: int):
        most = int(62 / np.log2(max(vocab, 2)))  # an n-gram is a number of 63 bits
        if not 1 <= order <= most:
            raise BadInput(f"order takes a whole number from 1 to {most}, got {order!r}")
        tokens = np.asarray(tokens)
        self.order, self.vocab = order, vocab
        self.levels = []
        below = np.full((1, vocab), 1 / vocab)
        for k in range(order):
            # An n-gram is a number in base vocab; without its last digit it is its context.
            grams, counts = np.unique(self._code(windows(tokens, k + 1)), return_counts=True)
            contexts, row = np.unique(grams // vocab, return_inverse=True)
            table = np.zeros((len(contexts), vocab))
            table[row, grams % vocab] = counts
            kinds = np.count_nonzero(table, axis=1)[:, None]
            if k:
                below = below[np.searchsorted(self.levels[-1][0], contexts % vocab ** (k - 1))]
            below = (table + kinds * below) / (table.sum(axis=1)[:, None] + kinds)
            self.levels.append((contexts, below))

    def _code(self, contexts):
        return contexts @ self.vocab ** np.arange(contexts.shape[-1])[::-1]

    def probs(self, context) -> np.ndarray:
        """Next-token distributions (..., vocab) after contexts (..., any length), the latest token last."""
        context = np.asarray(context, dtype=int)
        found = np.broadcast_to(self.levels[0][1][0], (*context.shape[:-1], self.vocab)).copy()
        for k in range(1, min(self.order, context.shape[-1] + 1)):
            contexts, table = self.levels[k]
            code = self._code(context[..., -k:])
            row = np.minimum(np.searchsorted(contexts, code), len(contexts) - 1)
            seen = contexts[row] == code
            found[seen] = table[row[seen]]
        return found


def windows(tokens, length: int) -> np.ndarray:
    """Every run of `length` tokens, (runs, length)."""
    return np.lib.stride_tricks.sliding_window_view(tokens, length)


def cross_entropy(model: NGram, tokens) -> float:
    """The mean of -log2 p(token | the order - 1 before it), in bits a token."""
    grams = windows(np.asarray(tokens), model.order)
    p = model.probs(grams[:, :-1])[np.arange(len(grams)), grams[:, -1]]
    return float(-np.log2(p).mean())
