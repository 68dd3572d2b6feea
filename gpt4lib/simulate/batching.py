"""Batching by simulation: what static and continuous batching make of the same requests.

    run = simulate_batching(arrival, prompt, output, slots=32, step_time=step_time)
    run.utilisation, run.latency, mean_longest(lengths, 32)

The simulator schedules as `mini.serving.serve` does. It has no model and no turn objects: steps that are
alike are taken at once, time is in seconds, a step's may depend on the batch, and a full cache may evict.
Source: yu2022.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from math import ceil, inf, isfinite

import numpy as np

from ..spine.errors import BadInput, positive


def geometric(mean: float, top: int | None = None) -> np.ndarray:
    """P(n) of a geometric length of that mean, n = 1, 2, ...; whatever is longer than `top` is cut to it.

    Raises BadInput unless the mean is at least 1 and `top`, by default 40 means, a positive whole number.
    """
    if not 1 <= mean < inf:
        raise BadInput(f"mean takes a number of at least 1, got {mean!r}")
    top = ceil(40 * mean) if top is None else top
    positive("top", top)
    p = (1 - 1 / mean) ** np.arange(top) / mean
    p[-1] += (1 - 1 / mean) ** top
    return p


def uniform(top: int) -> np.ndarray:
    """P(n) of a length from 1 to `top`, all alike. Raises BadInput for a top below 1."""
    if not top >= 1:
        raise BadInput(f"top takes a whole number of at least 1, got {top!r}")
    return np.full(int(top), 1 / int(top))


def observed(lengths) -> np.ndarray:
    """P(n) of lengths as they were observed. Raises BadInput unless they are positive whole numbers."""
    lengths = np.asarray(lengths)
    if not lengths.size or lengths.dtype.kind not in "iu" or lengths.min() < 1:
        raise BadInput(f"lengths takes whole numbers of at least 1, got {lengths!r}")
    return np.bincount(lengths)[1:] / lengths.size


def mean_of(p) -> float:
    """Sum of n P(n)."""
    return float(np.arange(1, len(p) + 1) @ _checked(p))


def mean_longest(p, slots: int) -> float:
    """E max = sum over n >= 0 of 1 - Pr(<= n)^slots: the mean of the longest of `slots` lengths.

    Raises BadInput for less than one slot and for a `p` that does not add up to 1.
    """
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
    """What a simulation saw, one entry a request as given. `stays`: (request, slot, from, to, left at)."""

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
    step_time: Callable[[int, int], float] = one_second,
    prompt_chunk: float = inf,
    token_budget: float = inf,
    kv_tokens: float = inf,
    evict: bool = False,
) -> ServedRequests:
    """Serve requests with `arrival` in seconds, `prompt` and `output` in tokens, first come, first served.

    A step takes `step_time(batch, prompt_tokens)` seconds; rows of a static batch that are done still count.
    A prompt runs `prompt_chunk` tokens a step; the step that ends it puts out the first token. A step runs at
    most `token_budget` tokens in all: those put out, then prompts in the order of admission (vLLM's
    max_num_batched_tokens). `kv_tokens` bounds the cache. Without `evict` each request reserves what it may
    come to need; with it only the prompt's, and when the cache is full the request admitted last goes back to
    the queue's head, to compute its tokens again. Raises BadInput for what can never be served and for a step
    that takes no time.
    """
    arrival = np.asarray(arrival, dtype=float)
    prompt, output = _whole("prompt", prompt), _whole("output", output)
    _check(arrival, prompt, output, slots, prompt_chunk, kv_tokens)
    if not token_budget >= slots:
        raise BadInput(f"token_budget takes at least slots = {slots}, got {token_budget!r}")
    if evict and not continuous:
        raise BadInput("evict takes continuous batching, got static")
    s = _Server(arrival, prompt, output, slots, continuous, step_time, prompt_chunk, kv_tokens, evict)
    s.budget = token_budget
    while s.queue or s.seats:
        s.admit()
        s.make_room()
        s.step()
        s.retire()
    times = map(np.array, (s.start, s.first, s.end))
    return ServedRequests(arrival, *times, s.stays, slots, s.steps, s.busy, s.peak, s.evictions)


@dataclass(slots=True)
class _Seat:
    """A request in a slot `since` then: `todo` tokens to run, then one out a step until step `ends`."""

    request: int
    since: float
    todo: int
    ends: int = 0


class _Server:
    """Queue, slots and clock of a simulation; each method is one rule.

    By request: `size`, the cache it fills in the end, and `due`, tokens to put out from when it last took a
    slot. A row reads its prompt (`reading`), then puts out a token a step until it ends (`ending`, by step
    and slot). `seats`: all taken slots in the order of admission, in a static batch also of those done.
    """

    def __init__(self, arrival, prompt, output, slots, continuous, step_time, chunk, room, evict):
        requests = range(len(arrival))
        self.arrival, self.size, self.due = (x.tolist() for x in (arrival, prompt + output - 1, output))
        self.continuous, self.evict = continuous, evict and room < inf
        self.chunk, self.room = (int(chunk) if chunk < inf else inf), room
        self.step_time = step_time
        self.queue = deque(sorted(requests, key=self.arrival.__getitem__))
        self.free, self.seats = list(range(min(slots, len(arrival)))), {}
        self.reading, self.ending, self.done, self.stays = ([] for _ in range(4))
        self.start, self.first, self.end = ([None for _ in requests] for _ in range(3))
        self.now, self.budget = 0.0, inf
        self.steps = self.busy = self.cached = self.peak = self.evictions = 0

    def admit(self) -> None:
        """Who has come and fits takes the first free slot; behind one that does not fit all wait."""
        if not self.seats:
            self.now = max(self.now, self.next_arrival())
        elif not self.continuous:
            return
        while self.free and self.next_arrival() <= self.now and self.fits(self.queue[0]):
            request, slot = self.queue.popleft(), heappop(self.free)
            seat = _Seat(request, self.now, todo=self.size[request] + 1 - self.due[request])
            self.seats[slot] = seat
            self.reading.append((slot, seat))
            if self.start[request] is None:
                self.start[request] = self.now

    def next_arrival(self) -> float:
        """When the queue's head comes or has come; never where nobody is left."""
        return self.arrival[self.queue[0]] if self.queue else inf

    def fits(self, request: int) -> bool:
        """Whether the cache has room for what all may come to need; with eviction, for what they run."""
        if self.room == inf:
            return True
        if self.evict:
            kept = self.cached + sum(seat.todo for _, seat in self.reading)
            return kept + self.size[request] + 1 - self.due[request] <= self.room
        return sum(self.size[seat.request] for seat in self.seats.values()) + self.size[request] <= self.room

    def pieces(self) -> list[int]:
        """Prompt tokens that each reading row runs in the next step."""
        each = [min(seat.todo, self.chunk) for _, seat in self.reading]
        if self.budget < inf:
            left = int(self.budget) - len(self.ending)
            for i, piece in enumerate(each):
                each[i] = min(piece, left)
                left -= each[i]
        return each

    def make_room(self) -> None:
        """While the next step overfills the cache, the request admitted last goes to the queue's head."""
        while self.evict and self.cached + sum(self.pieces()) + len(self.ending) > self.room:
            slot, seat = self.seats.popitem()
            request = seat.request
            if seat.todo:  # the last to come is the last to read
                self.reading.pop()
                self.cached -= self.size[request] + 1 - self.due[request] - seat.todo
            else:
                self.ending.remove((seat.ends, slot))
                self.due[request] = seat.ends - self.steps
                self.cached -= self.size[request] - self.due[request]
            self.queue.appendleft(request)
            self.leave(slot, seat, self.now)
            self.evictions += 1

    def step(self) -> None:
        """Each row runs a token, or a piece of its prompt, whose end puts out one; alike steps go at once.

        Raises BadInput for a step that takes no time or for ever.
        """
        pieces = self.pieces()
        dt = float(self.step_time(len(self.seats), sum(pieces)))
        alike = 1 if pieces or not 0 < dt < inf else self.alike(dt)
        self.now += alike * dt
        if not dt > 0 or not self.now < inf:
            raise BadInput(f"step_time takes a function with positive, finite values, got {dt!r}")
        self.steps += alike
        self.busy += alike * (len(pieces) - pieces.count(0) + len(self.ending))
        self.cached += alike * len(self.ending) + sum(pieces)
        self.peak = max(self.peak, self.cached)
        for (slot, seat), piece in zip(self.reading, pieces):
            seat.todo -= piece
            if not seat.todo:
                self.speak(slot, seat)
        if pieces:
            self.reading = [row for row in self.reading if row[1].todo]

    def alike(self, dt: float) -> int:
        """Steps until a row ends, somebody comes to a free slot or the cache is full."""
        alike = self.ending[0][0] - self.steps
        if self.continuous and self.free and (gap := self.next_arrival() - self.now) > 0:
            alike = max(1, ceil(min(alike, gap / dt)))
        if self.evict:
            alike = min(alike, max(1, int((self.room - self.cached) // len(self.ending))))
        return alike

    def speak(self, slot: int, seat: _Seat) -> None:
        """The row has put out its first token of this stay, and knows the step of its last one."""
        seat.ends = self.steps + self.due[seat.request] - 1
        insort(self.ending, (seat.ends, slot))
        if self.first[seat.request] is None:
            self.first[seat.request] = self.now

    def retire(self) -> None:
        """Who is done leaves the slot: at once, or in a static batch when all are done."""
        while self.ending and self.ending[0][0] == self.steps:
            slot = self.ending.pop(0)[1]
            self.end[self.seats[slot].request] = self.now
            self.done.append(slot)
        if self.done and (self.continuous or not (self.ending or self.reading)):
            for slot in sorted(self.done):
                seat = self.seats.pop(slot)
                self.cached -= self.size[seat.request]
                self.leave(slot, seat, self.end[seat.request])
            self.done.clear()

    def leave(self, slot: int, seat: _Seat, until: float) -> None:
        """The slot is free; the stay is written down."""
        self.stays.append((seat.request, slot, seat.since, until, self.now))
        heappush(self.free, slot)


def _whole(name, tokens):
    tokens = np.asarray(tokens)
    with np.errstate(invalid="ignore"):  # what is no number is no whole one
        found = tokens.astype(np.int64)
    if (wrong := found != tokens).any():
        raise BadInput(f"{name} takes whole numbers, got {tokens[wrong][0]}")
    return found


def _check(arrival, prompt, output, slots, chunk, kv_tokens):
    if not len(arrival) == len(prompt) == len(output) > 0:
        got = f"{len(arrival)}, {len(prompt)}, {len(output)}"
        raise BadInput(f"arrival, prompt and output take one entry a request, got {got}")
    positive("slots", slots)
    leasts = {"arrival": (arrival.min(), 0), "prompt": (prompt.min(), 1), "output": (output.min(), 1)}
    for name, (least, low) in (leasts | {"prompt_chunk": (chunk, 1)}).items():
        if not least >= low:
            raise BadInput(f"{name} takes numbers of at least {low}, got {least}")
    if not isfinite(arrival.max()):
        raise BadInput(f"arrival takes finite numbers, got {arrival.max()}")
    longest = (prompt + output - 1).max()
    if not longest <= kv_tokens:
        raise BadInput(f"kv_tokens takes room for the longest request, {longest}, got {kv_tokens!r}")
