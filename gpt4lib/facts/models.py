"""Models: what a transformer is, read from a file or a mapping and checked; the published ones by name."""

from dataclasses import MISSING, dataclass, field, fields
from functools import cache

from ..spine.errors import pick, refuse
from ..spine.schema import COUNT, FLAG, POSITIVE, TEXT, WHOLE, Kind, document, one_of, section, wrong
from .files import data_file, read_csv, read_toml

POSITIONS = ("rotary", "learned", "relative", "alibi", "none")
STATE_KINDS = ("delta", "lightning", "mamba", "mamba2")  # keep a state of fixed size instead of a cache
CACHING = ("full", "window", "chunk")
LAYER_KINDS = (*CACHING, *STATE_KINDS, "none")
MLP_KINDS = ("dense", "experts", "none")
BIASED = ("qkv", "output", "mlp", "experts", "router", "unembedding")
INSIDE = BIASED[:-1]  # what `biases = true` stands for
MATRICES = Kind(words="2 (plain) or 3 (gated)", rule={"type": "integer", "enum": [0, 2, 3]})


def _list(*names) -> dict:
    return {"type": "array", "minItems": 1, "items": {"type": "string", "enum": list(names)}}


LAYERS = Kind(words=f"a list of {', '.join(LAYER_KINDS)}, repeated over the layers", rule=_list(*LAYER_KINDS))
MLPS = Kind(words=f"a list of {', '.join(MLP_KINDS)}, repeated over the layers", rule=_list(*MLP_KINDS))
BIASES = Kind(
    words=f"true or false, or a list of {', '.join(BIASED)}",
    rule={"anyOf": [{"type": "boolean"}, _list(*BIASED)]},
)


def _key(kind: Kind, about: str, default=MISSING):
    """A key of a model file: what it takes, what it means, and its value where the file leaves it out."""
    return field(default=default, metadata={"kind": kind.of(about, needed=default is MISSING)})


@dataclass(frozen=True)
class Model:
    """The layout of a transformer; the fields are the keys of a model file.

    `layer_kinds` and `mlp_kinds` are patterns that repeat over the layers; without `mlp_kinds` the first
    `n_dense_layers` have an MLP of `mlp_matrices` and `d_ff`, and with `n_experts` the others have experts.
    With `mla_kv_rank` attention is latent, and `n_kv_heads` and `d_head` are left out.
    A layer of a state kind keeps `n_state_heads` x `d_state_head` x `d_state` numbers, and `conv_width` - 1
    inputs of its convolution. `extra_parameters` are what no other key counts.
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
    biases: tuple = _key(BIASES, "which matrices have biases; true for all inside the layers", False)
    norm_shift: bool = _key(FLAG, "whether norms have a shift, by default as biases = true has", False)
    layer_norms: int = _key(WHOLE, "norms of a layer over the residual stream", 2)
    final_norm: bool = _key(FLAG, "whether a norm stands before the unembedding", True)
    embedding_norm: bool = _key(FLAG, "whether a norm stands after the embedding", False)
    qk_norm: str = _key(
        one_of("none", "head", "full"), "norms of queries and keys: over a head, or all", "none"
    )
    sinks: bool = _key(FLAG, "whether each head has a sink, one number", False)
    attention_gate: bool = _key(FLAG, "whether a matrix as large as the query's gates the output", False)
    d_embedding: int = _key(WHOLE, "width of the tables, by default d_model", 0)
    layer_kinds: tuple = _key(LAYERS, "what mixes the tokens in a layer", ("full",))
    window: int = _key(WHOLE, "tokens that a layer of kind window sees", 0)
    chunk: int = _key(WHOLE, "tokens of a chunk, within which a layer of kind chunk attends", 0)
    n_state_heads: int = _key(WHOLE, "heads of a state layer (mamba: its inner width)", 0)
    d_state_head: int = _key(WHOLE, "width of such a head's values (mamba: 1)", 0)
    d_state: int = _key(WHOLE, "width of such a head's keys", 0)
    n_state_groups: int = _key(WHOLE, "groups of heads that share keys", 0)
    conv_width: int = _key(WHOLE, "taps of the convolution before the state, 0 for none", 0)
    conv_bias: bool = _key(FLAG, "whether that convolution has a bias", False)
    dt_rank: int = _key(WHOLE, "rank of the step width (mamba)", 0)
    n_experts: int = _key(WHOLE, "experts of a layer, 0 in a dense model", 0)
    top_k: int = _key(WHOLE, "experts that work on a token", 0)
    d_ff_expert: int = _key(WHOLE, "inner width of an expert", 0)
    expert_matrices: int = _key(MATRICES, "matrices of an expert, by default mlp_matrices", 0)
    n_shared_experts: int = _key(WHOLE, "experts that work on every token", 0)
    d_ff_shared: int = _key(WHOLE, "inner width of a shared expert, by default d_ff_expert", 0)
    shared_gate: bool = _key(FLAG, "whether a gate weighs the shared experts", False)
    router_offsets: bool = _key(FLAG, "whether the router has an offset for each expert", False)
    n_dense_layers: int = _key(WHOLE, "layers with an MLP instead of experts, the first", 0)
    mlp_kinds: tuple = _key(MLPS, "what follows the mixing in a layer, instead of n_dense_layers", ())
    n_mtp_layers: int = _key(WHOLE, "blocks that predict tokens further on, beside the layers", 0)
    mla_q_rank: int = _key(WHOLE, "rank of the query, 0 for none (latent attention)", 0)
    mla_kv_rank: int = _key(COUNT, "rank of keys and values (latent attention)", 0)
    mla_d_nope: int = _key(COUNT, "width of a query head without positions (latent attention)", 0)
    mla_d_rope: int = _key(WHOLE, "width that carries positions (latent attention)", 0)
    mla_d_value: int = _key(COUNT, "width of a value head (latent attention)", 0)
    extra_parameters: int = _key(WHOLE, "parameters that no other key counts", 0)
    extra_reason: str = _key(TEXT, "what those are", "")
    matrix_bytes: float = _key(POSITIVE, "bytes of a parameter of the layers' matrices as released", 2.0)
    expert_bytes: float = _key(POSITIVE, "the same of routed experts, by default matrix_bytes", 0.0)
    other_bytes: float = _key(POSITIVE, "the same of tables, routers, norms and biases", 2.0)

    @property
    def latent(self) -> bool:
        """Whether attention is latent (MLA)."""
        return self.mla_kv_rank > 0

    @property
    def mlp_layers(self) -> dict[str, int]:
        """How many layers have a dense MLP, experts or none."""
        if self.mlp_kinds:
            return _counted(self.mlp_kinds, self.layers)
        dense = self.n_dense_layers if self.n_experts else self.layers
        every = {"dense": dense, "experts": self.layers - dense}
        return {kind: count for kind, count in every.items() if count}

    @property
    def dense_layers(self) -> int:
        """Layers with a dense MLP."""
        return self.mlp_layers.get("dense", 0)

    @property
    def expert_layers(self) -> int:
        """Layers with experts."""
        return self.mlp_layers.get("experts", 0)

    @property
    def mixing_layers(self) -> dict[str, int]:
        """How many layers mix the tokens in each way that occurs."""
        return _counted(self.layer_kinds, self.layers)

    @property
    def attention_layers(self) -> int:
        """Layers that keep keys and values."""
        return sum(count for kind, count in self.mixing_layers.items() if kind in CACHING)

    @property
    def state_layers(self) -> int:
        """Layers that keep a state of fixed size."""
        return sum(count for kind, count in self.mixing_layers.items() if kind in STATE_KINDS)

    @classmethod
    def from_config(cls, source) -> "Model":
        """The model of a Hugging Face config.json: its path, its folder, or the mapping that it holds.

        Warns where a key was not understood. Raises BadInput for a structure that cannot be counted.
        """
        from .configs import model_of_config

        return model_of_config(source)


def _counted(pattern, layers: int) -> dict[str, int]:
    """How often each name of a pattern occurs when it repeats over the layers."""
    whole, rest = divmod(layers, len(pattern))
    every = {
        name: whole * pattern.count(name) + pattern[:rest].count(name) for name in dict.fromkeys(pattern)
    }
    return {name: count for name, count in every.items() if count}


MODEL_KEYS = {key.name: key.metadata["kind"] for key in fields(Model)}
TYPES = {key.name: key.type for key in fields(Model)}
DEFAULTS = {key.name: key.default for key in fields(Model)}
REQUIRED = tuple(key for key, kind in MODEL_KEYS.items() if kind.needed)
EXPERT_KEYS = ("top_k", "d_ff_expert", "expert_matrices", "n_shared_experts", "d_ff_shared")
EXPERT_KEYS += ("shared_gate", "router_offsets")
LATENT_KEYS = tuple(key for key in MODEL_KEYS if key.startswith("mla_"))
STATE_KEYS = tuple(key for key in MODEL_KEYS if "state" in key or key.startswith("conv_") or key == "dt_rank")
STATE_NEEDS = {  # beside n_state_heads, d_state_head and d_state
    "delta": ("n_state_groups", "conv_width"),
    "lightning": ("n_state_groups",),
    "mamba": ("conv_width", "dt_rank"),
    "mamba2": ("n_state_groups", "conv_width"),
}


@cache
def config_table() -> dict:
    """How the configurations of others are read: `data/configs/families.toml`."""
    return read_toml(data_file("configs/families.toml"))


@cache
def other_spellings() -> dict[str, str]:
    """Keys of configurations of others, and the keys of a model file that mean the same.

    >>> other_spellings()["n_embd"]
    'd_model'
    """
    table = config_table()
    found = {theirs: ours for ours, theirs in table["limits"].items()}
    for family in table["families"].values():
        for ours, theirs in family.get("model", {}).items():
            if (
                isinstance(theirs, str)
                and theirs not in found
                and TYPES[ours] is not str
                and " " not in theirs
            ):
                found[theirs] = ours
    return {
        other: found[one] for one, others in table["alias"].items() for other in others if one in found
    } | found


def read_model(path) -> Model:
    """A model from a TOML file. Raises BadInput that lists every mistake: key, what it takes, what it got."""
    return model_of(read_toml(path), str(path))


def model_of(mapping: dict, where: str = "shape") -> Model:
    """A model from a dict of its keys, defaults filled in. Raises BadInput that lists every mistake."""
    refuse(where, model_mistakes(mapping))
    filled = {key: tuple(value) if isinstance(value, list) else value for key, value in mapping.items()}
    biases = filled.get("biases", False)
    filled["biases"] = (INSIDE if biases else ()) if isinstance(biases, bool) else biases
    filled.setdefault("norm_shift", biases is True)
    filled["expert_bytes"] = mapping.get("expert_bytes") or mapping.get("matrix_bytes", 2.0)
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
    others = other_spellings()
    found = wrong(mapping, MODEL_KEYS, homes=homes, others=others)
    meant = {others[key] for key in mapping.keys() & others.keys() - MODEL_KEYS.keys()}
    found |= dict.fromkeys(meant - mapping.keys(), "")  # the line on the other spelling says it
    plain = {key: kind() if DEFAULTS[key] is MISSING else DEFAULTS[key] for key, kind in TYPES.items()}
    model = Model(**plain | {key: mapping[key] for key in MODEL_KEYS if key in mapping and key not in found})
    for clashes in (_attention, _kinds, _states, _layers, _experts):
        for key, takes, clash, reads in clashes(model, mapping.keys()):
            if clash and not found.keys() & {key, *reads}:
                got = repr(mapping[key]) if key in mapping else "nothing"
                found[key] = f"{key} takes {takes}, got {got}"
    return [line for line in found.values() if line]


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


def _kinds(m, given):
    for key, kind in (("window", "window"), ("chunk", "chunk")):
        asked, got = kind in m.layer_kinds, getattr(m, key)
        yield key, f"{COUNT.words} with layers of kind {kind}", asked and not got, ("layer_kinds",)
        yield key, f"no value without layers of kind {kind}", got and not asked, ("layer_kinds",)
    for key in ("layer_kinds", "mlp_kinds"):
        takes = f"at most layers = {m.layers} entries"
        yield key, takes, len(getattr(m, key)) > max(1, m.layers), ("layers",)
    for key in ("sinks", "attention_gate"):
        yield key, "no value beside the keys of latent attention", m.latent and getattr(m, key), ()
    yield "qk_norm", "none with latent attention, which has its own", m.latent and m.qk_norm != "none", ()
    yield "extra_reason", "a text with extra_parameters", m.extra_parameters and not m.extra_reason, ()
    yield "extra_reason", "no value without extra_parameters", m.extra_reason and not m.extra_parameters, ()


def _states(m, given):
    kinds = [kind for kind in dict.fromkeys(m.layer_kinds) if kind in STATE_KINDS]
    yield "layer_kinds", "one kind of layer with a state at most", len(kinds) > 1, ()
    needs = ("n_state_heads", "d_state_head", "d_state", *STATE_NEEDS[kinds[0]]) if kinds else ()
    for key in STATE_KEYS:
        lacks, got = key in needs and not getattr(m, key), getattr(m, key)
        yield key, f"{COUNT.words} with layers of kind {' '.join(kinds)}", lacks, ("layer_kinds",)
        yield key, "no value without layers that keep a state", not kinds and got, ("layer_kinds",)


def _layers(m, given):
    both = m.mlp_kinds and "n_dense_layers" in given
    yield "n_dense_layers", "no value beside mlp_kinds", both, ()
    yield "n_dense_layers", f"at most layers = {m.layers}", m.n_dense_layers > m.layers, ("layers",)
    some = m.n_dense_layers not in (0, m.layers) and not m.n_experts
    yield "n_dense_layers", f"0 or layers = {m.layers} without n_experts", some, ("layers", "n_experts")
    experts = m.mlp_kinds and ("experts" in m.mlp_kinds) != bool(m.n_experts)
    takes = "experts among its kinds with n_experts, and else none"
    yield "mlp_kinds", takes, experts, ("n_experts",)


def _experts(m, given):
    for key in EXPERT_KEYS:
        yield key, "no value without n_experts", not m.n_experts and getattr(m, key), ("n_experts",)
    chosen = f"a whole number from 1 to n_experts = {m.n_experts}"
    yield "top_k", chosen, m.n_experts and not 1 <= m.top_k <= m.n_experts, ()
    yield "d_ff_expert", "a positive whole number with n_experts", m.n_experts and not m.d_ff_expert, ()
    plain = m.n_experts and not (m.expert_matrices or m.mlp_matrices)
    yield "expert_matrices", "2 (plain) or 3 (gated), here or as mlp_matrices", plain, ("mlp_matrices",)
    dense = m.n_dense_layers or not m.n_experts if not m.mlp_kinds else "dense" in m.mlp_kinds
    said = ("n_experts", "n_dense_layers", "mlp_kinds")
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
    flag = {"true": True, "false": False}.get
    read = {int: int, str: str, float: float, bool: flag}
    read[tuple] = lambda text: flag(text, text.split("+"))  # a list, or all biases or none
    found = {}
    for row in read_csv("models.csv"):
        values = {key: read[kind](row[key]) for key, kind in TYPES.items() if row.get(key)}
        shape = model_of(values, f"models.csv: {row['name']}")
        found[shape.name] = PublishedModel(shape, *(row[f.name] for f in fields(PublishedModel)[1:]))
    return found


def published_model(name: str) -> PublishedModel:
    """The published model `name`. Raises BadInput that names the nearest known ones."""
    return published_models()[pick(name, published_models(), "model")]
