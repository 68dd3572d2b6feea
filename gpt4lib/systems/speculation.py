"""Speculative decoding in the serving model: the gain of drafts at an acceptance, a batch and a context."""

from __future__ import annotations

import numpy as np
import sympy

from ..chapters.speculative_decoding import accept, round_gain, speed_up_free, tokens
from ..spine.errors import BadInput
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


def best_draft_length(*, accept, c_draft, most: int = 64):
    """The draft length from 1 to `most` with the largest speed-up, the shorter of two that tie; takes arrays."""
    if not most >= 1:
        raise BadInput(f"most takes a whole number of at least 1, got {most!r}")
    rates, costs = np.broadcast_arrays(np.asarray(accept, dtype=float), np.asarray(c_draft, dtype=float))
    lengths = np.arange(1, most + 1)
    found = at_acceptance(speed_up_free, accept=rates[..., None], gamma=lengths, c_draft=costs[..., None])
    best = lengths[np.argmax(found, axis=-1)]
    return int(best) if best.ndim == 0 else best


def batch_gain(oracle, draft, server, draft_server, *, accept, gamma, batch, context, **routing) -> dict:
    """round_gain in the serving model: oracle and draft passes timed at `batch` sequences of `context` tokens.

    A dict of arrays: `speed_up`, `check` and `draft` (times over the oracle's plain pass), `plain_seconds`. `routing`
    is `hit` of `serving.decode`, as (plain, checking). Shapes of accept, gamma, batch and context must agree.
    """
    mean, length = at_acceptance(tokens, accept=accept, gamma=gamma), np.asarray(gamma, dtype=float)
    plain_hit, check_hit = routing.get("hit", (None, None))
    timed = [
        decode(model, on, batch=batch, context=context, tokens=positions, hit=hit)["pass_seconds"]
        for model, on, positions, hit in (
            (oracle, server, 1, plain_hit),
            (oracle, server, length + 1, check_hit),
            (draft, draft_server, 1, None),
        )
    ]
    plain, check, drafted = timed
    gain = round_gain(n_round=mean, gamma=gamma, c_draft=drafted / plain, v_check=check / plain)
    return {"speed_up": gain, "check": check / plain, "draft": drafted / plain, "plain_seconds": plain}
