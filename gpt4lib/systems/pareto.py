"""Latency against cost: every layout and batch of a model on so many GPUs, and the edge that nothing beats.

`points` asks the serving model for all layouts; `front` keeps what none beats in both time and cost.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np

from ..chapters.training_step import ring_link
from ..spine.errors import positive
from .count import ServedModel
from .machine import DoesNotFit, Server
from .serving import decode

NODE = 8


class Point(NamedTuple):
    """Seconds between two tokens of a reader, USD of a token, utilisation, and how they come about."""

    seconds: float
    cost: float
    mfu: float
    tensor: int
    expert: int
    pipeline: int
    batch: int

    @property
    def n_gpus(self) -> int:
        """GPUs at work."""
        return self.tensor * self.expert * self.pipeline

    @property
    def in_flight(self) -> int:
        """Sequences under way: a batch for each stage."""
        return self.batch * self.pipeline


def points(
    model: ServedModel, *, n_gpus: int, tensor, expert, batch, context, price, gpu="A100-SXM 80GB", **server
) -> list[Point]:
    """Every way to serve `model` on exactly `n_gpus`, as far as weights and cache fit.

    `tensor`, `expert` and `batch` list what is tried; the stages follow. A tensor group wider than a server
    of eight is a ring over servers, at the rate of `training_step.ring_link`. `server` goes to `Server`.
    `price` in USD per GPU and second.
    """
    positive("n_gpus", n_gpus)
    rates, sizes = Server(gpu=gpu, **server).facts(), np.asarray(batch, dtype=float)
    wide = ring_link(link_in=rates["link_in"], link_out=rates["link_out"], node=NODE, stride=1)
    found = []
    for tp, ep in product(tensor, expert):
        if n_gpus % (tp * ep) or ep > model.E:
            continue
        link = {"nvlink_bytes_per_s": wide} if tp > NODE else {}
        machine = Server(**{"gpu": gpu, **server, **link}, tensor=tp, expert=ep, pipeline=n_gpus // (tp * ep))
        try:
            x = decode(model, machine, batch=sizes, context=context, price=price)
        except DoesNotFit:
            continue
        each = zip(1 / x.user_rate[x.fits], x.cost[x.fits], x.mfu[x.fits], sizes[x.fits])
        found += [Point(*map(float, of), tp, ep, machine.pipeline, int(size)) for *of, size in each]
    return found


def front(found: list[Point]) -> list[Point]:
    """The points that no other beats in both time and cost, fastest first.

    >>> a, b, c = (Point(s, c, 0.1, 8, 1, 1, 1) for s, c in ((1, 9), (2, 9), (3, 4)))
    >>> [p.seconds for p in front([c, b, a])]
    [1, 3]
    """
    kept, least = [], np.inf
    for p in sorted(found):
        if p.cost < least:
            kept.append(p)
            least = p.cost
    return kept
