"""Pipeline schedules against their own rules, the published closed forms and a plain event loop."""

import heapq
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt4lib.chapters import parallelism as par
from gpt4lib.chapters import training_step
from gpt4lib.simulate.pipeline import most_in_flight, pipeline_schedule, stage_idle_share
from gpt4lib.spine.errors import BadInput

few, times = st.integers(1, 9), st.tuples(*[st.floats(0.3, 3)] * 3)
KINDS = ("GPipe", "1F1B", "ZB-H1")


def end(rows):
    return max(row[-1][4] for row in rows)


def lengths(kind, work, chunks):
    f, b, w = (x / chunks for x in work)
    return {"F": f, "B": b, "W": w} if kind == "ZB-H1" else {"F": f, "B": b + w}


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(KINDS), few, few, st.integers(1, 4), times)
def test_every_piece_is_done_once_and_waits_for_its_inputs(kind, stages, batches, chunks, work):
    chunks = chunks if kind == "1F1B" else 1
    batches = batches * stages if chunks > 1 else batches
    rows, last = pipeline_schedule(stages, batches, chunks, kind, work), lengths(kind, work, chunks)
    done = {(piece[0], piece[1], piece[2] * stages + s): piece for s, row in enumerate(rows) for piece in row}
    assert len(done) == len(last) * stages * batches * chunks == sum(map(len, rows))
    for (letter, batch, depth), (_, _, _, start, stop) in done.items():
        assert stop - start == pytest.approx(last[letter])
        needs = {"F": [("F", depth - 1)], "B": [("F", depth), ("B", depth + 1)], "W": [("B", depth)]}[letter]
        for other, place in needs:
            if 0 <= place < stages * chunks:
                assert done[other, batch, place][4] <= start + 1e-9
    for row in rows:
        assert all(a[4] <= b[3] + 1e-9 for a, b in itertools.pairwise(row))
        free = [0.0] + [piece[4] for piece in row]
        for piece, before in zip(row, free):  # nothing waits for anything but its stage and its inputs
            stage = rows.index(row)
            depth = piece[2] * stages + stage
            needs = {"F": [("F", depth - 1)], "B": [("F", depth), ("B", depth + 1)], "W": [("B", depth)]}[
                piece[0]
            ]
            ready = [done[k, piece[1], at][4] for k, at in needs if 0 <= at < stages * chunks]
            assert piece[3] == pytest.approx(max([before, *ready]))


@settings(max_examples=60, deadline=None)
@given(few, few, times)
def test_gpipe_and_1f1b_leave_the_published_bubble(stages, batches, work):
    law = par.bubble_share(p=stages, m=batches, v=1)
    for kind in ("GPipe", "1F1B"):
        rows = pipeline_schedule(stages, batches, 1, kind, work)
        assert stage_idle_share(rows) == pytest.approx(law, abs=1e-9)
        assert end(rows) == pytest.approx((batches + stages - 1) * sum(work))


@settings(max_examples=60, deadline=None)
@given(few, st.integers(1, 5), st.integers(2, 5), times)
def test_interleaving_divides_the_bubble(stages, rounds, chunks, work):
    rows = pipeline_schedule(stages, stages * rounds, chunks, "1F1B", work)
    assert stage_idle_share(rows) == pytest.approx(
        par.bubble_share(p=stages, m=stages * rounds, v=chunks), abs=1e-9
    )


@settings(max_examples=100, deadline=None)
@given(few, st.integers(0, 12), times)
def test_zero_bubble_needs_a_short_weight_gradient_and_a_full_pipeline(stages, more, work):
    forward, inputs, weights = sorted(work, reverse=True)
    rows = pipeline_schedule(stages, stages + more, 1, "ZB-H1", (forward, inputs, weights))
    law = par.zero_bubble(p=stages, m=stages + more, t_fwd=forward, t_din=inputs, t_dw=weights)
    assert stage_idle_share(rows) == pytest.approx(law, abs=1e-9)
    assert stage_idle_share(rows) <= par.bubble_share(p=stages, m=stages + more, v=1) + 1e-9


def test_zero_bubble_is_a_third_with_equal_times_and_no_law_outside_its_conditions():
    equal = {"t_fwd": 1, "t_din": 1, "t_dw": 1}
    plain, split = (pipeline_schedule(15, 35, 1, kind) for kind in ("1F1B", "ZB-H1"))
    work = 35 * 3
    assert end(plain) - work == 3 * (end(split) - work) == 3 * 14
    assert par.zero_bubble(p=15, m=35, **equal) == pytest.approx(14 / (35 * 3 + 14))
    slow = pipeline_schedule(8, 24, 1, "ZB-H1", (1, 1, 2))
    assert stage_idle_share(slow) > par.zero_bubble(p=8, m=24, t_fwd=1, t_din=1, t_dw=1.999) + 0.01


@settings(max_examples=60, deadline=None)
@given(few, few, st.integers(2, 4))
def test_micro_batches_in_flight(stages, batches, chunks):
    held = {kind: most_in_flight(pipeline_schedule(stages, batches, 1, kind)) for kind in KINDS}
    assert held["GPipe"] == [batches] * stages
    assert held["1F1B"] == [min(stages - s, batches) for s in range(stages)]
    assert max(held["1F1B"]) == training_step.flying(p=stages, m=batches, before=0)
    assert held["ZB-H1"] == [min(stages, batches)] * stages  # every stage as many as 1F1B's first
    rows = pipeline_schedule(stages, stages * batches, chunks)
    assert max(most_in_flight(rows)) == pytest.approx(
        training_step.flying_interleaved(p=stages, m=stages * batches, v=chunks, before=0)
    )


def test_replay_against_an_event_loop():
    stages, batches = 5, 11
    work = (1.0, 1.5, 0.5)
    rows = pipeline_schedule(stages, batches, 1, "1F1B", work)
    clock, place = [0.0] * stages, [0] * stages
    finished, seen = {}, []
    events = [(0.0, s) for s in range(stages)]
    while events:
        now, s = heapq.heappop(events)
        if place[s] == 2 * batches or now < clock[s]:
            continue
        kind, batch = rows[s][place[s]][:2]
        needs = [("F", s - 1)] if kind == "F" else [("F", s), ("B", s + 1)]
        if any(finished.get((k, batch, at), 1e9) > now for k, at in needs if 0 <= at < stages):
            continue
        clock[s] = finished[kind, batch, s] = now + (1.0 if kind == "F" else 2.0)
        place[s] += 1
        seen.append((kind, batch, 0, now, clock[s], s))
        for other in (s - 1, s, s + 1):
            if 0 <= other < stages:
                heapq.heappush(events, (clock[s], other))
    assert sorted(seen) == sorted((*piece, s) for s, row in enumerate(rows) for piece in row)


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": "zero-bubble"},
        {"kind": "GPipe", "chunks": 2},
        {"kind": "ZB-H1", "chunks": 2},
        {"stages": 0},
        {"micro_batches": -1},
        {"micro_batches": 2.5},
        {"stages": True},
        {"chunks": 2, "micro_batches": 9},
    ],
)
def test_schedules_that_do_not_exist_are_refused(bad):
    with pytest.raises(BadInput, match=r"no .* schedule for|takes a positive whole number, got"):
        pipeline_schedule(**{"stages": 4, "micro_batches": 8} | bad)


@pytest.mark.parametrize("times", [(1, 1), (1, 1, 0), (1, -1, 1), (1, float("nan"), 1), (1, 1, float("inf"))])
def test_times_that_do_not_exist_are_refused(times):
    with pytest.raises(BadInput, match="times takes three positive numbers"):
        pipeline_schedule(4, 8, times=times)


@pytest.mark.parametrize(("stages", "batches", "chunks"), [(4, 8, 1), (4, 8, 2), (3, 9, 4)])
def test_the_micro_batches_are_numbered_from_0(stages, batches, chunks):
    for row in pipeline_schedule(stages, batches, chunks):
        assert {piece[1] for piece in row} == set(range(batches)) and {piece[2] for piece in row} == set(
            range(chunks)
        )


def order(row):
    """A stage's work as text: F0 is the forward pass of micro-batch 0, F0' that of its second chunk."""
    return " ".join(f"{kind}{batch}" + "'" * chunk for kind, batch, chunk, _, _ in row)


ORDERS = [  # as the papers draw them
    ("GPipe", 2, 3, 1, ["F0 F1 F2 B0 B1 B2"] * 2),
    ("1F1B", 3, 4, 1, ["F0 F1 F2 B0 F3 B1 B2 B3", "F0 F1 B0 F2 B1 F3 B2 B3", "F0 B0 F1 B1 F2 B2 F3 B3"]),
    ("1F1B", 3, 2, 1, ["F0 F1 B0 B1", "F0 F1 B0 B1", "F0 B0 F1 B1"]),
    (
        "1F1B",
        2,
        4,
        2,
        [
            "F0 F1 F0' F1' F2 B0' F3 B1' F2' B0 F3' B1 B2' B3' B2 B3",
            "F0 F1 F0' B0' F1' B1' F2 B0 F3 B1 F2' B2' F3' B3' B2 B3",
        ],
    ),
    (
        "ZB-H1",
        3,
        4,
        1,
        [
            "F0 F1 F2 B0 W0 F3 B1 W1 B2 W2 B3 W3",
            "F0 F1 B0 F2 B1 W0 F3 B2 W1 B3 W2 W3",
            "F0 B0 F1 B1 F2 B2 W0 F3 B3 W1 W2 W3",
        ],
    ),
    ("ZB-H1", 3, 1, 1, ["F0 B0 W0"] * 3),
]


@pytest.mark.parametrize(("kind", "stages", "batches", "chunks", "want"), ORDERS)
def test_the_order_of_the_work_is_as_drawn(kind, stages, batches, chunks, want):
    assert [order(row) for row in pipeline_schedule(stages, batches, chunks, kind)] == want


def test_two_stages_of_two_micro_batches_by_hand():
    """Forward 1, backward 2 + 3 in one piece: the second stage starts at 1, the first waits for
    it until 7.
    """
    assert pipeline_schedule(2, 2, 1, "1F1B", (1, 2, 3)) == [
        [("F", 0, 0, 0, 1), ("F", 1, 0, 1, 2), ("B", 0, 0, 7, 12), ("B", 1, 0, 13, 18)],
        [("F", 0, 0, 1, 2), ("B", 0, 0, 2, 7), ("F", 1, 0, 7, 8), ("B", 1, 0, 8, 13)],
    ]
    assert pipeline_schedule(2, 1, 1, "ZB-H1", (1, 2, 3)) == [
        [("F", 0, 0, 0, 1), ("B", 0, 0, 4, 6), ("W", 0, 0, 6, 9)],
        [("F", 0, 0, 1, 2), ("B", 0, 0, 2, 4), ("W", 0, 0, 4, 7)],
    ]
    halves = pipeline_schedule(1, 2, 2, "1F1B", (1, 2, 3))
    assert [piece[4] - piece[3] for piece in halves[0]] == [0.5, 0.5, 2.5, 0.5, 2.5, 0.5, 2.5, 2.5]


def test_idle_share_and_micro_batches_in_flight_by_hand():
    rows = [[("F", 0, 0, 0, 1), ("B", 0, 0, 4, 6)], [("F", 0, 0, 1, 2), ("B", 0, 0, 2, 4)]]
    assert stage_idle_share(rows) == 0.5 and most_in_flight(rows) == [1, 1]
    chunks = [[("F", 0, 0, 0, 1), ("F", 0, 1, 1, 2), ("F", 1, 0, 2, 3), ("B", 0, 1, 3, 4), ("F", 1, 1, 4, 5)]]
    assert most_in_flight(chunks) == [1.5]
    split = [[("F", 0, 0, 0, 1), ("B", 0, 0, 1, 2), ("F", 1, 0, 2, 3), ("W", 0, 0, 3, 4)]]
    assert most_in_flight(split) == [2], "a weight gradient needs what its backward pass needed"
