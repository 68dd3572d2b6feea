"""Serving: static and continuous batching of the same requests, one forward pass a step, in fixed slots.

    served = serve(requests, slots=4)                                  # lengths only: output_tokens each
    engine = Engine(model, slots=4, max_tokens=64, seed=0)
    served = serve(requests, slots=4, step=engine); engine.outputs     # {request number: tokens}

The scheduler knows nothing of the model. Each step it hands the running requests' `Turn`s to `step`, which
returns those that are done. Source: yu2022 for batching iteration by iteration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf

import numpy as np

from ..spine.errors import BadInput
from .model import softmax
from .speculative import sampler


@dataclass(frozen=True)
class Request:
    """A prompt (its tokens; without a model any range of that length) and the most tokens to put out."""

    number: int
    prompt: Sequence[int]
    output_tokens: int
    arrival: int = 0

    @property
    def kv_tokens(self) -> int:
        """Places in the KV cache at the end: the last token put out is never read."""
        return len(self.prompt) + self.output_tokens - 1


@dataclass(frozen=True)
class Turn:
    """A request's part in a step: it runs a piece of its prompt, or its last token; out comes token `output`.

    `output` is 0 until the prompt is through; the step that ends the prompt puts out token 1.
    """

    slot: int
    request: Request
    prompt: slice
    output: int


@dataclass(frozen=True)
class Served:
    """A request's steps in its slot: from `start` up to and without `end`; free from `release`."""

    request: Request
    slot: int
    start: int
    prompt_steps: int
    end: int
    release: int

    @property
    def latency(self) -> int:
        """Steps from arrival to the last token."""
        return self.end - self.request.arrival


def by_length(turns) -> list[Turn]:
    """The turns that put out their request's last token: a `step` without a model."""
    return [turn for turn in turns if turn.output == turn.request.output_tokens]


def serve(
    requests, *, slots: int, continuous=True, prompt_chunk=inf, kv_tokens=inf, step=by_length
) -> list[Served]:
    """The records of all requests, admitted in order of arrival, sorted by start.

    Continuous batching fills a slot as soon as it is free. Static batching waits until the whole batch is
    done. A prompt is run `prompt_chunk` tokens a step. `kv_tokens` bounds the sum over taken slots of the
    cache that each may come to need; whoever does not fit waits, and all behind wait too. Raises BadInput for
    what can never fit and for a `step` that does not end a request with its last token.
    """
    for name, value in (("slots", slots), ("prompt_chunk", prompt_chunk)):
        if not value >= 1:
            raise BadInput(f"{name} takes a number of at least 1, got {value!r}")
    for r in requests:
        if not (len(r.prompt) and r.output_tokens >= 1 and r.arrival >= 0 and r.kv_tokens <= kv_tokens):
            takes = "a prompt, at least 1 output token, an arrival from 0 on and at most kv_tokens"
            raise BadInput(f"requests take {takes} = {kv_tokens}, got {r} with {r.kv_tokens}")
    waiting = sorted(requests, key=lambda r: r.arrival)
    taken, ended = {}, {}  # by slot: (request, start); end
    served, now = [], 0
    while waiting or taken:
        if not taken:
            now = max(now, waiting[0].arrival)
        if continuous or not taken:
            for slot in sorted(set(range(slots)) - taken.keys()):
                held = sum(request.kv_tokens for request, _ in taken.values())
                if waiting and waiting[0].arrival <= now and held + waiting[0].kv_tokens <= kv_tokens:
                    taken[slot] = waiting.pop(0), now
        turns = [_turn(slot, *taken[slot], now, prompt_chunk) for slot in sorted(taken.keys() - ended.keys())]
        now += 1
        ended |= {turn.slot: now for turn in step(turns)}
        if late := [turn for turn in by_length(turns) if turn.slot not in ended]:
            raise BadInput(f"step takes a function that returns the turns that are done, got none of {late}")
        if continuous or len(ended) == len(taken):
            for slot, end in ended.items():
                request, start = taken.pop(slot)
                served.append(Served(request, slot, start, _prompt_steps(request, prompt_chunk), end, now))
            ended = {}
    return sorted(served, key=lambda s: (s.start, s.slot))


def _prompt_steps(request, chunk) -> int:
    return ceil(len(request.prompt) / min(chunk, len(request.prompt)))


def _turn(slot, request, start, now, chunk) -> Turn:
    chunk, age = min(chunk, len(request.prompt)), now - start
    output = max(0, age - _prompt_steps(request, chunk) + 2)
    return Turn(slot, request, slice(age * chunk, (age + 1) * chunk), output)


def idle_slot_steps(served, slots: int) -> int:
    """Slots times steps up to the last end, less the steps in which a slot ran its request."""
    return slots * max(s.end for s in served) - sum(s.end - s.start for s in served)


class Engine:
    """A `step` on the miniature transformer: all turns in one forward pass, each slot a row of one KV cache.

    Greedy without `seed`; with it each request draws from its own generator, (seed, number), whoever runs
    beside it. `stop` ends a request early. `outputs` has the tokens of each request by its number.
    """

    def __init__(self, model, *, slots: int, max_tokens: int, seed: int | None = None, stop=None, meter=None):
        self.model, self.meter = model, meter
        self.cache = model.cache(slots, max_tokens)
        self.seed, self.stop = seed, stop
        self.outputs, self.choose = {}, {}

    def __call__(self, turns) -> list[Turn]:
        fed = []
        for turn in turns:
            number = turn.request.number
            if turn.prompt.start == 0:
                self.cache.lengths[turn.slot] = 0  # the slot's last request is forgotten
                self.outputs[number] = []
                rng = np.random.default_rng([self.seed or 0, number])
                self.choose[number] = np.argmax if self.seed is None else sampler(rng)
            fed.append(list(turn.request.prompt[turn.prompt]) or self.outputs[number][-1:])
        lengths = [len(tokens) for tokens in fed]
        padded = [tokens + [0] * (max(lengths) - len(tokens)) for tokens in fed]
        rows = [turn.slot for turn in turns]
        logits = self.model.forward(padded, self.cache, lengths=lengths, rows=rows, meter=self.meter)
        done = []
        for turn, row, length in zip(turns, logits, lengths):
            if turn.output:
                out, choose = self.outputs[turn.request.number], self.choose[turn.request.number]
                out.append(int(choose(softmax(row[length - 1]))))
                done += [turn] * (turn.output == turn.request.output_tokens or out[-1] == self.stop)
        return done
