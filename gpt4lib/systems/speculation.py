"""Speculative decoding in the serving model: the gain of drafts at an acceptance, a batch and a context."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sympy

from ..chapters.speculative_decoding import accept, round_gain, speed_up_free, tokens
from ..spine.errors import BadInput, positive
from ..spine.law import Law
from ..spine.units import to_unit
from .serving import decode


def at_acceptance(law: Law, **inputs):
    """A law at an acceptance from 0 to 1 and a draft length of at least 1; at acceptance 1 its limit.

    Takes arrays. Raises BadInput that names accept, c_draft, gamma, ...

    >>> at_acceptance(tokens, accept=[0, 0.5, 1], gamma=2).tolist()
    [1.0, 1.75, 3.0]
    """
    for name, low, most in (("accept", 0, 1), ("gamma", 1, None)):
        if name in inputs:
            array = np.asarray(to_unit(inputs[name], "1", name, at_most=most))
            if (array < low).any():
                raise BadInput(f"{name} takes a number of at least {low}, got {array[array < low].flat[0]:g}")
    at_one = np.asarray(inputs.get("accept", 0), dtype=float) == 1
    if not at_one.any():
        return law(**inputs)
    sure = Law(law.lhs, sympy.limit(law.rhs, accept, 1), law.title)
    known = {s.name for s in (*sure.symbols, *sure.constants)}
    limit = sure(**{name: given for name, given in inputs.items() if name in known})
    if at_one.all():
        return limit
    return np.where(at_one, limit, law(**inputs | {"accept": np.where(at_one, 0.5, inputs["accept"])}))


def acceptance_of(n_round: float, gamma: int) -> float:
    """The acceptance at which a round of `gamma` drafts gives `n_round` tokens: `tokens`, inverted.

    A log's share of drafts kept is another thing, and lower: drafts after a rejected one are never judged.
    Raises BadInput for tokens outside of 1 to gamma + 1 and for a draft length that is no whole number.

    >>> round(acceptance_of(1 + 167 / 87, 3), 3)
    0.793
    """
    positive("gamma", gamma)
    if not 1 <= n_round <= gamma + 1:
        raise BadInput(f"n_round takes a number from 1 to gamma + 1 = {gamma + 1}, got {n_round!r}")
    roots = np.roots([*[1.0] * gamma, 1.0 - n_round])  # 1 + a + ... + a^gamma = n_round
    return float(roots[abs(roots - abs(roots.real)) < 1e-9].real.min(initial=1.0))


def tokens_by_position(kept) -> float:
    """1 + the sum of `kept`, the shares of rounds in which the first, second, ... draft is kept.

    Raises BadInput for shares outside of 0 to 1 and for a share above the one before it.

    >>> round(tokens_by_position([0.805, 0.632, 0.483]), 2)
    2.92
    """
    shares = np.asarray(kept, dtype=float)
    if shares.ndim != 1 or not ((shares >= 0) & (shares <= 1)).all() or (np.diff(shares) > 0).any():
        raise BadInput(f"kept takes shares from 1 to 0 that do not rise, got {kept!r}")
    return float(1 + shares.sum())


def best_draft_length(*, accept, c_draft, most: int = 64):
    """The draft length from 1 to `most` with the largest speed-up, the shorter of two that tie.

    Raises BadInput for a `most` below 1.
    """
    if not most >= 1:
        raise BadInput(f"most takes a whole number of at least 1, got {most!r}")
    rates, costs = np.broadcast_arrays(np.asarray(accept, dtype=float), np.asarray(c_draft, dtype=float))
    lengths = np.arange(1, most + 1)
    found = at_acceptance(speed_up_free, accept=rates[..., None], gamma=lengths, c_draft=costs[..., None])
    best = lengths[np.argmax(found, axis=-1)]
    return int(best) if best.ndim == 0 else best


@dataclass(frozen=True)
class Gain:
    """The speed-up by drafts; a checking and a draft pass over the oracle's plain one, and its seconds."""

    speed_up: np.ndarray
    check: np.ndarray
    draft: np.ndarray
    plain_seconds: np.ndarray


def batch_gain(
    oracle, draft, server, draft_server, *, accept, gamma, batch, context, hit=(None, None)
) -> Gain:
    """round_gain in the serving model: passes of both timed at `batch` sequences of `context` tokens.

    `hit` is that of `serving.decode`, as (plain, checking). Shapes of the four inputs must agree.
    """
    at, length = {"batch": batch, "context": context}, np.asarray(gamma, dtype=float)
    plain = decode(oracle, server, hit=hit[0], **at).pass_seconds
    check = decode(oracle, server, hit=hit[1], tokens=length + 1, **at).pass_seconds / plain
    drafted = decode(draft, draft_server, **at).pass_seconds / plain
    mean = at_acceptance(tokens, accept=accept, gamma=gamma)
    return Gain(round_gain(n_round=mean, gamma=gamma, c_draft=drafted, v_check=check), check, drafted, plain)
