"""Static and continuous batching: the schedule by hand and by invariants, the tokens against a run alone."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt4lib.mini import serving
from gpt4lib.mini.meter import Meter
from gpt4lib.mini.model import Transformer, tiny_shape
from gpt4lib.mini.serving import Request, serve
from gpt4lib.simulate import novel
from gpt4lib.spine.errors import BadInput

LOADS = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 8), st.integers(0, 12)), min_size=1, max_size=12)
RULES = {
    "slots": st.integers(1, 4),
    "continuous": st.booleans(),
    "prompt_chunk": st.sampled_from([1, 2, float("inf")]),
}


def requests_of(load):
    return [Request(i, range(prompt), output, arrival) for i, (prompt, output, arrival) in enumerate(load)]


def rows(served):
    return {s.request.number: (s.slot, s.start, s.prompt_steps, s.end, s.release) for s in served}


def test_by_hand():
    """Two slots, prompts of one step, outputs of 4, 1, 2 and 1 tokens."""
    requests = [Request(i, [7], output) for i, output in enumerate([4, 1, 2, 1])]
    static, continuous = serve(requests, slots=2, continuous=False), serve(requests, slots=2)
    assert rows(static) == {0: (0, 0, 1, 4, 4), 1: (1, 0, 1, 1, 4), 2: (0, 4, 1, 6, 6), 3: (1, 4, 1, 5, 6)}
    assert rows(continuous) == {
        0: (0, 0, 1, 4, 4),
        1: (1, 0, 1, 1, 1),
        2: (1, 1, 1, 3, 3),
        3: (1, 3, 1, 4, 4),
    }
    assert serving.idle_slot_steps(static, 2) == 4 and serving.idle_slot_steps(continuous, 2) == 0


def test_prompt_in_pieces_by_hand():
    """A prompt of 5 in pieces of 2 takes 3 steps; the last of them puts out the first of 3 tokens."""
    assert rows(serve([Request(0, range(5), 3, arrival=4)], slots=1, prompt_chunk=2)) == {0: (0, 4, 3, 9, 9)}


def test_cache_limit_by_hand():
    """Places for 10: 4 + 3 - 1 = 6 beside 6 does not fit, and the small one behind waits too."""
    requests = [Request(0, range(4), 3), Request(1, range(4), 3), Request(2, range(1), 2)]
    assert rows(serve(requests, slots=3, kv_tokens=10)) == {
        0: (0, 0, 1, 3, 3),
        1: (0, 3, 1, 6, 6),
        2: (1, 3, 1, 5, 5),
    }


@settings(max_examples=150)
@given(LOADS, st.fixed_dictionaries(RULES), st.sampled_from([13, 20, float("inf")]))
def test_invariants(load, rules, kv_tokens):
    requests, turns = requests_of(load), []
    served = serve(
        requests, kv_tokens=kv_tokens, step=lambda now: turns.append(now) or serving.by_length(now), **rules
    )
    assert sorted(s.request.number for s in served) == list(range(len(load))), "each request once"
    for s in served:
        assert s.request.arrival <= s.start < s.end <= s.release
        assert s.end - s.start == s.prompt_steps + s.request.output_tokens - 1
    for a, b in itertools.combinations(served, 2):
        assert a.slot != b.slot or a.release <= b.start or b.release <= a.start, "one request a slot"
    starts = [s.start for s in sorted(served, key=lambda s: (s.request.arrival, s.request.number))]
    assert starts == sorted(starts), "first come, first served"
    for step in range(max(s.end for s in served)):
        held = [s for s in served if s.start <= step < s.release]
        assert len(held) <= rules["slots"] and sum(s.request.kv_tokens for s in held) <= kv_tokens
    for r in requests:
        mine = [turn for step in turns for turn in step if turn.request is r]
        assert [i for turn in mine for i in r.prompt[turn.prompt]] == list(r.prompt), (
            "the whole prompt, once, in order"
        )
        assert [turn.output for turn in mine if turn.output] == list(range(1, r.output_tokens + 1))
        assert all(not turn.output for turn in mine if turn.prompt.stop < len(r.prompt)), (
            "no token before the prompt ends"
        )


@settings(max_examples=60)
@given(LOADS, st.fixed_dictionaries(RULES))
def test_continuous_batching_leaves_no_slot_empty_while_somebody_waits(load, rules):
    served = serve(requests_of(load), **rules | {"continuous": True})
    for step in range(max(s.end for s in served)):
        waiting = [s for s in served if s.request.arrival <= step < s.start]
        assert not waiting or sum(s.start <= step < s.end for s in served) == rules["slots"]


@settings(max_examples=60)
@given(LOADS, st.fixed_dictionaries(RULES))
def test_a_static_batch_starts_and_leaves_together(load, rules):
    served = serve(requests_of(load), **rules | {"continuous": False})
    for a, b in itertools.combinations(served, 2):
        together = a.start < b.release and b.start < a.release
        assert (a.start, a.release) == (b.start, b.release) if together else a.start != b.start
    for s in served:
        assert s.release == max(o.end for o in served if o.start == s.start)


def test_the_novel_as_a_load():
    """Outputs as long as paragraphs: static batching takes the sum over batches of the longest."""
    outputs = novel.paragraph_words()[:64].tolist()
    requests = [Request(i, [0], output) for i, output in enumerate(outputs)]
    static, continuous = serve(requests, slots=8, continuous=False), serve(requests, slots=8)
    assert max(s.end for s in static) == sum(max(outputs[i : i + 8]) for i in range(0, 64, 8))
    ends = [0] * 8  # each request goes to the slot that is free first
    for output in outputs:
        ends[ends.index(min(ends))] += output
    assert max(s.end for s in continuous) == max(ends)
    assert serving.idle_slot_steps(static, 8) > 3 * serving.idle_slot_steps(continuous, 8)


# ---- on the miniature ---------------------------------------------------------------------
MODEL = Transformer(tiny_shape(vocab=20), seed=1)


def prompts_of(load, seed):
    rng = np.random.default_rng(seed)
    return [Request(i, rng.integers(20, size=p).tolist(), o, a) for i, (p, o, a) in enumerate(load)]


def alone(request, seed=None):
    """The request by itself, everything computed anew for each token: no cache, no batch, no scheduler."""
    tokens, rng = list(request.prompt), seed is not None and np.random.default_rng([seed, request.number])
    for _ in range(request.output_tokens):
        logits = MODEL.forward([tokens], MODEL.cache(1, len(tokens)))[0, -1]
        p = np.exp(logits) / np.exp(logits).sum()
        tokens.append(int(np.argmax(p) if seed is None else np.flatnonzero(np.cumsum(p) > rng.random())[0]))
    return tokens[len(request.prompt) :]


@settings(max_examples=20)
@given(LOADS, st.fixed_dictionaries(RULES), st.sampled_from([None, 0, 1]), st.integers(0, 100))
def test_tokens_are_those_of_a_run_alone(load, rules, seed, prompt_seed):
    requests = prompts_of(load, prompt_seed)
    engine = serving.Engine(MODEL, slots=rules["slots"], max_tokens=13, seed=seed)
    served = serve(requests, step=engine, **rules)
    assert engine.outputs == {r.number: alone(r, seed) for r in requests}
    assert rows(served) == rows(serve(requests, **rules)), "the schedule is that of the lengths alone"


def test_many_requests_through_few_slots():
    load = [(1 + i % 5, 1 + (3 * i) % 7, i // 3) for i in range(30)]
    requests, outputs = prompts_of(load, 9), []
    for continuous in (True, False):
        engine = serving.Engine(MODEL, slots=3, max_tokens=12, seed=5)
        served = serve(requests, slots=3, continuous=continuous, step=engine)
        assert {s.slot for s in served} == {0, 1, 2}
        outputs.append(engine.outputs)
    assert outputs[0] == outputs[1] == {r.number: alone(r, 5) for r in requests}
    assert len({tuple(tokens) for tokens in outputs[0].values()}) > 20, "the requests do differ"


def test_one_forward_pass_a_step():
    requests, meter = prompts_of([(3, 4, 0), (2, 6, 0), (5, 2, 1)], 2), Meter()
    served = serve(requests, slots=2, step=serving.Engine(MODEL, slots=2, max_tokens=12, meter=meter))
    assert len(meter.loads[0]) == max(s.end for s in served)
    fed = sum(len(r.prompt) + r.output_tokens - 1 for r in requests)
    assert sum(load.sum() for load in meter.loads[0]) == fed * MODEL.shape.top_k, "no padding is computed"


def test_stop_token_ends_a_request_early():
    request = prompts_of([(3, 10, 0)], 0)[0]
    tokens = alone(request, 7)
    stop = tokens[4]
    engine = serving.Engine(MODEL, slots=1, max_tokens=12, seed=7, stop=stop)
    (served,) = serve([request], slots=1, step=engine)
    assert engine.outputs[0] == tokens[: tokens.index(stop) + 1] and served.end == tokens.index(stop) + 1


@pytest.mark.parametrize(
    "requests, rules, message",
    [
        ([Request(0, [], 1)], {"slots": 1}, "requests take a prompt"),
        ([Request(0, [1], 0)], {"slots": 1}, "at least 1 output token"),
        ([Request(0, range(5), 7)], {"slots": 1, "kv_tokens": 10}, "kv_tokens = 10"),
        ([Request(0, [1], 1)], {"slots": 0}, "slots takes .* got 0"),
        ([Request(0, [1], 1)], {"slots": 1, "prompt_chunk": 0}, "prompt_chunk takes .* got 0"),
    ],
)
def test_bad_input(requests, rules, message):
    with pytest.raises(BadInput, match=message):
        serve(requests, **rules)


@pytest.mark.parametrize("continuous", [True, False])
def test_a_step_that_ends_nothing_is_refused(continuous):
    """Else the requests would keep their slots for ever."""
    requests = [Request(0, [1, 2], 3), Request(1, [1], 1)]
    for step in (lambda turns: [], lambda turns: [turn for turn in turns if turn.request.number]):
        with pytest.raises(BadInput, match="step takes a function that returns the turns that are done"):
            serve(requests, slots=2, continuous=continuous, step=step)


def test_latency_counts_from_the_arrival():
    """One slot, a step each: the second request, there from step 2, waits until 3 and ends at 5."""
    first, second = serve([Request(0, [7], 3), Request(1, [7], 2, 2)], slots=1)
    assert (first.latency, second.latency) == (3, 3) and (second.start, second.end) == (3, 5)
