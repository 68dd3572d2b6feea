"""Counts of a model by the laws of chapter 2: parameters, FLOP and cache entries, exact from its shape.

parameters(published_model("GPT-3 175B").shape).total
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

from ..chapters import architecture
from ..chapters.architecture import attention, mlp
from ..chapters.vision_io import cross
from ..facts.files import data_file, published
from ..facts.models import Model, model_of, published_model, read_model
from ..spine.errors import BadInput, pick
from ..spine.stated import Stated, stated


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """What a pass needs to know of a model. A dense model has one expert, which every token uses.

    `N_fix` is read by every pass; `N_held` adds the embedding table. `entries` are the cache entries of one token,
    `kv_splits` the ranks that can share them by heads, `pair_flop` the score FLOP of a token per token of context.
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

    @property
    def total(self) -> float:
        """Parameters stored."""
        return self.N_held + self.E * self.N_exp

    @property
    def active(self) -> float:
        """Parameters that work on a token."""
        return self.N_fix + self.k * self.N_exp


def serving_view(shape: Model) -> ServedModel:
    """The serving model's view of a shape: its counted parameters, FLOP and cache entries."""
    s, parts = shape, parameters(shape).parts
    flop = flop_per_token(s, 1.0)
    pair = flop.pop("scores")
    routed, mixed = s.n_experts or 1, s.mla_d_value if s.latent else s.d_head
    inside = parts["experts"] if s.n_experts else parts["mlp"]
    held = sum(parts.values()) - inside
    entries = s.layers * (s.mla_kv_rank + s.mla_d_rope if s.latent else 2 * s.n_kv_heads * s.d_head)
    return ServedModel(
        name=s.name,
        N_fix=held - (0 if s.tied_embeddings else parts["embedding"]),
        N_held=held,
        N_exp=inside / routed,
        E=routed,
        k=s.top_k or 1,
        C_tok=sum(flop.values()),
        pair_flop=pair,
        entries=entries,
        L=s.layers,
        d=s.d_model,
        kv_splits=1 if s.latent else s.n_kv_heads,
        n_h=s.n_heads,
        d_h=mixed,
    )


def served_model(name: str) -> ServedModel:
    """A model by name: a shape file of `data/shapes` ("gpt4_multi_query") or a row of `data/models.csv`."""
    try:
        return serving_view(read_model(data_file(f"shapes/{name}.toml")))
    except BadInput:
        return serving_view(published_model(name).shape)


PARTS = (
    "embedding",
    "unembedding",
    "positions",
    "attention",
    "mlp",
    "experts",
    "shared_experts",
    "router",
    "norms",
    "biases",
)


@dataclass(frozen=True)
class Count:
    """Parameters: `total`, `active` (all but the experts that a token is not routed to), and both by part."""

    total: int
    active: int
    parts: dict
    active_parts: dict


def parameters(shape: Model) -> Count:
    """Parameters by part, exact. Both vocabulary tables count as active.

    >>> parameters(model_of({"name": "tiny", "layers": 1, "d_model": 4, "n_heads": 2, "n_kv_heads": 1, "d_head": 2,
    ...     "d_ff": 8, "mlp_matrices": 2, "vocab": 10, "tied_embeddings": True, "positions": "rotary"})).total
    164
    """
    s, parts = shape, dict.fromkeys(PARTS, 0)
    parts["embedding"] = _one(architecture.vocabulary_table, V=s.vocab, d=s.d_model)
    parts["unembedding"] = 0 if s.tied_embeddings else parts["embedding"]
    parts["attention"] = _attention(s)
    parts["norms"] = _one(architecture.norms, n_norm=2 if s.biases else 1, d=s.d_model, L=s.layers)
    if s.latent:
        parts["norms"] += _one(architecture.latent_norms, L=s.layers, r_q=s.mla_q_rank, r_kv=s.mla_kv_rank)
    if s.positions == "learned":
        parts["positions"] = _one(architecture.learned_positions, n_pos=s.max_positions, d=s.d_model)
    if s.positions == "relative":
        parts["positions"] = _one(
            architecture.relative_positions, L=s.layers, d=s.d_model, n_h=s.n_heads, d_h=s.d_head
        )
    if s.dense_layers:
        parts["mlp"] = _one(
            architecture.mlp, L=s.dense_layers, n_mat=s.mlp_matrices, d=s.d_model, d_ff=s.d_ff
        )
    active = dict(parts)
    if s.n_experts:
        one = {"L": s.layers - s.dense_layers, "n_mat": s.expert_matrices, "d": s.d_model}
        each, shared = (
            _one(architecture.mlp, d_ff=s.d_ff_expert, **one),
            _one(architecture.mlp, d_ff=s.d_ff_shared, **one),
        )
        parts["router"] = active["router"] = _one(architecture.router, L=one["L"], d=s.d_model, E=s.n_experts)
        parts["shared_experts"] = active["shared_experts"] = s.n_shared_experts * shared
        parts["experts"], active["experts"] = s.n_experts * each, s.top_k * each
    if s.biases:
        parts["biases"], active["biases"] = _biases(s, s.n_experts), _biases(s, s.top_k)
    return Count(sum(parts.values()), sum(active.values()), parts, active)


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
    """Forward FLOP of one token by part: 2 per active matrix entry, plus the attention scores over `context` tokens.

    Embedding look-ups, norms and biases cost no matrix product. Pass the mean context of a causal
    sequence to get its mean. A position matrix counts as applied once per token.
    """
    if isinstance(context, bool) or not isinstance(context, (int, float)) or not 0 <= context < math.inf:
        raise BadInput(f"context takes a number of tokens of at least 0, got {context!r}")
    s, active = shape, parameters(shape).active_parts
    matrices = {part: active[part] for part in ("attention", "mlp", "experts", "shared_experts", "router")}
    matrices["unembedding"] = active["embedding"]
    if s.positions == "relative":
        matrices["positions"] = active["positions"]
    flop = {part: int(architecture.forward.exact(N=n)) for part, n in matrices.items()}
    qk, value = (s.mla_d_nope + s.mla_d_rope, s.mla_d_value) if s.latent else (s.d_head, s.d_head)
    flop["scores"] = float(architecture.pairs(L=s.layers, n_h=s.n_heads, d_qk=qk, d_v=value, S=context))
    return flop


def _one(law, **widths) -> int:
    return int(law.exact(**widths))


def _attention(s: Model) -> int:
    if not s.latent:
        return _one(
            architecture.attention, L=s.layers, d=s.d_model, d_h=s.d_head, n_h=s.n_heads, n_kv=s.n_kv_heads
        )
    widths = {"L": s.layers, "d": s.d_model, "n_h": s.n_heads, "d_nope": s.mla_d_nope, "d_rope": s.mla_d_rope}
    query = (
        _one(architecture.latent_query, r_q=s.mla_q_rank, **widths)
        if s.mla_q_rank
        else _one(architecture.direct_query, **widths)
    )
    return query + _one(architecture.latent_rest, r_kv=s.mla_kv_rank, d_v=s.mla_d_value, **widths)


def _biases(s: Model, experts: int) -> int:
    widths = {"L": s.layers, "d": s.d_model, "n_h": s.n_heads}
    if s.latent:
        biases = _one(
            architecture.latent_bias,
            d_nope=s.mla_d_nope,
            d_rope=s.mla_d_rope,
            d_v=s.mla_d_value,
            r_q=s.mla_q_rank,
            r_kv=s.mla_kv_rank,
            **widths,
        )
    else:
        biases = _one(architecture.attention_bias, d_h=s.d_head, n_kv=s.n_kv_heads, **widths)
    if s.dense_layers:
        biases += _one(
            architecture.mlp_bias, L=s.dense_layers, n_mat=s.mlp_matrices, d=s.d_model, d_ff=s.d_ff
        )
    if s.n_experts:
        one = {"L": s.layers - s.dense_layers, "n_mat": s.expert_matrices, "d": s.d_model}
        biases += experts * _one(architecture.mlp_bias, d_ff=s.d_ff_expert, **one)
        biases += s.n_shared_experts * _one(architecture.mlp_bias, d_ff=s.d_ff_shared, **one)
        biases += _one(architecture.router_bias, L=one["L"], E=s.n_experts)
    return biases


def fitting_shapes(
    attention_range,
    expert_range,
    *,
    layers: int,
    multi_head: bool,
    widths,
    head_widths,
    mlp_shapes,
    divide_heads: int = 8,
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
                    found.append(
                        {
                            "d": width,
                            "n_h": heads,
                            "d_h": head,
                            "a_w": heads * head / width,
                            "n_mat": matrices,
                            "r_ff": float(ratio),
                            "d_ff": int(inner),
                            "N_attn": shared,
                            "N_exp": one_expert,
                        }
                    )
    return found


def flamingo(model: str, component: str) -> dict:
    """A row of Flamingo's Table 4: {"n_x": layers or blocks, "d": width, "n_h": heads, "d_h": width of a head}.

    Raises BadInput that names the nearest known ones.
    """
    rows = {f"{r['model']}: {r['component']}": r for r in published("flamingo_table4_shapes")}
    row = rows[pick(f"{model}: {component}", rows, "row of Table 4")]
    return {
        "n_x": int(row["L"]),
        "d": int(row["D"]),
        "n_h": int(row["H"]),
        "d_h": int(row["D"]) // int(row["H"]),
    }


def flamingo_blocks(model: str, component: str = "GATED XATTN-DENSE", *, n_x=None, d_vis=None) -> float:
    """Parameters of a Flamingo's blocks by Table 4; other blocks or another width of the visual tokens if given.

    Without `d_vis` visual tokens are as wide as the blocks, which makes it the count of the resampler too.

    >>> flamingo_blocks("Flamingo-80B") / 1e9
    9.663676416
    """
    row = flamingo(model, component)
    row |= {"n_x": n_x or row["n_x"], "n_kv": row["n_h"], "d_vis": d_vis or row["d"], "d_ff": 4 * row["d"]}
    return cross(n_mat=2, **row)


def flamingo_text(model: str, *, layers=None) -> int:
    """Parameters of a Flamingo's frozen text model by Table 4, counted as a Chinchilla; with other layers if given."""
    row = flamingo(model, "Frozen LM")
    return parameters(
        model_of(
            {
                "name": model,
                "layers": layers or row["n_x"],
                "d_model": row["d"],
                "n_heads": row["n_h"],
                "n_kv_heads": row["n_h"],
                "d_head": row["d_h"],
                "d_ff": 4 * row["d"],
                "mlp_matrices": 2,
                "vocab": 32_000,
                "tied_embeddings": True,
                "positions": "relative",
            }
        )
    ).total
