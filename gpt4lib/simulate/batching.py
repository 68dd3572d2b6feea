"""Batching by simulation: what static and continuous batching make of the same requests.

    run = simulate(arrival, prompt, output, slots=32, continuous=True, step_time=batch_time)
    run.utilisation, run.latency, mean_longest(lengths, 32)

The simulator schedules as `mini.serving.serve` does. It has no model and no turn objects: steps that are alike
are taken at once, time is in seconds, a step's time may depend on the batch, and a full cache may evict.
Source: yu2022.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import ceil, inf

import numpy as np

from ..spine.errors import BadInput


def geometric(mean: float, top: int | None = None) -> np.ndarray:
    """P(n) of a geometric length of that mean, n = 1, 2, ...; whatever is longer than `top` is cut to it."""
    if not 1 <= mean < inf:
        raise BadInput(f"mean takes a number of at least 1, got {mean!r}")
    top = top or ceil(40 * mean)
    p = (1 - 1 / mean) ** np.arange(top) / mean
    p[-1] += (1 - 1 / mean) ** top
    return p


def uniform(top: int) -> np.ndarray:
    """P(n) of a length from 1 to `top`, all alike."""
    if not top >= 1:
        raise BadInput(f"top takes a whole number of at least 1, got {top!r}")
    return np.full(int(top), 1 / int(top))


def observed(lengths) -> np.ndarray:
    """P(n) of lengths as they were observed."""
    lengths = np.asarray(lengths)
    if not lengths.size or lengths.dtype.kind not in "iu" or lengths.min() < 1:
        raise BadInput(f"lengths takes whole numbers of at least 1, got {lengths!r}")
    return np.bincount(lengths)[1:] / lengths.size


def mean_of(p) -> float:
    """Sum of n P(n)."""
    return float(np.arange(1, len(p) + 1) @ _checked(p))


def mean_longest(p, slots: int) -> float:
    """E max = sum over n >= 0 of 1 - Pr(<= n)^slots: the mean of the longest of `slots` lengths of distribution P(n)."""
    if not slots >= 1:
        raise BadInput(f"slots takes a whole number of at least 1, got {slots!r}")
    below = np.concatenate([[0], np.minimum(np.cumsum(_checked(p)), 1)])
    return float((1 - below[:-1] ** slots).sum())


def _checked(p):
    p = np.asarray(p, dtype=float)
    if p.ndim != 1 or not len(p) or (p < 0).any() or abs(p.sum() - 1) > 1e-6:
        raise BadInput(f"p takes probabilities of 1, 2, ... that add up to 1, got a sum of {p.sum():g}")
    return p


@dataclass(frozen=True)
class ServedRequests:
    """What a simulation saw; one entry a request, in the order given. `stays`: (request, slot, from, to, left at)."""

    arrival: np.ndarray
    start: np.ndarray
    first: np.ndarray
    end: np.ndarray
    stays: list
    slots: int
    steps: int
    busy_slot_steps: int
    kv_peak: int
    evictions: int

    @property
    def latency(self) -> np.ndarray:
        """Seconds from arrival to the last token."""
        return self.end - self.arrival

    @property
    def wait(self) -> np.ndarray:
        """Seconds from arrival to a slot."""
        return self.start - self.arrival

    @property
    def utilisation(self) -> float:
        """Slots at work, of all slots in all steps."""
        return self.busy_slot_steps / (self.slots * self.steps)


def one_second(batch: int, prompt_tokens: int) -> float:
    """Every step takes one second: time is counted in steps."""
    return 1.0


def simulate_batching(
    arrival,
    prompt,
    output,
    *,
    slots: int,
    continuous: bool = True,
    step_time=one_second,
    prompt_chunk: float = inf,
    kv_tokens: float = inf,
    evict: bool = False,
) -> ServedRequests:
    """Serve requests with `arrival` in seconds, `prompt` and `output` in tokens, first come, first served.

    A step takes `step_time(batch, prompt_tokens)` seconds; the rows of a static batch that are done still count.
    A prompt runs `prompt_chunk` tokens a step; the step that ends it puts out the first token. `kv_tokens` bounds
    the cache. Without `evict` each request reserves what it may come to need; with it only the prompt's, and
    when the cache is full the request admitted last goes back to the queue's head, to compute its tokens again.
    """
    arrival = np.asarray(arrival, dtype=float)
    prompt, output = np.asarray(prompt, dtype=np.int64), np.asarray(output, dtype=np.int64)
    _check(arrival, prompt, output, slots, prompt_chunk, kv_tokens, evict and not continuous)
    queue, now = deque(np.argsort(arrival, kind="stable").tolist()), 0.0
    who, order = np.full(slots, -1), np.zeros(slots, dtype=np.int64)
    fed, todo, left, since = (np.zeros(slots, dtype=t) for t in (np.int64, np.int64, np.int64, float))
    due = output.copy()  # tokens that a request still has to put out
    start, first, end = (np.full(len(arrival), np.nan) for _ in range(3))
    ended = np.zeros(slots)
    stays, steps, busy, peak, admitted, evictions = [], 0, 0, 0, 0, 0
    while queue or (who >= 0).any():
        taken = who >= 0
        if not taken.any():
            now = max(now, arrival[queue[0]])
        if continuous or not taken.any():
            for slot in np.flatnonzero(~taken):
                if not queue or arrival[queue[0]] > now:
                    break
                r, held = queue[0], who[who >= 0]
                if kv_tokens < inf:
                    need = prompt[r] + output[r] - (due[r] if evict else 1)
                    kept = (fed + todo)[who >= 0] if evict else prompt[held] + output[held] - 1
                    if kept.sum() + need > kv_tokens:
                        break
                queue.popleft()
                who[slot], order[slot], since[slot], admitted = r, admitted, now, admitted + 1
                fed[slot], todo[slot], left[slot] = 0, prompt[r] + output[r] - due[r], due[r]
                start[r] = now if np.isnan(start[r]) else start[r]
        run = (who >= 0) & (left > 0)
        feed = np.where(run, np.where(todo > 0, np.minimum(todo, prompt_chunk), 1), 0).astype(np.int64)
        while evict and (fed + feed)[run].sum() > kv_tokens:
            slot = np.flatnonzero(run)[np.argmax(order[run])]
            stays.append((int(who[slot]), int(slot), since[slot], now, now))
            queue.appendleft(int(who[slot]))
            due[who[slot]], who[slot], run[slot] = left[slot], -1, False
            fed[slot] = todo[slot] = left[slot] = feed[slot] = 0
            evictions += 1
        batch, prefill = int((who >= 0).sum()), run & (todo > 0)
        dt, alike = float(step_time(batch, int(feed[prefill].sum()))), 1
        if prefill.any():
            spoke = who[prefill & (todo <= feed)]
            first[spoke[np.isnan(first[spoke])]] = now + dt
        else:
            alike = int(left[run].min())
            if continuous and batch < slots and queue and arrival[queue[0]] > now:
                alike = min(alike, max(1, ceil((arrival[queue[0]] - now) / dt)))
            if evict and kv_tokens < inf:
                alike = min(alike, max(1, int((kv_tokens - fed[run].sum()) // run.sum())))
        now, steps, busy = now + alike * dt, steps + alike, busy + alike * int(run.sum())
        fed += alike * feed
        todo = np.maximum(todo - feed, 0)
        left[run & (todo == 0)] -= alike
        peak = max(peak, int(fed[who >= 0].sum()))
        over = run & (left == 0)
        end[who[over]], ended[over] = now, now
        if continuous or not (run & ~over).any():
            for slot in np.flatnonzero((who >= 0) & (left == 0)):
                stays.append((int(who[slot]), int(slot), since[slot], ended[slot], now))
                who[slot], fed[slot] = -1, 0
    return ServedRequests(arrival, start, first, end, stays, slots, steps, busy, peak, evictions)


def _check(arrival, prompt, output, slots, chunk, kv_tokens, static_evict):
    if not len(arrival) == len(prompt) == len(output) > 0:
        raise BadInput(
            f"arrival, prompt and output take one entry a request, got {len(arrival)}, {len(prompt)}, {len(output)}"
        )
    for name, least, low in (
        ("arrival", arrival.min(), 0),
        ("prompt", prompt.min(), 1),
        ("output", output.min(), 1),
        ("slots", slots, 1),
        ("prompt_chunk", chunk, 1),
    ):
        if not least >= low:
            raise BadInput(f"{name} takes numbers of at least {low}, got {least}")
    if (prompt + output - 1).max() > kv_tokens:
        raise BadInput(
            f"kv_tokens takes room for the longest request, {(prompt + output - 1).max()}, got {kv_tokens!r}"
        )
    if static_evict:
        raise BadInput("evict takes continuous batching, got static")
