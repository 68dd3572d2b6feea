"""The batching simulator against a loop over single tokens, and input that can never be served."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt4lib.simulate.batching import geometric, simulate_batching
from gpt4lib.spine.errors import BadInput

LOAD = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 8), st.integers(0, 12)), min_size=1, max_size=12)


def seconds(batch, prompt_tokens):
    return 1 + batch / 4 + prompt_tokens / 8


@dataclass
class Row:
    """A request in a slot: prompt and repeated tokens to run, and tokens in the cache."""

    request: int
    slot: int
    todo: int
    held: int = 0


def token_by_token(load, slots, continuous, chunk, room, evict):
    """(first, end, steps, peak, evictions): no sums kept, no steps taken at once; times are eighths."""
    waiting, out = sorted(range(len(load)), key=lambda r: load[r][2]), [0] * len(load)
    rows: list[Row] = []
    first, end = {}, {}
    now = steps = peak = evictions = 0

    def room_for(r):
        if evict:
            return sum(row.todo + row.held for row in rows) + load[r][0] + out[r] <= room
        return sum(load[q][0] + load[q][1] - 1 for q in (r, *(row.request for row in rows))) <= room

    runs = lambda: [row for row in rows if row.request not in end]
    feed = lambda row: min(row.todo, chunk) if row.todo else 1
    while waiting or rows:
        now = now if rows else max(now, load[waiting[0]][2])
        for slot in sorted(set(range(slots)) - {row.slot for row in rows}) if continuous or not rows else ():
            if waiting and load[waiting[0]][2] <= now and room_for(waiting[0]):
                r = waiting.pop(0)
                rows.append(Row(r, slot, load[r][0] + out[r]))
        while evict and sum(row.held + feed(row) for row in runs()) > room:
            waiting.insert(0, rows.pop().request)
            evictions += 1
        now += seconds(len(rows), sum(feed(row) for row in runs() if row.todo))
        steps += 1
        for row in runs():
            row.todo, row.held = max(0, row.todo - feed(row)), row.held + feed(row)
            if not row.todo:
                out[row.request] += 1
                first.setdefault(row.request, now)
            if out[row.request] == load[row.request][1]:
                end[row.request] = now
        peak = max(peak, sum(row.held for row in rows))
        rows = runs() if continuous or not runs() else rows
    return first, end, steps, peak, evictions


RULES = [(True, False), (True, True), (False, False)]


@settings(max_examples=200, deadline=None)
@given(
    LOAD, st.integers(1, 4), st.sampled_from(RULES), st.sampled_from([1, 3, math.inf]), st.integers(13, 30)
)
def test_by_a_loop_over_tokens(load, slots, rules, chunk, room):
    continuous, evict = rules
    prompt, output, arrival = zip(*load)
    run = simulate_batching(
        arrival,
        prompt,
        output,
        slots=slots,
        continuous=continuous,
        step_time=seconds,
        prompt_chunk=chunk,
        kv_tokens=room,
        evict=evict,
    )
    first, end, steps, peak, evictions = token_by_token(load, slots, continuous, chunk, room, evict)
    assert dict(enumerate(run.first)) == first and dict(enumerate(run.end)) == end
    assert (run.steps, run.kv_peak, run.evictions) == (steps, peak, evictions)


def test_more_slots_than_requests_change_nothing():
    few, many = (simulate_batching([0, 1], [2, 3], [4, 5], slots=slots) for slots in (2, 10**12))
    assert few.stays == many.stays and many.utilisation < 1e-11


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("prompts", [True, False])
def test_a_step_takes_time(seconds, prompts):
    """Neither a step with prompts nor one without may take none, or for ever."""
    step_time = lambda batch, prompt_tokens: seconds if bool(prompt_tokens) == prompts else 1.0
    for arrival in ([0, 5], [0, 0]):
        with pytest.raises(BadInput, match="step_time takes a function with positive, finite"):
            simulate_batching(arrival, [1, 1], [4, 4], slots=2, step_time=step_time)


def test_stays_stand_in_the_order_of_leaving_and_then_of_slots():
    run = simulate_batching([0] * 5, [1] * 5, [3, 1, 2, 2, 1], slots=3, continuous=False)
    assert [(request, slot) for request, slot, *_ in run.stays] == [(0, 0), (1, 1), (2, 2), (3, 0), (4, 1)]
    run = simulate_batching([0] * 5, [1] * 5, [3, 1, 2, 2, 1], slots=3)
    assert [(request, slot) for request, slot, *_ in run.stays] == [(1, 1), (2, 2), (0, 0), (3, 1), (4, 2)]


def test_a_step_of_almost_no_time_ends():
    run = simulate_batching([0, 1e9], [1, 1], [10**9, 2], slots=2, step_time=lambda b, p: 1e-300)
    assert run.steps == 10**9 + 2 and run.end[1] >= 1e9


def test_stays_hold_plain_numbers():
    """Whatever numbers the requests come in, and whatever `step_time` returns."""
    step = lambda batch, prompt_tokens: np.float32(0.5)
    for continuous, evict in RULES:
        run = simulate_batching(
            np.array([0.0, 0.3, 7.0]),
            np.array([2, 1, 3], dtype=np.int32),
            np.array([4, 6, 2]),
            slots=np.int64(2),
            continuous=continuous,
            step_time=step,
            prompt_chunk=np.float64(2),
            kv_tokens=np.float64(8),
            evict=evict,
        )
        kinds = [tuple(map(type, stay)) for stay in run.stays]
        assert kinds == [(int, int, float, float, float)] * len(run.stays) and kinds


@pytest.mark.parametrize("top", [-1, -3, 0, 2.5, math.inf])
def test_a_geometric_length_is_cut_at_a_positive_whole_number(top):
    with pytest.raises(BadInput, match=f"top takes a positive whole number, got {top}"):
        geometric(4, top)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"arrival": [math.inf]}, "arrival takes finite numbers, got inf"),
        ({"arrival": [math.nan]}, "arrival takes .* got nan"),
        ({"prompt": [1.5]}, "prompt takes whole numbers, got 1.5"),
        ({"output": [math.nan]}, "output takes whole numbers, got nan"),
        ({"slots": 1.5}, "slots takes .* got 1.5"),
        ({"prompt_chunk": math.nan}, "prompt_chunk takes .* got nan"),
        ({"kv_tokens": math.nan}, "longest request, 3, got nan"),
        ({"kv_tokens": 2, "evict": True}, "longest request, 3, got 2"),
        ({"output": []}, "one entry a request, got 1, 1, 0"),
    ],
)
def test_what_can_never_be_served(change, message):
    with pytest.raises(BadInput, match=message):
        simulate_batching(**{"arrival": [0], "prompt": [2], "output": [2], "slots": 1} | change)


# ---- a budget of tokens shared by a step ---------------------------------------------------
def test_four_prompts_share_the_tokens_of_a_step():
    """By hand: 4 x 2,048 prompt tokens at 512 a step take 16 steps; 512 of each a step would take 4."""
    four = {"arrival": [0] * 4, "prompt": [2048] * 4, "output": [1] * 4, "slots": 4}
    run = simulate_batching(**four, token_budget=512)
    assert run.steps == 16 and run.first.tolist() == [4, 8, 12, 16]
    assert simulate_batching(**four, prompt_chunk=512).steps == 4


def test_answers_go_before_prompts():
    """By hand: 10 tokens a step; the second prompt of 15 gets 9 beside the first one's answer, then 6."""
    run = simulate_batching([0, 0], [10, 15], [4, 2], slots=2, token_budget=10)
    assert run.first.tolist() == [1, 3] and run.end.tolist() == [4, 4]


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 6)), min_size=1, max_size=8), st.integers(1, 5))
@settings(max_examples=100, deadline=None)
def test_no_step_runs_more_than_its_budget(requests, slots):
    prompt, output = map(list, zip(*requests))
    seen = []

    def step_time(batch, prompt_tokens):
        seen.append(prompt_tokens)
        return 1.0

    budget = slots + 3
    run = simulate_batching(
        [0] * len(prompt), prompt, output, slots=slots, step_time=step_time, token_budget=budget
    )
    assert max(seen) <= budget and run.steps >= sum(prompt) / budget
    free = simulate_batching([0] * len(prompt), prompt, output, slots=slots, token_budget=10**6)
    assert free.steps == simulate_batching([0] * len(prompt), prompt, output, slots=slots).steps <= run.steps


def test_a_budget_below_the_slots_is_refused():
    with pytest.raises(BadInput, match="token_budget takes at least slots = 4, got 3"):
        simulate_batching([0], [1], [1], slots=4, token_budget=3)


def test_a_budget_of_one_token_a_slot_serves():
    run = simulate_batching([0, 0], [1, 1], [3, 3], slots=2, token_budget=2)
    assert run.end.tolist() == [3, 3]
