"""Pipeline schedules replayed piece by piece: the second route to the bubble laws."""

from __future__ import annotations

from ..units import BadInput


def pipeline_schedule(stages: int, micro_batches: int, chunks: int = 1, kind: str = "1F1B") -> list[list[tuple]]:
    """Start and end of every piece of work, one list per stage: (kind, micro-batch, chunk, start, end).

    A forward pass of a micro-batch through one stage takes 1 and a backward pass 2, divided by
    `chunks`; nothing waits for anything but its input. `kind` is "1F1B" (with chunks > 1 the
    interleaved schedule, which takes a multiple of `stages` micro-batches) or "GPipe".
    """
    if kind not in ("1F1B", "GPipe") or min(stages, micro_batches, chunks) < 1 or (chunks > 1 and (micro_batches % stages or kind == "GPipe")):
        raise BadInput(f"no {kind} schedule for {stages} stages, {micro_batches} micro-batches, {chunks} chunks")
    total, group = micro_batches * chunks, stages * chunks

    def work(k, forward):
        if chunks == 1:
            return k, 0
        chunk = k % group // stages
        return k // group * stages + k % stages, chunk if forward else chunks - 1 - chunk

    orders = []
    for stage in range(stages):
        ahead = stages - 1 - stage if chunks == 1 else 2 * (stages - 1 - stage) + (chunks - 1) * stages
        ahead = total if kind == "GPipe" else min(ahead, total)
        order = [("F", *work(k, True)) for k in range(ahead)]
        for k in range(total - ahead):
            order += [("F", *work(ahead + k, True)), ("B", *work(k, False))]
        orders.append(order + [("B", *work(k, False)) for k in range(total - ahead, total)])
    return _replay(orders, chunks)


def _replay(orders, chunks):
    """Run each stage's list in order, each piece as soon as its stage and its input are ready."""
    last, done, clock, rows = len(orders) * chunks - 1, {}, [0.0] * len(orders), [[] for _ in orders]
    while any(len(row) < len(order) for row, order in zip(rows, orders)):
        before = len(done)
        for stage, order in enumerate(orders):
            while len(rows[stage]) < len(order):
                kind, batch, chunk = order[len(rows[stage])]
                depth = chunk * len(orders) + stage
                needs = [("F", batch, depth - 1)] if kind == "F" and depth else []
                needs = [("F", batch, depth)] + ([("B", batch, depth + 1)] if depth < last else []) if kind == "B" else needs
                if any(need not in done for need in needs):
                    break
                start = max([clock[stage], *(done[need] for need in needs)])
                clock[stage] = done[kind, batch, depth] = start + (1 if kind == "F" else 2) / chunks
                rows[stage].append((kind, batch, chunk, start, clock[stage]))
        if len(done) == before:
            raise BadInput("the schedule waits for itself")
    return rows


def idle_share(rows: list[list[tuple]]) -> float:
    """Share of stage time that a schedule leaves idle, counted from its pieces of work."""
    end = max(row[-1][4] for row in rows)
    return 1 - sum(piece[4] - piece[3] for row in rows for piece in row) / (len(rows) * end)
