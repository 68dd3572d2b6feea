"""The serving model against a count that knows no law: loops over layers, heads, tokens and ranks of a small
model.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt4lib.facts.devices import hardware
from gpt4lib.facts.models import model_of
from gpt4lib.spine.errors import BadInput
from gpt4lib.systems.count import (
    ServedModel,
    cache_of,
    parameters,
    served_model,
    serving_view,
    weight_formats,
)
from gpt4lib.systems.machine import Server
from gpt4lib.systems.serving import decode, prefill

SMALL = {
    "name": "small mixture",
    "layers": 4,
    "d_model": 64,
    "n_heads": 8,
    "n_kv_heads": 2,
    "d_head": 8,
    "vocab": 512,
    "tied_embeddings": False,
    "positions": "rotary",
    "n_experts": 4,
    "top_k": 2,
    "d_ff_expert": 128,
    "expert_matrices": 2,
}
MIXTURE, GPU = serving_view(model_of(SMALL)), hardware("A100-SXM 80GB")
NVLINK, NIC = GPU.link_one_way_bytes_per_s, 25e9


def by_hand(*, batch, context, tp, p, ep, hit, rank_overhead=1.0):
    """Bytes, FLOP and seconds of a decode step of the small model, one matrix, head and message at a time."""
    read = flop = sent = moved = spread = cache = 0
    for _ in range(SMALL["layers"]):
        attention = [(64, 8 * 8), (64, 2 * 8), (64, 2 * 8), (8 * 8, 64)]
        for rows, columns in attention:
            read += rows * columns * 2 / tp
            flop += batch * 2 * rows * columns
        read += 2 * 64 * 2 / tp + 64 * 4 * 2 / tp  # two norms; the router
        flop += batch * 2 * 64 * 4
        for rows, columns in [(64, 128), (128, 64)]:
            read += hit / ep * rows * columns * 2 / tp
            flop += batch * 2 * 2 * rows * columns  # two experts a token
        for _ in range(2):  # key and value
            cache += batch / ep * context * 2 * 8 * 2 / tp
        flop += batch * context * 8 * (2 * 8 + 2 * 8)  # a score, a mixed value, for each query head
        for _ in range(
            2
        ):  # an all-reduce after attention and one after the experts: two passes round the ring
            sent += 2 * (tp - 1) / tp * (batch / ep) * 64 * 2
            moved += (tp - 1) / tp * (batch / ep) * 64 / tp * 2  # queries out, values back
            spread += 2 * (ep - 1) / ep * (batch / ep / tp) * 64 * 2  # two experts: out, then back
    read += 64 * 512 * 2 / tp + 64 * 2 / tp  # unembedding; last norm
    flop += batch * 2 * 64 * 512
    memory = (read + cache) / GPU.bandwidth_bytes_per_s
    compute = flop / (tp * ep * GPU.bf16_flop_per_s)
    hops = (p - 1) * (batch / ep / tp) * 64 * 2 / NIC
    return {
        "memory": memory,
        "compute": compute,
        "tensor": sent / NVLINK,
        "split": moved / NVLINK if tp > 1 else 0.0,
        "expert": spread / NIC,
        "hop": hops,
    }


@pytest.mark.parametrize("batch", [1, 16, 4000])
@pytest.mark.parametrize(("tp", "p", "ep"), [(1, 1, 1), (2, 1, 1), (4, 2, 1), (2, 4, 2), (8, 1, 4)])
def test_a_step_of_the_small_model_counted_by_hand(batch, tp, p, ep):
    hit = 4 * (1 - 0.5**batch)
    want = by_hand(batch=batch, context=100, tp=tp, p=p, ep=ep, hit=hit)
    x = decode(MIXTURE, Server(tensor=tp, pipeline=p, expert=ep), batch=batch, context=100, price=2.0)
    for name, seconds in want.items():
        assert float(getattr(x, f"{name}_seconds")) == pytest.approx(seconds, rel=1e-9), name
    links = want["tensor"] + want["split"] + want["expert"] + want["hop"]
    total = max(want["memory"], want["compute"]) + links
    assert float(x.pass_seconds) == pytest.approx(total)
    assert float(x.user_rate) == pytest.approx(1 / total)  # as many micro-batches as stages: no waiting
    assert float(x.rate) == pytest.approx(p * batch / total)
    assert float(x.n_gpus) == tp * p * ep
    assert float(x.cost) == pytest.approx(2.0 * tp * p * ep * total / (p * batch))
    parts = {**want, "layers": 0.0}
    assert str(x.bound) == max(parts, key=parts.get)


def test_memory_of_the_small_model_counted_by_hand():
    parts = parameters(model_of(SMALL)).parts
    experts, outside = parts["experts"], sum(parts.values()) - parts["experts"]
    for tp, p, ep in ((1, 1, 1), (2, 3, 2), (4, 1, 4)):
        x = decode(MIXTURE, Server(tensor=tp, pipeline=p, expert=ep, usable=0.9), batch=10, context=50)
        held = 2 * (outside + experts / ep) / (tp * p)
        cache = (
            sum(10 / ep * 50 * 2 * 2 * 8 * 2 / tp for _ in range(p) for _ in range(4)) / p
        )  # passes x layers
        assert float(x.weight_bytes_held) == pytest.approx(held)
        assert float(x.cache_bytes_held) == pytest.approx(cache)
        assert float(x.left_bytes) == pytest.approx(0.9 * 80 * 2**30 - held)
        assert float(x.batch_limit) == pytest.approx(10 * (0.9 * 80 * 2**30 - held) / cache)


def test_the_largest_batch_fits_and_one_more_does_not():
    served, server = served_model("gpt4_multi_query"), Server(pipeline=16)
    limit = int(decode(served, server, batch=1, context=4096).batch_limit)
    fits = decode(served, server, batch=np.array([limit, limit + 1]), context=4096).fits
    assert list(fits) == [True, False]


def test_heads_shared_by_more_ranks_than_there_are_heads_are_copied():
    split, copied = (
        decode(MIXTURE, Server(tensor=8, divide_cache=d), batch=1, context=1000) for d in (True, False)
    )
    assert float(copied.cache_bytes_held) == pytest.approx(
        4 * float(split.cache_bytes_held)
    )  # 2 heads, 8 ranks
    assert float(copied.split_seconds) == 0.0 < float(split.split_seconds)


def test_micro_batches_wait_their_turn_beyond_the_stages():
    few, even, many = (
        decode(MIXTURE, Server(pipeline=4, micro_batches=m), batch=8, context=10) for m in (2, 4, 12)
    )
    assert float(few.user_rate) == pytest.approx(float(even.user_rate)) and float(few.rate) == pytest.approx(
        float(even.rate) / 2
    )
    assert float(many.rate) == pytest.approx(float(even.rate)) and float(many.user_rate) == pytest.approx(
        float(even.user_rate) / 3
    )
    assert [float(x.n_gpus) for x in (few, even, many)] == [32.0] * 3
    assert [float(x.in_flight) for x in (few, even, many)] == [16.0, 32.0, 96.0]


def test_departures_from_the_bound():
    one = {"batch": 64, "context": 1000}
    bound, server = decode(MIXTURE, Server(), **one), Server()
    links = sum(float(getattr(bound, f"{n}_seconds")) for n in ("tensor", "split", "expert", "hop"))
    core = float(bound.pass_seconds) - links
    memory, compute = float(bound.memory_seconds), float(bound.compute_seconds)
    assert core == pytest.approx(max(memory, compute))

    def seconds(**how):
        return float(decode(MIXTURE, replace(server, **how), **one).pass_seconds)

    assert seconds(overlap=0.0) == pytest.approx(memory + compute + links)
    assert seconds(overhead=2.0) == pytest.approx(2 * core + links)
    assert seconds(layer_seconds=1e-4) == pytest.approx(core + links + 4 * 1e-4)
    assert seconds(transfer=0.5) == pytest.approx(max(2 * memory, compute) + 2 * links)
    assert seconds(ceiling=0.5) == pytest.approx(max(memory, 2 * compute) + links)
    assert seconds(nvlink_bytes_per_s=NVLINK / 2) == pytest.approx(core + 2 * links)
    assert float(decode(MIXTURE, Server(weight_bytes=1.0), **one).weight_bytes_held) == pytest.approx(
        float(bound.weight_bytes_held) / 2
    )
    int8 = decode(MIXTURE, Server(compute="int8"), **one)
    assert float(int8.compute_seconds) == pytest.approx(compute / 2)


def test_prefill_counts_the_tokens_of_the_prompt():
    server = Server(tensor=2, pipeline=2)
    x = prefill(MIXTURE, server, batch=3, prompt=200, price=1.0)
    flop = 3 * 200 * (MIXTURE.C_tok + 4 * 8 * (2 * 8 + 2 * 8) * 200 / 2)  # half of the prompt on average
    assert float(x.compute_seconds) == pytest.approx(flop / (2 * GPU.bf16_flop_per_s))
    total = float(x.pass_seconds)
    assert float(x.rate) == pytest.approx(2 * 3 * 200 / total)
    assert float(x.cost) == pytest.approx(4 * total / (2 * 3 * 200))
    assert float(x.mfu) == pytest.approx(2 * MIXTURE.active * float(x.rate) / (4 * GPU.bf16_flop_per_s))


def test_several_positions_of_a_sequence_in_one_pass():
    one, five = (decode(MIXTURE, Server(), batch=4, context=100, tokens=g) for g in (1, 5))
    assert float(five.compute_seconds) == pytest.approx(5 * float(one.compute_seconds))
    assert float(five.experts_hit) == pytest.approx(4 * (1 - 0.5**20))
    assert float(five.cache_bytes_held) == float(one.cache_bytes_held)


def test_experts_reached_by_a_simulation():
    rng, served = np.random.default_rng(5), served_model("gpt4_multi_query")
    for batch in (1, 4, 16):
        drawn = np.mean(
            [len({e for _ in range(batch) for e in rng.choice(16, 2, replace=False)}) for _ in range(2000)]
        )
        x = decode(served, Server(pipeline=16), batch=batch, context=10)
        assert float(x.experts_hit) == pytest.approx(drawn, rel=0.02)
        known = decode(served, Server(pipeline=16), batch=batch, context=10, hit=drawn)
        assert float(known.memory_seconds) == pytest.approx(float(x.memory_seconds), rel=0.02)


def test_models_come_from_shape_files_and_the_table():
    described, palm = served_model("gpt4_multi_query"), served_model("PaLM 540B")
    assert 1.8e12 < described.total < 1.9e12 and 2.7e11 < described.active < 2.9e11
    assert palm.total == pytest.approx(540.35e9, rel=1e-4) and palm.E == 1 and palm.active == palm.total
    assert (
        served_model("Llama-2-7B").N_held - served_model("Llama-2-7B").N_fix == 32000 * 4096
    )  # the embedding is not read whole
    latent = served_model("DeepSeek-V2")
    assert latent.entries == 60 * (512 + 64) and latent.kv_splits == 1
    with pytest.raises(BadInput, match="unknown"):
        served_model("GPT-5")


@given(
    st.integers(1, 512),
    st.integers(1, 32768),
    st.sampled_from([1, 2, 4, 8]),
    st.sampled_from([8, 16]),
    st.sampled_from(["A100-SXM 80GB", "H100-SXM 80GB"]),
)
def test_properties(batch, context, tokens, pipeline, gpu):
    served, server = served_model("gpt4_multi_query"), Server(gpu=gpu, pipeline=pipeline)
    x = decode(served, server, batch=np.array([batch, batch + 1]), context=context, tokens=tokens)
    y = decode(served, server, batch=batch, context=context + 1, tokens=tokens)
    assert x.pass_seconds[1] >= x.pass_seconds[0] and y.pass_seconds >= x.pass_seconds[0]
    assert x.rate[1] >= x.rate[0] * 0.999  # a larger batch never serves fewer tokens, but for rounding
    assert 0 < x.mfu[0] <= 1 and x.experts_hit[0] <= 16
    assert x.user_rate[0] * batch * pipeline == pytest.approx(x.rate[0])
    parts = [part[0] for part in x.seconds.values()]
    assert max(parts[:2]) <= x.pass_seconds[0] <= sum(parts) * (1 + 1e-12)


def test_arrays_span_a_grid():
    x = decode(MIXTURE, Server(), batch=np.arange(1, 4)[:, None], context=np.arange(1, 6)[None, :])
    assert x.pass_seconds.shape == x.fits.shape == x.bound.shape == (3, 5)
    assert x.pass_seconds[2, 4] == pytest.approx(
        float(decode(MIXTURE, Server(), batch=3, context=5).pass_seconds)
    )


@pytest.mark.parametrize(
    ("how", "call", "words"),
    [
        ({"tensor": 0}, {}, "tensor takes a positive whole number"),
        ({"pipeline": 1.5}, {}, "pipeline takes"),
        ({"micro_batches": 0}, {}, "micro_batches takes"),
        ({"expert": 5}, {}, "expert takes at most the 4 experts"),
        ({"compute": "fp8"}, {}, "compute takes one of bf16, int8 on A100"),
        ({"compute": "fp4"}, {}, "compute takes one of"),
        ({"gpu": "TPU v4"}, {}, "link_in takes a positive number"),
        ({"gpu": "A1000"}, {}, "unknown accelerator"),
        ({"weight_bytes": 0}, {}, "weight_bytes takes"),
        ({"kv_bytes": -1}, {}, "kv_bytes takes"),
        ({"act_bytes": np.inf}, {}, "act_bytes takes"),
        ({"nic_bytes_per_s": 0}, {}, "link_out takes"),
        ({"ceiling": 1.1}, {}, "ceiling takes a share"),
        ({"transfer": 0}, {}, "transfer takes a share"),
        ({"usable": np.nan}, {}, "usable takes a share"),
        ({"overhead": 0.5}, {}, "overhead takes at least 1"),
        ({"overlap": 2}, {}, "overlap 0 to 1"),
        ({"layer_seconds": -1}, {}, "layer_seconds at least 0"),
        ({}, {"batch": 0}, "batch takes positive numbers"),
        ({}, {"context": -5}, "context takes positive"),
        ({}, {"tokens": 0}, "tokens takes positive"),
        ({}, {"batch": np.nan}, "batch takes positive"),
        ({}, {"hit": 5}, "hit takes at most the 4"),
    ],
)
def test_bad_input(how, call, words):
    with pytest.raises(BadInput, match=words):
        decode(MIXTURE, Server(**how), **({"batch": 1, "context": 1} | call))


def test_a_model_that_does_not_fit_is_refused():
    with pytest.raises(BadInput, match=r"does not fit: .* GB of weights on each A100-SXM 80GB"):
        decode(served_model("gpt4_multi_query"), Server(pipeline=2), batch=1, context=1)


@pytest.mark.parametrize(
    "how",
    [
        {"ceiling": 1.0, "transfer": 1.0, "usable": 1.0},
        {"overlap": 0.0},
        {"overlap": 1.0},
        {"overhead": 1.0},
        {"layer_seconds": 0.0},
    ],
)
def test_the_ends_of_a_range_are_in_it(how):
    assert Server(**how).facts()["tp"] == 8


@pytest.mark.parametrize(
    "how",
    [
        {"ceiling": 0},
        {"usable": 0},
        {"overlap": -0.01},
        {"overlap": 1.01},
        {"overhead": 0.99},
        {"layer_seconds": np.inf},
        {"overhead": np.inf},
        {"micro_batches": 0},
        {"nvlink_bytes_per_s": 0},
        {"nvlink_bytes_per_s": np.inf},
    ],
)
def test_what_lies_beyond_an_end_is_refused(how):
    with pytest.raises(BadInput):
        Server(**how).facts()


def test_every_expert_may_be_reached_and_have_its_rank():
    x = decode(MIXTURE, Server(tensor=1, expert=4), batch=1, context=1, hit=4)
    assert x.experts_hit == 4
    with pytest.raises(BadInput, match="expert takes at most the 4 experts"):
        decode(MIXTURE, Server(tensor=1, expert=5), batch=1, context=1)


# ---- every term with round numbers --------------------------------------------------------
ROUND = ServedModel(
    name="round",
    N_fix=2e9,
    N_held=3e9,
    N_exp=1e9,
    E=8,
    k=2,
    C_tok=8e9,
    pair_flop=1e6,
    entries=1000.0,
    kv_splits=2,
    L=10,
    d=1000,
    n_h=20,
    d_h=50,
)
MACHINE = Server(
    tensor=4,
    pipeline=5,
    expert=2,
    micro_batches=10,
    weight_bytes=1.0,
    kv_bytes=2.0,
    act_bytes=1.0,
    nvlink_bytes_per_s=100e9,
    nic_bytes_per_s=10e9,
    ceiling=0.5,
    transfer=0.8,
    overlap=0.25,
    overhead=1.5,
    layer_seconds=1e-4,
    usable=0.9,
)


def test_the_round_machine_term_by_term():
    """100 sequences of 3,000 tokens, 4 positions each, 6 experts reached; an A100 reads 2,039 GB/s."""
    x = decode(ROUND, MACHINE, batch=100, context=3000, hit=6, tokens=4, price=7.0)
    seconds = {
        name: float(getattr(x, f"{name}_seconds")) for name in ("memory", "compute", "tensor", "split")
    }
    seconds |= {name: float(getattr(x, f"{name}_seconds")) for name in ("expert", "hop", "layers")}
    read = (2e9 + 6 * 1e9 / 2) / 4 + 2000 * 100 * 3000 / (2 * 4)  # weights and cache of one rank, all stages
    memory, flop = read / (GPU.bandwidth_bytes_per_s * 0.8), 400 * (8e9 + 1e6 * 3000)
    compute = flop / (8 * 312e12 * 0.5)
    assert seconds["memory"] == pytest.approx(1.5 * memory)
    assert seconds["compute"] == pytest.approx(1.5 * compute)
    # 200 positions to an expert group, 50 to a rank of it, vectors of 1,000 bytes
    ring = 3 / 4
    assert seconds["tensor"] == pytest.approx(10 * 2 * 2 * ring * 200 * 1000 / (100e9 * 0.8))
    assert seconds["split"] == pytest.approx(10 * 2 * ring * 200 * 1000 / 4 / (100e9 * 0.8))
    assert seconds["expert"] == pytest.approx(10 * 2 * 2 / 2 * 50 * 1000 / (10e9 * 0.8))
    assert seconds["hop"] == pytest.approx(4 * 50 * 1000 / (10e9 * 0.8))
    assert seconds["layers"] == pytest.approx(10 * 1e-4)
    core = max(memory, compute) + 0.75 * min(memory, compute)
    links = sum(seconds[name] for name in ("tensor", "split", "expert", "hop", "layers"))
    whole = 1.5 * core + links
    assert float(x.pass_seconds) == pytest.approx(whole)
    assert float(x.user_rate) == pytest.approx(1 / (2 * whole))  # ten micro-batches, five stages
    assert float(x.rate) == pytest.approx(10 * 100 / (2 * whole))
    assert float(x.n_gpus) == 40 and float(x.cost) == pytest.approx(7.0 * 40 / (500 / whole))
    assert float(x.mfu) == pytest.approx(2 * 4e9 * (500 / whole) / (40 * 312e12))
    assert float(x.weight_bytes_held) == pytest.approx((3e9 + 8e9 / 2) / 20)
    held = 10 * 2000 * 100 * 3000 / (5 * 2 * 4)
    assert float(x.cache_bytes_held) == pytest.approx(held)
    left = 72 * 2**30 - 7e9 / 20
    assert float(x.left_bytes) == pytest.approx(left)
    assert float(x.batch_limit) == pytest.approx(100 * left / held)
    assert (
        bool(x.fits) and float(x.experts_hit) == 6 and decode(ROUND, MACHINE, batch=1, context=1).cost is None
    )


def test_the_round_machine_over_a_prompt():
    """Two prompts of 3,000 tokens: 6,000 positions, each with 1,500 tokens before it in the mean."""
    x = prefill(ROUND, MACHINE, batch=2, prompt=3000, hit=8)
    compute = 6000 * (8e9 + 1e6 * 1500) / (8 * 312e12 * 0.5)
    assert float(x.compute_seconds) == pytest.approx(1.5 * compute)
    read = (2e9 + 8 * 1e9 / 2) / 4 + 2000 * 2 * 3000 / 8
    assert float(x.memory_seconds) == pytest.approx(1.5 * read / (GPU.bandwidth_bytes_per_s * 0.8))
    assert float(x.hop_seconds) == pytest.approx(4 * 6000 / 8 * 1000 / (10e9 * 0.8))
    assert float(x.user_rate) == pytest.approx(3000 / (2 * float(x.pass_seconds)))
    assert float(x.rate) == pytest.approx(10 * 2 * float(x.user_rate))
    assert str(x.bound) == "compute"


@pytest.mark.parametrize(
    ("change", "bound"),
    [
        ({}, "memory"),
        ({"ceiling": 1e-4}, "compute"),
        ({"nvlink_bytes_per_s": 1e6}, "tensor"),
        ({"nic_bytes_per_s": 1e6}, "expert"),
        ({"nic_bytes_per_s": 1e6, "expert": 1, "pipeline": 10}, "hop"),
        ({"layer_seconds": 1.0}, "layers"),
    ],
)
def test_the_largest_part_is_named(change, bound):
    x = decode(ROUND, replace(MACHINE, **change), batch=8, context=300)
    assert str(x.bound) == bound


@pytest.mark.parametrize(("tensor", "ranks"), [(1, 1), (2, 2), (4, 2)])
def test_a_cache_divided_by_heads_has_as_many_shares_as_heads_and_ranks_allow(tensor, ranks):
    x = decode(ROUND, replace(MACHINE, tensor=tensor, divide_cache=False), batch=8, context=300)
    assert float(x.cache_bytes_held) == pytest.approx(10 * 2000 * 8 * 300 / (5 * 2 * ranks))
    assert float(x.split_seconds) == 0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: decode(ROUND, MACHINE, batch=[4, 0], context=1), "batch takes positive numbers, got [4, 0]"),
        (lambda: decode(ROUND, MACHINE, batch=1, context=np.nan), "context takes positive numbers, got nan"),
        (lambda: decode(ROUND, MACHINE, batch=1, context=1, tokens=np.inf), "tokens takes positive numbers"),
        (
            lambda: decode(ROUND, MACHINE, batch=1, context=1, hit=8.5),
            "at most the 8 experts of round, got 8.5",
        ),
        (
            lambda: decode(ROUND, replace(MACHINE, expert=9), batch=1, context=1),
            "expert takes at most the 8 experts of round, got 9",
        ),
        (
            lambda: decode(ROUND, Server(tensor=1, usable=0.25), batch=1, context=1),
            "round does not fit: 22.0 GB of weights on each A100-SXM 80GB with 21.5 GB "
            "(tensor = 1, pipeline = 1, expert = 1)",
        ),
    ],
)
def test_every_refusal_of_a_pass_in_full(call, words):
    with pytest.raises(BadInput) as caught:
        call()
    assert words in str(caught.value)


def test_weights_that_fill_the_memory_leave_no_room():
    size = 40 * 2**30 - 8e9  # with the eight experts, in two bytes: an A100's 80 GiB
    with pytest.raises(BadInput, match=r"does not fit: 85.9 GB of weights .* with 85.9 GB"):
        decode(replace(ROUND, N_held=size), Server(tensor=1), batch=1, context=1)
    less = replace(ROUND, N_held=size - 1e8)
    assert float(decode(less, Server(tensor=1), batch=1, context=1).left_bytes) > 0


# ---- how ranks divide the cache -----------------------------------------------------------
def attention_of(**keys):
    """A model whose cache is as published; what follows attention is small."""
    rest = {"name": "small", "d_model": 128, "vocab": 100, "tied_embeddings": True, "positions": "rotary"}
    return model_of(rest | {"d_ff": 128, "mlp_matrices": 3} | keys)


@pytest.mark.parametrize(
    ("name", "gpu", "tensor", "token"),
    [
        ("DeepSeek-V3", "H200-SXM", 8, 61 * (512 + 64) * 2),  # whole on each rank: vLLM, issue 47929
        ("Llama-3.1-70B", "H100-SXM 80GB", 32, 80 * 2 * 128 * 2),  # one of eight heads on each rank
        ("Llama-3.1-70B", "H100-SXM 80GB", 4, 80 * 2 * 2 * 128 * 2),  # two of them
    ],
)
def test_a_rank_holds_a_whole_head_or_latent_vector_at_least(name, gpu, tensor, token):
    server = Server(gpu=gpu, tensor=tensor, weight_bytes=1.0, divide_cache=False)
    served = served_model(name)
    assert token in (70_272, 40_960, 81_920)
    x = decode(served, server, batch=3, context=500)
    assert float(x.cache_bytes_held) == 3 * 500 * token
    divided = decode(served, replace(server, divide_cache=True), batch=3, context=500)
    assert float(divided.cache_bytes_held) == pytest.approx(3 * 500 * served.entries * 2 / tensor)


GEMMA = {"layers": 26, "n_heads": 4, "n_kv_heads": 1, "d_head": 256, "window": 512}
GEMMA |= {"layer_kinds": [*["window"] * 5, "full"]}
MISTRAL = {"layers": 32, "n_heads": 32, "n_kv_heads": 8, "d_head": 128, "window": 4096}
MISTRAL |= {"layer_kinds": ["window"]}
OSS = {"layers": 36, "n_heads": 64, "n_kv_heads": 8, "d_head": 64, "window": 128}
OSS |= {"layer_kinds": ["window", "full"]}


@pytest.mark.parametrize(
    ("keys", "context", "kept", "pages"),
    [
        (GEMMA, 32_768, (22 * 512 + 4 * 32_768) * 1024, 26 * 32_768 * 1024),  # 139 and 832 MiB
        (MISTRAL, 4_096, 536_870_912, 536_870_912),
        (MISTRAL, 32_768, 536_870_912, 8 * 536_870_912),
        (OSS, 131_072, (18 * 131_072 + 18 * 128) * 2048, 131_072 * 73_728),  # 4.836 GB
    ],
)
def test_windows_keep_no_more_than_their_tokens(keys, context, kept, pages):
    shape = attention_of(**keys)
    found = cache_of(shape, context)
    assert (found.kept_bytes, found.full_pages_bytes) == (kept, pages)
    for by_sequences in (True, False):
        server = Server(gpu="H200-SXM", tensor=1, divide_cache=by_sequences)
        x = decode(serving_view(shape), server, batch=2, context=context)
        assert float(x.cache_bytes_held) == pytest.approx(2 * kept)
        rate = hardware("H200-SXM").bandwidth_bytes_per_s
        assert float(x.memory_seconds) > 2 * kept / rate > 0.9 * float(x.memory_seconds)


def test_states_are_never_copied():
    """Two key-value heads on eight ranks: four copies of the cache, one of the states."""
    keys = {"layers": 4, "n_heads": 16, "n_kv_heads": 2, "d_head": 64, "layer_kinds": ["delta", "full"]}
    keys |= {"n_state_heads": 16, "d_state_head": 128, "d_state": 128, "n_state_groups": 8, "conv_width": 4}
    served = serving_view(attention_of(**keys))
    state = 2 * (16 * 128 * 128 + 3 * (16 * 128 + 2 * 8 * 128))
    assert served.state == state
    for by_sequences, copies in ((True, 1), (False, 4)):
        x = decode(served, Server(divide_cache=by_sequences), batch=5, context=1000)
        cache = 2 * 2 * 2 * 64 * 1000 * 2  # layers, key and value, heads, width, tokens, bytes
        assert float(x.cache_bytes_held) == pytest.approx(5 * (copies * cache + 2 * state) / 8)


def test_widths_that_split_a_head_are_refused():
    """96 query and 8 key-value heads: six ranks would split a key-value head, five or 64 a query head."""
    served = replace(MIXTURE, n_h=96, kv_splits=8)
    by_heads = Server(divide_cache=False)
    for call, size in ((decode, "context"), (prefill, "prompt")):
        for server in (by_heads, Server()):
            with pytest.raises(BadInput) as caught:
                call(served, replace(server, tensor=6), batch=1, **{size: 10})
            line = str(caught.value).splitlines()[1]
            assert line.startswith("  tensor takes a divisor or a multiple of n_kv_heads = 8 (1, 2, 4, 8")
            assert line.endswith("got 6")
    with pytest.raises(
        BadInput, match=r"2 mistakes\n  tensor takes a divisor of n_heads = 96 .*got 5\n.* 8 "
    ):
        decode(served, replace(by_heads, tensor=5), batch=1, context=10)
    for tensor in (1, 2, 4, 8, 16, 24, 32, 48, 96):
        assert decode(served, replace(by_heads, tensor=tensor), batch=1, context=10)
    with pytest.raises(BadInput, match="a divisor of n_heads = 96"):
        decode(served, replace(by_heads, tensor=64), batch=1, context=10)
    assert decode(served, Server(tensor=64), batch=1, context=10)  # a bound: query heads evenly spread


# ---- formats of weights -------------------------------------------------------------------
def test_experts_have_a_format_of_their_own():
    server = replace(MACHINE, expert_bytes=0.5)
    x = decode(ROUND, server, batch=100, context=3000, hit=6)
    assert float(x.weight_bytes_held) == pytest.approx((3e9 + 0.5 * 8e9 / 2) / 20)
    read = (2e9 + 0.5 * 6 * 1e9 / 2) / 4 + 2000 * 100 * 3000 / (2 * 4)
    assert float(x.memory_seconds) == pytest.approx(1.5 * read / (GPU.bandwidth_bytes_per_s * 0.8))
    alike = decode(ROUND, replace(MACHINE, expert_bytes=1.0), batch=100, context=3000, hit=6)
    assert float(alike.memory_seconds) == float(
        decode(ROUND, MACHINE, batch=100, context=3000, hit=6).memory_seconds
    )
    with pytest.raises(BadInput, match="expert_bytes takes a positive number, got 0"):
        decode(ROUND, replace(MACHINE, expert_bytes=0), batch=1, context=1)


def test_a_checkpoints_formats_by_part():
    """Four layers of the small mixture: attention in one byte, experts in 17/32, the rest in two."""
    released = {"matrix_bytes": 1.0, "expert_bytes": 0.53125}
    found = weight_formats(model_of(SMALL | released))
    attention, rest = 4 * 64 * 8 * (2 * 8 + 2 * 2), 2 * 512 * 64 + 4 * 64 * 4 + 9 * 64
    assert found == {
        "weight_bytes": pytest.approx((attention + 2 * rest) / (attention + rest)),
        "expert_bytes": 0.53125,
    }
    dense = attention_of(**GEMMA)
    assert weight_formats(dense) == {"weight_bytes": 2.0, "expert_bytes": 2.0}


# ---- stages by hand -----------------------------------------------------------------------
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(
    ("stages", "vocab"),
    [((1, 3), 1e6), ((3, 1), 1e6), ((2, 2), 1e6), ((1, 2, 1), 1e6), ((4,), 1e6), ((1, 2, 1), 7e8)],
)
def test_stages_counted_one_at_a_time(stages, vocab, tied):
    """Layers where they stand, a table at either end; what fits is what fits on every stage.

    The last tables are so large that the longest stage has most room.
    """
    shape = model_of(SMALL | {"tied_embeddings": tied, "vocab": int(vocab)})
    served, table = serving_view(shape), int(vocab) * 64
    tables = table * (1 if tied and len(stages) == 1 else 2)
    layer = (parameters(shape).total - table * (1 if tied else 2)) / 4
    held = [2 * n * layer / 2 for n in stages]
    if len(stages) == 1:
        held[0] += 2 * tables / 2
    else:
        held[0], held[-1] = held[0] + 2 * table / 2, held[-1] + 2 * table / 2
    server = Server(tensor=2, pipeline=len(stages), stage_layers=stages)
    x = decode(served, server, batch=7, context=900)
    each = [n * 900 * 2 * 2 * 8 * 2 / 2 * len(stages) for n in stages]  # as many passes as stages
    fit = [(80 * 2**30 - weights) / cache for weights, cache in zip(held, each)]
    least = int(np.argmin(fit))
    assert float(x.batch_limit) == pytest.approx(fit[least])
    assert float(x.weight_bytes_held) == pytest.approx(held[least])
    assert float(x.cache_bytes_held) == pytest.approx(7 * each[least])
    plain = decode(served, replace(server, stage_layers=None), batch=7, context=900)
    assert float(x.pass_seconds) == pytest.approx(float(plain.pass_seconds))  # a token passes all the same
    beat = float(x.pass_seconds) * max(stages) / 4
    assert float(x.rate) == pytest.approx(7 / beat) and float(x.user_rate) == pytest.approx(
        1 / (beat * len(stages))
    )


def test_one_micro_batch_never_waits_for_the_longest_stage():
    server = Server(tensor=2, pipeline=2, stage_layers=(1, 3), micro_batches=1)
    x = decode(MIXTURE, server, batch=7, context=900)
    assert float(x.user_rate) == pytest.approx(1 / float(x.pass_seconds))


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ((1, 2), "stage_layers takes layers = 4 in all, got 3"),
        ((1, 1, 2), "stage_layers takes 2 stages, as pipeline says, got 3"),
        ((0, 4), "stage_layers takes a list of positive whole numbers"),
        ((), "stage_layers takes a list of positive whole numbers"),
    ],
)
def test_stages_that_cannot_be_are_refused(stages, words):
    with pytest.raises(BadInput, match=words.replace("(", r"\(")):
        decode(MIXTURE, Server(tensor=2, pipeline=2, stage_layers=stages), batch=1, context=1)
