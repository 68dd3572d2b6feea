"""The miniature against a plain loop over tokens and heads, its meter against the laws, on random shapes."""

import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt4lib.chapters import architecture, moe_inference, mqa
from gpt4lib.facts.models import model_of
from gpt4lib.mini.meter import Meter
from gpt4lib.mini.model import Transformer, default_shape, gelu, rms_norm, rotate, silu, softmax, tiny_shape
from gpt4lib.spine.errors import BadInput
from gpt4lib.spine.law import Law
from gpt4lib.systems.count import flop_per_token, parameters

LAWS = {
    name: law for module in (mqa, moe_inference) for name, law in vars(module).items() if isinstance(law, Law)
}
few = settings(max_examples=40)


@st.composite
def layouts(draw):
    """A small shape: dense, routed or mixed; heads shared or not; either positions; tied or not."""
    pick = lambda *options: draw(st.sampled_from(options))
    n_kv, layers = pick(1, 2, 3), pick(1, 2, 3)
    keys = {
        "name": "drawn",
        "layers": layers,
        "d_model": pick(5, 8, 12),
        "n_kv_heads": n_kv,
        "n_heads": n_kv * pick(1, 2, 3),
        "d_head": pick(2, 4, 6),
        "vocab": pick(7, 11),
        "tied_embeddings": pick(True, False),
        "mlp_matrices": pick(2, 3),
        "d_ff": pick(3, 10),
    }
    keys |= pick({"positions": "rotary"}, {"positions": "learned", "max_positions": 20})
    if pick(True, True, False):
        n_experts = pick(2, 5, 16)
        keys |= {
            "n_experts": n_experts,
            "top_k": pick(1, 2),
            "d_ff_expert": pick(4, 9),
            "expert_matrices": pick(2, 3),
        }
        keys |= {"n_dense_layers": pick(0, 0, 1), "n_shared_experts": pick(0, 2), "d_ff_shared": pick(4, 7)}
    return model_of(keys)


def draw_tokens(model, *size, seed=0):
    return np.random.default_rng(seed).integers(0, model.shape.vocab, size)


def close(a, b):
    return np.allclose(a, b, rtol=1e-9, atol=1e-9)


# ---- the same numbers as a plain loop -----------------------------------------------------


def plain(model, tokens):  # long: the whole model once more, to be read beside the other
    """(logits, chosen (layer, expert) pairs) of one sequence: no batch, no cache, one head at a time."""
    s, chosen = model.shape, []

    def norm(x, scale):
        return x / math.sqrt(sum(x * x) / len(x) + 1e-6) * scale

    def head(x, w, h, position=None):
        y = x @ w[:, h * s.d_head : (h + 1) * s.d_head]
        if position is None or s.positions != "rotary":
            return y
        half = s.d_head // 2
        turn = [np.exp(1j * position / 10_000 ** (2 * j / s.d_head)) for j in range(half)]
        turned = [complex(y[j], y[j + half]) * turn[j] for j in range(half)]
        return np.array([z.real for z in turned] + [z.imag for z in turned])

    def mlp(x, w):
        return (silu(x @ w["gate"]) * (x @ w["in"]) if "gate" in w else gelu(x @ w["in"])) @ w["out"]

    def experts(i, x, layer):
        scores = x @ layer["router"]["w"]
        best = sorted(range(s.n_experts), key=lambda e: -scores[e])[: s.top_k]
        chosen.extend((i, e) for e in best)
        total = sum(math.exp(scores[e]) for e in best)
        y = sum(
            math.exp(scores[e]) / total * mlp(x, {n: w[e] for n, w in layer["experts"].items()}) for e in best
        )
        return y + sum(
            mlp(x, {n: w[j] for n, w in layer["shared_experts"].items()}) for j in range(s.n_shared_experts)
        )

    xs = [model.tables["embedding"]["table"][t] for t in tokens]
    if s.positions == "learned":
        xs = [x + model.tables["positions"]["table"][t] for t, x in enumerate(xs)]
    for i, layer in enumerate(model.layers):
        w, mixed = layer["attention"], []
        normed = [norm(x, layer["norms"]["attention"]) for x in xs]
        for t in range(len(xs)):
            out = []
            for h in range(s.n_heads):
                shared = h // (s.n_heads // s.n_kv_heads)
                q = head(normed[t], w["q"], h, t)
                weight = [
                    math.exp(q @ head(normed[u], w["k"], shared, u) / math.sqrt(s.d_head))
                    for u in range(t + 1)
                ]
                out.append(
                    sum(weight[u] * head(normed[u], w["v"], shared) for u in range(t + 1)) / sum(weight)
                )
            mixed.append(np.concatenate(out) @ w["o"])
        xs = [x + y for x, y in zip(xs, mixed)]
        normed = [norm(x, layer["norms"]["mlp"]) for x in xs]
        xs = [
            x + (mlp(h, layer["mlp"]) if "mlp" in layer else experts(i, h, layer)) for x, h in zip(xs, normed)
        ]
    table = model.tables["embedding" if s.tied_embeddings else "unembedding"]["table"]
    return np.array([table @ norm(x, model.tables["norms"]["final"]) for x in xs]), chosen


@few
@given(layouts(), st.integers(0, 99), st.lists(st.integers(1, 6), min_size=1, max_size=3), st.integers(0, 5))
def test_batch_padding_and_cache_give_what_each_sequence_alone_gives(shape, seed, lengths, cut):
    """Prefill of a padded batch, then several tokens at once, then one: each row as the plain loop has it."""
    model, batch = Transformer(shape, seed), len(lengths)
    tokens = draw_tokens(model, batch, 10, seed=seed)
    cache, loads = model.cache(batch, 12), Meter()
    first = model.forward(tokens[:, : max(lengths)], cache, lengths=lengths, meter=loads)
    rest = np.array([row[n : n + 3] for row, n in zip(tokens, lengths)])
    more, last = (
        model.forward(rest[:, :2], cache, meter=loads),
        model.forward(rest[:, 2:], cache, meter=loads),
    )
    seen = Counter()
    for row, n in enumerate(lengths):
        wanted, chosen = plain(model, tokens[row, : n + 3])
        seen += Counter(chosen)
        assert close(np.concatenate([first[row, :n], more[row], last[row]]), wanted)
        assert np.isnan(first[row, n:]).all()
    assert seen == {(i, e): int(t) for i, loads in loads.loads.items() for e, t in enumerate(sum(loads)) if t}
    assert cache.lengths.tolist() == [n + 3 for n in lengths]
    # Rolled back and overwritten, the cache gives the same again.
    cache.lengths[:] = lengths
    assert close(model.forward(rest, cache), np.concatenate([more, last], axis=1))


def test_rows_can_be_chosen_and_used_again():
    model = Transformer(tiny_shape(n_kv_heads=2))
    tokens, cache = draw_tokens(model, 4, 6), model.cache(3, 8)
    model.forward(tokens[:3], cache, lengths=[6, 2, 4])
    cache.lengths[1] = 0
    logits = model.forward(tokens[[3, 2]], cache, rows=[1, 2], lengths=[6, 0])
    assert close(logits[0], plain(model, tokens[3])[0]) and cache.lengths.tolist() == [6, 6, 4]
    again = model.forward([[5], [7]], cache, rows=[2, 0])
    for row, whole in enumerate(([*tokens[2, :4], 5], [*tokens[0], 7])):
        assert close(again[row, 0], plain(model, whole)[0][-1])


def test_hook_sees_real_tokens_with_their_rows_and_may_change_them():
    model, calls = Transformer(tiny_shape()), []
    tokens = draw_tokens(model, 2, 3)

    def look(layer, x, rows):
        calls.append((layer, x.shape, rows.tolist()))
        return x + 5.0 * (rows == 3)[:, None]

    changed = model.forward(tokens, model.cache(4, 5), lengths=[3, 2], rows=[1, 3], after_layer=look)
    as_it_was = model.forward(tokens, model.cache(2, 5), lengths=[3, 2])
    assert calls == [(layer, (5, 16), [1, 1, 1, 3, 3]) for layer in range(2)]
    assert (
        close(changed[0], as_it_was[0]) and not np.isclose(changed[1, :2], as_it_was[1, :2]).any(axis=1).all()
    )


def test_seeds_and_precision():
    tokens = [[1, 2, 3, 4]]
    run = lambda seed, dtype: (m := Transformer(tiny_shape(), seed, dtype)).forward(tokens, m.cache(1, 4))
    assert (run(0, float) == run(0, float)).all() and not np.isclose(run(0, float), run(1, float)).any()
    assert run(0, np.float32).dtype == np.float32 and np.allclose(
        run(0, np.float32), run(0, float), atol=1e-4
    )


def test_activations():
    for x in np.linspace(-6, 6, 25):
        assert abs(gelu(x) - x * (1 + math.erf(x / math.sqrt(2))) / 2) < 5e-4
        assert math.isclose(silu(x), x / (1 + math.exp(-x)), rel_tol=1e-12, abs_tol=1e-15)
    total = 2 + 1 / math.e
    assert close(
        softmax(np.array([1000.0, 1000.0, 999.0, -1e300])), [1 / total, 1 / total, 1 / math.e / total, 0]
    )


# ---- law == meter -------------------------------------------------------------------------


def law_flop(shape, contexts):
    """FLOP by part of tokens that attend to so many tokens each."""
    total = Counter()
    for context in contexts:
        total.update(flop_per_token(shape, context))
    return {part: flop for part, flop in total.items() if flop}


def cache_size(shape, kv_bytes):
    return {"L": shape.layers, "n_kv": shape.n_kv_heads, "d_h": shape.d_head, "kv_bytes": kv_bytes}


@few
@given(layouts(), st.integers(1, 3), st.integers(1, 7), st.sampled_from([np.float32, np.float64]))
def test_prefill_and_decode_count_what_the_laws_say(shape, batch, prompt, dtype):
    model = Transformer(shape, dtype=dtype)
    counted = parameters(shape)
    assert model.parameters() == {part: size for part, size in counted.parts.items() if size}
    cache, size = model.cache(batch, 9), cache_size(shape, dtype().itemsize)
    assert cache.nbytes == architecture.cache_read_of_shape(**size, B_seq=batch, S=9)
    per_token = mqa.token_cache(**size)
    tokens = draw_tokens(model, batch, prompt + 1)

    prefill = Meter()
    model.forward(tokens[:, :prompt], cache, meter=prefill)
    mean = flop_per_token(shape, (prompt + 1) / 2)
    assert prefill.flop == {part: batch * prompt * flop for part, flop in mean.items() if flop}
    assert prefill.flop == law_flop(shape, [t + 1 for t in range(prompt)] * batch)
    assert prefill.cache_bytes_written == prefill.cache_bytes_read == batch * prompt * per_token

    decode = Meter()
    model.forward(tokens[:, prompt:], cache, meter=decode)
    assert decode.flop == law_flop(shape, [prompt + 1] * batch)
    assert decode.cache_bytes_written == batch * per_token
    assert decode.cache_bytes_read == architecture.cache_read_of_shape(**size, B_seq=batch, S=prompt + 1)

    for meter, new in ((prefill, batch * prompt), (decode, batch)):
        check_weights_read(model, meter, new)


def check_weights_read(model, meter, tokens):
    """One pass: every matrix once, of experts only those with tokens, of the first tables one row a token."""
    s, counted = model.shape, parameters(model.shape)
    read = dict(meter.parameters_read)
    assert read.pop("embedding") == architecture.vocabulary_table(V=tokens, d=s.d_model)
    if s.positions == "learned":
        assert read.pop("positions") == architecture.learned_positions(n_pos=tokens, d=s.d_model)
    assert read["unembedding"] == counted.parts["embedding"]
    always = (
        "embedding",
        "attention",
        "mlp",
        "shared_experts",
        "router",
        "norms",
    )  # the first as the logits' table
    one_expert = counted.parts["experts"] // max(s.n_experts, 1)
    of = {"N_fix": sum(counted.parts[part] for part in always), "N_exp": one_expert}
    routed = s.layers - s.dense_layers
    assert len(meter.loads) == routed
    of["E_hit"] = Fraction(sum(int((load > 0).sum()) for (load,) in meter.loads.values()), max(routed, 1))
    assert sum(read.values()) == moe_inference.parameters_read.exact(**of)
    by_law = moe_inference.weights_read_of_experts.exact(weight_bytes=model.dtype.itemsize, **of)
    assert sum(meter.weight_bytes_read[part] for part in read) == by_law


ROWS = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 4)), min_size=1, max_size=4)


@few
@given(layouts(), ROWS.filter(lambda rows: any(new for _, new in rows)))
def test_rows_of_different_lengths_count_real_tokens_only(shape, rows):
    """A pass of 0 to 4 new tokens a row on a cache of 1 to 5: no padding and no masked pair is counted."""
    model, (old, new) = Transformer(shape), np.array(rows).T
    cache, meter = model.cache(len(rows), 9), Meter()
    model.forward(draw_tokens(model, len(rows), 5), cache, lengths=old)
    model.forward(draw_tokens(model, len(rows), 4), cache, lengths=new, meter=meter)
    contexts = [int(o) + t + 1 for o, n in zip(old, new) for t in range(n)]
    assert meter.flop == law_flop(shape, contexts)
    working, size = [int(o + n) for o, n in zip(old, new) if n], cache_size(shape, 8)
    mean = Fraction(sum(working), len(working))
    assert meter.cache_bytes_read == architecture.cache_read_of_shape.exact(
        **size, B_seq=len(working), S=mean
    )
    assert meter.cache_bytes_written == mqa.token_cache(**size) * sum(new)
    check_weights_read(model, meter, len(contexts))
    for (load,) in meter.loads.values():
        assert sum(load) == len(contexts) * shape.top_k
    assert all(meter.distinct_experts(i) == [np.count_nonzero(load)] for i, (load,) in meter.loads.items())


def test_the_described_layout_in_small():
    """16 experts, 2 a token, one key-value head: an eighth of the experts' FLOP and of 8 heads' cache."""
    model = Transformer(default_shape(layers=1, d_model=32, d_ff_expert=64))
    meter = Meter()
    model.forward(draw_tokens(model, 3, 5), model.cache(3, 5), meter=meter)
    assert meter.flop["experts"] * 8 == 2 * 15 * sum(w.size for w in model.layers[0]["experts"].values())
    assert (
        model.cache(3, 5).nbytes * 8 == Transformer(default_shape(layers=1, n_kv_heads=8)).cache(3, 5).nbytes
    )


# ---- laws ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LAWS)
def test_dimensions(name):
    LAWS[name].check_dimensions()


def test_by_hand():
    assert mqa.token_cache(L=2, n_kv=3, d_h=4, kv_bytes=2) == 2 * 2 * 3 * 4 * 2
    assert architecture.cache_read(kv=96, B_seq=5, S=7) == 3360
    assert moe_inference.weights_read_of_experts(weight_bytes=2, N_fix=10, E_hit=2.5, N_exp=4) == 40


# ---- bad input ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, words",
    [({"biases": True}, "biases"), ({"positions": "alibi"}, "alibi"), ({"d_head": 3}, "d_head")],
)
def test_shapes_it_does_not_run(change, words):
    with pytest.raises(BadInput, match=words):
        Transformer(tiny_shape(**change))


@pytest.mark.parametrize(
    "tokens, options, words",
    [
        ([1, 2], {}, "tokens"),
        ([[1.5, 2]], {}, "tokens"),
        ([[50], [1]], {}, "49"),
        ([[1], [2], [3]], {}, "rows"),
        ([[1], [2]], {"rows": [1, 1]}, "rows"),
        ([[1]], {"rows": [2]}, "rows"),
        ([[1]], {"rows": [-1]}, "rows"),
        ([[1, 2], [3, 4]], {"lengths": [3, 1]}, "lengths"),
        ([[1, 2], [3, 4]], {"lengths": [-1, 1]}, "lengths"),
        ([[1], [2]], {"lengths": [0, 0]}, "lengths"),
        ([[1] * 4, [2] * 4], {}, "3 tokens"),
    ],
)
def test_bad_tokens(tokens, options, words):
    model = Transformer(tiny_shape())
    with pytest.raises(BadInput, match=words):
        model.forward(tokens, model.cache(2, 3), **options)


def test_learned_positions_bound_the_cache():
    with pytest.raises(BadInput, match="max_positions = 4"):
        Transformer(tiny_shape(positions="learned", max_positions=4)).cache(1, 5)


# ---- weights, norms and turns by hand -----------------------------------------------------
def test_a_norm_by_hand():
    """Root mean square of 3 and 4 is sqrt(12.5); a millionth keeps small numbers small."""
    root = (12.5 + 1e-6) ** 0.5
    assert close(rms_norm(np.array([3.0, 4.0]), np.array([1.0, 2.0])), [3 / root, 8 / root])
    assert rms_norm(np.array([1e-3, -1e-3]), 1.0) == pytest.approx([0.5**0.5, -(0.5**0.5)], rel=1e-3)
    assert (rms_norm(np.zeros(3), 1.0) == 0).all()


def test_gelu_to_the_published_digits():
    """0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) (Hendrycks and Gimpel 2016)."""
    for x in (-3.0, -0.5, 0.1, 1.0, 2.5):
        inner = (2 / math.pi) ** 0.5 * (x + 0.044715 * x**3)
        assert gelu(x) == pytest.approx(x / (1 + math.exp(-2 * inner)), rel=1e-12)


def test_a_turn_is_a_product_of_complex_numbers():
    x = np.random.default_rng(0).standard_normal((3, 2, 6))
    places = np.array([0, 1, 700])
    turned = rotate(x, places)
    for t, h, j in np.ndindex(3, 2, 3):
        z = complex(x[t, h, j], x[t, h, j + 3]) * np.exp(1j * places[t] / 10_000 ** (2 * j / 6))
        assert complex(turned[t, h, j], turned[t, h, j + 3]) == pytest.approx(z, abs=1e-12)


def test_random_weights_have_the_variance_of_their_inputs():
    """Each matrix one over the rows it multiplies, each norm's scale a tenth about one; nothing is shared."""
    keys = {"layers": 2, "n_dense_layers": 1, "d_ff": 512, "mlp_matrices": 3, "expert_matrices": 3}
    model = Transformer(default_shape(**keys, n_shared_experts=1, d_ff_shared=128))
    seen = set()
    for block in (model.tables, *model.layers):
        for part, arrays in block.items():
            for name, w in arrays.items():
                assert w.tobytes()[:64] not in seen, "drawn twice"
                seen.add(w.tobytes()[:64])
                if part == "norms":
                    assert w.mean() == pytest.approx(1, abs=0.03) and w.std() == pytest.approx(0.1, rel=0.25)
                    continue
                inputs = w.shape[-1] if name == "table" else w.shape[-2]
                assert w.std() * inputs**0.5 == pytest.approx(1, rel=0.03), (part, name)
                assert abs(w.mean()) < 0.01


def test_the_parts_of_random_weights_have_the_shapes_that_are_counted():
    """Dense layers first, then routers, experts and shared experts; a gate where there are three matrices."""
    keys = {"layers": 3, "n_dense_layers": 2, "d_ff": 24, "n_shared_experts": 3, "d_ff_shared": 20}
    for matrices, experts in ((2, 3), (3, 2)):
        shape = tiny_shape(**keys, mlp_matrices=matrices, expert_matrices=experts)
        model = Transformer(shape)
        assert ["mlp" in layer for layer in model.layers] == [True, True, False]
        gated = ["in", "gate", "out"]
        assert sorted(model.layers[0]["mlp"]) == sorted(gated if matrices == 3 else ["in", "out"])
        last = {part: {n: w.shape for n, w in x.items()} for part, x in model.layers[2].items()}
        assert sorted(last["experts"]) == sorted(gated if experts == 3 else ["in", "out"])
        assert last["experts"]["in"] == (4, 16, 32) and last["experts"]["out"] == (4, 32, 16)
        assert last["shared_experts"]["in"] == (3, 16, 20) and last["router"]["w"] == (16, 4)
        assert last["attention"] == {"q": (16, 16), "k": (16, 4), "v": (16, 4), "o": (16, 16)}
        assert model.tables["embedding"]["table"].shape == (50, 16)
        assert {part: size for part, size in parameters(shape).parts.items() if size} == model.parameters()


def test_the_default_and_the_tiny_shape_by_hand():
    tiny, default = tiny_shape(), default_shape()
    assert (tiny.layers, tiny.d_model, tiny.n_heads, tiny.n_kv_heads, tiny.d_head) == (2, 16, 4, 1, 4)
    assert (tiny.vocab, tiny.n_experts, tiny.top_k, tiny.d_ff_expert) == (50, 4, 2, 32)
    assert (tiny.mlp_matrices, tiny.expert_matrices, tiny.tied_embeddings, tiny.positions) == (
        *(2, 2, False, "rotary"),
    )
    assert (default.layers, default.d_model, default.n_heads, default.n_kv_heads) == (4, 256, 8, 1)
    assert (default.d_head, default.vocab, default.n_experts, default.top_k) == (32, 1024, 16, 2)
    assert (default.d_ff_expert, default.positions) == (1024, "rotary")


def test_a_padded_column_is_not_a_number_and_the_cache_grows_by_real_tokens():
    model = Transformer(tiny_shape())
    cache = model.cache(3, 5)
    assert cache.keys.shape == cache.values.shape == (2, 3, 1, 5, 4)
    assert cache.nbytes == 2 * 2 * 3 * 1 * 5 * 4 * 8 and cache.lengths.tolist() == [0, 0, 0]
    logits = model.forward([[1, 2, 3], [4, 0, 0]], cache, lengths=[3, 1], rows=[2, 0])
    assert logits.shape == (2, 3, 50) and cache.lengths.tolist() == [1, 0, 3]
    assert (
        np.isnan(logits[1, 1:]).all() and not np.isnan(logits[0]).any() and not np.isnan(logits[1, 0]).any()
    )
    assert not cache.keys[:, 1].any() and cache.keys[:, 2, :, :3].all() and not cache.keys[:, 2, :, 3:].any()


@pytest.mark.parametrize(
    ("tokens", "options", "words"),
    [
        ([[0, 50]], {}, r"tokens takes (batch, new tokens) numbers from 0 to 49, got [[0, 50]]"),
        ([[0, -1]], {}, r"tokens takes (batch, new tokens) numbers from 0 to 49, got [[0, -1]]"),
        ([[]], {}, r"tokens takes (batch, new tokens) numbers from 0 to 49, got [[]]"),
        ([[1], [2]], {"rows": [0, 2]}, "rows takes 2 different rows of a cache of 2, got [0, 2]"),
        ([[1], [2]], {"rows": [0]}, "rows takes 2 different rows of a cache of 2, got [0]"),
        ([[1, 2]], {"lengths": [3], "rows": [0]}, "lengths takes 1 numbers from 0 to 2, not all 0, got [3]"),
        ([[1, 2]], {"lengths": [0], "rows": [0]}, "lengths takes 1 numbers from 0 to 2, not all 0, got [0]"),
        ([[1, 2]], {"lengths": [1, 1], "rows": [0]}, "lengths takes 1 numbers from 0 to 2, not all 0"),
        ([[1, 2, 3, 4]], {"rows": [1]}, "the cache takes 3 tokens a row, got [0] + [4]"),
    ],
)
def test_every_refusal_of_tokens_in_full(tokens, options, words):
    model = Transformer(tiny_shape())
    with pytest.raises(BadInput) as caught:
        model.forward(np.array(tokens, dtype=int), model.cache(2, 3), **options)
    assert words in str(caught.value)


def test_a_row_of_length_0_is_left_as_it_is():
    model = Transformer(tiny_shape())
    cache = model.cache(2, 3)
    logits = model.forward([[49, 0], [1, 2]], cache, lengths=[0, 2])
    assert cache.lengths.tolist() == [0, 2] and np.isnan(logits[0]).all() and not cache.keys[:, 0].any()
    full = model.forward([[3], [4]], cache)
    assert cache.lengths.tolist() == [1, 3] and not np.isnan(full).any(), "as many as the cache takes"
