"""Shapes: a model's layout read from a file, and its parameters and FLOP counted exactly from it.

The formulas are the laws of `gpt4lib.architecture`; this module reads, checks and adds up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

from . import architecture as laws
from .data import pick, read_csv, read_toml
from .interval import Stated, stated
from .units import BadInput

POSITIONS = ("rotary", "learned", "relative", "alibi")
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
class Shape:
    """The layout of a transformer; the fields are the keys of a model file.

    Without `n_experts` every layer has one MLP of `mlp_matrices` matrices and width `d_ff`. With it,
    `n_dense_layers` layers keep that MLP and the others have experts. `expert_matrices` defaults to
    `mlp_matrices`, `d_ff_shared` to `d_ff_expert`. With `mla_kv_rank` attention is latent, and
    `n_kv_heads` and `d_head` are left out; `mla_q_rank = 0` means a query without a rank.
    `biases` puts a bias on every matrix inside the layers and a shift into every norm.
    """

    name: str
    layers: int
    d_model: int
    n_heads: int
    vocab: int
    tied_embeddings: bool
    positions: str
    n_kv_heads: int = 0
    d_head: int = 0
    d_ff: int = 0
    mlp_matrices: int = 0
    max_positions: int = 0
    biases: bool = False
    n_experts: int = 0
    top_k: int = 0
    d_ff_expert: int = 0
    expert_matrices: int = 0
    n_shared_experts: int = 0
    d_ff_shared: int = 0
    n_dense_layers: int = 0
    mla_q_rank: int = 0
    mla_kv_rank: int = 0
    mla_d_nope: int = 0
    mla_d_rope: int = 0
    mla_d_value: int = 0

    @property
    def latent(self) -> bool:
        """Whether attention is latent (MLA)."""
        return self.mla_kv_rank > 0

    @property
    def dense_layers(self) -> int:
        """Layers with a dense MLP."""
        return self.n_dense_layers if self.n_experts else self.layers


TYPES = {field.name: {"int": int, "bool": bool, "str": str}[field.type] for field in fields(Shape)}
REQUIRED = ("name", "layers", "d_model", "n_heads", "vocab", "tied_embeddings", "positions")
MAY_BE_ZERO = (
    "d_ff",
    "mlp_matrices",
    "max_positions",
    "n_experts",
    "top_k",
    "d_ff_expert",
    "expert_matrices",
    "n_shared_experts",
    "d_ff_shared",
    "n_dense_layers",
    "mla_q_rank",
    "mla_d_rope",
)
EXPERT_KEYS = ("top_k", "d_ff_expert", "expert_matrices", "n_shared_experts", "d_ff_shared")
LATENT_KEYS = ("mla_q_rank", "mla_kv_rank", "mla_d_nope", "mla_d_rope", "mla_d_value")


def load(path) -> Shape:
    """A shape from a TOML file. Raises BadInput naming the file, the key, what it got and what it takes."""
    return from_mapping(read_toml(Path(path)), str(path))


def from_mapping(mapping: dict, where: str = "shape") -> Shape:
    """A shape from a dict of its keys, defaults filled in, everything checked; `where` opens each message."""
    for mistake in mistakes(mapping):
        raise BadInput(f"{where}: {mistake}")
    filled = dict(mapping)
    if mapping.get("n_experts"):
        filled["expert_matrices"] = mapping.get("expert_matrices") or mapping["mlp_matrices"]
        filled["d_ff_shared"] = mapping.get("d_ff_shared") or mapping["d_ff_expert"]
    return Shape(**filled)


def mistakes(mapping: dict) -> list[str]:
    """Everything that is wrong with the keys of a shape, each with the key, what it takes and what it got.

    >>> mistakes({"layers": 0})[0]
    'layers takes a positive whole number, got 0'
    """
    found, wrong = [], set()

    def fail(key, takes):
        got = repr(mapping[key]) if key in mapping else "nothing"
        found.append(f"{key} takes {takes}, got {got}")
        wrong.add(key)

    def need(keys, why):
        for key in keys:
            if key not in mapping:
                fail(key, f"{_kind(key)}{why}")

    for key in mapping:
        if key not in TYPES:
            found.append(f"unknown key {key} (got {mapping[key]!r}); a shape takes {', '.join(TYPES)}")
    for key in [key for key in mapping if key in TYPES]:
        _check_value(key, mapping[key], fail)
    need(REQUIRED, "")
    for check in (_check_attention, _check_layers, _check_experts):
        try:
            check(_Sound(mapping, wrong), need, fail)
        except KeyError:  # a key that is missing or wrong, and stands in the list already
            continue
    return found


class _Sound(dict):
    """A mapping that has no values for the keys in `wrong`: a check that needs one of them stops."""

    def __init__(self, mapping, wrong):
        super().__init__({key: value for key, value in mapping.items() if key not in wrong})
        self.wrong = frozenset(wrong)

    def get(self, key, default=None):
        if key in self.wrong:
            raise KeyError(key)
        return super().get(key, default)


def _kind(key):
    if key == "positions":
        return f"one of {', '.join(POSITIONS)}"
    if key in ("mlp_matrices", "expert_matrices"):
        return "2 (plain) or 3 (gated)"
    if TYPES[key] is int:
        return "a whole number of at least 0" if key in MAY_BE_ZERO else "a positive whole number"
    return {bool: "true or false", str: "a text"}[TYPES[key]]


def _check_value(key, value, fail):
    fits = type(value) is TYPES[key] and (
        value in POSITIONS
        if key == "positions"
        else value in (0, 2, 3)
        if key in ("mlp_matrices", "expert_matrices")
        else value >= (key not in MAY_BE_ZERO)
        if TYPES[key] is int
        else TYPES[key] is bool or value.strip()
    )
    if not fits:
        fail(key, _kind(key))


def _check_attention(mapping, need, fail):
    if any(key in mapping for key in LATENT_KEYS):
        need(LATENT_KEYS, " (latent attention)")
        for key in ("n_kv_heads", "d_head"):
            if key in mapping:
                fail(key, "no value beside the keys of latent attention")
        if mapping["positions"] == "relative":
            fail("positions", "another kind of positions than relative with latent attention")
    else:
        need(("n_kv_heads", "d_head"), "")
        if mapping["n_heads"] % mapping["n_kv_heads"]:
            fail("n_kv_heads", f"a divisor of n_heads = {mapping['n_heads']}")
    if mapping["positions"] == "learned" and not mapping.get("max_positions"):
        fail("max_positions", "a positive whole number with learned positions")


def _check_layers(mapping, need, fail):
    layers, dense = mapping["layers"], mapping.get("n_dense_layers", 0)
    if dense > layers:
        fail("n_dense_layers", f"at most layers = {layers}")
    elif not mapping.get("n_experts") and dense not in (0, layers):
        fail("n_dense_layers", f"0 or layers = {layers} without n_experts")


def _check_experts(mapping, need, fail):
    experts, dense = mapping.get("n_experts", 0), mapping.get("n_dense_layers", 0)
    if not experts:
        for key in EXPERT_KEYS:
            if mapping.get(key):
                fail(key, "no value without n_experts")
    else:
        need(("top_k", "d_ff_expert"), " with n_experts")
        if not 1 <= mapping["top_k"] <= experts:
            fail("top_k", f"a whole number from 1 to n_experts = {experts}")
        if not mapping["d_ff_expert"]:
            fail("d_ff_expert", "a positive whole number with n_experts")
        if not (mapping.get("expert_matrices") or mapping.get("mlp_matrices")):
            fail("expert_matrices", "2 (plain) or 3 (gated), here or as mlp_matrices")
    if dense or not experts:
        for key, takes in (("d_ff", "a positive whole number"), ("mlp_matrices", "2 (plain) or 3 (gated)")):
            if not mapping.get(key):
                fail(key, f"{takes} with dense layers")


@dataclass(frozen=True)
class Count:
    """Parameters: `total`, `active` (all but the experts that a token is not routed to), and both by part."""

    total: int
    active: int
    parts: dict
    active_parts: dict


def count(shape: Shape) -> Count:
    """Parameters by part, exact. Both vocabulary tables count as active.

    >>> count(from_mapping({"name": "tiny", "layers": 1, "d_model": 4, "n_heads": 2, "n_kv_heads": 1, "d_head": 2,
    ...     "d_ff": 8, "mlp_matrices": 2, "vocab": 10, "tied_embeddings": True, "positions": "rotary"})).total
    164
    """
    s, parts = shape, dict.fromkeys(PARTS, 0)
    parts["embedding"] = _one(laws.table, V=s.vocab, d=s.d_model)
    parts["unembedding"] = 0 if s.tied_embeddings else parts["embedding"]
    parts["attention"] = _attention(s)
    parts["norms"] = _one(laws.norms, n_norm=2 if s.biases else 1, d=s.d_model, L=s.layers)
    if s.latent:
        parts["norms"] += _one(laws.latent_norms, L=s.layers, r_q=s.mla_q_rank, r_kv=s.mla_kv_rank)
    if s.positions == "learned":
        parts["positions"] = _one(laws.learned_positions, n_pos=s.max_positions, d=s.d_model)
    if s.positions == "relative":
        parts["positions"] = _one(
            laws.relative_positions, L=s.layers, d=s.d_model, n_h=s.n_heads, d_h=s.d_head
        )
    if s.dense_layers:
        parts["mlp"] = _one(laws.mlp, L=s.dense_layers, n_mat=s.mlp_matrices, d=s.d_model, d_ff=s.d_ff)
    active = dict(parts)
    if s.n_experts:
        one = {"L": s.layers - s.dense_layers, "n_mat": s.expert_matrices, "d": s.d_model}
        each, shared = _one(laws.mlp, d_ff=s.d_ff_expert, **one), _one(laws.mlp, d_ff=s.d_ff_shared, **one)
        parts["router"] = active["router"] = _one(laws.router, L=one["L"], d=s.d_model, E=s.n_experts)
        parts["shared_experts"] = active["shared_experts"] = s.n_shared_experts * shared
        parts["experts"], active["experts"] = s.n_experts * each, s.top_k * each
    if s.biases:
        parts["biases"], active["biases"] = _biases(s, s.n_experts), _biases(s, s.top_k)
    return Count(sum(parts.values()), sum(active.values()), parts, active)


@dataclass(frozen=True)
class Model:
    """A published model: its shape, the counts as printed, and where ours differ the kind of reason and why."""

    shape: Shape
    published_total: str
    published_active: str
    reason: str
    why: str
    source: str
    notes: str


@cache
def models() -> dict[str, Model]:
    """The published models of `data/models.csv` by name."""
    read = {int: int, str: str, bool: {"true": True, "false": False}.get}
    found = {}
    for row in read_csv("models.csv"):
        values = {key: read[kind](row[key]) for key, kind in TYPES.items() if row[key]}
        shape = from_mapping(values, f"models.csv: {row['name']}")
        found[shape.name] = Model(shape, *(row[f.name] for f in fields(Model)[1:]))
    return found


def model(name: str) -> Model:
    """The published model `name`. Raises BadInput that names the nearest known ones."""
    return models()[pick(name, models(), "model")]


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


def flop_per_token(shape: Shape, context: float) -> dict:
    """Forward FLOP of one token by part: 2 per active matrix entry, plus the attention scores over `context` tokens.

    Embedding look-ups, norms and biases cost no matrix product. Pass the mean context of a causal
    sequence to get its mean. A position matrix counts as applied once per token.
    """
    if isinstance(context, bool) or not isinstance(context, (int, float)) or not 0 <= context < math.inf:
        raise BadInput(f"context takes a number of tokens of at least 0, got {context!r}")
    s, active = shape, count(shape).active_parts
    matrices = {part: active[part] for part in ("attention", "mlp", "experts", "shared_experts", "router")}
    matrices["unembedding"] = active["embedding"]
    if s.positions == "relative":
        matrices["positions"] = active["positions"]
    flop = {part: int(laws.forward.exact(N=n)) for part, n in matrices.items()}
    qk, value = (s.mla_d_nope + s.mla_d_rope, s.mla_d_value) if s.latent else (s.d_head, s.d_head)
    flop["scores"] = float(laws.pairs(L=s.layers, n_h=s.n_heads, d_qk=qk, d_v=value, S=context))
    return flop


def _one(law, **widths) -> int:
    return int(law.exact(**widths))


def _attention(s: Shape) -> int:
    if not s.latent:
        return _one(laws.attention, L=s.layers, d=s.d_model, d_h=s.d_head, n_h=s.n_heads, n_kv=s.n_kv_heads)
    widths = {"L": s.layers, "d": s.d_model, "n_h": s.n_heads, "d_nope": s.mla_d_nope, "d_rope": s.mla_d_rope}
    query = (
        _one(laws.latent_query, r_q=s.mla_q_rank, **widths)
        if s.mla_q_rank
        else _one(laws.direct_query, **widths)
    )
    return query + _one(laws.latent_rest, r_kv=s.mla_kv_rank, d_v=s.mla_d_value, **widths)


def _biases(s: Shape, experts: int) -> int:
    widths = {"L": s.layers, "d": s.d_model, "n_h": s.n_heads}
    if s.latent:
        biases = _one(
            laws.latent_bias,
            d_nope=s.mla_d_nope,
            d_rope=s.mla_d_rope,
            d_v=s.mla_d_value,
            r_q=s.mla_q_rank,
            r_kv=s.mla_kv_rank,
            **widths,
        )
    else:
        biases = _one(laws.attention_bias, d_h=s.d_head, n_kv=s.n_kv_heads, **widths)
    if s.dense_layers:
        biases += _one(laws.mlp_bias, L=s.dense_layers, n_mat=s.mlp_matrices, d=s.d_model, d_ff=s.d_ff)
    if s.n_experts:
        one = {"L": s.layers - s.dense_layers, "n_mat": s.expert_matrices, "d": s.d_model}
        biases += experts * _one(laws.mlp_bias, d_ff=s.d_ff_expert, **one)
        biases += s.n_shared_experts * _one(laws.mlp_bias, d_ff=s.d_ff_shared, **one)
        biases += _one(laws.router_bias, L=one["L"], E=s.n_experts)
    return biases
