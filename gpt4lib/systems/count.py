"""Counts of a model by the laws of chapter 2: parameters, FLOP and cache entries, exact from its shape.

parameters(published_model("GPT-3 175B").shape).total
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product

from ..chapters import architecture, mqa
from ..chapters.architecture import attention, mlp
from ..chapters.vision_io import cross
from ..facts.configs import named_model
from ..facts.files import published
from ..facts.models import CACHING, STATE_KINDS, Model, model_of
from ..spine.errors import BadInput, pick
from ..spine.stated import Stated, stated

MEAN_SEEN = {"window": mqa.mean_seen, "chunk": mqa.mean_in_chunk}


@dataclass(frozen=True, kw_only=True)
class Limited:
    """Layers of `kind` that keep at most `limit` tokens: cache entries and score FLOP as in `ServedModel`."""

    kind: str
    limit: int
    entries: float
    pair_flop: float


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """What a pass needs to know of a model. A dense model has one expert, which every token uses.

    `N_fix` is read by every pass, `N_table` of it as the last layer's; `N_held` adds an input table of its
    own. `entries` are the cache entries of one token in layers that keep every token, `kv_splits` the ranks
    that can share them by heads, `pair_flop` the score FLOP of a token per token of context; `limited` are
    the layers with windows or chunks. `state` are the numbers that a sequence keeps whatever its length,
    `state_flop` their FLOP for a token.
    """

    name: str
    N_fix: float
    N_held: float
    N_exp: float
    E: int
    k: int
    C_tok: float
    pair_flop: float
    entries: float
    kv_splits: int
    L: int
    d: int
    n_h: int
    d_h: int
    N_table: float = 0.0
    limited: tuple[Limited, ...] = ()
    state: float = 0.0
    state_flop: float = 0.0

    @property
    def total(self) -> float:
        """Parameters stored."""
        return self.N_held + self.E * self.N_exp

    @property
    def active(self) -> float:
        """Parameters that work on a token."""
        return self.N_fix + self.k * self.N_exp

    @property
    def all_entries(self) -> float:
        """Cache entries of one token that every caching layer keeps."""
        return self.entries + sum(part.entries for part in self.limited)

    def cache_entries(self, context):
        """Cache entries of a sequence of `context` tokens, and its states; a number or an array."""
        known = [{"kv": part.entries, "S": context, "S_lim": part.limit} for part in self.limited]
        some = sum(mqa.limited_cache.on_arrays(at) for at in known)
        return self.entries * context + some + self.state

    def mean_entries(self, context):
        """The same over its tokens: what a token takes on average, states included; a number or an array."""
        return self.cache_entries(context) / context if self.limited or self.state else self.entries

    def score_flop(self, context, *, mean: bool = False):
        """Score FLOP of a token that `context` tokens precede, or the mean over a sequence of that length."""
        found = self.state_flop + self.pair_flop * (context / 2 if mean else context)
        for part in self.limited:
            law = MEAN_SEEN[part.kind] if mean else mqa.seen
            found = found + part.pair_flop * law.on_arrays({"S": context, "S_lim": part.limit})
        return found


def serving_view(shape: Model) -> ServedModel:
    """The serving model's view of a shape: its counted parameters, FLOP and cache entries.

    Blocks that predict further tokens are left out.
    """
    s, parts = shape, parameters(shape).parts | {"mtp": 0}
    matrices = flop_per_token(s, 0.0)
    state_flop = matrices.pop("scores")
    inside = parts["experts"] if s.n_experts else parts["mlp"]
    held = sum(parts.values()) - inside
    sizes = {"L": s.layers, "d": s.d_model, "n_h": s.n_heads, "E": s.n_experts or 1, "k": s.top_k or 1}
    sizes |= {"N_held": held, "N_exp": inside / sizes["E"], "C_tok": sum(matrices.values())}
    every = {kind: (_entries(s, count), _pairs(s, count)) for kind, count in s.mixing_layers.items()}
    entries, pair_flop = every.get("full", (0, 0.0))
    limits = [(kind, getattr(s, kind), *every[kind]) for kind in MEAN_SEEN if kind in every]
    return ServedModel(
        name=s.name,
        N_fix=held - (0 if s.tied_embeddings else parts["embedding"]),
        N_table=parts["embedding" if s.tied_embeddings else "unembedding"],
        entries=entries,
        pair_flop=pair_flop,
        limited=tuple(Limited(**dict(zip(("kind", "limit", "entries", "pair_flop"), x))) for x in limits),
        state=sum(state_numbers(s).values()),
        state_flop=state_flop,
        kv_splits=1 if s.latent else s.n_kv_heads,
        d_h=s.mla_d_value if s.latent else s.d_head,
        **sizes,
    )


def weight_formats(shape: Model) -> dict[str, float]:
    """Bytes of a weight as released, as `Server` takes them: of experts, and the mean of the rest."""
    s, parts = shape, parameters(shape).parts | {"mtp": 0, "experts": 0}
    size = sum(n * (s.matrix_bytes if part in _MATRICES else s.other_bytes) for part, n in parts.items())
    mean = size / sum(parts.values())
    return {"weight_bytes": mean, "expert_bytes": float(s.expert_bytes) if s.n_experts else mean}


def _entries(s: Model, count: int) -> int:
    """Cache entries of a token in `count` layers."""
    return _one(mqa.latent_cache if s.latent else architecture.token_cache, _letters(s), L=count, kv_bytes=1)


def _pairs(s: Model, count: int) -> float:
    """Score FLOP of a token for a token of context, in `count` layers."""
    qk, value = (s.mla_d_nope + s.mla_d_rope, s.mla_d_value) if s.latent else (s.d_head, s.d_head)
    return float(architecture.pairs(L=count, n_h=s.n_heads, d_qk=qk, d_v=value, S=1.0))


def state_numbers(shape: Model) -> dict[str, int]:
    """Numbers that a sequence keeps whatever its length: states and inputs of convolutions."""
    if not shape.state_layers:
        return {}
    sizes = _letters(shape) | {"L": shape.state_layers}
    kept = {"recurrent": _one(mqa.state_size, sizes)}
    return kept | ({"conv": _one(mqa.conv_size, sizes)} if shape.conv_width else {})


@dataclass(frozen=True, kw_only=True)
class SequenceCache:
    """The cache of one sequence of `context` tokens, in bytes, all ranks together.

    `kept_bytes` are keys and values as windows and chunks leave them, `full_pages_bytes` those of an engine
    that gives every caching layer whole pages for the whole context, `state_bytes` the fixed states.
    """

    token_bytes: float
    kept_bytes: float
    full_pages_bytes: float
    state_bytes: float

    @property
    def sequence_bytes(self) -> float:
        """Keys, values and states."""
        return self.kept_bytes + self.state_bytes


PAGE_TOKENS = 16  # of vLLM's blocks by default


def cache_of(shape: Model, context: int, kv_bytes: float = 2.0) -> SequenceCache:
    """The cache of one sequence: keys and values of every layer by its kind, and the fixed states.

    States count at `kv_bytes` too; engines that keep them in 32 bits take twice the 16-bit figure. Source of
    the whole pages: vLLM's cache manager where layers of several kinds share it.
    """
    view = serving_view(shape)
    each = view.all_entries * kv_bytes
    pages = -(-context // PAGE_TOKENS) * PAGE_TOKENS
    return SequenceCache(
        token_bytes=each,
        kept_bytes=(view.cache_entries(context) - view.state) * kv_bytes,
        full_pages_bytes=each * pages,
        state_bytes=view.state * kv_bytes,
    )


def served_model(name: str) -> ServedModel:
    """A model by name: of `data/shapes` ("gpt4_multi_query"), `data/models.csv` or a shipped configuration.

    Raises BadInput that names the nearest known ones.
    """
    return serving_view(named_model(name)[0])


PARTS = "embedding unembedding positions attention mixers mlp experts shared_experts router norms".split()
PARTS += ["biases", "mtp", "extra"]
_MATRICES = ("attention", "mixers", "mlp", "experts", "shared_experts")
REST = {kind: getattr(mqa, f"{kind}_rest") for kind in STATE_KINDS}


@dataclass(frozen=True)
class Count:
    """Parameters: `total`, `active` (all but the experts that a token is not routed to), and both by part.

    Blocks that predict further tokens are in `total` and, not being needed for a token, not in `active`.
    """

    total: int
    active: int
    parts: dict
    active_parts: dict

    @property
    def without_mtp(self) -> int:
        """Parameters without the blocks that predict further tokens."""
        return self.total - self.parts["mtp"]

    @property
    def active_without_input_table(self) -> int:
        """Active parameters without the table that only looks tokens up: what FLOP are counted by."""
        return self.active - self.parts["unembedding"]  # as large, and none where one table serves both


_KEYS = dict(  # letters of the laws, keys of a model
    pair.split("=")
    for pair in """L=layers d=d_model n_h=n_heads n_kv=n_kv_heads d_h=d_head V=vocab n_pos=max_positions
    E=n_experts n_mat=mlp_matrices d_ff=d_ff r_q=mla_q_rank r_kv=mla_kv_rank d_nope=mla_d_nope
    d_rope=mla_d_rope d_v=mla_d_value d_emb=d_embedding n_sh=n_state_heads d_sv=d_state_head d_s=d_state
    g_s=n_state_groups k_conv=conv_width dt_rank=dt_rank""".split()
)


def _letters(s: Model) -> dict:
    """A model's sizes by the letters of the laws; experts' widths and layers are given where needed."""
    return {letter: getattr(s, key) for letter, key in _KEYS.items()} | {"n_norm": 2 if s.norm_shift else 1}


def _one(law, sizes: dict, **own) -> int:
    return int(law.exact(**{letter.name: (sizes | own)[letter.name] for letter in law.symbols}))


def parameters(shape: Model) -> Count:
    """Parameters by part, exact. Both vocabulary tables count as active.

    >>> tiny = {"name": "tiny", "layers": 1, "d_model": 4, "n_heads": 2, "n_kv_heads": 1, "d_head": 2}
    >>> tiny |= {"d_ff": 8, "mlp_matrices": 2, "vocab": 10, "tied_embeddings": True, "positions": "rotary"}
    >>> parameters(model_of(tiny)).total
    164
    """
    s, sizes = shape, _letters(shape)
    parts, active = _layers(s)
    outside = {"embedding": _one(architecture.vocabulary_table, sizes, d=s.d_embedding or s.d_model)}
    outside["unembedding"] = 0 if s.tied_embeddings else outside["embedding"]
    if s.d_embedding:
        outside["embedding"] += _one(architecture.narrow_table, sizes)
    if s.positions == "learned":
        outside["positions"] = _one(architecture.learned_positions, sizes)
    outside["norms"] = _one(architecture.norm_vectors, sizes, n_ln=s.final_norm + s.embedding_norm)
    outside["biases"] = _one(architecture.table_bias, sizes) if "unembedding" in s.biases else 0
    outside["extra"] = s.extra_parameters
    for found in (parts, active):
        found |= {part: found[part] + size for part, size in outside.items()}
    parts["mtp"] = _further(s) if s.n_mtp_layers else 0
    return Count(sum(parts.values()), sum(active.values()), parts, active)


def _layers(s: Model) -> tuple[dict, dict]:
    """Parameters inside the layers by part: all, and those that work on a token."""
    sizes = _letters(s)
    parts = dict.fromkeys(PARTS, 0)
    parts["norms"] = _one(architecture.norm_vectors, sizes, n_ln=s.layers * s.layer_norms)
    for part, law, layers in _mixing(s):
        parts[part] += _one(law, sizes, L=layers, k_conv=s.conv_width + s.conv_bias)
    expert = _mlps(s, parts)
    active = dict(parts)
    for part, size in expert.items():
        parts[part] += s.n_experts * size
        active[part] += s.top_k * size
    return parts, active


def _mixing(s: Model):
    """The laws of attention, its norms and biases and of layers with a state: part, law, layers."""
    layers = s.attention_layers
    if s.latent:
        query = architecture.latent_query if s.mla_q_rank else architecture.direct_query
        yield from (("attention", law, layers) for law in (query, architecture.latent_rest))
        yield "norms", architecture.latent_norms, layers
    else:
        yield "attention", architecture.attention, layers
    if s.positions == "relative":
        yield "positions", architecture.relative_positions, layers
    for asked, law in ((s.sinks, architecture.sinks), (s.attention_gate, architecture.output_gate)):
        if asked:
            yield "attention", law, layers
    if s.qk_norm != "none":
        yield "norms", architecture.head_norms if s.qk_norm == "head" else architecture.wide_norms, layers
    if "qkv" in s.biases:
        yield "biases", architecture.latent_bias if s.latent else architecture.query_bias, layers
    if "output" in s.biases:
        yield "biases", architecture.output_bias, layers
    for kind in (kind for kind in s.mixing_layers if kind in STATE_KINDS):
        laws = mqa.state_matrices, REST[kind], *([mqa.convolutions] if s.conv_width else [])
        yield from (("mixers", law, s.state_layers) for law in laws)


def _mlps(s: Model, parts: dict) -> dict:
    """Adds what every token passes in MLPs, shared experts and routers; returns one expert by part."""
    sizes = _letters(s)
    mlp, bias = architecture.mlp, architecture.mlp_bias
    if s.dense_layers:
        parts["mlp"] = _one(mlp, sizes, L=s.dense_layers)
        parts["biases"] += _one(bias, sizes, L=s.dense_layers) if "mlp" in s.biases else 0
    if not s.expert_layers:
        return {}
    routed = {"L": s.expert_layers, "n_mat": s.expert_matrices}
    shared, expert = routed | {"d_ff": s.d_ff_shared}, routed | {"d_ff": s.d_ff_expert}
    parts["shared_experts"] = s.n_shared_experts * _one(mlp, sizes, **shared)
    parts["biases"] += s.n_shared_experts * _one(bias, sizes, **shared) if "mlp" in s.biases else 0
    gates = [architecture.output_bias] * s.shared_gate + [architecture.router_bias] * s.router_offsets
    parts["router"] = sum(_one(law, sizes, **routed) for law in (architecture.router, *gates))
    parts["biases"] += _one(architecture.router_bias, sizes, **routed) if "router" in s.biases else 0
    biases = {"biases": _one(bias, sizes, **expert)} if "experts" in s.biases else {}
    return {"experts": _one(mlp, sizes, **expert)} | biases


def _further(s: Model) -> int:
    """Parameters of the blocks that predict further tokens: each a layer, and what joins it to the model."""
    kinds = {"layer_kinds": ("full",), "mlp_kinds": ("experts" if s.n_experts else "dense",)}
    blocks = replace(s, layers=s.n_mtp_layers, n_dense_layers=0, **kinds)
    inside, _ = _layers(blocks)
    return sum(inside.values()) + _one(architecture.joined, _letters(s), L=s.n_mtp_layers)


def printed(text: str) -> Stated:
    """A count as a table prints it, with its precision: "6.7B", "350M", "1.2T" or the whole number."""
    scale = {"M": "e6", "B": "e9", "T": "e12"}.get(text[-1], "")
    return stated(f"~{text.rstrip('MBT')}{scale} parameter")


def agrees(counted: int, text: str) -> bool:
    """Whether a count is within 0.1% of a printed one, or within its printed precision where that is coarser.

    >>> agrees(6_738_417_664, "6.7B"), agrees(355_871_744, "350M")
    (True, False)
    """
    value = printed(text)
    return value.interval.contains(counted) or abs(counted - value.value) <= 0.001 * value.value


def flop_per_token(shape: Model, context: float) -> dict:
    """2 FLOP per active matrix entry, plus the attention scores over `context` tokens: forward, by part.

    Embedding look-ups, norms and biases cost no matrix product; a position matrix counts as applied once per
    token. Layers with a window or chunk see no more than that; a mean context gives a mean where every layer
    sees everything. Raises BadInput for a context that is no number of tokens.
    """
    if isinstance(context, bool) or not isinstance(context, (int, float)) or not 0 <= context < math.inf:
        raise BadInput(f"context takes a number of tokens of at least 0, got {context!r}")
    s, active = shape, parameters(shape).active_parts
    matrices = {part: active[part] for part in (*_MATRICES, "router") if part != "mixers" or s.state_layers}
    matrices["unembedding"] = active["embedding"]
    if s.positions == "relative":
        matrices["positions"] = active["positions"]
    flop = {part: int(architecture.forward.exact(N=n)) for part, n in matrices.items()}
    seen = {kind: min(context, getattr(s, kind, context)) for kind in CACHING}
    flop["scores"] = sum(_pairs(s, n) * seen[kind] for kind, n in s.mixing_layers.items() if kind in CACHING)
    if s.state_layers:
        flop["scores"] += mqa.state_flop(n_state=state_numbers(s)["recurrent"])
    return flop


def mean_flop_per_token(shape: Model, length: float) -> dict:
    """The same, the mean over a causal sequence of `length` tokens: each sees those before it.

    Raises BadInput for a length that is no number of tokens.
    """
    flop = flop_per_token(shape, length)
    return flop | {
        "scores": float(serving_view(shape).score_flop(length, mean=True)) if length else flop["scores"]
    }


def fitting_shapes(
    attention_range, expert_range, *, layers, multi_head, widths, head_widths, mlp_shapes, divide_heads=8
):
    """Shapes whose attention and expert counts both fall into the given intervals, as a list of dicts.

    `mlp_shapes` are (matrices, d_ff / d) pairs, `widths` model widths, `head_widths` widths of one head.
    Every head has its own key and value if `multi_head`, else all share one. The number of heads is a
    multiple of `divide_heads` (8-way tensor parallelism) and free otherwise; d_ff must be whole.
    """
    found = []
    for width, (matrices, ratio) in product(widths, mlp_shapes):
        inner = ratio * width
        if inner % 1:
            continue
        one_expert = mlp(L=layers, n_mat=matrices, d=width, d_ff=int(inner))
        if not expert_range.contains(one_expert):
            continue
        for head in head_widths:
            for heads in range(divide_heads, 4 * width // head, divide_heads):
                shared = attention(L=layers, d=width, d_h=head, n_h=heads, n_kv=heads if multi_head else 1)
                if attention_range.contains(shared):
                    of_width = {"d": width, "n_h": heads, "d_h": head, "a_w": heads * head / width}
                    of_mlp = {"n_mat": matrices, "r_ff": float(ratio), "d_ff": int(inner)}
                    found.append(of_width | of_mlp | {"N_attn": shared, "N_exp": one_expert})
    return found


def flamingo(model: str, component: str) -> dict:
    """A row of Flamingo's Table 4: n_x layers or blocks, width d, n_h heads, width of a head d_h.

    Raises BadInput that names the nearest known ones.
    """
    rows = {f"{r['model']}: {r['component']}": r for r in published("flamingo_table4_shapes")}
    row = rows[pick(f"{model}: {component}", rows, "row of Table 4")]
    layers, width, heads = (int(row[key]) for key in "LDH")
    return {"n_x": layers, "d": width, "n_h": heads, "d_h": width // heads}


def flamingo_blocks(model: str, component: str = "GATED XATTN-DENSE", *, n_x=None, d_vis=None) -> float:
    """Parameters of a Flamingo's blocks by Table 4; other blocks or another visual width if given.

    Without `d_vis` visual tokens are as wide as the blocks, which makes it the count of the resampler too.

    >>> flamingo_blocks("Flamingo-80B") / 1e9
    9.663676416
    """
    row = flamingo(model, component)
    row |= {"n_x": n_x or row["n_x"], "n_kv": row["n_h"], "d_vis": d_vis or row["d"], "d_ff": 4 * row["d"]}
    return cross(n_mat=2, **row)


def flamingo_text(model: str, *, layers=None) -> int:
    """Parameters of a Flamingo's frozen text model by Table 4, counted as a Chinchilla, or of more layers."""
    row = flamingo(model, "Frozen LM")
    shape = {"name": model, "n_heads": row["n_h"], "n_kv_heads": row["n_h"], "d_head": row["d_h"]}
    shape |= {"layers": layers or row["n_x"], "d_model": row["d"], "d_ff": 4 * row["d"], "vocab": 32_000}
    shape |= {"mlp_matrices": 2, "tied_embeddings": True, "positions": "relative"}
    return parameters(model_of(shape)).total
