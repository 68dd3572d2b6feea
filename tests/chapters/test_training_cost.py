"""Chapter 5's laws against things that do not know them: published tables, simulations, plain counting."""

import itertools
import math
import random
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt4lib import ledger
from gpt4lib.chapters import architecture, parallelism
from gpt4lib.chapters import training_cost as tc
from gpt4lib.facts.devices import devices, hardware
from gpt4lib.facts.files import published, read_csv, sources
from gpt4lib.simulate.counting import simulate_failures
from gpt4lib.simulate.pipeline import pipeline_schedule, stage_idle_share
from gpt4lib.spine.errors import BadInput
from gpt4lib.spine.interval import Interval, draw
from gpt4lib.spine.law import Law

HOUR = 3600
DAY = 24 * HOUR
YEAR = 365.25 * DAY
A100, H100 = 312e12, 989e12
LAWS = {name: law for name, law in vars(tc).items() if isinstance(law, Law)}


def num(text):
    """The first number of a printed cell: "2.664M" is 2.664e6, "3,768,320 (derived)" is 3768320."""
    match = re.search(r"([\d.,]+(?:[eE][+-]?\d+)?)\s*([KMB](?![a-z]))?", text)
    return float(match[1].replace(",", "")) * {"K": 1e3, "M": 1e6, "B": 1e9, None: 1}[match[2]]


def rows(table, **equal):
    return [row for row in published(table) if all(row[k] == v for k, v in equal.items())]


def row(table, **equal):
    (found,) = rows(table, **equal)
    return found


@pytest.mark.parametrize("name", LAWS)
def test_dimensions(name):
    LAWS[name].check_dimensions()


# ---- compute, time, money -----------------------------------------------------------------


@pytest.mark.parametrize("line", published("gpt3_tableD1_compute"), ids=lambda r: r["model"])
def test_compute_gives_the_gpt3_table(line):
    # The T5 rows count half of the parameters: an encoder's or a decoder's half works on each token.
    got = architecture.compute(
        N=float(line["frac_active"]) * float(line["params_M"]) * 1e6, D=float(line["tokens_B"]) * 1e9
    )
    digits = line["flops"].split("E")[0]
    half = 0.5 * 10 ** (int(line["flops"].split("E")[1]) - len(digits.partition(".")[2]))
    assert abs(got - float(line["flops"])) <= 1.02 * half
    assert got / 8.64e19 == pytest.approx(float(line["pf_days"]), rel=0.005)
    assert float(line["flops_per_param_per_token"]) == 6 * float(line["frac_active"])


def test_duration_gives_megatrons_training_times():
    # 8 FLOP per parameter and token: activations are computed twice. X is the measured rate of one GPU.
    for line, params in zip(published("megatron_training_time"), (175e9, 1008e9), strict=True):
        t = tc.duration.given(architecture.compute)(
            k_train=8,
            N=params,
            D=float(line["tokens"]),
            n=float(line["n_gpus"]),
            F=float(line["tflops_per_gpu"]) * 1e12,
            mfu=1,
        )
        assert round(t / DAY) == float(line["days_published"])


def test_published_runs_give_their_printed_rates():
    gpt3 = row("training_runs", model="GPT-3 175B")
    C = architecture.compute(N=num(gpt3["params"]), D=num(gpt3["tokens"]))
    per_gpu = C / tc.gpu_seconds(n=num(gpt3["n_accel"]), t=num(gpt3["wall_time"]) * DAY)
    assert round(per_gpu / 1e12, 1) == num(gpt3["hfu_or_tflops_per_accel"]) == 24.6
    deepseek = row("training_runs", model="DeepSeek-V3 pre-training")
    hours = num(deepseek["hfu_or_tflops_per_accel"])  # per trillion tokens
    assert hours * num(deepseek["tokens"]) / 1e12 == pytest.approx(num(deepseek["accel_hours"]), rel=1e-3)
    days = tc.gpu_seconds.solve("t")(gpu_time=hours * HOUR, n=num(deepseek["n_accel"])) / DAY
    assert f"{days:.1f} days per 1e12 tokens" in deepseek["wall_time"]


def test_flop_per_token_of_the_three_palms():
    for model, layers, heads in (("PaLM 8B", 32, 16), ("PaLM 62B", 64, 32), ("PaLM 540B", 118, 48)):
        line = row("training_runs", model=model)
        got = 1e15 * tc.throughput_mfu(
            R=1, n=1, F=1e15, N=num(line["params"]), L=layers, n_h=heads, d_h=256, T=2048
        )
        printed = re.search(r"([\d.]+) ?/ ?[\d.]+", line["hfu_or_tflops_per_accel"])[1]
        assert got / 1e12 == pytest.approx(float(printed), rel=0.003)
        assert got * num(line["tokens"]) == pytest.approx(float(line["train_flops"]), rel=0.005)


def test_iteration_times_of_megatron_turing_give_its_rates():
    shape = row("megatron_table1", params_B="529.6")
    heads = float(shape["heads"])
    for nodes in (280, 350, 420):
        line = row("training_runs", model=f"MT-NLG 530B ({nodes} nodes)")
        model_rate = A100 * tc.throughput_mfu(
            R=1920 * 2048 / num(line["wall_time"]),
            n=num(line["n_accel"]),
            F=A100,
            N=530e9,
            L=float(shape["layers"]),
            n_h=heads,
            d_h=float(shape["hidden"]) / heads,
            T=2048,
        )
        # The printed rate counts a second forward pass, for recomputation.
        assert model_rate * 8 / 6 / 1e12 == pytest.approx(num(line["hfu_or_tflops_per_accel"]), rel=0.01)


def test_llama3_405b_against_its_printed_flop_and_range():
    line = row("training_runs", model="Llama-3.1-405B")
    C = architecture.compute(N=num(line["params"]), D=num(line["tokens"]))
    assert pytest.approx(float(line["train_flops"]), rel=0.005) == C
    # Over all GPU-hours the run stays below the printed 38-43%, which is the rate while it computes.
    whole = tc.utilisation(C=C, n=1, F=H100, t=num(line["accel_hours"]) * HOUR)
    assert 0.8 * 0.38 < whole < 0.38 and 0.38 < 400e12 / H100 < 0.43


def test_throughput_gives_palms_table_of_utilisation():
    shape = {r["name"]: r for r in read_csv("models.csv")}
    palm = shape["PaLM 540B"]
    tokens = 1e3 * num(
        re.search(r"[\d.]+K tokens", row("palm_table3_mfu", model="PaLM")["detail"])[0].replace("K", "")
    )
    inputs = {
        "N": num(palm["published_total"]),
        "L": float(palm["layers"]),
        "n_h": float(palm["n_heads"]),
        "d_h": float(palm["d_head"]),
        "T": 2048,
    }
    got = tc.throughput_mfu(R=tokens, n=6144, F=hardware("TPU v4").bf16_flop_per_s, **inputs)
    assert round(100 * got, 1) == 46.2
    assert round(
        100 * tc.throughput_mfu(R=tokens, n=6144, F=275e12, **(inputs | {"n_h": 1e-9})), 1
    ) == pytest.approx(45.7, abs=0.05)
    mt = row("megatron_table1", params_B="529.6")
    heads = float(mt["heads"])
    got = tc.throughput_mfu(
        R=1920 * 2048 / 60.1,
        n=2240,
        F=A100,
        N=530e9,
        L=float(mt["layers"]),
        n_h=heads,
        d_h=float(mt["hidden"]) / heads,
        T=2048,
    )
    assert 100 * got == pytest.approx(
        float(row("palm_table3_mfu", model="Megatron-Turing NLG")["mfu_pct"]), abs=0.1
    )


def test_gpt3_row_of_palms_table_does_not_follow_from_its_own_detail():
    # 24.6 TFLOP/s without attention on a 125 TFLOP/s card, with attention added, is 20.2% and not 21.3%.
    gpt3 = next(r for r in read_csv("models.csv") if r["name"] == "GPT-3 175B")
    got = tc.throughput_mfu(
        R=24.6e12 / (6 * 175e9),
        n=1,
        F=hardware("V100-SXM2 32GB").bf16_flop_per_s,
        N=175e9,
        L=float(gpt3["layers"]),
        n_h=float(gpt3["n_heads"]),
        d_h=float(gpt3["d_head"]),
        T=2048,
    )
    assert 100 * got == pytest.approx(20.2, abs=0.05)
    assert float(row("palm_table3_mfu", model="GPT-3")["mfu_pct"]) - 100 * got > 1


def test_rental_gives_deepseeks_published_cost():
    for model in ("pre-training", "context extension", "post-training", "total"):
        line = row("training_runs", model=f"DeepSeek-V3 {model}")
        gpus = 2048.0
        t = num(line["accel_hours"]) / gpus * HOUR
        assert tc.rental(price="2 USD/GPU/hour", n=gpus, t=t) == pytest.approx(
            num(line["cost_usd"]), rel=1e-6
        )
        assert tc.gpu_seconds(n=gpus, t=t) == pytest.approx(num(line["accel_hours"]) * HOUR)
    pre = row("training_runs", model="DeepSeek-V3 pre-training")
    C, hours = 6 * 37e9 * 14.8e12, num(pre["accel_hours"])
    cost = tc.rental_from_compute(price="2 USD/GPU/hour", C=C, F=H100, mfu=C / (hours * HOUR * H100))
    assert cost == pytest.approx(num(pre["cost_usd"]), rel=1e-6)


def test_ownership_against_a_bookkeeping_of_hours():
    hours_sold, energy_kwh, books = 0.0, 0.0, 25_000.0
    for _year in range(5):
        hours_sold += 0.9 * 8766
        energy_kwh += 0.9 * 8766 * 0.8 * 1.2  # 0.8 kW while rented out, 20% more for the building
    books += energy_kwh * 0.08
    got = tc.ownership(
        capex=25_000, life="5 year", busy=0.9, power="800 watt/GPU", pue=1.2, tariff="0.08 USD/kW/hour"
    )
    assert got * HOUR == pytest.approx(books / hours_sold)


@given(st.floats(1, 100), st.floats(0, 300), st.floats(0.1, 200))
def test_development_against_a_sum_of_bills(final_run, experiments, salaries):
    compute, total = final_run + experiments, final_run + experiments + salaries
    assert tc.development(experiments=compute / final_run, staff=salaries / total) == pytest.approx(
        total / final_run, rel=1e-6
    )


def test_epochs_cost_of_gpt4_lies_in_the_range_of_contract_prices():
    three_years = [float(r["usd"]) for r in rows("a100_prices", term="3 years")]
    on_demand = [
        float(r["usd"])
        for r in published("a100_prices")
        if r["term"] == "on demand" and r["offer"].startswith(("Azure", "AWS"))
    ]
    assert min(three_years) > 1.0 and max(three_years) < 1.5 and min(on_demand) > 3


# ---- pipeline and layout ------------------------------------------------------------------


@pytest.mark.parametrize(
    "stages, batches, chunks, kind",
    [
        (15, 35, 1, "1F1B"),
        (15, 35, 1, "GPipe"),
        (4, 1, 1, "1F1B"),
        (2, 7, 1, "GPipe"),
        (15, 45, 3, "1F1B"),
        (4, 8, 2, "1F1B"),
        (8, 64, 4, "1F1B"),
        (1, 5, 1, "1F1B"),
    ],
)
def test_bubble_against_a_replayed_schedule(stages, batches, chunks, kind):
    rows = pipeline_schedule(stages, batches, chunks, kind)
    for stage in rows:
        assert len(stage) == 2 * batches * chunks == len({piece[:3] for piece in stage})
        assert all(a[4] <= b[3] + 1e-9 for a, b in itertools.pairwise(stage))
    assert parallelism.bubble_share(p=stages, m=batches, v=chunks) == pytest.approx(
        stage_idle_share(rows), abs=1e-9
    )


def test_schedules_that_cannot_be_are_refused():
    for bad in ((15, 35, 2, "1F1B"), (4, 8, 2, "GPipe"), (0, 8, 1, "1F1B"), (4, 8, 1, "zero-bubble")):
        with pytest.raises(BadInput):
            pipeline_schedule(*bad)


def test_layout_by_dealing_out_gpus_and_sequences():
    gpus, tensor, stages, length = 24_960, 8, 15, 8192
    pipelines = len({gpu // (tensor * stages) for gpu in range(gpus)})
    assert parallelism.data_parallel(n=gpus, tp=tensor, p=stages) == pipelines == 208
    sequences, hands = range(208 * 36), {}
    for s in sequences:
        hands.setdefault(s % pipelines, []).append(s)
    batch = len(sequences) * length
    assert parallelism.micro_batches(B_tok=batch, T=length, b=2, dp=pipelines) == len(hands[0]) / 2 == 18
    idle = stage_idle_share(pipeline_schedule(stages, 18))
    assert tc.bubble_of_batch(n=gpus, tp=tensor, p=stages, B_tok=batch, T=length, b=2, v=1) == pytest.approx(
        idle
    )
    interleaved = stage_idle_share(pipeline_schedule(stages, 30, 2))
    batch = 208 * 60 * length
    assert tc.bubble_of_batch(n=gpus, tp=tensor, p=stages, B_tok=batch, T=length, b=2, v=2) == pytest.approx(
        interleaved
    )
    part = tc.bubble_part(n=gpus, tp=tensor, p=stages, B_tok=batch, T=length, b=2, v=2, mfu=0.3)
    assert part == pytest.approx(math.log(1 - interleaved) / math.log(0.3))
    grid = np.zeros((stages, tensor))
    for block in range(120):
        grid[block % stages, block // stages] += 1.8e12 / 120
    assert (
        parallelism.gradient(N_total=1.8e12, tp=tensor, p=stages, grad_bytes=2)
        == pytest.approx(2 * grid.max())
        == pytest.approx(30e9)
    )


def test_step_time_gives_the_published_iteration_of_megatron_turing():
    # PaLM's authors print 29.7% without attention for 60.1 s at a batch of 1920 sequences of 2048 tokens.
    t = parallelism.step_time(N=530e9, B_tok=1920 * 2048, n=2240, F=A100, mfu=0.297)
    assert t == pytest.approx(60.1, rel=0.005)


# ---- all-reduce ---------------------------------------------------------------------------


@pytest.mark.parametrize("ranks", [2, 3, 8, 13])
def test_all_reduce_against_a_ring_that_adds(ranks):
    rng = np.random.default_rng(ranks)
    data = rng.integers(0, 9, (ranks, ranks, 5)).astype(float)  # rank, chunk, numbers of 8 bytes
    want, sent = data.sum(axis=0), np.zeros(ranks)
    for step in range(2 * (ranks - 1)):
        adding = step < ranks - 1
        messages = [
            (r, (r - step) % ranks if adding else (r + 1 - (step - ranks + 1)) % ranks) for r in range(ranks)
        ]
        payload = [data[r, chunk].copy() for r, chunk in messages]
        for (r, chunk), numbers in zip(messages, payload):
            there = data[(r + 1) % ranks]
            there[chunk] = there[chunk] + numbers if adding else numbers
            sent[r] += numbers.nbytes
    assert (data == want).all()
    size = data[0].nbytes
    assert parallelism.all_reduce(dp=ranks, G=size, sharing=1, link=10) == pytest.approx(sent.max() / 10)
    assert parallelism.all_reduce(dp=ranks, G=size, sharing=4, link=10) == pytest.approx(4 * sent.max() / 10)
    assert parallelism.all_reduce_share(t_ar=3, t_step=40) == 3 / 40


def test_share_of_the_all_reduce_from_its_parts():
    step = 6 * 280e9 * 60e6 / (25_000 * A100 * 0.34)
    seconds = 2 * 30e9 * (1 - 120 / 25_000) / (25e9 / 8)  # there and back, eight GPUs on a 200 Gb/s link
    got = parallelism.all_reduce_of_step(
        N_total=1.8e12,
        N=280e9,
        F=A100,
        mfu=0.34,
        grad_bytes=2,
        sharing=8,
        n=25_000,
        tp=8,
        p=15,
        B_tok=60e6,
        link="200 Gb/second",
    )
    assert got == pytest.approx(seconds / step, rel=1e-6)
    assert parallelism.link_step(link_in="1.6 Tb/second", link_out="200 Gb/second") == pytest.approx(8)


# ---- failures -----------------------------------------------------------------------------


def test_failure_rate_gives_the_published_times_between_failures():
    mttf = {1: None}
    for line in rows("failures_and_mtbf", system="Meta RSC-1"):
        if "projected" in line["figure"]:
            mttf[int(re.search(r"(\d+) GPUs", line["figure"])[1])] = float(line["value"]) * HOUR
    del mttf[1]
    rate = tc.failure_rate(
        failures=6.5, n_ref="8000 GPU", t_ref="1 day"
    )  # 6.5 per 1,000 nodes of 8 GPUs and day
    for gpus, seconds in mttf.items():
        assert tc.time_between(fail_rate=rate, n=gpus) == pytest.approx(seconds, rel=0.03)
    assert len(mttf) == 2


def test_counts_of_failures_agree_in_the_llama3_table():
    by_part = sum(int(r["count"]) for r in published("llama3_table5_interruptions"))
    assert (
        by_part
        == float(row("failures_and_mtbf", system="Llama 3 405B", figure="unexpected interruptions")["value"])
        == 419
    )


@pytest.mark.parametrize("mtbf, write, restart", [(7297, 60, 300), (7297, 300, 1800), (2000, 20, 600)])
def test_lost_share_against_random_failures(mtbf, write, restart):
    tau = tc.checkpoint_interval(write=write, mtbf=mtbf)
    simulated = simulate_failures(mtbf, tau, write, restart, segments=120_000, seed=5)
    assert tc.lost_share(mtbf=mtbf, tau=tau, write=write, restart=restart) == pytest.approx(
        simulated, rel=0.015
    )
    assert tc.lost_at_best(mtbf=mtbf, write=write, restart=restart) == pytest.approx(simulated, rel=0.015)
    cluster = tc.lost_on_cluster(failures=10, n_ref=100, t_ref=mtbf * 5, n=200, write=write, restart=restart)
    assert cluster == pytest.approx(tc.lost_at_best(mtbf=mtbf / 4, write=write, restart=restart))


def test_youngs_interval_is_the_best_by_trial():
    tried = np.geomspace(1, 1000, 20_000)
    best = tried[np.argmin(tc.lost_share(mtbf=10_000, tau=tried, write=0.5, restart=1))]
    assert tc.checkpoint_interval(write=0.5, mtbf=10_000) == pytest.approx(best, rel=0.01)


# ---- where the utilisation goes -----------------------------------------------------------


def test_product_against_a_budget_of_hours():
    wall = 1000.0
    up = wall - 150
    working = up * 0.75
    computing = working * 0.9
    flop = computing * 0.5
    assert tc.product(kernel=0.5, bubble=0.25, reduce_share=0.1, lost=0.15) == pytest.approx(flop / wall)
    assert tc.relative_mfu(mfu=0.3, mfu_ref=0.4) == pytest.approx(30 / 40)


def test_parts_of_the_loss_add_up():
    inputs = {"n": 24_960, "tp": 8, "p": 15, "B_tok": 208 * 30 * 8192, "T": 8192, "b": 1, "v": 1}
    crash = {"failures": 400, "n_ref": 16_000, "t_ref": 50 * DAY, "write": 60, "restart": 600}
    idle = stage_idle_share(pipeline_schedule(15, 30))
    gap = 16_000 * 50 * DAY / (400 * 24_960)
    lost = simulate_failures(gap, math.sqrt(2 * 60 * gap), 60, 600, segments=150_000, seed=3)
    for kernel in (0.5, 0.7):
        mfu = kernel * (1 - idle) * (1 - lost)
        parts = (
            tc.bubble_part(mfu=mfu, **inputs),
            tc.lost_part(mfu=mfu, n=24_960, **crash),
            math.log(kernel) / math.log(mfu),
        )
        assert sum(parts) == pytest.approx(1, abs=0.01)
        assert parts[0] == pytest.approx(math.log(1 - idle) / math.log(mfu))


def test_megatrons_percent_of_peak_counts_recomputation():
    for line in published("megatron_table1"):
        measured = float(line["tflops_per_gpu"]) / 312
        assert round(100 * measured) == pytest.approx(float(line["pct_peak"]), abs=0.6)
        # Its FLOP formula, 96 per layer and width squared, has a second forward pass: 72 are the model's own.
        h, layers = float(line["hidden"]), float(line["layers"])
        tokens = float(line["batch"]) * 2048
        theirs = 96 * tokens * layers * h * h * (1 + 2048 / (6 * h) + 51_200 / (16 * layers * h))
        heads = float(line["heads"])
        ours = (
            tc.throughput_mfu(
                R=tokens,
                n=1,
                F=1e20,
                N=float(line["params_B"]) * 1e9,
                L=layers,
                n_h=heads,
                d_h=h / heads,
                T=2048,
            )
            * 1e20
        )
        assert ours / theirs == pytest.approx(0.75, abs=0.01 if h > 4000 else 0.04)


# ---- the next model -----------------------------------------------------------------------


def test_growth_gives_the_compute_optimal_table():
    table = published("chinchilla_table3_optimal")
    exponent = float(rows("chinchilla_table2_exponents")[0]["a_Nopt"])
    for small, large in itertools.pairwise(table):
        got = tc.model_growth(
            n_new=float(large["flops"]), F_new=2, n=float(small["flops"]), F=2, a_N=exponent
        )
        assert got == pytest.approx(float(large["params"]) / float(small["params"]), rel=0.06)
    assert tc.model_growth(n_new=10, F_new=8, n=5, F=1, a_N=0.5) == pytest.approx(4)


def test_metas_cluster_by_counting_racks():
    seats = [(pod, rack, seat) for pod in range(8) for rack in range(192) for seat in range(16)]
    assert tc.cluster_size(pods=8, racks=192, rack_gpus=16) == len(seats) == 24_576


# ---- properties ---------------------------------------------------------------------------

# A plausible value of every symbol, so that shares stay below one; the test varies each by a fifth.
NEAR = {
    "N": 280e9,
    "N_total": 1.8e12,
    "D": 13e12,
    "C": 2e25,
    "n": 25e3,
    "F": 3e14,
    "mfu": 0.34,
    "t": 8e6,
    "price": 3e-4,
    "R": 2e6,
    "B_tok": 6e7,
    "T": 8e3,
    "L": 120,
    "n_h": 80,
    "d_h": 128,
    "b": 1.5,
    "tp": 8,
    "p": 15,
    "dp": 200,
    "m": 35,
    "v": 2,
    "t_step": 40,
    "grad_bytes": 2,
    "G": 3e10,
    "link": 2e10,
    "sharing": 1.5,
    "t_ar": 3,
    "failures": 400,
    "n_ref": 16e3,
    "t_ref": 5e6,
    "fail_rate": 5e-9,
    "mtbf": 7e3,
    "write": 60,
    "restart": 600,
    "tau": 900,
    "bubble": 0.3,
    "reduce_share": 0.1,
    "lost": 0.2,
    "kernel": 0.6,
    "capex": 25e3,
    "life": 1e8,
    "busy": 0.7,
    "power": 800,
    "pue": 1.2,
    "tariff": 2e-8,
    "experiments": 2,
    "staff": 0.4,
    "mfu_ref": 0.4,
    "n_new": 25e3,
    "F_new": 1e15,
    "a_N": 0.5,
    "pods": 8,
    "racks": 192,
    "rack_gpus": 16,
    "link_in": 2e11,
    "link_out": 5e10,
}
NO_CLOSED_FORM = {
    "mtbf",
    "tau",
    "write",
    "failures",
    "n_ref",
    "t_ref",
    "n",
}  # inside and outside of an exponential
PAIRS = [
    (name, s.name)
    for name, law in LAWS.items()
    for s in law.symbols
    if not (name.startswith("lost_") and s.name in NO_CLOSED_FORM)
]


@pytest.mark.parametrize("name, unknown", PAIRS)
def test_solve_then_evaluate_returns_the_input(name, unknown):
    law = LAWS[name]
    rng, inverse = random.Random(f"{name}{unknown}"), law.solve(unknown)
    for _ in range(3):
        values = {s.name: NEAR[s.name] * rng.uniform(0.8, 1.2) for s in law.symbols}
        there = law(**values)
        back = inverse(
            **{s.name: values[s.name] for s in inverse.symbols if s.name in values}, **{law.lhs.name: there}
        )
        assert back == pytest.approx(values[unknown], rel=1e-6)


def test_no_inverse_is_made_up():
    with pytest.raises(BadInput):
        tc.lost_share.solve("tau")


@settings(max_examples=50)
@given(st.floats(80, 110), st.floats(2e4, 3e4), st.floats(0.2, 0.6))
def test_flop_days_gpus_and_utilisation_are_one_equation(days, gpus, share):
    C = tc.duration.solve("C")(t=days * DAY, n=gpus, F=A100, mfu=share)
    assert tc.utilisation(C=C, n=gpus, F=A100, t=days * DAY) == pytest.approx(share)
    assert tc.duration(C=C, n=gpus, F=A100, mfu=share) == pytest.approx(days * DAY)


@pytest.mark.parametrize("shape, spread", [("uniform", 12), ("triangular", 24)])
def test_draws_have_the_moments_of_their_shape_and_stay_in_the_exact_interval(shape, spread):
    inputs = {
        "price": Interval(1 / HOUR, 1 / HOUR),
        "n": Interval(24_500, 25_500),
        "t": Interval(90 * DAY, 100 * DAY),
        "x": 7,
    }
    drawn, again = (draw(inputs, 100_000, seed=1, shape=shape) for _ in range(2))
    assert (drawn["n"] == again["n"]).all() and drawn["x"] == 7 and drawn["price"] == 1 / HOUR
    assert drawn["t"].mean() == pytest.approx(95 * DAY, rel=1e-3)
    assert drawn["t"].var() == pytest.approx(
        (10 * DAY) ** 2 / spread, rel=0.02
    )  # width squared over 12, over 24
    assert abs(np.corrcoef(drawn["n"], drawn["t"])[0, 1]) < 0.02
    del drawn["x"], inputs["x"]
    cost, exact = tc.rental(**drawn), tc.rental(**inputs)
    assert exact.lo <= cost.min() and cost.max() <= exact.hi and cost.max() > 60e6


def test_draws_that_cannot_be_are_refused():
    for inputs, shape in (({"n": Interval(1, math.inf)}, "uniform"), ({"n": Interval(1, 2)}, "normal")):
        with pytest.raises(BadInput):
            draw(inputs, 10, shape=shape)


def test_stated_utilisation_is_six_nd_over_the_stated_days():
    # The page's finding, by plain arithmetic: 6 x 280e9 x 13e12 over 25,000 peaks and 90 or 100 days.
    ends = [6 * 280e9 * 13e12 / (25_000 * A100 * days * DAY) for days in (100, 90)]
    stated = ledger.claim("training-cost-mfu").stated.interval
    assert [round(x, 2) for x in ends] == [stated.lo, stated.hi]


# ---- data and ledger ----------------------------------------------------------------------


def test_hardware_peaks_are_dense():
    for device in devices().values():
        assert device.fp8_flop_per_s in (None, device.bf16_flop_per_s) or (
            device.fp8_flop_per_s == pytest.approx(2 * device.bf16_flop_per_s, rel=0.03)
        )
    a100, h100 = hardware("A100-SXM 80GB"), hardware("H100-SXM 80GB")
    assert (a100.bf16_flop_per_s, a100.memory_bytes, a100.bandwidth_bytes_per_s, a100.tdp_watt) == (
        312e12,
        80 * 2**30,
        2039e9,
        400,
    )
    assert (h100.bf16_flop_per_s, h100.fp8_flop_per_s, h100.interconnect_bytes_per_s) == (
        989e12,
        1979e12,
        900e9,
    )


@pytest.mark.parametrize(
    "table",
    [
        "gpt3_tableD1_compute",
        "training_runs",
        "palm_table3_mfu",
        "megatron_table1",
        "megatron_training_time",
        "failures_and_mtbf",
        "llama3_table5_interruptions",
        "checkpoint_formulas",
        "a100_prices",
        "mosaic_h100_mfu",
        "chinchilla_table3_optimal",
        "chinchilla_table2_exponents",
    ],
)
def test_published_rows_name_a_known_source(table):
    assert published(table)
    for line in published(table):
        assert line["source"] in sources() and line["evidence"]


# The ends of the derived intervals, by plain arithmetic; the middles are in double_entry.csv.
RANGES = {
    "training-cost-flop": (6 * 275e9 * 12.5e12, 6 * 285e9 * 13.5e12),
    "training-cost-mfu": (2.145e25 / (25_500 * A100 * 100 * DAY), 2.155e25 / (24_500 * A100 * 90 * DAY)),
    "training-cost-63m": (24_500 * 90 * 24, 25_500 * 100 * 24),
    "training-cost-h100-21.5m": (
        2 * 2.145e25 / (1979e12 * 0.3025) / HOUR,
        2 * 2.155e25 / (1979e12 * 0.1438) / HOUR,
    ),
    "training-cost-extremely-low-mfu": (0.32 / 0.462, 0.36 / 0.213),
    "training-cost-segment-links": (2, 8),
    "training-cost-true-cost": (1.2 / 0.71, 4 / 0.51),
    "training-cost-25k-h100": ((989 / 312 * 25 / 25.5) ** 0.454, (989 / 312 * 25 / 24.5) ** 0.534),
}


@pytest.mark.parametrize("claim_id", RANGES)
def test_ends_of_the_derived_ranges(claim_id):
    interval = ledger.claim(claim_id).interval
    assert (interval.lo, interval.hi) == pytest.approx(RANGES[claim_id], rel=1e-6)


def test_notes_are_filled_in():
    claims = ledger.load().chapter("05_training_cost")
    assert len(claims) == 16 and not [c.id for c in claims if re.search(r"[{}]", c.why)]


def test_ledger_of_failures_by_simulation():
    claim = ledger.load()["training-cost-failures"]
    gap = 16_384 * 54 * DAY / (419 * 25_000)
    lost = simulate_failures(gap, math.sqrt(2 * 155 * gap), 155, 1050, segments=100_000, seed=2)
    assert claim.derived == pytest.approx(math.log(1 - lost) / math.log(0.34), rel=0.02)


def test_the_family_of_answers_that_make_63_million_true():
    claim = ledger.load()["training-cost-63m"]
    assert claim.must_be("t") / DAY == pytest.approx(63e6 / 25_000 / 24)
    assert claim.must_be("n") == pytest.approx(63e6 / 95 / 24)
    assert claim.must_be("price") * HOUR == pytest.approx(63 / 57)
    assert tc.rental_from_compute.solve("mfu")(
        M=63e6, C=2.15e25, F=A100, price="1 USD/GPU/hour"
    ) == pytest.approx(2.15e25 / (A100 * 63e6 * HOUR))


def test_h100_figure_needs_fp8():
    share = 2.15e25 / (8192 * 55 * DAY * H100)
    bf16 = [float(r["mfu_pct"]) / 100 for r in rows("mosaic_h100_mfu", precision="bf16")]
    fp8 = [float(r["mfu_pct"]) / 100 for r in rows("mosaic_h100_mfu", precision="fp8")]
    assert max(bf16) < share and min(fp8) < share * H100 / 1979e12 < max(fp8) and len(fp8) == 10
    assumed = ledger.load()["training-cost-h100-21.5m"].inputs["mfu"].stated.interval
    assert (assumed.lo, assumed.hi) == pytest.approx((min(fp8), max(fp8)))


def test_a_run_with_two_failures_by_hand(monkeypatch):
    """Segments of 10 + 2.

    The second is lost after 5 s, its restart of 3 after 14 s, just before its end at 15.
    """
    gaps, asked = iter([12.0, 5.0, 14.0, 15.0, 100.0]), []

    class Fixed:
        def exponential(self, mean):
            asked.append(mean)
            return next(gaps)

    monkeypatch.setattr(np.random, "default_rng", lambda seed: Fixed())
    lost = simulate_failures(50.0, 10.0, 2.0, 3.0, segments=3)
    assert lost == pytest.approx(1 - 30 / (12 + 5 + 14 + 15 + 12)) and asked == [50.0] * 5


def test_a_run_that_never_fails_loses_its_writes():
    assert simulate_failures(1e30, 9.0, 1.0, 5.0, segments=4) == pytest.approx(0.1)
    one, other = (simulate_failures(30, 9, 1, 5, segments=50, seed=seed) for seed in (0, 1))
    assert one == simulate_failures(30, 9, 1, 5, segments=50) != other
