"""Speculative decoding: a draft proposes gamma tokens, the oracle checks them in one pass and keeps a prefix.

    run = generate(oracle, draft, context, length=100, gamma=4, choose=sampler(rng))
    outcomes(lambda choose: generate(oracle, draft, context, length=3, gamma=2, choose=choose).tokens)

A model is anything with `probs(context)`, the distribution of the next token; one with `distributions(tokens,
n)` checks several positions in one pass (`Cached`, the miniature transformer). Every random choice goes
through `choose(probs)`, which returns an index. `sampler` draws it. `outcomes` takes every branch in turn and
so finds the exact distribution of whatever the very same code returns. Source: leviathan2023, algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..spine.errors import BadInput
from .model import softmax


def acceptance(p, q, lenience: float = 1.0) -> np.ndarray:
    """min(1, p / (lenience q)): the probability with which each token that the draft drew is kept.

    p, q: distributions (..., vocab) of oracle and draft. With lenience 1 the output has the oracle's
    distribution. Below 1 no token comes out with more than p / lenience. Raises BadInput for a lenience of 0
    or less, or above 1. Source: leviathan2023, appendix A.5.
    """
    if not 0 < lenience <= 1:
        raise BadInput(f"lenience takes a number above 0 and at most 1, got {lenience!r}")
    p, q = np.asarray(p), np.asarray(q)
    return np.divide(p, lenience * q, out=np.ones_like(p), where=p < lenience * q)


def residual(p, q) -> np.ndarray:
    """max(0, p - q), normalised: where the token comes from that replaces a refused one."""
    rest = np.maximum(0, np.asarray(p) - q)
    return rest / rest.sum() if rest.any() else p  # p = q but for rounding: nothing is refused


def distributions(model, tokens, n: int) -> np.ndarray:
    """Next-token distributions (n, vocab) after the last n prefixes of `tokens`, the whole being the last."""
    if hasattr(model, "distributions"):
        return model.distributions(tokens, n)
    return np.stack([model.probs(tokens[:end]) for end in range(len(tokens) - n + 1, len(tokens) + 1)])


def speculative_round(oracle, draft, context, *, gamma: int, choose, lenience: float = 1.0) -> tuple:
    """The 1 to gamma + 1 tokens of a round: the kept drafts and one token more, from one oracle pass."""
    tokens, q = list(context), []
    for _ in range(gamma):
        q.append(distributions(draft, tokens, 1)[0])
        tokens.append(choose(q[-1]))
    p, drafts = distributions(oracle, tokens, gamma + 1), tuple(tokens[len(context) :])
    for i, token in enumerate(drafts):
        keep = acceptance(p[i], q[i], lenience)[token]
        if not choose([1 - keep, keep]):
            return (*drafts[:i], choose(residual(p[i], q[i])))
    return (*drafts, choose(p[gamma]))


@dataclass(frozen=True)
class Decoded:
    """The new tokens, and for each round how many were drafted and how many of these kept."""

    tokens: tuple
    drafted: tuple
    kept: tuple

    @property
    def passes(self) -> int:
        """Oracle passes, one a round."""
        return len(self.kept)

    def by_position(self) -> list[tuple[int, int]]:
        """For each draft position: (rounds in which the oracle reached it, rounds in which it kept it)."""
        drafted, kept = np.array(self.drafted), np.array(self.kept)
        positions = range(drafted.max(initial=0))
        return [(int(((drafted > i) & (kept >= i)).sum()), int((kept > i).sum())) for i in positions]


def generate(oracle, draft, context, *, length: int, gamma: int, choose, lenience: float = 1.0) -> Decoded:
    """`length` new tokens by rounds that draft no more than is wanted; with gamma 0 by the oracle alone.

    Raises BadInput unless length, at least 1, and gamma, at least 0, are whole numbers.
    """
    for name, value, least in (("length", length, 1), ("gamma", gamma, 0)):
        if not isinstance(value, int) or value < least:
            raise BadInput(f"{name} takes a whole number of at least {least}, got {value!r}")
    tokens, rounds = tuple(context), []  # of each round: drafted and kept
    while (missing := len(context) + length - len(tokens)) > 0:
        most = min(gamma, missing - 1)
        new = speculative_round(oracle, draft, tokens, gamma=most, choose=choose, lenience=lenience)
        tokens += new
        rounds.append((most, len(new) - 1))
    return Decoded(tokens[len(context) :], *zip(*rounds))


class Greedy:
    """`model` with all probability on its likeliest token: a draft is then kept where both agree."""

    def __init__(self, model):
        self.model = model

    def distributions(self, tokens, n: int) -> np.ndarray:
        p = distributions(self.model, tokens, n)
        return np.eye(p.shape[1])[p.argmax(axis=1)]


class Cached:
    """The miniature transformer as a model: one forward pass for all positions asked for, one row of cache.

    What the cache holds beyond the new tokens' common prefix is rolled back: a refused draft is forgotten.
    `passes` counts forward passes; `meter` counts their FLOP and bytes.
    """

    def __init__(self, model, *, max_tokens: int, temperature: float = 1.0, meter=None):
        if not temperature > 0:
            raise BadInput(f"temperature takes a positive number (Greedy stands for 0), got {temperature!r}")
        self.model, self.meter = model, meter
        self.cache, self.temperature = model.cache(1, max_tokens), temperature
        self.held, self.passes = [], 0

    def distributions(self, tokens, n: int) -> np.ndarray:
        """As the function `distributions`. Raises BadInput unless 1 <= n <= the number of tokens."""
        tokens = list(tokens)
        if not 1 <= n <= len(tokens):
            raise BadInput(f"n takes 1 to {len(tokens)} positions of {len(tokens)} tokens, got {n!r}")
        same = 0
        while same < min(len(tokens) - n, len(self.held)) and tokens[same] == self.held[same]:
            same += 1
        self.cache.lengths[0] = same
        logits = self.model.forward([tokens[same:]], self.cache, meter=self.meter)
        self.held, self.passes = tokens, self.passes + 1
        return softmax(logits[0, -n:] / self.temperature)


def sampler(rng):
    """A `choose` that draws with `rng`, one uniform number for each choice."""

    def choose(probs) -> int:
        ends = np.cumsum(probs)
        return int(np.searchsorted(ends, rng.random() * ends[-1], side="right"))

    return choose


def outcomes(program) -> dict:
    """{outcome: probability} of what `program(choose)` returns, exactly, by running every branch.

    >>> coin = [0.5, 0.5]
    >>> outcomes(lambda choose: choose(coin) + choose(coin))
    {0: 0.25, 1: 0.5, 2: 0.25}
    """
    found, branches = {}, [()]
    while branches:
        walk = _Walk(branches.pop(), branches)
        outcome = program(walk)
        found[outcome] = found.get(outcome, 0.0) + float(walk.weight)
    return found


class _Walk:
    """A `choose` that takes the given first choices, then each time the first of all and notes the others."""

    def __init__(self, first: tuple, branches: list):
        self.first, self.branches = first, branches
        self.path, self.weight = [], 1.0

    def __call__(self, probs) -> int:
        if len(self.path) < len(self.first):
            self.path.append(self.first[len(self.path)])
        else:
            taken, *others = np.flatnonzero(probs).tolist()
            self.branches.extend((*self.path, other) for other in reversed(others))
            self.path.append(taken)
        self.weight *= probs[self.path[-1]]
        return self.path[-1]


def total_variation(a: dict, b: dict) -> float:
    """Half the sum of |a - b|: the share of outcomes on which two distributions must differ."""
    return sum(abs(a.get(key, 0.0) - b.get(key, 0.0)) for key in a.keys() | b.keys()) / 2
