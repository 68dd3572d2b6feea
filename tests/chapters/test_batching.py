"""Chapter 9's laws and simulator: by hand, against the miniature's scheduler, counting, and queues that are
solved.
"""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt4lib import ledger
from gpt4lib.chapters import batching as ba
from gpt4lib.facts import given as facts_given
from gpt4lib.facts.devices import hardware
from gpt4lib.facts.files import published
from gpt4lib.mini import serving
from gpt4lib.simulate import novel
from gpt4lib.simulate.batching import geometric, mean_longest, mean_of, observed, simulate_batching, uniform
from gpt4lib.spine.errors import BadInput
from gpt4lib.spine.law import Law

LAWS = {name: law for name, law in vars(ba).items() if isinstance(law, Law)}
LOADS = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 8), st.integers(0, 12)), min_size=1, max_size=12)
ROOM = st.sampled_from([13, 20, math.inf])
CHUNK = st.sampled_from([1, 2, math.inf])


@pytest.mark.parametrize("name", LAWS)
def test_dimensions(name):
    LAWS[name].check_dimensions()


# ---- lengths ------------------------------------------------------------------------------


@pytest.mark.parametrize("slots", [1, 2, 3, 5])
def test_longest_by_every_batch(slots):
    """All batches of lengths 1, 1, 4, 6 are written out."""
    batches = list(itertools.product([1, 1, 4, 6], repeat=slots))
    want = sum(map(max, batches)) / len(batches)
    assert mean_longest(observed([1, 1, 4, 6]), slots) == pytest.approx(want)
    assert mean_of(observed([1, 1, 4, 6])) == 3


@pytest.mark.parametrize("slots", [1, 2, 7, 32])
@pytest.mark.parametrize("mean", [1.5, 10, 300])
def test_longest_geometric_by_inclusion_and_exclusion(mean, slots):
    q = 1 - 1 / mean
    terms = (math.comb(slots, j) * (-1) ** (j + 1) / (1 - q**j) for j in range(1, slots + 1))
    rel = 1e-6 if slots < 20 else 1e-4
    assert mean_longest(geometric(mean), slots) == pytest.approx(math.fsum(terms), rel=rel)
    assert mean_of(geometric(mean)) == pytest.approx(mean)


@pytest.mark.parametrize("slots", [4, 32, 256])
def test_log_law_by_the_harmonic_sum(slots):
    """The longest of exponential lengths is the sum of the gaps between ends: mean / B + mean /
    (B - 1) + ...
    """
    gaps = sum(1 / k for k in range(1, slots + 1))
    assert ba.gain_exponential(B_seq=slots) == pytest.approx(gaps, rel=4e-3)
    assert ba.longest_exponential(n_mean=50, B_seq=slots) == pytest.approx(50 * gaps, rel=4e-3)
    assert mean_longest(geometric(2000), slots) == pytest.approx(2000 * gaps, rel=4e-3)


@pytest.mark.parametrize("slots", [1, 2, 8, 64])
def test_uniform_law_by_fine_lengths(slots):
    top = 20_000
    exact = mean_longest(uniform(top), slots)
    assert ba.longest_uniform(n_mean=(top + 1) / 2, B_seq=slots) == pytest.approx(exact, rel=1e-3)
    assert ba.gain_uniform(B_seq=slots) == pytest.approx(exact * 2 / (top + 1), rel=1e-3)


def test_shares_by_hand():
    assert ba.own_share(n_own=2, n_long=6) == pytest.approx(1 / 3)
    assert ba.static_use(n_mean=3, n_long=6) == 0.5 and ba.gain(n_mean=3, n_long=6) == 2


@pytest.mark.parametrize("slots", [4, 32])
@pytest.mark.parametrize("kind", ["geometric", "uniform", "fixed", "novel"])
def test_gain_and_use_by_simulation(kind, slots):
    p = {
        "geometric": geometric(40),
        "uniform": uniform(79),
        "fixed": np.eye(40)[39],
        "novel": observed(novel.paragraph_words()),
    }[kind]
    output = np.random.default_rng(1).choice(len(p), 4000, p=p / p.sum()) + 1
    static, running = both(output, slots)
    law = {"n_mean": mean_of(p), "n_long": mean_longest(p, slots)}
    assert static.utilisation == pytest.approx(ba.static_use(**law), rel=0.06)
    assert static.steps / running.steps == pytest.approx(ba.gain(**law), rel=0.06)


def both(output, slots):
    zero, one = np.zeros(len(output)), np.ones(len(output), dtype=int)
    return [simulate_batching(zero, one, output, slots=slots, continuous=c) for c in (False, True)]


# ---- the article's examples ---------------------------------------------------------------


@pytest.mark.parametrize("s1, s4", list(itertools.product([3, 4, 5], repeat=2)))
def test_static_example_step_for_step(s1, s4):
    run = simulate_batching(np.zeros(4), np.ones(4, dtype=int), [s1, 6, 2, s4], slots=4, continuous=False)
    stays = {r + 1: (at, to, out) for r, _, at, to, out in run.stays}
    assert stays == {1: (0, s1, 6), 2: (0, 6, 6), 3: (0, 2, 6), 4: (0, s4, 6)}
    share = ledger.claim("batching-static-example")
    assert share.derived == stays[3][1] / stays[3][2] and share.stated.interval.contains(2 / 6)


def test_continuous_example_step_for_step():
    run = simulate_batching(np.zeros(7), np.ones(7, dtype=int), [3, 6, 2, 4, 4, 3, 2], slots=4)
    stays = {r + 1: (slot + 1, at, to) for r, slot, at, to, _ in run.stays}
    assert stays == {
        3: (3, 0, 2),
        1: (1, 0, 3),
        4: (4, 0, 4),
        2: (2, 0, 6),
        5: (3, 2, 6),
        6: (1, 3, 6),
        7: (4, 4, 6),
    }
    claim = ledger.claim("batching-continuous-example")
    assert claim.stated.value == len(stays) / 4 and claim.must_be("n_mean") == pytest.approx(24 / 7)


@pytest.mark.parametrize(
    "claim_id, least, most", [("batching-gain", 1, 6), ("batching-continuous-example", 2, 5)]
)
def test_ranges_of_the_example_by_every_pair_of_lengths(claim_id, least, most):
    """The two lengths that the text leaves out take every value: steps of the batch over mean steps."""
    ratios = [4 * 6 / (6 + 2 + a + b) for a, b in itertools.product(range(least, most + 1), repeat=2)]
    found = ledger.claim(claim_id).interval
    assert [found.lo, found.hi] == pytest.approx([min(ratios), max(ratios)])


# ---- the simulator ------------------------------------------------------------------------


def arrays(load):
    prompt, output, arrival = (np.array(column) for column in zip(*load))
    return arrival, prompt, output


@settings(max_examples=150, deadline=None)
@given(LOADS, st.integers(1, 4), st.booleans(), CHUNK, ROOM)
def test_schedule_is_the_miniatures(load, slots, continuous, chunk, room):
    rules = {"slots": slots, "continuous": continuous, "prompt_chunk": chunk, "kv_tokens": room}
    requests = [serving.Request(i, range(p), o, a) for i, (p, o, a) in enumerate(load)]
    theirs = serving.serve(requests, **rules)
    ours = simulate_batching(*arrays(load), **rules)
    assert sorted(ours.stays) == sorted((s.request.number, s.slot, s.start, s.end, s.release) for s in theirs)
    assert ours.busy_slot_steps == sum(s.end - s.start for s in theirs)
    for s in theirs:
        assert ours.first[s.request.number] == s.start + s.prompt_steps


class Server:
    """The simulator's rules, one step at a time and one request at a time; it keeps no arrays and skips no
    step.
    """

    def __init__(self, load, slots, continuous, step_time, prompt_chunk, kv_tokens, evict):
        self.slots, self.continuous, self.step_time = slots, continuous, step_time
        self.chunk, self.room, self.evict = prompt_chunk, kv_tokens, evict
        self.requests = [
            {"number": i, "arrival": a, "prompt": p, "output": o, "said": 0, "start": None, "first": None}
            for i, (p, o, a) in enumerate(load)
        ]
        self.queue = sorted(self.requests, key=lambda r: (r["arrival"], r["number"]))
        self.at = {}  # slot: request
        self.now, self.admitted, self.seen = 0.0, 0, []
        self.stays, self.steps, self.busy, self.peak, self.evictions = [], 0, 0, 0, 0

    def run(self):
        while self.queue or self.at:
            self.admit()
            self.make_room()
            self.step()
            self.release()
        return self

    def working(self):
        return {slot: r for slot, r in sorted(self.at.items()) if r["said"] < r["output"]}

    def next_tokens(self, r):
        """Tokens that a request computes in this step: of its prompt, or of what it had said, or its last
        one.
        """
        return 1 if r["fed"] >= r["to_feed"] else min(self.chunk, r["to_feed"] - r["fed"])

    def needs(self, r):
        """Cache that an admission takes: all that may come, or what is known with eviction."""
        return r["prompt"] + (r["said"] if self.evict else r["output"] - 1)

    def reserved(self, r):
        return max(r["fed"], r["to_feed"]) if self.evict else self.needs(r)

    def admit(self):
        if not self.at:
            self.now = max(self.now, self.queue[0]["arrival"])
        elif not self.continuous:
            return
        for slot in range(self.slots):
            if slot in self.at or not self.queue or self.queue[0]["arrival"] > self.now:
                continue
            r = self.queue[0]
            if sum(map(self.reserved, self.at.values())) + self.needs(r) > self.room:
                return  # nobody overtakes the head of the queue
            self.at[slot] = self.queue.pop(0)
            self.admitted += 1
            r |= {"order": self.admitted, "since": self.now, "fed": 0, "to_feed": r["prompt"] + r["said"]}
            r["start"] = self.now if r["start"] is None else r["start"]

    def make_room(self):
        while self.evict and sum(r["fed"] + self.next_tokens(r) for r in self.at.values()) > self.room:
            slot, r = max(self.at.items(), key=lambda item: item[1]["order"])
            del self.at[slot]
            self.queue.insert(0, r)
            self.stays.append((r["number"], slot, r["since"], self.now, self.now))
            self.evictions += 1

    def step(self):
        working = self.working()
        prompts = [self.next_tokens(r) for r in working.values() if r["fed"] < r["to_feed"]]
        self.seen.append((len(self.at), sum(prompts)))
        self.now += self.step_time(*self.seen[-1])
        self.steps, self.busy = self.steps + 1, self.busy + len(working)
        for r in working.values():
            r["fed"] += self.next_tokens(r)
            if r["fed"] >= r["to_feed"]:
                r["said"] += 1
                r["end"] = self.now
                r["first"] = self.now if r["first"] is None else r["first"]
        self.peak = max(self.peak, sum(r["fed"] for r in self.at.values()))

    def release(self):
        for slot in sorted(self.left()):
            r = self.at.pop(slot)
            self.stays.append((r["number"], slot, r["since"], r["end"], self.now))

    def left(self):
        """Slots whose request is done and need not wait for its batch."""
        done = {s for s, r in self.at.items() if r["said"] == r["output"]}
        return done if self.continuous or len(done) == len(self.at) else set()


def quarters(batch, prompt_tokens):
    """A step's seconds, exact in binary: they grow with the batch and with the prompts' tokens."""
    return 0.25 + 0.5 * batch + 0.125 * prompt_tokens


ARRIVALS = st.one_of(st.just(0), st.integers(0, 40), st.sampled_from([90, 200]))
QUEUES = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 8), ARRIVALS), min_size=1, max_size=10)


def assert_same(ours, theirs):
    """A run is the one that the step-by-step server makes, in every field."""
    for name in ("arrival", "start", "first", "end"):
        assert getattr(ours, name).tolist() == [r[name] for r in theirs.requests], name
    assert ours.stays == theirs.stays and ours.slots == theirs.slots
    assert (ours.steps, ours.busy_slot_steps) == (theirs.steps, theirs.busy)
    assert (ours.kv_peak, ours.evictions) == (theirs.peak, theirs.evictions)


@settings(max_examples=250, deadline=None)
@given(QUEUES, st.integers(1, 4), st.sampled_from([1, 2, 3, math.inf]), st.data())
def test_every_run_is_that_of_a_server_that_goes_step_by_step(load, slots, chunk, data):
    load = [(p, o, a / 4) for p, o, a in load]
    longest = max(p + o - 1 for p, o, _ in load)
    room = data.draw(st.sampled_from([longest, longest + 1, longest + 4, 2 * longest, math.inf]))
    mode = data.draw(st.sampled_from(["static", "reserved", "evict"]))
    rules = {"slots": slots, "continuous": mode != "static", "prompt_chunk": chunk, "kv_tokens": room}
    rules |= {"evict": mode == "evict", "step_time": quarters}
    assert_same(simulate_batching(*arrays(load), **rules), Server(load, **rules).run())


@settings(max_examples=120, deadline=None)
@given(QUEUES, st.integers(2, 4), st.sampled_from([1, 2, math.inf]), st.integers(0, 3))
def test_every_run_of_a_tight_cache_is_that_of_a_server_that_goes_step_by_step(load, slots, chunk, more):
    load = [(p, o, 0.25 * (a % 8)) for p, o, a in load]
    room = max(p + o - 1 for p, o, _ in load) + more
    rules = {"slots": slots, "continuous": True, "prompt_chunk": chunk, "kv_tokens": room}
    rules |= {"evict": True, "step_time": quarters}
    assert_same(simulate_batching(*arrays(load), **rules), Server(load, **rules).run())


@pytest.mark.parametrize("kind", ["static", "reserved", "evict"])
def test_the_time_of_a_step_is_asked_for_its_slots_and_its_prompts_tokens(kind):
    """No call for a step that never is, and whole numbers in each."""
    asked = []
    rules = {"slots": 2, "continuous": kind != "static", "prompt_chunk": 2, "kv_tokens": 9}
    load = [(3, 4, 0), (2, 3, 0), (1, 5, 0.5), (4, 1, 60)]
    ask = lambda batch, prompt: asked.append((batch, prompt)) or quarters(batch, prompt)
    simulate_batching(*arrays(load), step_time=ask, evict=kind == "evict", **rules)
    server = Server(load, step_time=quarters, evict=kind == "evict", **rules).run()
    alone = [key for key, _ in itertools.groupby(asked)]
    assert alone == [key for key, _ in itertools.groupby(server.seen)] and len(asked) < server.steps
    assert {type(n) for pair in asked for n in pair} == {int}


def test_steps_alike_stop_at_the_arrival_that_finds_a_slot():
    """A long request alone; the second comes at 2.5 steps and starts with the fourth, the third waits for a
    slot.
    """
    run = simulate_batching([0, 2.5, 3], [1, 1, 1], [9, 3, 1], slots=2)
    assert run.start.tolist() == [0, 3, 6] and run.end.tolist() == [9, 6, 7]
    exact = simulate_batching([0, 2, 2], [1, 1, 1], [9, 3, 1], slots=2)
    assert exact.start.tolist() == [0, 2, 5], "whoever comes as a step ends is in the next one"
    assert run.steps == 9 and run.busy_slot_steps == 13 and run.utilisation == 13 / 18
    assert run.wait.tolist() == [0, 0.5, 3] and run.latency.tolist() == [9, 3.5, 4]


def test_an_idle_server_waits_for_the_next_arrival():
    run = simulate_batching([5, 1, 30], [1, 1, 1], [2, 1, 1], slots=1)
    assert run.start.tolist() == [5, 1, 30] and run.end.tolist() == [7, 2, 31] and run.steps == 4
    assert run.stays == [(1, 0, 1, 2, 2), (0, 0, 5, 7, 7), (2, 0, 30, 31, 31)]
    assert {type(x) for stay in run.stays for x in stay[:2]} == {int}


@settings(max_examples=150, deadline=None)
@given(LOADS, st.integers(1, 4), CHUNK, st.integers(13, 24))
def test_conservation_with_eviction(load, slots, chunk, room):
    arrival, prompt, output = arrays(load)
    run = simulate_batching(
        arrival, prompt, output, slots=slots, prompt_chunk=chunk, kv_tokens=room, evict=True
    )
    assert run.kv_peak <= room
    ends = sorted(r for r, _, _, to, _ in run.stays if to == run.end[r])
    assert ends == list(range(len(load))), "every request is served once"
    assert len(run.stays) == len(load) + run.evictions
    for (_, s, a, b, _), (_, t, c, d, _) in itertools.combinations(run.stays, 2):
        assert s != t or b <= c or d <= a, "one request a slot"
    for r in range(len(load)):
        mine = sorted((a, b) for q, _, a, b, _ in run.stays if q == r)
        assert all(b <= c for (_, b), (c, _) in itertools.pairwise(mine)), "one slot a request"
    assert (run.start >= arrival).all() and (run.first > run.start).all() and (run.end >= run.first).all()
    least = sum(math.ceil(p / min(chunk, p)) + o - 1 for p, o, _ in load)
    assert run.busy_slot_steps == least if not run.evictions else run.busy_slot_steps >= least


def test_eviction_by_hand():
    """Room for 6. Both prompts of 2 fit; both grow to 3; the later one goes when 4 + 4 would not fit."""
    run = simulate_batching([0, 0], [2, 2], [4, 4], slots=2, kv_tokens=6, evict=True)
    assert run.evictions == 1 and run.kv_peak == 6
    # Request 1 has put out two tokens by step 2; from step 4 it computes 2 + 2 tokens again and puts out two
    # more.
    assert run.stays == [(1, 1, 0, 2, 2), (0, 0, 0, 4, 4), (1, 0, 4, 6, 6)]
    assert run.first.tolist() == [1, 1] and run.end.tolist() == [4, 6]
    reserved = simulate_batching([0, 0], [2, 2], [4, 4], slots=2, kv_tokens=6)
    assert reserved.end.tolist() == [4, 8]


def test_step_times_add_up_by_hand():
    """Two slots, a step takes 1 + batch + prompt tokens / 10 seconds."""
    cost = lambda batch, prompt: 1 + batch + prompt / 10
    run = simulate_batching([0, 0, 3.5], [10, 20, 10], [1, 3, 1], slots=2, step_time=cost)
    # 6 s with both prompts; then request 2 comes in beside request 1: 4 s; then request 1 alone: 2 s
    assert run.end.tolist() == [6, 12, 10] and run.first.tolist() == [6, 6, 10]
    static = simulate_batching(
        [0, 0, 3.5], [10, 20, 10], [1, 3, 1], slots=2, step_time=cost, continuous=False
    )
    # the row that is done still counts: 6 s, 3 s, 3 s; then the third alone: 3 s
    assert static.end.tolist() == [6, 12, 15]


def test_ten_thousand_requests_are_quick():
    rng = np.random.default_rng(0)
    run = simulate_batching(np.zeros(10_000), np.ones(10_000, int), rng.geometric(0.02, 10_000), slots=32)
    assert run.utilisation > 0.98 and run.steps < 20_000


# ---- queues -------------------------------------------------------------------------------


@pytest.mark.parametrize("law", ["exponential", "fixed"])
def test_mean_wait_of_one_slot_against_the_queue_that_is_solved(law):
    mean, share = 500, 0.6
    rng = np.random.default_rng(5)
    output = rng.geometric(1 / mean, 20_000) if law == "exponential" else np.full(20_000, mean)
    arrival = np.cumsum(rng.exponential(mean / share, 20_000))
    run = simulate_batching(arrival, np.ones(20_000, int), output, slots=1)
    groups = run.wait.reshape(20, -1).mean(axis=1)
    want = ba.queue_wait(load=share, t_serve=mean, cv=1 if law == "exponential" else 0)
    assert (
        abs(groups.mean() - want) < 3 * groups.std(ddof=1) / 20**0.5
        and groups.std(ddof=1) / 20**0.5 < 0.08 * want
    )
    rate = 20_000 / arrival[-1]
    assert ba.offered(R_in=rate, t_serve=output.mean()) == pytest.approx(
        run.busy_slot_steps / run.end.max(), rel=0.01
    )
    events = np.sort(np.concatenate([arrival, run.end]))  # how many are there, counted at random moments
    moments = rng.uniform(0, events[-1], 40_000)
    there = (np.searchsorted(arrival, moments) - np.searchsorted(np.sort(run.end), moments)).mean()
    assert ba.little(R_in=rate, t_stay=run.latency.mean()) == pytest.approx(there, rel=0.03)


def test_wait_by_the_chain_of_states():
    """M/M/1: k requests with probability (1 - x) x^k; whoever arrives waits for all of them."""
    x = 0.7
    chain = sum((1 - x) * x**k * k * 3 for k in range(400))
    assert ba.queue_wait(load=x, t_serve=3, cv=1) == pytest.approx(chain)
    assert ba.queue_wait(load=x, t_serve=3, cv=0) == pytest.approx(chain / 2)


# ---- steps --------------------------------------------------------------------------------


def test_step_of_opt_13b_by_hand():
    """26 GB at 1.555 TB/s, and 0.8192 MB of cache a token."""
    device = hardware("A100-SXM 40GB")
    weights = ba.step_weights(N=13e9, weight_bytes=2)
    assert weights == 26e9
    fixed = ba.fixed_time(Q_w=weights, mem_rate=device.bandwidth_bytes_per_s)
    assert fixed == pytest.approx(26e9 / 1555e9)
    cache = ba.sequence_time(Q_kv=640 * 819_200, mem_rate=device.bandwidth_bytes_per_s)
    assert cache == pytest.approx(0.33716270e-3, rel=1e-6)
    assert ba.batch_time(t_fix=2, t_seq=0.5, B_seq=8) == 6


def test_rate_and_capacity_by_simulation():
    """All slots always at work: tokens and requests per second of the run."""
    output = np.random.default_rng(2).geometric(1 / 30, 3000)
    run = simulate_batching(
        np.zeros(3000), np.ones(3000, int), output, slots=8, step_time=lambda b, p: 0.02 + 0.001 * b
    )
    given = {"t_fix": 0.02, "t_seq": 0.001, "B_seq": 8}
    assert ba.output_rate(**given) == pytest.approx(output.sum() / run.end.max(), rel=0.02)
    assert ba.capacity(**given, n_mean=output.mean()) == pytest.approx(3000 / run.end.max(), rel=0.02)


def test_benchmark_that_is_recomputed_is_the_published_one():
    row = next(r for r in published("serving_speedups") if r["system"].startswith("Static batching"))
    assert "OPT-13B, A100-40GB, max gen 1536, exponential mean 128" in row["conditions"]
    facts = {
        k: facts_given.given(f"fact:{k}").value
        for k in ("anyscale-mean-output", "anyscale-top", "opt-weights")
    }
    assert facts == {"anyscale-mean-output": 128, "anyscale-top": 1536, "opt-weights": 13e9}
    scripts = [
        facts_given.given(f"fact:anyscale-{k}").value for k in ("static-batch", "budget", "latency-prompt")
    ]
    assert scripts == [4, 8100, 256], "benchmark_configs of the repository, for answers of up to 1,536"
    shape = [facts_given.given(f"fact:opt-{k}").value for k in ("layers", "heads", "head-width", "fp16")]
    assert shape == [40, 40, 128, 2] and facts_given.given("fact:anyscale-prompt").value == 512
    assert pytest.approx(13e9, rel=0.04) == 12 * 40 * (40 * 128) ** 2, "the shape holds the parameters"


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: simulate_batching([0], [1], [1], slots=0), "slots takes .* got 0"),
        (lambda: simulate_batching([0], [1], [0], slots=1), "output takes .* got 0"),
        (lambda: simulate_batching([0], [0], [1], slots=1), "prompt takes .* got 0"),
        (lambda: simulate_batching([-1], [1], [1], slots=1), "arrival takes .* got -1"),
        (lambda: simulate_batching([0], [1], [1], slots=1, prompt_chunk=0), "prompt_chunk takes .* got 0"),
        (lambda: simulate_batching([0], [5], [7], slots=1, kv_tokens=10), "longest request, 11, got 10"),
        (lambda: simulate_batching([0, 1], [1], [1], slots=1), "one entry a request"),
        (
            lambda: simulate_batching([0], [1], [1], slots=1, continuous=False, evict=True),
            "evict takes continuous",
        ),
        (lambda: geometric(0.5), "mean takes .* got 0.5"),
        (lambda: uniform(0), "top takes .* got 0"),
        (lambda: observed([0, 1]), "lengths takes whole numbers"),
        (lambda: mean_longest([0.5, 0.2], 2), "add up to 1, got a sum of 0.7"),
        (lambda: mean_longest(uniform(3), 0), "slots takes .* got 0"),
        (lambda: ba.queue_wait(load=1.2, t_serve=1, cv=1), "load"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(BadInput, match=message):
        call()


def test_the_least_that_is_taken():
    """Lengths, slots, chunks of one token and a cache of exactly the request's size are no mistakes."""
    assert uniform(1).tolist() == [1] == observed([1, 1]).tolist() and geometric(1)[0] == 1
    assert mean_longest([1.0], 1) == 1 == mean_of([1.0])
    run = simulate_batching([0], [1], [1], slots=1, prompt_chunk=1, kv_tokens=1)
    assert (run.steps, run.kv_peak, run.latency.tolist(), run.utilisation) == (1, 1, [1.0], 1)


def test_lengths_run_to_forty_means_and_shares_to_a_millionth():
    """Where no cut is given; what adds up to one but for rounding is taken, and no more than that."""
    assert len(geometric(10)) == 400 and len(geometric(2.51)) == 101 and len(uniform(7)) == 7
    assert mean_of([0.5, 0.5 + 0.9e-6]) == pytest.approx(1.5, abs=1e-5)
    for off in (1.1e-6, -1.1e-6):
        with pytest.raises(BadInput, match="that add up to 1, got a sum of"):
            mean_of([0.5, 0.5 + off])
    for p in ([], [[1.0]], [1.5, -0.5]):
        with pytest.raises(BadInput, match="p takes probabilities"):
            mean_longest(p, 2)
    with pytest.raises(BadInput, match="mean takes a number of at least 1, got inf"):
        geometric(math.inf)
    for lengths in ([], [1.0, 2.0], [3, 0]):
        with pytest.raises(BadInput, match="lengths takes whole numbers of at least 1"):
            observed(lengths)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"arrival": [0, -0.5]}, "arrival takes numbers of at least 0, got -0.5"),
        ({"prompt": [3, 0]}, "prompt takes numbers of at least 1, got 0"),
        ({"output": [5, 0]}, "output takes numbers of at least 1, got 0"),
        ({"slots": 0}, "slots takes a positive whole number, got 0"),
        ({"prompt_chunk": 0.5}, "prompt_chunk takes numbers of at least 1, got 0.5"),
        ({"kv_tokens": 3}, "kv_tokens takes room for the longest request, 4, got 3"),
        ({"output": [2]}, "arrival, prompt and output take one entry a request, got 2, 2, 1"),
        ({"prompt": [2, 3, 1]}, "arrival, prompt and output take one entry a request, got 2, 3, 2"),
        ({"arrival": [], "prompt": [], "output": []}, "take one entry a request, got 0, 0, 0"),
        ({"continuous": False, "evict": True}, "evict takes continuous batching, got static"),
    ],
)
def test_every_refusal_of_the_simulator_names_its_numbers(change, words):
    """One bad request among good ones is enough."""
    task = {"arrival": [0, 1], "prompt": [2, 3], "output": [2, 2], "slots": 1, "kv_tokens": 20} | change
    with pytest.raises(BadInput) as caught:
        simulate_batching(**task)
    assert str(caught.value).endswith(words)


def test_a_length_never_ends_below_its_cut():
    """P(n) of a coin thrown until it falls, cut at 3: half, a quarter, and all the rest."""
    assert geometric(2, 3).tolist() == [0.5, 0.25, 0.25]
    assert geometric(2.5).sum() == pytest.approx(1, abs=1e-15)
