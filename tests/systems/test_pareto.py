"""Latency against cost: the front against every pair of points, layouts against a list, a pipeline run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt4lib.chapters import inference_tradeoffs as it
from gpt4lib.simulate.pipeline import sequence_rate
from gpt4lib.spine.errors import BadInput
from gpt4lib.systems.count import served_model
from gpt4lib.systems.machine import Server
from gpt4lib.systems.pareto import Point, front, points
from gpt4lib.systems.serving import decode

PALM, MIXTURE = served_model("PaLM 540B"), served_model("gpt4_multi_query")
TRIED = {
    "tensor": (8, 16, 32),
    "expert": (1, 4, 16),
    "batch": (1, 16, 256, 4096),
    "context": 2048,
    "price": 1 / 3600,
}


def beats(p, q):
    """No worse in both, better in one."""
    return p.seconds <= q.seconds and p.cost <= q.cost and (p.seconds, p.cost) != (q.seconds, q.cost)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=30))
def test_front_is_what_no_point_beats(pairs):
    found = [Point(s, c, 0.1, 8, 1, 1, 1) for s, c in pairs]
    assert set(front(found)) == {q for q in found if not any(beats(p, q) for p in found)}
    assert [p.seconds for p in front(found)] == sorted(p.seconds for p in front(found))


def test_layouts_are_those_of_so_many_gpus():
    found = points(MIXTURE, n_gpus=128, **TRIED)
    ways = {p[3:6] for p in found}
    assert ways == {(8, 1, 16), (8, 4, 4), (8, 16, 1), (16, 1, 8), (16, 4, 2), (32, 1, 4), (32, 4, 1)}
    assert all(p.n_gpus == 128 and p.in_flight == p.batch * p.pipeline for p in found)
    assert {p.expert for p in points(PALM, n_gpus=32, **TRIED)} == {
        1
    }  # a dense model has no experts to spread
    assert points(MIXTURE, n_gpus=8, **TRIED) == []  # the weights do not fit


def test_a_point_is_what_the_serving_model_says():
    p = next(p for p in points(PALM, n_gpus=16, **TRIED) if p[3:] == (16, 1, 1, 16))
    # Sixteen ranks on two servers: the ring leaves a server over its eight network cards together.
    x = decode(PALM, Server(tensor=16, nvlink_bytes_per_s=8 * 25e9), batch=16, context=2048, price=1 / 3600)
    assert (1 / p.seconds, p.cost, p.mfu) == pytest.approx((float(x.user_rate), float(x.cost), float(x.mfu)))
    slow = next(q for q in points(PALM, n_gpus=16, overhead=2.0, **TRIED) if q[3:] == p[3:])
    assert slow.seconds > 1.8 * p.seconds


def test_what_does_not_fit_is_left_out():
    server = Server(pipeline=2)
    limit = float(decode(PALM, server, batch=1, context=2048).batch_limit)
    kept = [p.batch for p in points(PALM, n_gpus=16, **TRIED) if p.tensor == 8]
    assert kept == [b for b in TRIED["batch"] if b <= limit] and 4096 not in kept


@pytest.mark.parametrize(("m", "p"), [(1, 1), (4, 16), (16, 16), (40, 16), (3, 1), (5, 3)])
def test_a_pipeline_runs_at_the_rate_of_the_law(m, p):
    by_law = it.user_rate(turns=it.waiting(m=m, p=p), t_pass=p * 0.01)
    assert sequence_rate(micro_batches=m, stages=p, stage_seconds=0.01, steps=2000) == pytest.approx(
        by_law, rel=2e-3
    )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: points(PALM, n_gpus=0, **TRIED), "n_gpus takes a positive whole number"),
        (lambda: points(PALM, n_gpus=16, **(TRIED | {"batch": (0,)})), "batch takes positive numbers"),
        (lambda: points(PALM, n_gpus=16, overlap=3, **TRIED), "overlap 0 to 1"),
        (lambda: sequence_rate(micro_batches=0, stages=1, stage_seconds=1), "micro_batches takes"),
        (lambda: sequence_rate(micro_batches=1, stages=1.5, stage_seconds=1), "stages takes"),
        (
            lambda: sequence_rate(micro_batches=1, stages=1, stage_seconds=-1),
            "stage_seconds takes a positive number",
        ),
        (lambda: sequence_rate(micro_batches=1, stages=1, stage_seconds=1, steps=0), "steps takes"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(BadInput, match=words):
        call()


def test_a_group_of_one_whole_server_stays_on_its_own_links():
    p = next(p for p in points(PALM, n_gpus=32, **TRIED) if p[3:] == (8, 1, 4, 16))
    x = decode(PALM, Server(tensor=8, pipeline=4), batch=16, context=2048, price=1 / 3600)
    assert (1 / p.seconds, p.cost) == pytest.approx((float(x.user_rate), float(x.cost)))


@pytest.mark.parametrize("seconds", [0, float("inf"), float("nan")])
def test_a_stage_takes_some_time(seconds):
    with pytest.raises(BadInput, match="stage_seconds takes a positive number"):
        sequence_rate(micro_batches=1, stages=1, stage_seconds=seconds)


def test_a_pipelines_first_step_ends_with_its_last_micro_batch():
    assert sequence_rate(micro_batches=3, stages=1, stage_seconds=1, steps=1) == 1 / 3
    assert sequence_rate(micro_batches=2, stages=3, stage_seconds=0.5, steps=1) == 1 / 2


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6))
def test_a_pipeline_step_by_step(micro_batches, stages, steps):
    """In each tick every idle stage takes on the micro-batch that has waited longest for it."""
    queue = [list(range(micro_batches)), *([] for _ in range(stages - 1))]
    left, ticks = [steps] * micro_batches, 0
    while any(left):
        ticks += 1
        moved = [(stage, waiting.pop(0)) for stage, waiting in enumerate(queue) if waiting]
        for stage, i in moved:
            queue[(stage + 1) % stages].append(i)
            left[i] -= stage == stages - 1
        queue[0] = [i for i in queue[0] if left[i]]
    task = {"micro_batches": micro_batches, "stages": stages, "stage_seconds": 0.5}
    assert sequence_rate(**task, steps=steps) == pytest.approx(steps / (0.5 * ticks))


def test_two_hundred_steps_are_run_where_none_are_given():
    task = {"micro_batches": 2, "stages": 3, "stage_seconds": 1}
    assert sequence_rate(**task) == sequence_rate(**task, steps=200) != sequence_rate(**task, steps=201)


def test_front_keeps_the_cheaper_of_two_as_fast_and_one_of_two_alike():
    a, b, c, d = (Point(s, c, 0.1, 8, 1, 1, n) for s, c, n in ((1, 9, 1), (1, 8, 2), (2, 8, 3), (3, 7, 4)))
    assert front([d, c, b, a]) == [b, d] and front([]) == []
    assert front([b, Point(*b[:-1], 7)]) == [b]
