"""Models: what a transformer is, read from a file or a mapping and checked; the published ones by name."""

from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from types import SimpleNamespace

from ..spine.errors import pick, refuse
from ..spine.schema import COUNT, FLAG, TEXT, WHOLE, Kind, document, one_of, section, wrong
from .files import read_csv, read_toml

POSITIONS = ("rotary", "learned", "relative", "alibi")
MATRICES = Kind(words="2 (plain) or 3 (gated)", rule={"type": "integer", "enum": [0, 2, 3]})


def _key(kind: Kind, about: str, default=MISSING):
    """A key of a model file: what it takes, what it means, and its value where the file leaves it out."""
    return field(default=default, metadata={"kind": kind.of(about, needed=default is MISSING)})


@dataclass(frozen=True)
class Model:
    """The layout of a transformer; the fields are the keys of a model file.

    With `n_experts`, `n_dense_layers` layers keep the MLP of `mlp_matrices` and `d_ff`, and the others have
    experts. With `mla_kv_rank` attention is latent, and `n_kv_heads` and `d_head` are left out.
    `biases` puts a bias on every matrix inside the layers and a shift into every norm.
    """

    name: str = _key(TEXT, "what the model is called")
    layers: int = _key(COUNT, "layers")
    d_model: int = _key(COUNT, "width of the residual stream")
    n_heads: int = _key(COUNT, "query heads of a layer")
    vocab: int = _key(COUNT, "entries of the vocabulary")
    tied_embeddings: bool = _key(FLAG, "whether one table embeds tokens and predicts them")
    positions: str = _key(one_of(*POSITIONS), "how positions enter")
    n_kv_heads: int = _key(COUNT, "key-value heads of a layer, a divisor of n_heads", 0)
    d_head: int = _key(COUNT, "width of a head", 0)
    d_ff: int = _key(WHOLE, "inner width of the MLP of a dense layer", 0)
    mlp_matrices: int = _key(MATRICES, "matrices of that MLP", 0)
    max_positions: int = _key(WHOLE, "rows of the table of learned positions", 0)
    biases: bool = _key(FLAG, "whether matrices have biases and norms shifts", False)
    n_experts: int = _key(WHOLE, "experts of a layer, 0 in a dense model", 0)
    top_k: int = _key(WHOLE, "experts that work on a token", 0)
    d_ff_expert: int = _key(WHOLE, "inner width of an expert", 0)
    expert_matrices: int = _key(MATRICES, "matrices of an expert, by default mlp_matrices", 0)
    n_shared_experts: int = _key(WHOLE, "experts that work on every token", 0)
    d_ff_shared: int = _key(WHOLE, "inner width of a shared expert, by default d_ff_expert", 0)
    n_dense_layers: int = _key(WHOLE, "layers with an MLP instead of experts", 0)
    mla_q_rank: int = _key(WHOLE, "rank of the query, 0 for none (latent attention)", 0)
    mla_kv_rank: int = _key(COUNT, "rank of keys and values (latent attention)", 0)
    mla_d_nope: int = _key(COUNT, "width of a query head without positions (latent attention)", 0)
    mla_d_rope: int = _key(WHOLE, "width that carries positions (latent attention)", 0)
    mla_d_value: int = _key(COUNT, "width of a value head (latent attention)", 0)

    @property
    def latent(self) -> bool:
        """Whether attention is latent (MLA)."""
        return self.mla_kv_rank > 0

    @property
    def dense_layers(self) -> int:
        """Layers with a dense MLP."""
        return self.n_dense_layers if self.n_experts else self.layers


MODEL_KEYS = {key.name: key.metadata["kind"] for key in fields(Model)}
TYPES = {key.name: key.type for key in fields(Model)}
REQUIRED = tuple(key for key, kind in MODEL_KEYS.items() if kind.needed)
EXPERT_KEYS = ("top_k", "d_ff_expert", "expert_matrices", "n_shared_experts", "d_ff_shared")
LATENT_KEYS = tuple(key for key in MODEL_KEYS if key.startswith("mla_"))


def read_model(path) -> Model:
    """A model from a TOML file. Raises BadInput that lists every mistake: key, what it takes, what it got."""
    return model_of(read_toml(path), str(path))


def model_of(mapping: dict, where: str = "shape") -> Model:
    """A model from a dict of its keys, defaults filled in. Raises BadInput that lists every mistake."""
    refuse(where, model_mistakes(mapping))
    filled = dict(mapping)
    if mapping.get("n_experts"):
        filled["expert_matrices"] = mapping.get("expert_matrices") or mapping["mlp_matrices"]
        filled["d_ff_shared"] = mapping.get("d_ff_shared") or mapping["d_ff_expert"]
    return Model(**filled)


def model_mistakes(mapping: dict, homes: dict | None = None) -> list[str]:
    """Everything that is wrong with the keys of a model, each with the key, what it takes and what it got.

    `homes` names other places and their keys, where a stray key may belong.

    >>> model_mistakes({"layers": 0})[0]
    'layers takes a positive whole number, got 0'
    """
    found = wrong(mapping, MODEL_KEYS, homes=homes)
    sound = {key: value for key, value in mapping.items() if key in MODEL_KEYS and key not in found}
    model = SimpleNamespace(**{key: sound.get(key, kind()) for key, kind in TYPES.items()})
    for clashes in (_attention, _layers, _experts):
        for key, takes, clash, reads in clashes(model, mapping.keys()):
            if clash and not found.keys() & {key, *reads}:
                got = repr(mapping[key]) if key in mapping else "nothing"
                found[key] = f"{key} takes {takes}, got {got}"
    return list(found.values())


# What only shows between keys: a key, what it takes, whether it has something else, other keys that say so.
# A key that is missing or wrong counts as 0; what is said about a wrong one, or by it, is passed over.
def _attention(m, given):
    latent = bool(given & set(LATENT_KEYS))
    for key in LATENT_KEYS:
        yield key, f"{MODEL_KEYS[key].words} (latent attention)", latent and key not in given, ()
    for key in ("n_kv_heads", "d_head"):
        yield key, "no value beside the keys of latent attention", latent and key in given, ()
        yield key, MODEL_KEYS[key].words, not latent and key not in given, ()
    other = "another kind of positions than relative with latent attention"
    yield "positions", other, latent and m.positions == "relative", ()
    shared = m.n_kv_heads and m.n_heads % m.n_kv_heads
    yield "n_kv_heads", f"a divisor of n_heads = {m.n_heads}", shared, ("n_heads",)
    learned = m.positions == "learned" and not m.max_positions
    yield "max_positions", "a positive whole number with learned positions", learned, ("positions",)


def _layers(m, given):
    some = m.n_dense_layers not in (0, m.layers) and not m.n_experts
    yield "n_dense_layers", f"at most layers = {m.layers}", m.n_dense_layers > m.layers, ("layers",)
    yield "n_dense_layers", f"0 or layers = {m.layers} without n_experts", some, ("layers", "n_experts")


def _experts(m, given):
    for key in EXPERT_KEYS:
        yield key, "no value without n_experts", not m.n_experts and getattr(m, key), ("n_experts",)
    chosen = f"a whole number from 1 to n_experts = {m.n_experts}"
    yield "top_k", chosen, m.n_experts and not 1 <= m.top_k <= m.n_experts, ()
    yield "d_ff_expert", "a positive whole number with n_experts", m.n_experts and not m.d_ff_expert, ()
    plain = m.n_experts and not (m.expert_matrices or m.mlp_matrices)
    yield "expert_matrices", "2 (plain) or 3 (gated), here or as mlp_matrices", plain, ("mlp_matrices",)
    dense = m.n_dense_layers or not m.n_experts
    said = ("n_experts", "n_dense_layers")
    yield "d_ff", f"{COUNT.words} with dense layers", dense and not m.d_ff, said
    yield "mlp_matrices", f"{MATRICES.words} with dense layers", dense and not m.mlp_matrices, said


def keys_schema(left_out=()) -> dict:
    """The JSON Schema of a model's keys, with what keys ask of each other as far as it has words for it."""
    heads = {"n_kv_heads": False, "d_head": False}
    latent = {"if": {"anyOf": [{"required": [key]} for key in LATENT_KEYS]}}
    latent["then"] = {"required": list(LATENT_KEYS), "properties": heads}
    latent["else"] = {"required": list(heads)}
    some = {"properties": {"n_experts": {"minimum": 1}}, "required": ["n_experts"]}
    experts = {"if": some, "then": {"required": ["top_k", "d_ff_expert"]}}
    required = [key for key in REQUIRED if key not in left_out]
    return section(MODEL_KEYS) | {"required": required, "allOf": [latent, experts]}


def model_schema() -> dict:
    """The JSON Schema of a model file."""
    return document("Model file", "The layout of a transformer, one key a line.", keys_schema())


@dataclass(frozen=True)
class PublishedModel:
    """A published model: its shape, the counts as printed, and where ours differ the kind of reason."""

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
