"""The miniature on many ranks against that on one; the bytes it moves and holds against the laws."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt4lib.chapters import architecture, mqa, parallelism
from gpt4lib.facts.models import model_of
from gpt4lib.mini.meter import Meter
from gpt4lib.mini.model import Transformer
from gpt4lib.mini.parallel import Communicator, ExpertParallel, PipelineParallel, TensorParallel, ZeroAdam
from gpt4lib.spine.errors import BadInput
from gpt4lib.spine.law import Law
from gpt4lib.systems.count import parameters

LAWS = {name: law for name, law in vars(parallelism).items() if isinstance(law, Law)}
few = settings(max_examples=30)
widths = st.sampled_from([1, 2, 4])
BATCH, NEW = 4, 3


@st.composite
def layouts(draw, **fixed):
    """A small shape whose heads, columns, experts and layers all divide by 4."""
    pick = lambda *options: draw(st.sampled_from(options))
    keys = {
        "name": "drawn",
        "layers": pick(4, 8),
        "d_model": pick(5, 8),
        "n_heads": pick(4, 8),
        "n_kv_heads": pick(1, 2, 4),
        "d_head": pick(2, 4),
        "vocab": 11,
        "tied_embeddings": pick(True, False),
        "mlp_matrices": pick(2, 3),
        "d_ff": pick(4, 12),
        "positions": "rotary",
    }
    keys |= pick({"n_experts": 4, "top_k": 2}, {"n_experts": 8, "top_k": 1}, {"n_experts": 4, "top_k": 4})
    keys |= {"d_ff_expert": pick(4, 8), "n_dense_layers": pick(0, 0, 1)}
    keys |= {"n_shared_experts": pick(0, 2), "d_ff_shared": pick(4, 8)}
    return model_of(keys | fixed)


def run(model, split, seed, lengths=(3, 2, 1, 3), **options):
    """Prefill of a padded batch and two decode steps, whole and split; the number of tokens in all."""
    rng = np.random.default_rng(seed)
    cache, caches = model.cache(BATCH, 8), split.cache(BATCH, 8)
    for new, row_lengths in ((NEW, list(lengths)), (1, None), (1, None)):
        tokens = rng.integers(0, model.shape.vocab, (BATCH, new))
        alone = model.forward(tokens, cache, lengths=row_lengths)
        logits = split.forward(tokens, caches, lengths=row_lengths, **options)
        assert np.allclose(logits, alone, rtol=1e-9, atol=1e-9, equal_nan=True)
    assert (caches.lengths == cache.lengths).all()
    return sum(lengths) + 2 * BATCH


def size_of(rank):
    return sum(rank.parameters().values())


def cache_size(shape, **more):
    return {"L": shape.layers, "n_kv": shape.n_kv_heads, "d_h": shape.d_head, "kv_bytes": 8} | more


# ---- collectives --------------------------------------------------------------------------


@few
@given(st.integers(1, 7), st.integers(1, 30), st.integers(0, 99))
def test_ring_collectives_move_chunks_and_sum(ranks, size, seed):
    """Every rank gets the sum; bytes are the laws', per rank where chunks are equal, in the mean always."""
    arrays = [np.random.default_rng([seed, r]).integers(-9, 9, size).astype(float) for r in range(ranks)]
    for method, law in (("all_reduce", parallelism.ring_reduce), ("reduce_scatter", parallelism.ring_pass)):
        comm = Communicator(ranks)
        got = getattr(comm, method)(arrays, "here")
        wanted = [sum(arrays)] * ranks if method == "all_reduce" else np.array_split(sum(arrays), ranks)
        assert all((g == w).all() for g, w in zip(got, wanted))
        per_rank = law.exact(ranks=ranks, payload=8 * size)
        assert comm.sent["here"].sum() == ranks * per_rank
        if size % ranks == 0:
            assert (comm.sent["here"] == int(per_rank)).all()
    comm = Communicator(ranks)
    assert all((g == np.concatenate(arrays)).all() for g in comm.all_gather(arrays))
    assert (
        comm.sent["all-gather"] == int(parallelism.ring_pass.exact(ranks=ranks, payload=8 * size * ranks))
    ).all()
    comm = Communicator(ranks)
    got = comm.all_to_all([[np.full(size, 10 * i + j) for j in range(ranks)] for i in range(ranks)], "here")
    assert all((got[j][i] == 10 * i + j).all() for i in range(ranks) for j in range(ranks))
    assert (
        comm.sent["here"] == int(parallelism.ring_pass.exact(ranks=ranks, payload=8 * size * ranks))
    ).all()


def test_what_is_sent_is_a_copy():
    comm, array = Communicator(2), np.zeros(3)
    comm.send("here", 0, 1, array)[0] = 1
    comm.send("here", 1, 1, array)[0] = 1
    assert not array.any() and comm.sent["here"].tolist() == [24, 0]


# ---- tensor parallelism -------------------------------------------------------------------


@few
@given(layouts(), widths, st.integers(0, 99))
def test_tensor_parallel(shape, width, seed):
    model = Transformer(shape, seed)
    split, counted = TensorParallel(model, width), parameters(shape).parts
    tokens = run(model, split, seed)
    # A whole vector need not divide by the ranks; their mean is exact.
    per_rank = parallelism.tensor_traffic.exact(
        L=shape.layers, d=shape.d_model, n_tok=tokens, act_bytes=8, tp=width
    )
    assert split.comm.sent["all-reduce"].sum() == width * per_rank and set(split.comm.sent) <= {"all-reduce"}
    columns = counted["mlp"] + counted["experts"] + counted["shared_experts"]
    copied = sum(counted[part] for part in ("embedding", "unembedding", "router", "norms"))
    heads = {"n_h": shape.n_heads, "n_kv": shape.n_kv_heads, "d_h": shape.d_head}
    attention = parallelism.tensor_attention.exact(L=shape.layers, d=shape.d_model, tp=width, **heads)
    rest = parallelism.rank_parameters.exact(N_split=columns, ranks=width, N_copy=copied)
    per_token = parallelism.cache_copied.exact(**cache_size(shape, tp=width))
    for rank, cache in zip(split.ranks, split.cache(BATCH, 8)):
        assert size_of(rank) == attention + rest
        assert cache.nbytes == per_token * BATCH * 8


@few
@given(layouts(n_kv_heads=1), widths, st.booleans(), st.integers(0, 99))
def test_multi_query_attention_with_the_cache_over_the_batch(shape, width, equal, seed):
    """A head that cannot be divided is copied; or its sequences are divided: queries and values travel."""
    model = Transformer(shape, seed)
    copied, split = TensorParallel(model, width), TensorParallel(model, width, cache_over="batch")
    tokens = run(model, split, seed, lengths=(3, 3, 3, 3) if equal else (3, 2, 1, 3))
    of = {"L": shape.layers, "act_bytes": 8, "n_tok": tokens, "tp": width}
    exchange = parallelism.exchange_traffic.exact(**of, n_h=shape.n_heads, d_h=shape.d_head)
    both = split.comm.sent["queries"] + split.comm.sent["mixed values"]
    assert both.sum() == width * exchange and (not equal or (both == int(exchange)).all())
    assert split.comm.sent["all-reduce"].sum() == width * parallelism.tensor_traffic.exact(
        **of, d=shape.d_model
    )
    whole = architecture.cache_read_of_shape.exact(**cache_size(shape), B_seq=BATCH, S=8)
    divided = parallelism.cache_divided.exact(
        kv=mqa.token_cache(**cache_size(shape)), B_seq=BATCH, S=8, tp=width
    )
    assert {cache.nbytes for cache in copied.cache(BATCH, 8)} == {whole}
    assert {cache.nbytes for cache in split.cache(BATCH, 8)} == {divided} and divided * width == whole
    assert {size_of(rank) for rank in split.ranks} == {size_of(rank) for rank in copied.ranks}


@few
@given(layouts(), widths, st.booleans())
def test_ranks_share_the_products(shape, width, over_batch):
    """Each rank's FLOP are its share of what the heads and columns cost; only copied parts are done again."""
    model = Transformer(shape)
    split = TensorParallel(model, width, "batch" if over_batch else "heads")
    meters, whole = [Meter() for _ in range(width)], Meter()
    tokens = np.random.default_rng(0).integers(0, 11, (BATCH, NEW))
    model.forward(tokens, model.cache(BATCH, 3), meter=whole)
    split.forward(tokens, split.cache(BATCH, 3), meters=meters)
    for part in ("mlp", "experts", "shared_experts", "scores"):
        assert all(meter.flop[part] * width == whole.flop[part] for meter in meters)
    assert all(meter.flop["router"] == whole.flop["router"] for meter in meters)
    if over_batch or shape.n_kv_heads % width == 0:
        assert all(meter.flop["attention"] * width == whole.flop["attention"] for meter in meters)
    read = sum(meter.cache_bytes_read for meter in meters)
    assert read == whole.cache_bytes_read * (1 if over_batch else max(width // shape.n_kv_heads, 1))


# ---- pipeline parallelism -----------------------------------------------------------------


@few
@given(layouts(), st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4]), st.integers(0, 99))
def test_pipeline_parallel(shape, stages, micro_batches, seed):
    model = Transformer(shape, seed)
    split, counted = PipelineParallel(model, stages), parameters(shape).parts
    tokens = run(model, split, seed, micro_batches=micro_batches)
    per_stage = int(parallelism.stage_traffic.exact(act_bytes=8, d=shape.d_model, n_tok=tokens))
    assert split.comm.sent["point-to-point"].tolist() == [per_stage] * (stages - 1) + [0]
    assert math.isclose(split.idle, parallelism.bubble_share(p=stages, v=1, m=micro_batches), abs_tol=1e-12)
    per_token = parallelism.stage_cache.exact(**cache_size(shape, p=stages))
    assert all(cache.nbytes == per_token * BATCH * 8 for cache in split.cache(BATCH, 8))
    table, final = counted["embedding"], shape.d_model
    blocks = sum(counted.values()) - counted["embedding"] - counted["unembedding"] - final
    sizes = [size_of(rank) for rank in split.ranks]
    if shape.n_dense_layers == 0:
        for s, size in enumerate(sizes):
            ends = table * (s == 0) + (table + final) * (s == stages - 1)
            ends -= table * (stages == 1 and shape.tied_embeddings)
            assert size == parallelism.rank_parameters.exact(N_split=blocks, ranks=stages, N_copy=ends)
    assert sum(sizes) == sum(counted.values()) + table * (shape.tied_embeddings and stages > 1)


# ---- expert parallelism -------------------------------------------------------------------


@few
@given(layouts(), widths, st.integers(0, 99))
def test_expert_parallel(shape, width, seed):
    model = Transformer(shape, seed)
    split, counted = ExpertParallel(model, width), parameters(shape).parts
    tokens = run(model, split, seed)
    routed, sent = shape.layers - shape.dense_layers, split.comm.sent
    # What dispatch sends comes back in combine; the loads are one number for each expert of another rank.
    assert sent["dispatch"].sum() == sent["combine"].sum()
    of_loads = parallelism.ring_pass.exact(ranks=width, payload=8 * shape.n_experts)
    assert (sent["loads"] == int(3 * routed * of_loads)).all()
    off = off_rank_choices(model, width, seed)
    choices = routed * tokens * shape.top_k
    of = {"L": routed, "k": shape.top_k, "act_bytes": 8, "d": shape.d_model, "n_tok": tokens}
    both = (sent["dispatch"] + sent["combine"]).sum()
    assert both == parallelism.expert_traffic.exact(**of, x_off=Fraction(off, choices))
    if shape.top_k == shape.n_experts:
        assert both == parallelism.expert_traffic_even.exact(**of, ranks=width)
    copied = sum(size for part, size in counted.items() if part != "experts")
    held = parallelism.rank_parameters.exact(N_split=counted["experts"], ranks=width, N_copy=copied)
    assert all(size_of(rank) == held for rank in split.ranks)


def off_rank_choices(model, width, seed):
    """Choices of an expert on another rank, from each rank's sequences run alone on the whole model."""
    rng, rows = np.random.default_rng(seed), np.arange(BATCH).reshape(width, -1)
    off = 0
    caches, meters = [model.cache(len(own), 8) for own in rows], [Meter() for _ in rows]
    for new, lengths in ((NEW, np.array([3, 2, 1, 3])), (1, np.ones(4, int)), (1, np.ones(4, int))):
        tokens = rng.integers(0, model.shape.vocab, (BATCH, new))
        for own, cache, meter in zip(rows, caches, meters):
            model.forward(tokens[own], cache, lengths=lengths[own], meter=meter)
    for r, meter in enumerate(meters):
        for loads in meter.loads.values():
            here = np.split(sum(loads), width)
            off += int(sum(part.sum() for other, part in enumerate(here) if other != r))
    return off


@few
@given(layouts(), widths)
def test_stages_and_experts_share_the_products(shape, width):
    """Stages and expert ranks do each product once between them; expert ranks read their own experts only."""
    model, whole = Transformer(shape), Meter()
    tokens = np.random.default_rng(0).integers(0, 11, (BATCH, NEW))
    model.forward(tokens, model.cache(BATCH, NEW), meter=whole)
    for split in (PipelineParallel(model, width), ExpertParallel(model, width)):
        meters = [Meter() for _ in range(width)]
        split.forward(tokens, split.cache(BATCH, NEW), meters=meters)
        assert sum((meter.flop for meter in meters), Meter().flop) == whole.flop
        assert sum(meter.cache_bytes_read for meter in meters) == whole.cache_bytes_read
        assert sum(meter.parameters_read["experts"] for meter in meters) == whole.parameters_read["experts"]


# ---- data parallelism ---------------------------------------------------------------------


def plain_adam(weights, gradients, rate):
    """Adam as printed, one weight at a time: rows of weights, means and mean squares."""
    out = []
    for j, w in enumerate(weights):
        mean = square = 0.0
        for step, gradient in enumerate(gradients, 1):
            mean, square = 0.9 * mean + 0.1 * gradient[j], 0.999 * square + 0.001 * gradient[j] ** 2
            w -= rate * (mean / (1 - 0.9**step)) / (math.sqrt(square / (1 - 0.999**step)) + 1e-8)
        out.append((w, mean, square))
    return np.array(out).T


DTYPES = st.sampled_from([(np.float16, np.float32), (np.float64, np.float64)])


@few
@given(st.integers(0, 3), st.integers(1, 5), st.integers(1, 6), DTYPES, st.integers(0, 99))
def test_zero(stage, ranks, each, dtypes, seed):
    """Any stage takes the plain step; 2 + 2 + 12 bytes a parameter (or 8 + 8 + 24) divided by the laws."""
    rng, size = np.random.default_rng(seed), ranks * each
    start = rng.integers(-8, 9, size) / 8
    gradients = rng.integers(-8, 9, (2, ranks, size)) / 8  # sums are exact in 16 bits
    split = ZeroAdam(start, ranks, stage, dtype=dtypes[0], state_dtype=dtypes[1], rate=0.125)
    seen = []
    for given_gradients in gradients:
        split.step(lambda r, w, g=given_gradients: seen.append(w.copy()) or g[r])
    sent = sum(split.comm.sent.values(), np.zeros(ranks, int))
    wanted = plain_adam(start, gradients.mean(axis=1), 0.125)
    tolerance = 1e-12 if dtypes[1] == np.float64 else 1e-6
    state = (
        np.concatenate([held["state"] for held in split.held], axis=1) if stage else split.held[0]["state"]
    )
    assert np.allclose(state, wanted, atol=tolerance)
    assert all((w == state[0].astype(dtypes[0])).all() for w in split.weights())
    assert all((w == start).all() for w in seen[:ranks]) and len(seen) == 2 * ranks
    bytes_of = {"weight_bytes": dtypes[0]().itemsize, "grad_bytes": dtypes[0]().itemsize}
    layout = {"N_total": 6 * size, "tp": 2, "p": 3, "dp": ranks}  # one of the six parts of a model
    memory = getattr(parallelism, f"zero_memory_{stage}")
    inputs = layout | bytes_of | {"opt_bytes": 3 * dtypes[1]().itemsize}
    for held in split.held:
        of_law = memory.exact(**{s.name: inputs[s.name] for s in memory.symbols})
        assert sum(array.nbytes for array in held.values()) == of_law
    traffic = getattr(parallelism, f"zero_traffic_{[0, 1, 1, 3][stage]}")
    assert (sent == int(2 * traffic.exact(**{s.name: inputs[s.name] for s in traffic.symbols}))).all()
    gradient = np.concatenate([held["gradient"] for held in split.held]) if stage > 1 else None
    assert gradient is None or (gradient == gradients[1].sum(axis=0)).all()


# ---- laws ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LAWS)
def test_dimensions(name):
    LAWS[name].check_dimensions()


def test_sixteen_bytes_a_parameter():
    """The published table: 7.5e9 parameters on 64 ranks hold 120, 31.4, 16.6 and 1.9 GB."""
    inputs = {"N_total": 7.5e9, "tp": 1, "p": 1, "weight_bytes": 2, "grad_bytes": 2, "opt_bytes": 12}
    laws = [getattr(parallelism, f"zero_memory_{stage}") for stage in range(4)]
    held = [law(**inputs | ({"dp": 64} if stage else {})) for stage, law in enumerate(laws)]
    assert [round(value / 1e9, 1) for value in held] == [120, 31.4, 16.6, 1.9]


# ---- what cannot be split -----------------------------------------------------------------

TINY = {
    "name": "tiny",
    "layers": 3,
    "d_model": 8,
    "n_heads": 6,
    "n_kv_heads": 3,
    "d_head": 2,
    "vocab": 11,
    "mlp_matrices": 2,
    "tied_embeddings": True,
    "positions": "rotary",
    "n_experts": 5,
    "top_k": 2,
    "d_ff_expert": 6,
}


@pytest.mark.parametrize(
    "split, words",
    [
        (lambda model: TensorParallel(model, 4), "n_heads = 6, got 4"),
        (lambda model: TensorParallel(model, 2), "n_kv_heads = 3, got 2"),
        (lambda model: TensorParallel(model, 3, "nowhere"), "nowhere"),
        (lambda model: TensorParallel(model, 3, "batch").cache(4, 2), "batch = 4, got 3"),
        (lambda model: PipelineParallel(model, 2), "layers = 3, got 2"),
        (
            lambda model: (p := PipelineParallel(model, 3)).forward(
                [[1]] * 4, p.cache(4, 1), micro_batches=3
            ),
            "4, got 3",
        ),
        (lambda model: ExpertParallel(model, 2), "n_experts = 5, got 2"),
        (lambda model: ExpertParallel(model, 5).cache(4, 2), "batch = 4, got 5"),
        (lambda model: ZeroAdam(np.zeros(7), 2, 1), "parameters = 7, got 2"),
        (lambda model: ZeroAdam(np.zeros(8), 2, 4), "stage"),
        (lambda model: TensorParallel(model, 0), "got 0"),
        (lambda model: (p := PipelineParallel(model, 3)).forward([[1]] * 3, p.cache(4, 1)), "take 4 rows"),
        (
            lambda model: (e := ExpertParallel(model, 5)).forward([[1]] * 5, e.cache(5, 1), lengths=[1, 1]),
            "take 5 rows",
        ),
    ],
)
def test_clashing_numbers_are_named(split, words):
    with pytest.raises(BadInput, match=words):
        split(Transformer(model_of(TINY)))


def test_columns_that_do_not_divide():
    with pytest.raises(BadInput, match="d_ff_expert = 6, got 4"):
        TensorParallel(Transformer(model_of(TINY | {"n_heads": 4, "n_kv_heads": 1})), 4)
    with pytest.raises(BadInput, match="at least 1"):
        ExpertParallel(
            Transformer(model_of(TINY | {"n_experts": 0, "top_k": 0, "d_ff_expert": 0, "d_ff": 6})), 1
        )


def test_each_rank_sees_its_own_part_of_the_lengths():
    shape = {
        "name": "x",
        "layers": 4,
        "d_model": 8,
        "n_heads": 4,
        "n_kv_heads": 4,
        "d_head": 2,
        "vocab": 11,
        "d_ff": 4,
    }
    shape |= {
        "tied_embeddings": True,
        "mlp_matrices": 2,
        "positions": "rotary",
        "n_experts": 4,
        "top_k": 1,
        "d_ff_expert": 4,
    }
    split = ExpertParallel(Transformer(model_of(shape), seed=0), 2)
    caches = split.cache(4, 8)
    split.forward(np.ones((4, 3), int), caches, lengths=[3, 1, 2, 3])
    assert [cache.lengths.tolist() for cache in caches] == [[3, 1], [2, 3]]
