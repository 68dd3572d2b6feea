"""Counting one by one what the laws say at once: bytes, tokens, days, sequences, layers, failures."""

from __future__ import annotations

from collections import Counter

import numpy as np

from ..spine.errors import BadInput, positive


def simulate_failures(mtbf: float, tau: float, write: float, restart: float, segments: int, seed=0) -> float:
    """Share of time lost in a run of `segments` checkpoints under random (exponential) failures.

    Each segment is `tau` of work and one `write`; a failure throws the segment away and costs a `restart`,
    which can fail too. Raises BadInput where next to no segment would end.
    """
    _finite(mtbf=mtbf, tau=tau, segments=segments)
    if not 0 <= restart + tau + write <= 12 * mtbf:
        raise BadInput(f"mtbf takes a time in which a segment can end, got {mtbf!r}")
    rng, clock = np.random.default_rng(seed), 0.0
    for _ in range(segments):
        need = tau + write
        while (next_failure := rng.exponential(mtbf)) < need:
            clock += next_failure
            need = restart + tau + write
        clock += need
    return 1 - segments * tau / clock


def _finite(**given):
    for name, number in given.items():
        if not 0 < number < np.inf:
            raise BadInput(f"{name} takes a positive number, got {number!r}")


def step_bytes(
    *, layers: int, d_model: int, d_ff: int, vocab: int, context: int, weight_bytes=2.0, kv_bytes=2.0
) -> Counter:
    """Bytes that a token of a dense multi-head decoder reads, by part, counted matrix by matrix.

    Norms, biases and positions are left out. Raises BadInput unless every size is a positive whole number
    (`context` may be 0).
    """
    for name, size in {"layers": layers, "d_model": d_model, "d_ff": d_ff, "vocab": vocab}.items():
        positive(name, size)
    if not isinstance(context, int) or context < 0:
        raise BadInput(f"context takes a whole number of at least 0, got {context!r}")
    read = Counter(vocabulary=vocab * d_model * weight_bytes)
    for _ in range(layers):
        for _matrix in ("query", "key", "value", "output"):
            read["attention"] += d_model * d_model * weight_bytes
        for _matrix in ("up", "down"):
            read["mlp"] += d_model * d_ff * weight_bytes
        for _ in range(context):
            read["cache"] += (d_model + d_model) * kv_bytes
    return read


def days_to_spend(
    *, users: int, messages: float, tokens: float, cost_usd: float, budget_usd: float, seed=0, most=100_000
) -> int:
    """Days until serving has cost `budget_usd`; each user's messages of a day and each length are drawn.

    Messages per user and day are Poisson with mean `messages`, lengths geometric with mean `tokens`; a token
    costs `cost_usd`. Raises BadInput for a size that is not positive and where `most` days are not enough.
    """
    given = {"users": users, "messages": messages, "cost_usd": cost_usd, "budget_usd": budget_usd}
    for name, number in given.items():
        if not number > 0:
            raise BadInput(f"{name} takes a number of at least 0, got {number!r}")
    if not tokens >= 1:
        raise BadInput(f"tokens takes a number of at least 1, got {tokens!r}")
    rng, spent = np.random.default_rng(seed), 0.0
    for day in range(1, most + 1):
        sent = int(rng.poisson(messages, users).sum())
        spent += int(rng.geometric(1 / tokens, sent).sum()) * cost_usd
        if spent >= budget_usd:
            return day
    raise BadInput(f"budget_usd = {budget_usd!r} is not spent in {most} days")


def ramp_by_counting(*, tokens: float, ramp: float, first: float, last: float) -> int:
    """Steps of a run of `tokens` whose batch grows from `first` to `last` with the first `ramp` tokens seen.

    Counted one step at a time. Raises BadInput unless 0 < first <= last and 0 <= ramp <= tokens.
    """
    if not 0 < first <= last or not 0 <= ramp <= tokens < np.inf:
        got = f"first={first!r}, last={last!r}, ramp={ramp!r}, tokens={tokens!r}"
        raise BadInput(f"a ramp takes 0 < first <= last and 0 <= ramp <= tokens, got {got}")
    seen, steps = 0.0, 0
    while seen < tokens:
        seen += first + (last - first) * seen / ramp if seen < ramp else last
        steps += 1
    return steps


def fill_cache(
    *, room_bytes: float, layers: int, kv_heads: int, head_width: int, context: int, kv_bytes: float = 2
) -> int:
    """Sequences whose whole cache fits into `room_bytes`, set aside layer by layer, head by head.

    `layers` and `kv_heads` are those that the GPU holds. Raises BadInput unless every size is at least 1.
    """
    sizes = {"layers": layers, "kv_heads": kv_heads, "head_width": head_width, "context": context}
    for name, size in sizes.items():
        positive(name, size)
    _finite(room_bytes=room_bytes, kv_bytes=kv_bytes)
    whole, used = 0, 0.0
    while True:
        for _ in range(layers * 2 * kv_heads):
            used += context * head_width * kv_bytes
            if used > room_bytes:
                return whole
        whole += 1


def fullest_stage(layers: int, stages: int) -> int:
    """Layers of the fullest stage when whole layers are dealt out one by one.

    Raises BadInput where a stage would stay empty.

    >>> fullest_stage(120, 15), fullest_stage(120, 16)
    (8, 8)
    """
    if not 1 <= stages <= layers:
        raise BadInput(f"stages takes 1 to layers = {layers}, got {stages!r}")
    held = [0] * stages
    for _ in range(layers):
        held[held.index(min(held))] += 1
    return max(held)
