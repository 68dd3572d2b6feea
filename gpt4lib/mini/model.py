"""The miniature: a mixture-of-experts transformer in NumPy, laid out by a `gpt4lib.facts.models.Model`.

    model = Model(tiny_shape(), seed=0)
    cache = model.cache(batch=2, max_tokens=32)
    logits = model.forward([[5, 7, 1], [4, 2, 0]], cache, lengths=[3, 2])    # prefill, padded on the right
    logits = model.forward([[8], [3]], cache)                                # decode, one token each
    logits = model.forward([[8, 9, 6]], cache, rows=[1])                     # several tokens for one row only
    cache.lengths[1] = 0                                                     # roll back, or free the row

Logits are (batch, new tokens, vocab) and NaN where a token was padding. `meter=Meter()` counts the pass.
`after_layer(layer, x, rows)` may return a changed residual stream: x is (real tokens, d_model) without the
padding, and rows names the cache row of each token. Weights are `model.tables` and `model.layers[i]`, both
{part: {name: array}} with the parts of `gpt4lib.systems.count.PARTS`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import sqrt

import numpy as np

from ..facts.models import Model, model_of
from ..spine.errors import BadInput
from .meter import Meter

ROTARY_BASE = 10_000.0
TINY = {"name": "tiny", "layers": 2, "d_model": 16, "n_heads": 4, "n_kv_heads": 1, "d_head": 4, "vocab": 50}
TINY |= {"tied_embeddings": False, "positions": "rotary", "mlp_matrices": 2}
TINY |= {"n_experts": 4, "top_k": 2, "d_ff_expert": 32}
DEFAULT = TINY | {"name": "miniature", "layers": 4, "d_model": 256, "n_heads": 8, "d_head": 32}
DEFAULT |= {"vocab": 1024, "n_experts": 16, "d_ff_expert": 1024}


def default_shape(**changes) -> Model:
    """The described layout, small: 16 experts, 2 a token, one key-value head; 4 layers of width 256."""
    return model_of(DEFAULT | changes)


def tiny_shape(**changes) -> Model:
    """The same idea for tests: 2 layers of width 16, 4 experts."""
    return model_of(TINY | changes)


@dataclass
class Cache:
    """Keys and values (layers, batch, key-value heads, max tokens, width); `lengths[row]` tokens count."""

    keys: np.ndarray
    values: np.ndarray
    lengths: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes set aside for keys and values."""
        return self.keys.nbytes + self.values.nbytes


class Step:
    """The new tokens of one pass without their padding: where each stands and what it may attend to.

    `tokens`, `index` (row of the call), `column`, `rows` (row of the cache) and `positions` are flat, one
    entry per real token; `mask` (batch, new tokens, keys) is true where a real token may see a key; `after`
    are the lengths of `cache_rows` once the pass is done.
    """

    def __init__(self, tokens, cache_lengths, max_tokens: int, vocab: int, lengths=None, rows=None):
        tokens = np.asarray(tokens)
        whole = tokens.ndim == 2 and tokens.size > 0 and tokens.dtype.kind in "iu"
        if not whole or not 0 <= tokens.min() <= tokens.max() < vocab:
            takes = f"(batch, new tokens) numbers from 0 to {vocab - 1}"
            raise BadInput(f"tokens takes {takes}, got {tokens.tolist()}")
        (batch, new), size = tokens.shape, len(cache_lengths)
        own = self.cache_rows = np.arange(batch) if rows is None else np.asarray(rows)
        if own.shape != (batch,) or len(set(own.tolist()) & set(range(size))) < batch:
            raise BadInput(f"rows takes {batch} different rows of a cache of {size}, got {own.tolist()}")
        lengths = np.full(batch, new) if lengths is None else np.asarray(lengths)
        own_new, before = lengths.tolist(), cache_lengths[own]
        if lengths.shape != (batch,) or lengths.min() < 0 or not 0 < lengths.max() <= new:
            raise BadInput(f"lengths takes {batch} numbers from 0 to {new}, not all 0, got {own_new}")
        self.after = before + lengths
        if self.after.max() > max_tokens:
            raise BadInput(f"the cache takes {max_tokens} tokens a row, got {before.tolist()} + {own_new}")
        real = np.arange(new) < lengths[:, None]
        self.shape, self.tokens = (batch, new), tokens[real]
        self.index, self.column = np.nonzero(real)
        self.rows, self.positions = own[self.index], before[self.index] + self.column
        sees = np.arange(self.after.max()) <= (before[:, None] + np.arange(new))[:, :, None]
        self.mask = sees & real[:, :, None]

    def pad(self, flat: np.ndarray, fill: float = 0.0) -> np.ndarray:
        """(real tokens, ...) as (batch, new tokens, ...)."""
        padded = np.full((*self.shape, *flat.shape[1:]), fill, flat.dtype)
        padded[self.index, self.column] = flat
        return padded


# Keys of a model that the miniature leaves out, with the value that says so.
LEFT_OUT = {"biases": (), "norm_shift": False, "layer_norms": 2, "final_norm": True, "embedding_norm": False}
LEFT_OUT |= {"qk_norm": "none", "sinks": False, "attention_gate": False, "d_embedding": 0}
LEFT_OUT |= {"layer_kinds": ("full",), "mlp_kinds": (), "n_mtp_layers": 0, "mla_kv_rank": 0}
LEFT_OUT |= {"shared_gate": False, "router_offsets": False, "extra_parameters": 0}


class Transformer:
    """A transformer of layout `shape` with seeded random weights, or with the `tables` and `layers` given.

    Rotary or learned positions; plain (GELU) or gated (SwiGLU) MLPs; nothing that `LEFT_OUT` leaves out.
    """

    def __init__(self, shape: Model, seed: int = 0, dtype=np.float64, *, tables=None, layers=None):
        other = {key: getattr(shape, key) for key, plain in LEFT_OUT.items() if getattr(shape, key) != plain}
        if other or shape.positions not in ("rotary", "learned"):
            takes = (
                "rotary or learned positions, and none of the keys that say more than layers, heads and MLPs"
            )
            got = {"positions": shape.positions, **other}
            raise BadInput(f"shape takes {takes}, got {got}")
        if shape.positions == "rotary" and shape.d_head % 2:
            raise BadInput(f"d_head takes an even number with rotary positions, got {shape.d_head}")
        self.shape, self.dtype = shape, np.dtype(dtype)
        if tables is None:
            tables, layers = random_weights(shape, np.random.default_rng(seed), self.dtype)
        self.tables, self.layers = tables, layers

    def parameters(self) -> dict:
        """Parameters by part, as the sizes of the arrays."""
        sizes = Counter()
        for block in (self.tables, *self.layers):
            sizes.update({part: sum(a.size for a in arrays.values()) for part, arrays in block.items()})
        return dict(sizes)

    def cache(self, batch: int, max_tokens: int) -> Cache:
        """An empty cache of `batch` rows of `max_tokens` tokens. Raises BadInput beyond `max_positions`."""
        s = self.shape
        if s.positions == "learned" and max_tokens > s.max_positions:
            raise BadInput(f"max_tokens takes at most max_positions = {s.max_positions}, got {max_tokens}")
        size = (len(self.layers), batch, s.n_kv_heads, max_tokens, s.d_head)
        return Cache(np.zeros(size, self.dtype), np.zeros(size, self.dtype), np.zeros(batch, int))

    def forward(self, tokens, cache, *, lengths=None, rows=None, meter=None, after_layer=None) -> np.ndarray:
        """Logits (batch, new tokens, vocab) after what is in the cache, which keeps the new tokens too."""
        meter = Meter() if meter is None else meter
        step = Step(tokens, cache.lengths, cache.keys.shape[3], self.shape.vocab, lengths, rows)
        x = self.embed(step, meter)
        for i in range(len(self.layers)):
            x = self.layer(i, x, cache, step, meter)
            x = after_layer(i, x, step.rows) if after_layer else x
        cache.lengths[step.cache_rows] = step.after
        return step.pad(self.logits(x, meter), np.nan)

    def embed(self, step: Step, meter: Meter) -> np.ndarray:
        """The residual stream's start, (real tokens, d_model)."""
        x = meter.read("embedding", self.tables["embedding"]["table"][step.tokens])
        if "positions" in self.tables:
            x = x + meter.read("positions", self.tables["positions"]["table"][step.positions])
        return x

    def layer(self, i: int, x: np.ndarray, cache: Cache, step: Step, meter: Meter) -> np.ndarray:
        """x + attention, then + MLP."""
        x = x + self.attention(i, self.norm(i, "attention", x, meter), cache, step, meter)
        return x + self.mlp(i, self.norm(i, "mlp", x, meter), meter)

    def norm(self, i: int, name: str, x: np.ndarray, meter: Meter) -> np.ndarray:
        """RMS norm before `name` in layer `i`."""
        return rms_norm(x, meter.read("norms", self.layers[i]["norms"][name]))

    def attention(self, i: int, x: np.ndarray, cache: Cache, step: Step, meter: Meter) -> np.ndarray:
        """Attention of layer `i`, (real tokens, d_model)."""
        q, k, v = self.project(i, x, step.positions, meter)
        return self.output(i, self.attend(i, q, k, v, cache, step, meter), meter)

    def output(self, i: int, mixed: np.ndarray, meter: Meter) -> np.ndarray:
        """The heads' mixed values (real tokens, query heads, d_head) back to (real tokens, d_model)."""
        flat = mixed.reshape(len(mixed), -1)  # not mutated: any negative number means the same
        return meter.multiply("attention", flat, self.layers[i]["attention"]["o"])

    def project(self, i: int, x: np.ndarray, positions: np.ndarray, meter: Meter, names: str = "qkv") -> list:
        """Queries, keys and values, each (real tokens, heads, d_head), rotated where positions are rotary."""
        found = []
        for name in names:
            y = meter.multiply("attention", x, self.layers[i]["attention"][name])
            y = y.reshape(len(x), -1, self.shape.d_head)  # not mutated: any negative number means the same
            found.append(rotate(y, positions) if name != "v" and self.shape.positions == "rotary" else y)
        return found

    def attend(self, i: int, q, k, v, cache: Cache, step: Step, meter: Meter) -> np.ndarray:
        """Store k and v, then mix the values that each query may see: (real tokens, query heads, d_head)."""
        cache.keys[i][step.rows, :, step.positions] = k
        cache.values[i][step.rows, :, step.positions] = v
        meter.attend(q, k, v, step.mask)
        in_order = np.array_equal(step.cache_rows, np.arange(len(cache.lengths)))
        rows, keys = slice(None) if in_order else step.cache_rows, step.mask.shape[2]
        (batch, new), (heads, width) = step.shape, q.shape[1:]
        shared = k.shape[1]
        grouped = step.pad(q).reshape(batch, new, shared, -1, width).transpose(0, 2, 3, 1, 4)
        scores = grouped.reshape(batch, shared, -1, width) @ cache.keys[i][rows][:, :, :keys].swapaxes(2, 3)
        scores = scores.reshape(batch, shared, -1, new, keys) / sqrt(width)
        weights = softmax(np.where(step.mask[:, None, None], scores, np.finfo(q.dtype).min))
        mixed = weights.reshape(batch, shared, -1, keys) @ cache.values[i][rows][:, :, :keys]
        return mixed.reshape(batch, heads, new, width)[step.index, :, step.column]

    def mlp(self, i: int, x: np.ndarray, meter: Meter) -> np.ndarray:
        """The dense MLP of layer `i`, or its experts, each token's chosen ones weighted by their gates."""
        layer = self.layers[i]
        if "mlp" in layer:
            return run_mlp("mlp", layer["mlp"], x, meter)
        gates, order, load = self.route(i, x, meter)
        y = run_experts(layer["experts"], x[order // self.shape.top_k], load, meter)
        return self.combine(i, x, gates, order, y, meter)

    def route(self, i: int, x: np.ndarray, meter: Meter) -> tuple:
        """(gates, order, load): softmax of each token's k best scores; choices by expert; tokens per expert.

        Choices are numbered through (real tokens, top_k), so choice c is one of token c // top_k.
        """
        scores = meter.multiply("router", x, self.layers[i]["router"]["w"])
        chosen = np.argsort(-scores, axis=1, kind="stable")[:, : self.shape.top_k]
        load = np.bincount(chosen.ravel(), minlength=self.shape.n_experts)
        meter.loads[i].append(load)
        gates = softmax(np.take_along_axis(scores, chosen, axis=1))
        return gates, np.argsort(chosen, axis=None, kind="stable"), load

    def combine(self, i: int, x, gates, order, y, meter: Meter) -> np.ndarray:
        """The experts' outputs y, in `order`, gated and summed for each token, plus the shared experts."""
        back = np.empty_like(y)
        back[order] = y
        mixed = np.einsum("tk,tkd->td", gates, back.reshape(*gates.shape, -1))
        shared = self.layers[i].get("shared_experts")
        for j in range(self.shape.n_shared_experts):
            mixed += run_mlp("shared_experts", {name: w[j] for name, w in shared.items()}, x, meter)
        return mixed

    def logits(self, x: np.ndarray, meter: Meter) -> np.ndarray:
        """Logits (real tokens, vocab); with tied tables the embedding serves twice."""
        x = rms_norm(x, meter.read("norms", self.tables["norms"]["final"]))
        table = self.tables["unembedding" if "unembedding" in self.tables else "embedding"]["table"]
        return meter.multiply("unembedding", x, table.T)


def run_experts(experts: dict, x: np.ndarray, load, meter: Meter) -> np.ndarray:
    """Each expert's MLP on its own tokens: x has load[0] tokens of expert 0, then load[1] of expert 1, ..."""
    y, ends = np.empty_like(x), np.cumsum(load)
    for e in np.flatnonzero(load):
        own = slice(ends[e] - load[e], ends[e])
        y[own] = run_mlp("experts", {name: w[e] for name, w in experts.items()}, x[own], meter)
    return y


def run_mlp(part: str, w: dict, x: np.ndarray, meter: Meter) -> np.ndarray:
    """gelu(x W_in) W_out, or with a gate (silu(x W_gate) * x W_in) W_out."""
    inner = meter.multiply(part, x, w["in"])
    inner = silu(meter.multiply(part, x, w["gate"])) * inner if "gate" in w else gelu(inner)
    return meter.multiply(part, inner, w["out"])


def rms_norm(x, scale):
    """x over its root mean square, times `scale`."""
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + 1e-6) * scale


def softmax(x):
    """Softmax over the last axis."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def gelu(x):
    """GELU, in its tanh form."""
    return 0.5 * x * (1 + np.tanh(sqrt(2 / np.pi) * (x + 0.044715 * x * x * x)))


def silu(x):
    """x times its logistic."""
    return 0.5 * x * (1 + np.tanh(0.5 * x))


def rotate(x: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Rotary positions: entries j and j + width / 2 of each head turn by position / base^(2j / width)."""
    half = x.shape[-1] // 2
    angle = positions[:, None] * ROTARY_BASE ** (-np.arange(half) / half)
    cos, sin = (f(angle)[:, None].astype(x.dtype) for f in (np.cos, np.sin))
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)


def random_weights(shape: Model, rng, dtype) -> tuple:
    """(tables, layers): normal weights of variance 1 / inputs, norm scales near 1."""
    s, d = shape, shape.d_model

    def matrix(*size):
        return (rng.standard_normal(size) / sqrt(size[-2])).astype(dtype)

    def scale():
        return (1 + 0.1 * rng.standard_normal(d)).astype(dtype)

    tables = {"embedding": {"table": matrix(d, s.vocab).T.copy()}, "norms": {"final": scale()}}
    if not s.tied_embeddings:
        tables["unembedding"] = {"table": matrix(d, s.vocab).T.copy()}
    if s.positions == "learned":
        tables["positions"] = {"table": matrix(d, s.max_positions).T.copy()}
    return tables, [_random_layer(s, i < s.dense_layers, matrix, scale) for i in range(s.layers)]


def _random_layer(s: Model, dense: bool, matrix, scale) -> dict:
    """One layer's weights, drawn by `matrix(*stack, rows, columns)` and `scale()`."""
    d = s.d_model
    heads, shared = s.n_heads * s.d_head, s.n_kv_heads * s.d_head

    def mlp(matrices, width, *stack):
        names = ("in", "gate") if matrices == 3 else ("in",)
        return {name: matrix(*stack, d, width) for name in names} | {"out": matrix(*stack, width, d)}

    sizes = {"q": (d, heads), "k": (d, shared), "v": (d, shared), "o": (heads, d)}
    attention = {name: matrix(*size) for name, size in sizes.items()}
    layer = {"norms": {"attention": scale(), "mlp": scale()}, "attention": attention}
    if dense:
        return layer | {"mlp": mlp(s.mlp_matrices, s.d_ff)}
    layer["router"] = {"w": matrix(d, s.n_experts)}
    layer["experts"] = mlp(s.expert_matrices, s.d_ff_expert, s.n_experts)
    if s.n_shared_experts:
        layer["shared_experts"] = mlp(s.expert_matrices, s.d_ff_shared, s.n_shared_experts)
    return layer
