"""Models: what a transformer is, read from a file or a mapping and checked; the published ones by name."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

from ..spine.errors import BadInput, pick
from .files import read_csv, read_toml

POSITIONS = ("rotary", "learned", "relative", "alibi")


@dataclass(frozen=True)
class Model:
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


TYPES = {field.name: {"int": int, "bool": bool, "str": str}[field.type] for field in fields(Model)}
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


def read_model(path) -> Model:
    """A shape from a TOML file. Raises BadInput naming the file, the key, what it got and what it takes."""
    return model_of(read_toml(Path(path)), str(path))


def model_of(mapping: dict, where: str = "shape") -> Model:
    """A shape from a dict of its keys, defaults filled in, everything checked; `where` opens each message."""
    for mistake in model_mistakes(mapping):
        raise BadInput(f"{where}: {mistake}")
    filled = dict(mapping)
    if mapping.get("n_experts"):
        filled["expert_matrices"] = mapping.get("expert_matrices") or mapping["mlp_matrices"]
        filled["d_ff_shared"] = mapping.get("d_ff_shared") or mapping["d_ff_expert"]
    return Model(**filled)


def model_mistakes(mapping: dict) -> list[str]:
    """Everything that is wrong with the keys of a shape, each with the key, what it takes and what it got.

    >>> model_mistakes({"layers": 0})[0]
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
class PublishedModel:
    """A published model: its shape, the counts as printed, and where ours differ the kind of reason and why."""

    shape: Model
    published_total: str
    published_active: str
    reason: str
    why: str
    source: str
    notes: str


@cache
def published_models() -> dict[str, PublishedModel]:
    """The published models of `data/models.csv` by name."""
    read = {int: int, str: str, bool: {"true": True, "false": False}.get}
    found = {}
    for row in read_csv("models.csv"):
        values = {key: read[kind](row[key]) for key, kind in TYPES.items() if row[key]}
        shape = model_of(values, f"models.csv: {row['name']}")
        found[shape.name] = PublishedModel(shape, *(row[f.name] for f in fields(PublishedModel)[1:]))
    return found


def published_model(name: str) -> PublishedModel:
    """The published model `name`. Raises BadInput that names the nearest known ones."""
    return published_models()[pick(name, published_models(), "model")]
