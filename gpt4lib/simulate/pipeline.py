"""Pipelines replayed piece by piece: the second route to the laws of bubbles and rates.

A schedule is each stage's list of work in order. The replay starts every piece as soon as its stage and its
inputs are ready: a forward pass waits for the stage before, a backward pass for its own forward pass and the
stage after, a weight gradient for its own backward pass.
"""

from __future__ import annotations

from itertools import accumulate

import numpy as np

from ..spine.errors import BadInput, positive

SCHEDULES = ("1F1B", "GPipe", "ZB-H1")


def pipeline_schedule(
    stages: int, micro_batches: int, chunks: int = 1, kind: str = "1F1B", times: tuple = (1, 1, 1)
) -> list[list[tuple]]:
    """Start and end of every piece of work, one list per stage: (kind, micro-batch, chunk, start, end).

    `times` are those of one micro-batch in one stage: forward pass F, gradient of the inputs, gradient of
    the weights; each is divided by `chunks`. A backward pass B is both gradients in one piece, except in
    "ZB-H1" (Qi et al. 2024), where B is the first and W the second. "1F1B" with chunks > 1 is the
    interleaved schedule, which takes a multiple of `stages` micro-batches. Raises BadInput for a schedule
    that does not exist.

    >>> pipeline_schedule(2, 1)[0]
    [('F', 0, 0, 0.0, 1.0), ('B', 0, 0, 4.0, 6.0)]
    """
    for name, number in {"stages": stages, "micro_batches": micro_batches, "chunks": chunks}.items():
        positive(name, number)
    if kind not in SCHEDULES or (chunks > 1 and (kind != "1F1B" or micro_batches % stages)):
        sizes = f"{stages} stages, {micro_batches} micro-batches, {chunks} chunks"
        raise BadInput(f"no {kind} schedule for {sizes}")
    if len(times) != 3 or not all(0 < x < np.inf for x in times):
        takes = "three positive numbers: forward, input gradient, weight gradient"
        raise BadInput(f"times takes {takes}; got {times!r}")
    forward, inputs, weights = (x / chunks for x in times)
    split = kind == "ZB-H1"
    lasts = {"F": forward, "B": inputs if split else inputs + weights, "W": weights}
    order = _zero_bubble if split else _one_after_another
    orders = [order(stage, stages, micro_batches, chunks, kind) for stage in range(stages)]
    return _replay(orders, chunks, lasts)


def _one_after_another(stage, stages, micro_batches, chunks, kind):
    """Some forward passes ahead (in GPipe all), then one forward and one backward in turn."""
    total, group = micro_batches * chunks, stages * chunks

    def work(k, letter):
        chunk = k % group // stages if chunks > 1 else 0
        batch = k // group * stages + k % stages if chunks > 1 else k
        return letter, batch, chunk if letter == "F" else chunks - 1 - chunk

    ahead = stages - 1 - stage if chunks == 1 else 2 * (stages - 1 - stage) + (chunks - 1) * stages
    ahead = total if kind == "GPipe" else min(ahead, total)
    order = [work(k, "F") for k in range(ahead)]
    for k in range(total - ahead):
        order += [work(ahead + k, "F"), work(k, "B")]
    return order + [work(k, "B") for k in range(total - ahead, total)]


def _zero_bubble(stage, stages, micro_batches, chunks, kind):
    """1F1B with the weight gradients put off by as many micro-batches as there are stages before."""
    ahead = min(stages - 1 - stage, micro_batches)
    order = [("F", k, 0) for k in range(ahead)]
    for k in range(micro_batches):
        order += [("F", ahead + k, 0)] * (ahead + k < micro_batches) + [("B", k, 0)]
        order += [("W", k - stage, 0)] * (k >= stage)
    return order + [("W", k, 0) for k in range(max(micro_batches - stage, 0), micro_batches)]


def _replay(orders, chunks, lasts):
    """Run each stage's list in order, each piece as soon as its stage and its inputs are ready."""
    stages, deepest = len(orders), len(orders) * chunks - 1
    done = {kind: [{} for _ in range(deepest + 1)] for kind in lasts}  # by depth: micro-batch to end
    rows, clock = [[] for _ in orders], [0.0] * stages
    ready = list(range(stages))
    while ready:
        stage = ready.pop()
        row, order = rows[stage], orders[stage]
        now = clock[stage]
        while len(row) < len(order):
            kind, batch, chunk = order[len(row)]
            depth = chunk * stages + stage
            if kind == "F":
                start = done["F"][depth - 1].get(batch) if depth else 0.0
            elif kind == "W":
                start = done["B"][depth].get(batch)
            else:  # its own forward pass stands before it
                start = done["B"][depth + 1].get(batch) if depth < deepest else 0.0
            if start is None:
                break
            start = now if now > start else start
            now = done[kind][depth][batch] = start + lasts[kind]
            row.append((kind, batch, chunk, start, now))
            if kind == "F" and depth < deepest:  # not mutated: to wake a stage in vain changes nothing
                ready.append((stage + 1) % stages)
            elif kind == "B" and depth:
                ready.append((stage - 1) % stages)
        clock[stage] = now
    if any(len(row) < len(order) for row, order in zip(rows, orders)):
        raise BadInput("the schedule waits for itself")
    return rows


def stage_idle_share(rows: list[list[tuple]]) -> float:
    """Share of stage time that a schedule leaves idle, counted from its pieces of work."""
    end = max(row[-1][4] for row in rows)
    return 1 - sum(piece[4] - piece[3] for row in rows for piece in row) / (len(rows) * end)


def most_in_flight(rows: list[list[tuple]]) -> list[float]:
    """Most micro-batches whose activations each stage holds at once, counted from its pieces of work.

    A forward pass adds its chunk's part; the last piece that needs it, B or W, takes it away.
    """
    last = "W" if any(piece[0] == "W" for piece in rows[0]) else "B"
    chunks = 1 + max(piece[2] for piece in rows[0])
    change = lambda piece: (piece[0] == "F") - (piece[0] == last)
    return [max(accumulate(map(change, row))) / chunks for row in rows]


def sequence_rate(*, micro_batches: int, stages: int, stage_seconds: float, steps: int = 200) -> float:
    """Tokens per second of one sequence: micro-batches move from stage to stage, first come first served.

    Raises BadInput unless all are positive, and whole numbers but for the seconds.
    """
    for name, number in {"micro_batches": micro_batches, "stages": stages, "steps": steps}.items():
        positive(name, number)
    if not 0 < stage_seconds < np.inf:
        raise BadInput(f"stage_seconds takes a positive number, got {stage_seconds!r}")
    return steps / _rounds([stage_seconds] * micro_batches, stages, steps)[-1]


def _rounds(times: list, stages: int, rounds: int) -> list[float]:
    """When each round ends: micro-batch j takes times[j] in each stage and waits for its own last round."""
    free, done = [0.0] * stages, [0.0] * len(times)
    ends = []
    for _ in range(rounds):
        for j, seconds in enumerate(times):
            now = done[j]
            for s in range(stages):
                now = free[s] = max(free[s], now) + seconds
            done[j] = now
        ends.append(max(done))
    return ends


def pipeline_rate(
    *, sequences: int, stages: int, stage_seconds, micro_batches: int | None = None, rounds: int = 40
) -> float:
    """Tokens per second of `sequences` that go round a pipeline, each token waiting for the one before.

    They form `micro_batches` (default: as many as there are stages, or sequences if fewer) of equal size to
    within one. A stage works on one micro-batch at a time, `stage_seconds(size)` long. The first half of the
    rounds, in which the pipeline fills, is not counted. Raises BadInput for what cannot be divided so.
    """
    parts = min(sequences, stages) if micro_batches is None else micro_batches
    if not 1 <= parts <= sequences or stages < 1 or rounds < 2:
        got = f"got {parts!r} ({stages=}, {rounds=})"
        raise BadInput(f"micro_batches takes 1 to sequences = {sequences}, {got}")
    times = [stage_seconds(sequences // parts + (j < sequences % parts)) for j in range(parts)]
    ends, half = _rounds(times, stages, rounds), rounds // 2
    return sequences * (rounds - half) / (ends[-1] - ends[half - 1])
