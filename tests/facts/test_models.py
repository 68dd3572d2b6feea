"""Counting: against every weight matrix written out one by one, published tables, and bad input."""

import math
from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from gpt4lib.facts.files import published, sources
from gpt4lib.facts.models import (
    POSITIONS,
    model_mistakes,
    model_of,
    model_schema,
    published_model,
    published_models,
    read_model,
)
from gpt4lib.spine.errors import BadInput
from gpt4lib.systems.count import PARTS, agrees, cache_of, flop_per_token, mean_flop_per_token, parameters

TINY = {
    "name": "tiny",
    "layers": 2,
    "d_model": 12,
    "n_heads": 4,
    "n_kv_heads": 2,
    "d_head": 5,
    "d_ff": 30,
    "mlp_matrices": 2,
    "vocab": 50,
    "tied_embeddings": False,
    "positions": "rotary",
}
ROUTED = {
    **TINY,
    "n_experts": 5,
    "top_k": 2,
    "d_ff_expert": 7,
    "expert_matrices": 3,
    "n_shared_experts": 2,
    "d_ff_shared": 9,
    "n_dense_layers": 1,
}
LATENT = {k: v for k, v in ROUTED.items() if k not in ("n_kv_heads", "d_head")} | {
    "mla_q_rank": 6,
    "mla_kv_rank": 8,
    "mla_d_nope": 3,
    "mla_d_rope": 2,
    "mla_d_value": 4,
}


def arrays(s):
    """Every array of the model: (part, rows, columns, works on a token), one entry each."""
    narrow = s.d_embedding or s.d_model
    found = [("embedding", s.vocab, narrow, True)]
    if s.d_embedding:
        found += [("embedding", narrow, s.d_model, True), ("embedding", s.d_model, narrow, True)]
    if not s.tied_embeddings:
        found.append(("unembedding", narrow, s.vocab, True))
    if s.positions == "learned":
        found.append(("positions", s.max_positions, s.d_model, True))
    for i in range(s.layers):
        found += layer_arrays(s, s.layer_kinds[i % len(s.layer_kinds)], mlp_of(s, i))
    for _ in range(s.n_mtp_layers):
        block = layer_arrays(s, "full", "experts" if s.n_experts else "dense")
        block += [("norms", 1, s.d_model, True)] * 3 * (1 + s.norm_shift)  # two inputs, the output
        block.append(("mtp", 2 * s.d_model, s.d_model, True))
        found += [("mtp", rows, columns, False) for _, rows, columns, _ in block]
    outside = s.final_norm + s.embedding_norm
    found += [("norms", 1, s.d_model, True)] * outside * (1 + s.norm_shift)
    found += [("biases", 1, s.vocab, True)] * ("unembedding" in s.biases)
    return [*found, ("extra", 1, s.extra_parameters, True)]


def mlp_of(s, layer):
    if s.mlp_kinds:
        return s.mlp_kinds[layer % len(s.mlp_kinds)]
    return "experts" if s.n_experts and layer >= s.n_dense_layers else "dense"


def layer_arrays(s, kind, inside):
    """One layer: what mixes its tokens, what follows, its norms."""
    found = [("norms", 1, s.d_model, True)] * s.layer_norms * (1 + s.norm_shift)
    if kind in ("full", "window", "chunk"):
        found += attention_arrays(s)
    elif kind != "none":
        found += [("mixers", rows, columns, True) for rows, columns in state_arrays(s, kind)]
    if inside == "dense":
        found += mlp_arrays(s, "mlp", s.d_ff, s.mlp_matrices, True, "mlp")
    elif inside == "experts":
        found.append(("router", s.d_model, s.n_experts, True))
        found += [("router", 1, s.n_experts, True)] * s.router_offsets
        found += [("router", s.d_model, 1, True)] * s.shared_gate
        found += [("biases", 1, s.n_experts, True)] * ("router" in s.biases)
        for expert in range(s.n_experts):
            works = expert < s.top_k
            found += mlp_arrays(s, "experts", s.d_ff_expert, s.expert_matrices, works, "experts")
        for _ in range(s.n_shared_experts):
            found += mlp_arrays(s, "shared_experts", s.d_ff_shared, s.expert_matrices, True, "mlp")
    return found


def state_arrays(s, kind):
    """One layer with a state, as the implementations in the transformers library name its arrays."""
    d, heads = s.d_model, s.n_state_heads
    taps = s.conv_width + s.conv_bias
    inner, keys = heads * s.d_state_head, s.n_state_groups * s.d_state
    if kind == "delta":
        found = [(d, 2 * keys + 2 * inner), (d, 2 * heads), (2 * keys + inner, taps)]  # qkvz, ba, conv1d
        return [*found, (1, heads), (1, heads), (1, s.d_state_head), (inner, d)]  # dt_bias, A_log, norm, out
    if kind == "lightning":
        convolution = [(inner + 2 * keys, taps)] if s.conv_width else []
        return [(d, keys), (d, keys), (d, inner), (d, inner), (1, inner), (inner, d), *convolution]
    if kind == "mamba":
        found = [(d, 2 * inner + 2 * keys), (inner + 2 * keys, taps), (inner, s.dt_rank + 2 * s.d_state)]
        found += [(s.dt_rank, inner), (1, inner), (inner, s.d_state), (1, inner), (inner, d)]
        return [*found, (1, s.dt_rank), (1, s.d_state), (1, s.d_state)]  # norms of the step, B and C
    found = [(d, 2 * inner + 2 * keys + heads), (inner + 2 * keys, taps)]
    return found + [(1, heads)] * 3 + [(1, inner), (inner, d)]  # dt_bias, A_log, D, norm, out


def attention_arrays(s):
    """One layer's attention: every projection with its in- and output width."""
    if s.mla_kv_rank:
        h, qk = s.n_heads, s.mla_d_nope + s.mla_d_rope
        query = [(s.d_model, s.mla_q_rank), (s.mla_q_rank, h * qk)] if s.mla_q_rank else [(s.d_model, h * qk)]
        sizes = [
            *query,
            (s.d_model, s.mla_kv_rank + s.mla_d_rope),
            (s.mla_kv_rank, h * (s.mla_d_nope + s.mla_d_value)),
            (h * s.mla_d_value, s.d_model),
        ]
        found = [("norms", 1, s.mla_q_rank, True), ("norms", 1, s.mla_kv_rank, True)]
    else:
        wide, narrow = s.n_heads * s.d_head, s.n_kv_heads * s.d_head
        sizes = [(s.d_model, wide), (s.d_model, narrow), (s.d_model, narrow), (wide, s.d_model)]
        found = [("positions", s.d_model, wide, True)] if s.positions == "relative" else []
        found += [("attention", s.d_model, wide, True)] * s.attention_gate
        found += [("attention", 1, s.n_heads, True)] * s.sinks
        normed = {"none": (), "head": (s.d_head, s.d_head), "full": (wide, narrow)}[s.qk_norm]
        found += [("norms", 1, width, True) for width in normed]
    found += [("attention", rows, columns, True) for rows, columns in sizes]
    found += [("biases", 1, columns, True) for _, columns in sizes[:-1]] * ("qkv" in s.biases)
    return found + [("biases", 1, sizes[-1][1], True)] * ("output" in s.biases)


def mlp_arrays(s, part, width, matrices, works, place):
    """One MLP: one or two matrices up, one down."""
    sizes = [(s.d_model, width)] * (matrices - 1) + [(width, s.d_model)]
    found = [(part, rows, columns, works) for rows, columns in sizes]
    return found + [("biases", 1, columns, works) for _, columns in sizes] * (place in s.biases)


def check(shape):
    counted = parameters(shape)
    for mine, keep in ((counted.parts, lambda works: True), (counted.active_parts, lambda works: works)):
        for part in PARTS:
            assert mine[part] == sum(
                rows * columns for name, rows, columns, works in arrays(shape) if name == part and keep(works)
            ), part
    assert counted.total == sum(counted.parts.values()) and counted.active == sum(
        counted.active_parts.values()
    )
    assert all(
        type(n) is int
        for n in (counted.total, counted.active, *counted.parts.values(), *counted.active_parts.values())
    )


@pytest.mark.parametrize(
    "base",
    [TINY, ROUTED, LATENT, {**LATENT, "mla_q_rank": 0}],
    ids=["dense", "routed", "latent", "latent, direct query"],
)
@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("positions", ["rotary", "learned", "relative", "alibi"])
@pytest.mark.parametrize("tied", [False, True])
def test_count_is_the_sum_of_all_arrays(base, biases, positions, tied):
    if positions == "relative" and "mla_kv_rank" in base:
        positions = "alibi"
    check(
        model_of(
            {**base, "biases": biases, "positions": positions, "max_positions": 11, "tied_embeddings": tied}
        )
    )


STATES = {
    "delta": {"n_state_heads": 6, "d_state_head": 5, "d_state": 3, "n_state_groups": 2, "conv_width": 4},
    "lightning": {"n_state_heads": 4, "d_state_head": 5, "d_state": 5, "n_state_groups": 4},
    "mamba": {"n_state_heads": 24, "d_state_head": 1, "d_state": 3, "conv_width": 4, "dt_rank": 2},
    "mamba2": {"n_state_heads": 6, "d_state_head": 4, "d_state": 7, "n_state_groups": 2, "conv_width": 3},
}
WINDOWS = {"window": {"window": 3}, "chunk": {"chunk": 5}}


@st.composite
def models(draw):
    """Any model that a file can describe."""
    base = dict(draw(st.sampled_from([TINY, ROUTED, LATENT])))
    base["layers"] = draw(st.integers(4, 9))
    state = draw(st.sampled_from([*STATES, None]))
    kinds = ["full", "window", "chunk", "none", *([state] if state else [])]
    pattern = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=4))
    base["layer_kinds"] = pattern
    for kind, own in (STATES | WINDOWS).items():
        base |= own if kind in pattern else {}
    if state in pattern and state != "lightning":
        base["conv_bias"] = draw(st.booleans())
    if "n_experts" in base:
        base |= {"shared_gate": draw(st.booleans()), "router_offsets": draw(st.booleans())}
        if draw(st.booleans()):
            base.pop("n_dense_layers")
            some = draw(st.lists(st.sampled_from(["dense", "experts", "none"]), max_size=3))
            base["mlp_kinds"] = [*some, "experts"]
    if "mla_kv_rank" not in base:
        base |= {"sinks": draw(st.booleans()), "attention_gate": draw(st.booleans())}
        base["qk_norm"] = draw(st.sampled_from(["none", "head", "full"]))
    places = ["qkv", "output", "mlp", "experts", "router", "unembedding"]
    listed = st.lists(st.sampled_from(places), min_size=1, unique=True)
    base["biases"] = draw(st.one_of(st.booleans(), listed))
    for flag in ("norm_shift", "final_norm", "embedding_norm", "tied_embeddings"):
        base[flag] = draw(st.booleans())
    base |= {"layer_norms": draw(st.integers(0, 4)), "n_mtp_layers": draw(st.integers(0, 2))}
    base |= {"d_embedding": draw(st.sampled_from([0, 7])), "extra_parameters": draw(st.sampled_from([0, 13]))}
    return base | ({"extra_reason": "a projector"} if base["extra_parameters"] else {})


@given(models())
@settings(max_examples=150, deadline=None)
def test_any_structure_is_the_sum_of_all_arrays(keys):
    shape = model_of(keys)
    check(shape)
    counted = parameters(shape)
    assert counted.total - counted.without_mtp == sum(
        r * c for part, r, c, _ in arrays(shape) if part == "mtp"
    )
    tables = sum(r * c for part, r, c, _ in arrays(shape) if part == "unembedding")
    assert counted.active - counted.active_without_input_table == tables


@given(models(), st.integers(1, 40), st.sampled_from([1.0, 2.0]))
@settings(max_examples=150, deadline=None)
def test_the_cache_is_what_each_layer_keeps_of_each_token(keys, context, kv_bytes):
    s = model_of(keys)
    width = s.mla_kv_rank + s.mla_d_rope if s.latent else 2 * s.n_kv_heads * s.d_head
    limits = {"full": math.inf, "window": s.window, "chunk": s.chunk}
    each = [limits.get(s.layer_kinds[i % len(s.layer_kinds)]) for i in range(s.layers)]
    kept = sum(1 for limit in each if limit is not None for token in range(context) if token < limit)
    found = cache_of(s, context, kv_bytes)
    assert found.kept_bytes == kept * width * kv_bytes
    caching = sum(limit is not None for limit in each)
    assert found.token_bytes == caching * width * kv_bytes
    assert found.full_pages_bytes == caching * width * kv_bytes * math.ceil(context / 16) * 16
    states = (
        s.layers - caching - sum(s.layer_kinds[i % len(s.layer_kinds)] == "none" for i in range(s.layers))
    )
    numbers = s.n_state_heads * s.d_state_head * s.d_state
    taps = max(s.conv_width - 1, 0) * (s.n_state_heads * s.d_state_head + 2 * s.n_state_groups * s.d_state)
    assert found.state_bytes == states * (numbers + taps) * kv_bytes


@given(models(), st.integers(1, 30))
@settings(max_examples=100, deadline=None)
def test_a_mean_counts_every_token_of_a_sequence(keys, length):
    """Token t of a sequence sees the t before it, or its window; in a chunk, what stands before it there."""
    s = model_of(keys)
    qk, value = (s.mla_d_nope + s.mla_d_rope, s.mla_d_value) if s.latent else (s.d_head, s.d_head)
    seen = {"full": lambda t: t, "window": lambda t: min(t, s.window), "chunk": lambda t: t % s.chunk}
    fine = 64  # the laws count a sequence as continuous: midpoints of so many parts of a token
    every = [(i + 0.5) / fine for i in range(length * fine)]
    pairs = 0.0
    for i in range(s.layers):
        if see := seen.get(s.layer_kinds[i % len(s.layer_kinds)]):
            pairs += sum(map(see, every)) / len(every)
    ours = mean_flop_per_token(s, length)["scores"]
    state = 4 * s.state_layers * s.n_state_heads * s.d_state_head * s.d_state
    exact = "chunk" not in s.layer_kinds or length <= s.chunk or length % s.chunk == 0
    if exact:
        assert ours == pytest.approx(2 * s.n_heads * (qk + value) * pairs + state, rel=1e-3)
    assert mean_flop_per_token(s, length)["attention"] == flop_per_token(s, length)["attention"]


small = st.integers(1, 6)


@settings(max_examples=60, deadline=None)
@given(
    layers=small,
    d_model=st.integers(1, 40),
    d_head=small,
    d_ff=st.integers(1, 50),
    mlp_matrices=st.sampled_from([2, 3]),
    vocab=st.integers(1, 99),
    tied_embeddings=st.booleans(),
    biases=st.booleans(),
    positions=st.sampled_from(POSITIONS),
    kv=small,
    share=small,
    experts=st.integers(0, 6),
    pick=small,
    inner=small,
    shared=st.integers(0, 3),
    dense=st.integers(0, 6),
)
def test_count_of_any_shape(kv, share, experts, pick, inner, shared, dense, **plain):
    mapping = {"name": "any", "n_heads": kv * share, "n_kv_heads": kv, "max_positions": 7, **plain}
    if experts:
        mapping |= {
            "n_experts": experts,
            "top_k": min(pick, experts),
            "d_ff_expert": inner,
            "n_shared_experts": shared,
            "n_dense_layers": min(dense, plain["layers"]),
        }
    check(model_of(mapping))


def test_a_file_reads_like_the_mapping(tmp_path):
    lines = [
        f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}"
        for key, value in LATENT.items()
    ]
    (tmp_path / "m.toml").write_text("\n".join(lines))
    assert read_model(tmp_path / "m.toml") == model_of(LATENT)


def test_defaults():
    plain = {key: value for key, value in ROUTED.items() if key not in ("expert_matrices", "d_ff_shared")}
    shape = model_of(plain)
    assert (shape.expert_matrices, shape.d_ff_shared, shape.biases) == (2, 7, ())
    alone = model_of(
        {
            k: v
            for k, v in plain.items()
            if k not in ("d_ff", "n_dense_layers", "mlp_matrices", "n_shared_experts")
        }
        | {"expert_matrices": 3}
    )
    assert (alone.dense_layers, alone.n_shared_experts) == (0, 0)


# ---- published counts ---------------------------------------------------------------------

REASONS = {"misprint", "rounding", "other counting convention", "inconsistent table"}


@pytest.mark.parametrize("name", published_models())
def test_published_counts_or_a_reason(name):
    model = published_model(name)
    counted = parameters(model.shape)
    fits = [
        not printed or agrees(n, printed)
        for n, printed in ((counted.total, model.published_total), (counted.active, model.published_active))
    ]
    if model.reason:
        assert model.reason in REASONS and model.why, (
            f"{name}: {model.reason!r} is not one of {sorted(REASONS)}"
        )
        assert not all(fits), f"{name} needs no reason any more ({model.reason})"
    else:
        assert not model.why
        assert all(fits), (
            f"{name}: {counted.total:,} and {counted.active:,}, "
            f"published {model.published_total} and {model.published_active}"
        )


def test_the_models_with_a_reason_are_these():
    assert {name: model.reason for name, model in published_models().items() if model.reason} == {
        "GPT-3 Medium": "rounding",
        "GPT-3 XL": "misprint",
        "GPT-3 13B": "misprint",
        "GPT-3 175B": "rounding",
        "DeepSeek-V3": "other counting convention",
        "Qwen3-30B-A3B": "rounding",
        "gpt-oss-20b": "other counting convention",
        "Switch-Large": "inconsistent table",
        "Switch-XXL": "misprint",
        "GLaM 0.1B": "inconsistent table",
        "GLaM 0.1B/64E": "inconsistent table",
        "GLaM 1.7B": "rounding",
        "GLaM 1.7B/32E": "misprint",
        "GLaM 1.7B/256E": "inconsistent table",
        "GLaM 137B": "other counting convention",
    }
    assert len(published_models()) == 44
    assert {model.source for model in published_models().values()} <= sources()


def test_the_reasons_are_true():
    """What each note says would make the printed number right does so."""

    def counted(name, **change):
        return parameters(replace(published_model(name).shape, **change))

    tables = parameters(published_model("gpt-oss-20b").shape).parts["embedding"]
    assert agrees(counted("gpt-oss-20b").active - tables, "3.61B")
    assert agrees(counted("DeepSeek-V3").active - counted("DeepSeek-V3").parts["embedding"], "36.6B")
    assert agrees(counted("GLaM 137B").total - counted("GLaM 137B").parts["embedding"], "137B")
    xxl = counted("Switch-XXL", n_experts=128)
    assert agrees(
        xxl.total + xxl.parts["attention"] // 2, "395B"
    )  # every second layer is a decoder's: cross-attention
    assert 26.5e9 < counted("Switch-Large").parts["experts"] < 26.7e9
    assert agrees(counted("GLaM 1.7B/32E").total, "14B")
    assert all(
        agrees(counted(name, vocab=22_000).active, printed)
        for name, printed in (("GLaM 0.1B", "130M"), ("GLaM 0.1B/64E", "145M"))
    )


def test_released_weights_to_the_last_one():
    """Safetensors totals; the Llama 2 files also store half a head of rotary frequencies per layer."""
    for name in (
        "Llama-2-7B",
        "Llama-2-13B",
        "Llama-2-70B",
        "Llama-3.1-8B",
        "Llama-3.1-70B",
        "Llama-3.1-405B",
    ):
        model = published_model(name)
        frequencies = model.shape.layers * model.shape.d_head // 2 if "Llama-2" in name else 0
        assert parameters(model.shape).total + frequencies == int(model.published_total), name
    assert parameters(published_model("Mixtral-8x7B").shape).total == 46_702_792_704


def test_gpt3_table_d1():
    """GPT-3's compute table prints the counts more precisely than its shape table; two shapes
    are misprints.
    """
    right = {"GPT-3 XL": {"n_heads": 16, "n_kv_heads": 16}, "GPT-3 13B": {"d_model": 5120, "d_ff": 20480}}
    rows = {
        row["model"]: float(row["params_M"])
        for row in published("gpt3_tableD1_compute")
        if row["model"].startswith("GPT-3")
    }
    assert len(rows) == 8
    for name, millions in rows.items():
        counted = parameters(replace(published_model(name).shape, **right.get(name, {}))).total
        assert agrees(counted, f"{millions:.0f}M"), name


def chinchilla(row, *, layers, width, inner, heads, head):
    number = {
        key: int(row[column])
        for key, column in {
            "layers": layers,
            "d_model": width,
            "d_ff": inner,
            "n_heads": heads,
            "d_head": head,
        }.items()
    }
    return model_of(
        {
            "name": "chinchilla",
            "n_kv_heads": number["n_heads"],
            "mlp_matrices": 2,
            "vocab": 32000,
            "tied_embeddings": True,
            "positions": "relative",
            **number,
        }
    )


def test_chinchilla_table_a9():
    """All 50 sizes within 0.2%; with the 8 d_model of biases and shifts a layer that fit best, 49 of 50 to
    the last digit.
    """
    exact = 0
    for row in published("chinchilla_tableA9_models"):
        shape = chinchilla(
            row, layers="n_layers", width="d_model", inner="ffw_size", heads="n_heads", head="kv_size"
        )
        counted, printed = parameters(shape).total, int(row["params_M"])
        assert abs(counted / 1e6 - printed) <= max(0.5, 0.002 * printed), row
        assert parameters(replace(shape, positions="rotary")).total < 0.98 * printed * 1e6, row
        exact += round((counted + 8 * shape.d_model * shape.layers) / 1e6) == printed
    assert exact == 49


def test_chinchilla_table_a4_flop():
    """FLOP over 6 N D: the printed ratios are matrices and scores without the vocabulary tables, softmax 3
    FLOP a score.
    """
    for row in published("chinchilla_tableA4_flop_ratio"):
        shape = chinchilla(
            row, layers="num_layers", width="d_model", inner="ffw_size", heads="num_heads", head="kq_size"
        )
        flop = flop_per_token(shape, 2048)
        softmax = 3 * shape.n_heads * 2048 * shape.layers
        ratio = (flop["attention"] + flop["mlp"] + flop["scores"] + softmax) / (2 * parameters(shape).total)
        assert abs(ratio - float(row["flop_ratio_ours_over_6ND"])) <= 0.006, row


def test_flop_of_a_token_multiply_by_multiply():
    for shape in map(
        model_of, (TINY, ROUTED, LATENT, {**TINY, "tied_embeddings": True, "positions": "relative"})
    ):
        flop = flop_per_token(shape, context=17)
        skip = ("embedding", "norms", "biases", "unembedding")
        matrices = sum(
            2 * rows * columns for name, rows, columns, works in arrays(shape) if works and name not in skip
        )
        qk = shape.d_head or shape.mla_d_nope + shape.mla_d_rope
        value = shape.d_head or shape.mla_d_value
        scores = sum(
            2 * qk + 2 * value for _ in range(shape.layers) for _ in range(shape.n_heads) for _ in range(17)
        )
        assert sum(flop.values()) == matrices + 2 * shape.d_model * shape.vocab + scores
        assert flop["scores"] == scores and flop_per_token(shape, 0)["scores"] == 0


def test_a_plain_model_costs_two_flop_per_parameter():
    shape = published_model("Llama-2-7B").shape
    counted = parameters(shape)
    flop = sum(flop_per_token(shape, 0).values())
    assert flop == 2 * (counted.total - counted.parts["embedding"] - counted.parts["norms"])


# ---- bad input ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, key, takes",
    [
        ({"layers": 0}, "layers", "positive whole number"),
        ({"layers": -3}, "layers", "positive whole number"),
        ({"layers": 2.0}, "layers", "positive whole number"),
        ({"layers": float("nan")}, "layers", "positive whole number"),
        ({"layers": True}, "layers", "positive whole number"),
        ({"d_model": "12"}, "d_model", "positive whole number"),
        ({"d_ff": -1}, "d_ff", "whole number"),
        ({"d_ff": 0}, "d_ff", "positive whole number with dense layers"),
        ({"n_heads": 3}, "n_kv_heads", "a divisor of n_heads = 3"),
        ({"mlp_matrices": 4}, "mlp_matrices", "2 (plain) or 3 (gated)"),
        ({"mlp_matrices": 0}, "mlp_matrices", "2 (plain) or 3 (gated)"),
        ({"tied_embeddings": 1}, "tied_embeddings", "true or false"),
        ({"biases": "yes"}, "biases", "true or false"),
        ({"name": " "}, "name", "a text"),
        ({"name": 3}, "name", "a text"),
        ({"positions": "sinus"}, "positions", "one of rotary, learned, relative, alibi"),
        ({"positions": "learned"}, "max_positions", "learned positions"),
        ({"d_fff": 3}, "d_fff", "unknown key"),
        ({"n_experts": {"a": 1}}, "n_experts", "whole number"),
        ({"layer_kinds": ["window"]}, "window", "a positive whole number with layers of kind window"),
        ({"window": 4}, "window", "no value without layers of kind window"),
        ({"chunk": 4}, "chunk", "no value without layers of kind chunk"),
        ({"layer_kinds": []}, "layer_kinds", "a list of full, window"),
        ({"layer_kinds": ["full", "sliding"]}, "layer_kinds", "a list of full, window"),
        ({"layer_kinds": ["full"] * 3}, "layer_kinds", "at most layers = 2 entries"),
        ({"layer_kinds": ["mamba"]}, "dt_rank", "a positive whole number with layers of kind mamba"),
        ({"layer_kinds": ["mamba", "delta"]}, "layer_kinds", "one kind of layer with a state"),
        ({"d_state": 4}, "d_state", "no value without layers that keep a state"),
        ({"mlp_kinds": ["experts"]}, "mlp_kinds", "experts among its kinds with n_experts"),
        ({"mlp_kinds": ["dense"], "n_dense_layers": 2}, "n_dense_layers", "no value beside mlp_kinds"),
        ({"biases": ["qkv", "norm"]}, "biases", "a list of qkv, output"),
        ({"qk_norm": True}, "qk_norm", "one of none, head, full"),
        ({"shared_gate": True}, "shared_gate", "no value without n_experts"),
        ({"router_offsets": True}, "router_offsets", "no value without n_experts"),
        ({"extra_parameters": 5}, "extra_reason", "a text with extra_parameters"),
        ({"extra_reason": "none"}, "extra_reason", "no value without extra_parameters"),
        ({"matrix_bytes": 0}, "matrix_bytes", "a positive number"),
        ({"top_k": 6, "n_experts": 5, "d_ff_expert": 7}, "top_k", "from 1 to n_experts = 5"),
        ({"top_k": 0, "n_experts": 5, "d_ff_expert": 7}, "top_k", "from 1"),
        ({"n_experts": 5, "d_ff_expert": 7}, "top_k", "got nothing"),
        ({"n_experts": 5, "top_k": 1}, "d_ff_expert", "got nothing"),
        ({"n_experts": 5, "top_k": 1, "d_ff_expert": 0}, "d_ff_expert", "positive whole number"),
        ({"top_k": 2}, "top_k", "no value without n_experts"),
        ({"n_shared_experts": 2}, "n_shared_experts", "no value without n_experts"),
        ({"n_dense_layers": 3}, "n_dense_layers", "at most layers = 2"),
        ({"n_dense_layers": 1}, "n_dense_layers", "0 or layers = 2"),
        ({"mla_kv_rank": 3}, "mla_q_rank", "latent attention"),
        (
            {"mla_q_rank": 3, "mla_kv_rank": 3, "mla_d_nope": 3, "mla_d_rope": 3, "mla_d_value": 3},
            "n_kv_heads",
            "no value beside",
        ),
    ],
)
def test_bad_shapes_name_key_and_file(change, key, takes):
    with pytest.raises(BadInput) as error:
        model_of({**TINY, **change}, "here.toml")
    message = str(error.value)
    assert message.startswith("here.toml: ") and key in message and takes in message
    assert "got" in message or "its value is" in message


@pytest.mark.parametrize(
    "change",
    [
        {"layers": 0},
        {"d_model": "12"},
        {"mlp_matrices": 4},
        {"tied_embeddings": 1},
        {"name": " "},
        {"positions": "sinus"},
        {"d_fff": 3},
        {"n_experts": 5, "d_ff_expert": 7},
        {"mla_kv_rank": 3},
        {"vocab": None},
    ],
)
def test_an_editor_marks_what_is_refused(change):
    """The shipped schema refuses what one key shows, or a missing one; not what widths ask of each other."""
    editor = Draft202012Validator(model_schema())
    assert all(editor.is_valid(mapping) for mapping in (TINY, ROUTED, LATENT))
    broken = {key: value for key, value in {**TINY, **change}.items() if value is not None}
    assert not editor.is_valid(broken) and model_mistakes(broken)


def test_every_mistake_of_a_model_file_comes_at_once(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('name = "x"\nlayers = 2.0\nd_modle = 12\nn_heads = 4\nn_kv_heads = 3\n')
    with pytest.raises(BadInput) as error:
        read_model(file)
    head, *lines = str(error.value).splitlines()
    assert head == f"{file}: {len(lines)} mistakes"
    assert [line.split(" takes ")[0].strip() for line in lines if " takes " in line] == [
        *("layers", "d_model", "vocab", "tied_embeddings", "positions"),
        *("d_head", "n_kv_heads", "d_ff", "mlp_matrices"),
    ]
    assert "  layers takes a positive whole number, got 2.0 (write 2, without point or exponent)" in lines
    assert any(line.startswith("  unknown key 'd_modle'; nearest known: d_model, ") for line in lines)


@pytest.mark.parametrize(
    "key",
    [
        "name",
        "layers",
        "d_model",
        "n_heads",
        "n_kv_heads",
        "d_head",
        "d_ff",
        "mlp_matrices",
        "vocab",
        "tied_embeddings",
        "positions",
    ],
)
def test_missing_keys(key):
    with pytest.raises(BadInput, match=f"{key} takes .*got nothing"):
        model_of({k: v for k, v in TINY.items() if k != key}, "here.toml")


def test_latent_attention_has_no_relative_positions_and_experts_need_matrices():
    with pytest.raises(BadInput, match="positions takes another kind"):
        model_of({**LATENT, "positions": "relative"})
    with pytest.raises(BadInput, match="mla_kv_rank takes a positive"):
        model_of({**LATENT, "mla_kv_rank": 0})
    with pytest.raises(BadInput, match="expert_matrices takes 2"):
        model_of(
            {
                k: v
                for k, v in ROUTED.items()
                if k not in ("expert_matrices", "mlp_matrices", "n_dense_layers")
            }
        )


def test_broken_and_missing_files(tmp_path):
    (tmp_path / "broken.toml").write_text("layers = = 3")
    (tmp_path / "nan.toml").write_text('name = "x"\nlayers = nan')
    for name, says in (
        ("broken.toml", "broken.toml"),
        ("missing.toml", "cannot be read"),
        ("nan.toml", "layers takes a positive whole number, got nan"),
    ):
        with pytest.raises(BadInput, match=says) as error:
            read_model(tmp_path / name)
        assert name in str(error.value)


def test_unknown_model_and_bad_context():
    with pytest.raises(BadInput, match=r"nearest known: .*Llama-2-7B"):
        published_model("Llama2-7B")
    for context in (-1, math.nan, math.inf, "8k", True):
        with pytest.raises(BadInput, match="context takes"):
            flop_per_token(model_of(TINY), context)


def test_printed_precision():
    assert agrees(6_749_999_999, "6.7B") and not agrees(6_760_000_000, "6.7B")
    assert agrees(175_170_000_000, "175.0B") and not agrees(174_600_000_000, "175.0B")
    assert asdict(model_of(TINY))["d_ff"] == 30


def test_agreement_ends_at_a_thousandth_or_at_the_printed_digits():
    assert agrees(1_002_001, "1001000") and not agrees(1_002_002, "1001000")
    assert agrees(999_999, "1001000") and not agrees(999_998, "1001000")
    assert agrees(1_250_000_000, "1.2B") and not agrees(1_251_300_000, "1.2B")
    assert agrees(1_150_000_000_000, "1.2T") and agrees(349_700_000, "350M")


def test_flop_of_no_context_leave_the_scores_out():
    """Every matrix entry that works on a token is multiplied and added once; the looked-up table is not."""
    tiny = model_of(TINY)
    flop = flop_per_token(tiny, 0)
    entries = sum(
        rows * columns for part, rows, columns, _ in arrays(tiny) if part not in ("embedding", "norms")
    )
    assert flop["scores"] == 0 and sum(flop.values()) == 2 * entries
