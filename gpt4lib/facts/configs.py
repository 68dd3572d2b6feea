"""Configurations: a Hugging Face config.json read into a `Model`.

The families stand in `data/configs/families.toml`. Nothing that changes a count or a cache is passed over in
silence: a key that speaks of structure and is not known to its family is refused by name.
"""

import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from ..spine.errors import BadInput, nearest, refuse
from ..spine.schema import COUNT, FLAG, TEXT, WHOLE, Kind, Mistakes
from .files import data_file, data_names, read_csv, read_json
from .models import (
    BIASED,
    EXPERT_KEYS,
    MODEL_KEYS,
    STATE_KEYS,
    TYPES,
    Model,
    config_table,
    model_mistakes,
    model_of,
    published_model,
    published_models,
    read_model,
)

_LIST = Kind(words="a list", rule={"type": "array"})
_LAYERS = Kind(words="a whole number from 1 to 10,000", rule=COUNT.rule | {"maximum": 10_000})
_LARGEST = 10**12  # of any number that is read
_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a config.json says: the model, and how it was read.

    `taken` holds their keys and the keys of `Model` that they set; `unknown` are keys that nothing here knows
    and whose names do not speak of structure; `notes` say what was assumed and what is left out.
    """

    model: Model
    taken: dict[str, str]
    unknown: tuple[str, ...]
    notes: tuple[str, ...]
    known_family: bool


def model_of_config(source) -> Model:
    """The model of a config.json. Warns of an unknown family or key; raises as `read_config` does."""
    found = read_config(source)
    said = [] if found.known_family else [*found.notes, f"taken: {', '.join(found.taken)}"]
    said += [f"not understood: {', '.join(found.unknown)}"] if found.unknown else []
    if said:
        warnings.warn(f"{found.model.name}: {'; '.join(said)}", stacklevel=3)
    return found.model


def read_config(source) -> Config:
    """A Hugging Face configuration: a mapping, the path of a config.json, or the folder that holds it.

    Raises BadInput that lists every mistake: a wrong value, a key that speaks of structure and is not known,
    sizes that do not divide, a structure that has no count here and what would be wrong with it.
    """
    given, name = _opened(source)
    found = Mistakes()
    text, notes = _text_of(given, found)
    kind = text.get("model_type", given.get("model_type"))
    _refuse_uncountable(given, text, kind, found)
    refuse(name, found)
    family = _families().get(kind) or _families()["unknown"]
    r = _reader(text, family, found)
    keys = _model_keys(r) | _released(r, notes) | {"name": name}
    unknown = _leftover(r)
    refuse(name, found)
    for line in model_mistakes(keys):
        theirs = [r.spelled.get(key, key) for key, ours in r.taken.items() if line.split()[0] in ours]
        found.append(f"{line} ({', '.join(theirs)})" if theirs else line)
    refuse(name, found)
    assumed = ", ".join(f"{key} = {str(value).lower()}" for key, value in r.assumed.items())
    notes += [f"taken as the family has it: {assumed}"] if assumed else []
    return Config(
        model=model_of(keys, name),
        taken={r.spelled[key]: ", ".join(ours) for key, ours in r.taken.items() if key in r.given},
        unknown=unknown,
        notes=(*notes, *family.get("notes", ())),
        known_family=family["name"] != "unknown",
    )


# ---- the file and its text model ---------------------------------------------------------------
def _opened(source) -> tuple[dict, str]:
    """The mapping of a source, and the model's name."""
    table, place = config_table()["files"], None
    if not isinstance(source, Mapping):
        if not isinstance(source, (str, Path)) or not str(source):
            raise BadInput(f"a config.json, its folder or its mapping is taken, got {source!r}")
        place = Path(source)
        place = place / "config.json" if place.is_dir() else place
        source = read_json(place)
    if not source.keys() & {*table["sizes"], *table["text"]} or not all(
        isinstance(key, str) for key in source
    ):
        what = [said for key, said in table["others"].items() if key in source] or [
            "no configuration of a model"
        ]
        takes = "a config.json with hidden_size, num_hidden_layers and the like is taken"
        raise BadInput(f"{place or 'the mapping'} is {what[0]}; {takes}")
    said, kind = source.get("_name_or_path"), source.get("model_type")
    said = None if re.match(r"[./~]|.*[\\:]", str(said)) else said  # a place, and no name
    stem = place and (place.resolve().parent.name if place.stem == "config" else place.stem)
    names = [name for name in (said, stem, kind) if isinstance(name, str) and name.strip()]
    return dict(source), names[0] if names else "config.json"


def _text_of(given: dict, found: Mistakes) -> tuple[dict, list]:
    """The text model of a configuration, and notes on what is left out beside it."""
    table = config_table()["files"]
    beside = [key for key, value in given.items() if re.fullmatch(table["towers"], key) and value]
    notes = [f"the text model only, without {', '.join(beside)}"] if beside else []
    inner = next((key for key in table["text"] if given.get(key) is not None), None)
    if inner is None:
        return given, notes
    if not isinstance(given[inner], Mapping):
        found.append(f"{inner} takes the mapping of a text model, got {_short(given[inner])}")
        return {}, notes
    text = dict(given[inner])
    for key in ("tie_word_embeddings", "dtype", "torch_dtype", "quantization_config"):
        outer = given.get(key)
        if outer is not None and text.setdefault(key, outer) != outer and key == "tie_word_embeddings":
            found.append(f"{key} takes one value, got {text[key]!r} in {inner} and {outer!r} beside it")
    neutral = "|".join([table["wrapper"], table["towers"], *table["text"], *table["neutral"]])
    strange = [key for key, value in given.items() if value and not re.fullmatch(neutral, key)]
    strange = [key for key in strange if re.search(table["structure"], key) and text.get(key) != given[key]]
    found += [_structural(key, given[key], "a model around a text model") for key in strange]
    return text, notes


def _refuse_uncountable(given: dict, text: dict, kind, found: Mistakes) -> None:
    """Keeps as a mistake what has no count here by its type or the names of its classes."""
    table = config_table()
    if not isinstance(kind, (str, type(None))):
        found.append(f"model_type takes a text, got {kind!r}")
    for each in dict.fromkeys((str(kind), str(given.get("model_type")))):
        whys = [why for pattern, why in table["refused"].items() if re.fullmatch(pattern, each)]
        found += [
            f"model_type takes a family that has a count here, got {each!r}: {why} would be wrong"
            for why in whys
        ]
    if given.get("is_encoder_decoder") or text.get("is_encoder_decoder"):
        found.append(
            "is_encoder_decoder takes false, got true: an encoder's weights and cache would be missing"
        )
    names = given.get("architectures") or []
    for name in names if isinstance(names, list) and text is given else []:
        if re.fullmatch(table["files"]["headless"], str(name)) and kind != "chatglm":
            found.append(
                f"architectures takes a model with an unembedding, got {name!r}: the count would differ"
            )


# ---- families ------------------------------------------------------------------------------------
@cache
def _families() -> dict[str, dict]:
    """The families by model_type, each with what it takes over from others."""
    whole, by_type = {}, {}
    for name, own in config_table()["families"].items():  # a family stands below the one that it is like
        base = whole.get(own.get("like"), {})
        merged = {key: base.get(key, {}) | own.get(key, {}) for key in ("model", "default", "values", "bias")}
        family = {"unused": [], "needs": [], "when": [], "mlps": {"never": True}} | base | own | merged
        whole[name] = family | {"name": name, "reads": _reads(family)}
        by_type |= dict.fromkeys(own["types"], whole[name])
    return by_type


def _reads(family: dict) -> set:
    """The keys that a family knows."""
    told = [*family["model"].values(), *family["default"].values(), *family["unused"]]
    told += [text for rule in (family["mixing"], family["mlps"]) for text in rule.values()]
    told += [text for rule in family["when"] for text in (*rule["if"], *rule["set"].values())]
    words = {word for text in told if isinstance(text, str) for word in text.split()}
    limit = {_LIMITS[family["mixing"]["other"]]} if family["mixing"].get("other") in _LIMITS else set()
    named = {*family["default"], *family["values"], *family["bias"]}
    return words | limit | named | {"layer_types", "mlp_layer_types", "dtype"}


def _canonical() -> dict[str, str]:
    """One spelling for each other one."""
    return {other: key for key, others in config_table()["alias"].items() for other in others}


def _reader(text: dict, family: dict, found: Mistakes) -> "_Reader":
    """A reader of a text model by its family, with every key under one spelling."""
    flat, canon = dict(text), _canonical()
    for part in family.get("inside", ()):
        inner = flat.pop(part, None) or {}
        if not isinstance(inner, Mapping):
            found.append(f"{part} takes a mapping, got {_short(inner)}")
            continue
        clash = [key for key in inner.keys() & flat.keys() if inner[key] != flat[key]]
        clash = [key for key in clash if canon.get(key, key) in family["reads"]]
        found += [f"{key} takes one value, got {flat[key]!r} and {inner[key]!r} in {part}" for key in clash]
        flat = {**inner, **flat}
    given, spelled = {}, {}
    for key, value in flat.items():
        one = canon.get(key, key)
        if value is None:
            spelled.setdefault(one, key)
        elif one in given and given[one] != value:
            found.append(f"{key} takes the value of {spelled[one]} = {given[one]!r}, got {value!r}")
        else:
            given[one], spelled[one] = value, key
    return _Reader(family=family, flat=flat, given=given, spelled=spelled, found=found)


@dataclass
class _Reader:
    """Reads keys, keeps which key of a model each went `into`, and goes on with 1 where a value is wrong."""

    family: dict
    flat: dict
    given: dict
    spelled: dict
    found: Mistakes
    taken: dict = field(default_factory=dict)
    assumed: dict = field(default_factory=dict)
    told: set = field(default_factory=set)
    into: str = ""

    def value(self, key: str, kind: Kind = WHOLE, default=None):
        """A key's value, or what the family takes where the file leaves it out."""
        ours = self.taken.setdefault(key, [])
        ours += [self.into] if self.into not in ours else []
        known = {} if key in self.family["needs"] else self.family["default"]
        default = known.get(key, default)
        stand_in = [] if kind is _LIST else 1
        got = self.given.get(key)
        if got is not None and got != "auto":
            line = kind.mistake(self.spelled[key], got)
            if type(got) is int and got > _LARGEST:
                line = f"{self.spelled[key]} takes at most {_LARGEST:.0e}, got {got}"
            return stand_in if self.wrong(line, key) else got
        if isinstance(default, str):
            default = self.formula(default)
        if default is None:
            self.wrong(f"{key} takes {kind.words}, got nothing", key)
            return stand_in
        if default or key == "tie_word_embeddings":
            self.assumed[key] = default
        return default

    def wrong(self, line, key=None) -> bool:
        """Keeps a mistake, one for a key; whether there is one."""
        if line and (key or line) not in self.told:
            self.told.add(key or line)
            self.found.append(line)
        return bool(line)

    def formula(self, text: str, kind: Kind = WHOLE):
        """`hidden_size / num_attention_heads`, worked out from left to right."""
        words = text.split()
        total, *rest = (int(word) if word.isdigit() else self.value(word, kind) for word in words[::2])
        for sign, other in zip(words[1::2], rest, strict=True):
            if sign == "/" and (not other or total % other):
                if not self.found:
                    self.wrong(f"{text} takes numbers that divide, got {total} / {other}")
                return 1
            total = {"*": total * other, "+": total + other, "/": total // (other or 1)}[sign]
        return total

    def holds(self, conditions: dict) -> bool:
        """Whether each key has its value; a flag that nobody gives is off."""
        kinds = {key: FLAG if isinstance(value, bool) else WHOLE for key, value in conditions.items()}
        default = {key: False if kind is FLAG else None for key, kind in kinds.items()}
        got = {key: self.value(key, kind, default[key]) for key, kind in kinds.items()}
        return got == conditions


# ---- the keys of a model file -----------------------------------------------------------------------
def _model_keys(r: _Reader) -> dict:
    """The keys of a model file that a configuration stands for."""
    family, plan = r.family, dict(r.family["model"])
    for rule in family["when"]:
        r.into = next(iter(rule["set"]))
        plan |= rule["set"] if r.holds(rule["if"]) else {}
    r.into = "layers"
    layers = r.formula(plan["layers"], _LAYERS)
    kinds, mlps = _layers(r, layers) if not r.found else (["full"], ["dense"])
    drop = set(family.get("drop", ()))
    drop |= set() if "experts" in mlps else {"n_experts", *EXPERT_KEYS}
    drop |= set() if "dense" in mlps else {"d_ff"}
    drop |= set() if family.get("state") in kinds else set(STATE_KEYS)
    keys = {"layer_kinds": _shortest(kinds)} | _mlp_keys(mlps)
    keys |= {kind: _limit(r, kind) for kind in _LIMITS if kind in kinds}
    for r.into, told in plan.items():
        if r.into not in drop:
            formula = isinstance(told, str) and TYPES[r.into] is not str
            keys[r.into] = r.formula(told, MODEL_KEYS[r.into]) if formula else told
    r.into = "biases"
    flags = [flag for flag in family["bias"] if flag == "always" or r.value(flag, FLAG, False) is True]
    biased = {matrix for flag in flags for matrix in family["bias"][flag]}
    keys["biases"] = [matrix for matrix in BIASED if matrix in biased] or False
    if keys.get("d_embedding") == keys["d_model"]:
        del keys["d_embedding"]
    return keys


_KINDS = {"full_attention": "full", "attention": "full", "sliding_attention": "window"}
_KINDS |= {"chunked_attention": "chunk", "linear_attention": "state", "mamba": "state"}
_LIMITS = {"window": "sliding_window", "chunk": "attention_chunk_size"}
_LETTERS = {
    "M": "mamba",
    "*": "attention",
    "-": "mlp",
    "E": "moe",
}  # of a pattern of layers that do one thing
_BLOCKS = {word: (kind, "none") for word, kind in _KINDS.items() if kind in ("full", "state")}
_BLOCKS |= {"mlp": ("none", "dense"), "moe": ("none", "experts")}


def _layers(r: _Reader, layers: int) -> tuple[list, list]:
    """What mixes the tokens in each layer, and what follows."""
    rule, every = r.family["mixing"], range(layers)
    other, r.into = rule.get("other", "full"), "layer_kinds"
    if "pattern" in rule:
        if rule["pattern"] in r.given:
            r.given["layer_types"] = [_LETTERS.get(x, x) for x in str(r.value(rule["pattern"], TEXT))]
            r.spelled["layer_types"] = rule["pattern"]
        kinds, mlps = zip(*(_BLOCKS[word] for word in _list(r, "layer_types", layers, _BLOCKS)), strict=True)
    else:
        if "layer_types" in r.given:
            known = [word for word, kind in _KINDS.items() if kind in ("full", other)]
            kinds = [_KINDS[word] for word in _list(r, "layer_types", layers, known)]
        elif other == "full" or (other in _LIMITS and not _limit(r, other)):
            kinds = ["full"] * layers
        else:
            r.into = "layer_kinds"
            kinds = ["full" if each else other for each in _chosen(r, rule, layers)]
        r.into = "mlp_kinds"
        routed = "never" not in r.family["mlps"] and r.value("num_experts")
        if routed and "mlp_layer_types" in r.given:
            chosen = [word == "sparse" for word in _list(r, "mlp_layer_types", layers, ("dense", "sparse"))]
        else:
            chosen = _chosen(r, r.family["mlps"], layers) if routed else [False for _ in every]
        mlps = ["experts" if each else "dense" for each in chosen]
    return [r.family.get("state") if kind == "state" else kind for kind in kinds], list(mlps)


def _chosen(r: _Reader, rule: dict, layers: int) -> list[bool]:
    """Which layers a rule chooses: by a list, by their places, or every so many, with a first and a last."""
    whole = lambda name, default: (
        r.value(rule[name]) if isinstance(rule.get(name), str) else rule.get(name, default)
    )
    if "list" in rule and (r.given.get(rule["list"]) or "every" not in rule):
        words = rule.get("words", {})
        return [words[str(x)] for x in _list(r, rule["list"], layers, words)]
    if "places" in rule and (r.given.get(rule["places"]) or "every" not in rule):
        places = r.value(rule["places"], _LIST)
        return [i in places for i in range(layers)]
    n = max(1, whole("every", 1))
    offset, last = whole("offset", n - 1), layers - 1
    if rule.get("last") in r.given:
        last = r.value(rule["last"])
    but = r.value(rule["but"], _LIST, []) if "but" in rule else ()
    chosen = range(whole("first", 0), min(last + 1, whole("before", layers)))
    return [i in chosen and i % n == offset and i not in but for i in range(layers)]


def _list(r: _Reader, key: str, layers: int, known) -> list:
    """A list with an entry a layer, each one of the known."""
    got, known = r.value(key, _LIST), list(known)
    fine = isinstance(got, list) and len(got) == layers
    if fine and all(type(x) in (str, int) and str(x) in known for x in got):
        return got
    takes = f"a list of {layers} entries of {', '.join(known)}"
    r.wrong(f"{r.spelled.get(key, key)} takes {takes}, got {_short(got)}", key)
    return known[:1] * layers


def _limit(r: _Reader, kind: str) -> int:
    """Tokens of a window or chunk, 0 for none; null means none whatever the family has."""
    r.into = kind
    asked = kind == "window" and "use_sliding_window" in r.family["default"]
    if asked and not r.value("use_sliding_window", FLAG):
        return 0
    key = _LIMITS[kind]
    if key not in r.spelled and key not in r.family["default"]:
        r.assumed[key] = "none"
    return 0 if key in r.spelled and key not in r.given else r.value(key, WHOLE, 0)


def _mlp_keys(mlps: list[str]) -> dict:
    """`n_dense_layers` where the first layers are dense and the rest have experts, else a pattern."""
    dense = mlps.count("dense")
    if mlps == ["dense"] * dense + ["experts"] * (len(mlps) - dense):
        return {"n_dense_layers": dense} if 0 < dense < len(mlps) else {}
    return {"mlp_kinds": _shortest(mlps)}


def _shortest(kinds: list[str]) -> list[str]:
    """The shortest pattern that repeats to these kinds."""
    fits = (n for n in range(1, len(kinds) + 1) if all(x == kinds[i % n] for i, x in enumerate(kinds)))
    return kinds[: next(fits)]


# ---- what was not read ------------------------------------------------------------------------------
def _leftover(r: _Reader) -> tuple[str, ...]:
    """Keys that nothing took: what may change a count or the cache is a mistake, the rest is returned."""
    table, canon = config_table()["files"], _canonical()
    family, unknown = r.family, []
    neutral = "|".join([*table["neutral"], table["towers"], "quantization_config"])
    for key, value in r.flat.items():
        names = {key, canon.get(key, key)}
        allowed = next((family["values"][name] for name in names if name in family["values"]), None)
        if allowed is not None and value is not None and not _among(value, allowed):
            takes = " or ".join(map(repr, allowed)) or "null"
            r.wrong(
                f"{key} takes {takes} ({family['name']}), got {_short(value)}: the count would differ", key
            )
        active = re.fullmatch(table["activation"], key) and allowed is None and value is not None
        if active and not _among(value, table["activations"]):
            r.wrong(f"{key} takes one of {', '.join(table['activations'])}, got {_short(value)}", key)
        known = names & {*r.taken, *family["reads"]} or any(re.fullmatch(neutral, name) for name in names)
        if value and not known and re.search(table["structure"], key):
            r.wrong(_structural(key, value, family["name"]), key)
        elif value and not known:
            unknown.append(key)
    return tuple(unknown)


def _among(value, allowed) -> bool:
    return any(type(value) is type(each) and value == each for each in allowed)


def _structural(key, value, family) -> str:
    """What is said of a key that may change a count or the cache."""
    cached = re.search("kv|window|cache|state|chunk|share|index|sparse", key)
    wrong = "the cache and the count" if cached else "the count"
    return f"{key} is not known for {family}, got {_short(value)}: passed over, {wrong} could be wrong"


def _short(value) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


# ---- bytes ----------------------------------------------------------------------------------------------
def _released(r: _Reader, notes: list) -> dict:
    """Bytes of a parameter as released: by the dtype, and by how the matrices are quantised."""
    dtype, told = r.given.get("dtype"), r.given.get("quantization_config")
    plain = _BYTES.get(str(dtype).removeprefix("torch."), 2.0 if dtype is None else 0)
    if not plain:
        r.wrong(f"dtype takes one of {', '.join(_BYTES)}, got {dtype!r}: bytes of the weights would be wrong")
    notes += ["no dtype is given: 16 bits a parameter"] if dtype is None else []
    sizes = {"matrix_bytes": plain, "expert_bytes": plain, "other_bytes": plain}
    if not told:
        return sizes
    method = told.get("quant_method") if isinstance(told, Mapping) else told
    method = "bitsandbytes" if isinstance(told, Mapping) and "load_in_4bit" in told else method
    if not isinstance(told, Mapping) or method not in _QUANTISED:
        takes = f"one of {', '.join(_QUANTISED)}"
        r.wrong(f"quant_method takes {takes}, got {_short(method)}: bytes of the weights would be wrong")
        return sizes
    try:
        each, only_experts = _QUANTISED[method](told)
    except (KeyError, TypeError, ValueError, ZeroDivisionError, AttributeError) as error:
        r.wrong(f"quantization_config takes the keys of {method}, got {_short(dict(told))} ({error!r})")
        return sizes
    return sizes | {"expert_bytes": each} | ({} if only_experts else {"matrix_bytes": each})


# Bytes of a quantised parameter with its scales and zero points, and whether experts alone are quantised.
def _fp8(told):
    rows, columns = told.get("weight_block_size") or (math.inf, math.inf)
    return 1 + 4 / (rows * columns), False


def _grouped(told):
    bits = told["bits"] if "bits" in told else told["w_bit"]
    group = told["group_size"] if "group_size" in told else told["q_group_size"]
    zeros = bits / 8 if told.get("zero_point", True) else 0
    return {2: 0.25, 3: 0.375, 4: 0.5, 8: 1.0}[bits] + ((2 + zeros) / group if group > 0 else 0), False


def _blocks(told):
    if told.get("load_in_8bit"):
        return 1.0, False
    scales = 1 / 64 + 4 / (64 * 256) if told.get("bnb_4bit_use_double_quant") else 4 / 64
    return 0.5 + scales, False


def _compressed(told):
    (part,) = told["config_groups"].values()
    weights = part["weights"]
    group, own = weights.get("group_size") or math.inf, weights["num_bits"] / 8
    scales = {"group": 2 / group, "channel": 0, "tensor": 0}[weights["strategy"]]
    zeros = 0 if weights.get("symmetric", True) else own / group
    return own + scales + zeros, any("attn" in name for name in told.get("ignore") or ())


_QUANTISED = {"fp8": _fp8, "mxfp4": lambda told: (4.25 / 8, True), "gptq": _grouped, "awq": _grouped}
_QUANTISED |= {"bitsandbytes": _blocks, "compressed-tensors": _compressed}


# ---- shipped configurations -------------------------------------------------------------------------------
def known_models() -> list[str]:
    """The names of all models: of `data/models.csv`, of `data/shapes` and of the shipped configurations."""
    return [*published_models(), *data_names("shapes", ".toml"), *shipped_models()]


def named_model(name: str) -> tuple[Model, tuple[str, ...]]:
    """A model by its name, and notes on how it was read. Raises BadInput that names the nearest ones.

    Where a shipped configuration has the name too, the row of `data/models.csv` is taken, and a note says so.
    """
    if name in published_models():
        same = [each for each in shipped_models() if each.split("/")[-1] == name]
        more = "windows, norms and further blocks may be missing"
        notes = (f"a row of models.csv, where {more}; {each} is its config.json" for each in same)
        return published_model(name).shape, tuple(notes)
    if name in data_names("shapes", ".toml"):
        return read_model(data_file(f"shapes/{name}.toml")), ()
    try:
        found = shipped_model(name)
    except BadInput:
        raise BadInput(f"unknown model {name!r}; {nearest(name, known_models())}") from None
    return found.model, found.notes


def shipped_models() -> list[str]:
    """The names of the configurations in `data/configs.csv`, as their publishers give them."""
    return [row["name"] for row in read_csv("configs.csv")]


def shipped_model(name: str) -> Config:
    """A shipped configuration by its whole name or what stands after the slash, in any case.

    Raises BadInput that names the nearest known ones.

    >>> shipped_model("mixtral-8x7b-v0.1").model.top_k
    2
    """
    rows = read_csv("configs.csv")
    known = {each.lower(): row for row in rows for each in (row["name"], row["name"].split("/")[-1])}
    row = known.get(str(name).lower())
    if row is None:
        raise BadInput(f"unknown model {name!r}; {nearest(name, [row['name'] for row in rows])}")
    return read_config(read_json(data_file(f"configs/{row['file']}")) | {"_name_or_path": row["name"]})
