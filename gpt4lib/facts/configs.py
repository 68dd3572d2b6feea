"""Configurations: a Hugging Face config.json read into a `Model`.

The families stand in `data/config_families.toml`. Nothing that changes a count or a cache is passed over in
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
from .files import data_file, read_csv, read_json
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
)

LAYERS = Kind(words="a whole number from 1 to 10,000", rule=COUNT.rule | {"maximum": 10_000})
LIST = Kind(words="a list", rule={"type": "array"})
OTHER_FILES = {  # a key that gives a file away
    "weight_map": "the index of a model's weights",
    "added_tokens_decoder": "a tokenizer's configuration",
    "tokenizer_class": "a tokenizer's configuration",
    "_from_model_config": "a configuration of generation",
    "peft_type": "an adapter's configuration, without the model that it changes",
    "image_processor_type": "a configuration of a processor of images",
}
SIZES = (
    "hidden_size",
    "num_hidden_layers",
    "n_embd",
    "n_embed",
    "n_layer",
    "n_layers",
    "num_layers",
    "d_model",
)
BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
ACTIVATION = r"(\w+_)?act(_fn)?|\w*activation(_function)?"
HEADLESS = r".*(Classification|Reward\w*|MaskedLM|QuestionAnswering|(?<!LMHead)Model)"


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a config.json says: the model, and how it was read.

    `taken` holds their keys and the keys of `Model` that they set, `unknown` keys that were not understood and
    whose names do not speak of structure, `notes` what was assumed and what is left out.
    """

    model: Model
    taken: dict
    unknown: tuple[str, ...]
    notes: tuple[str, ...]
    known_family: bool


def model_of_config(source) -> Model:
    """The model of a config.json. Warns where the family is unknown; raises as `read_config` does."""
    found = read_config(source)
    if not found.known_family or found.unknown:
        said = [
            *found.notes,
            f"taken: {', '.join(f'{theirs} as {ours}' for theirs, ours in found.taken.items())}",
        ]
        said += [f"not understood: {', '.join(found.unknown)}"] if found.unknown else []
        warnings.warn(f"{found.model.name}: {'; '.join(said)}", stacklevel=3)
    return found.model


def read_config(source) -> Config:
    """A Hugging Face configuration: a mapping, the path of a config.json, or the folder that holds it.

    Raises BadInput that lists every mistake: a value, a key that speaks of structure and is not known, sizes
    that do not divide, a structure that cannot be counted and what would be wrong with it.
    """
    given, name = _opened(source)
    text, notes, found = _text_of(given)
    kind = text.get("model_type") or given.get("model_type")
    family = _families().get(kind if isinstance(kind, str) else None) or _families()["unknown"]
    found += _uncountable(given, text, kind)
    refuse(name, found)
    reader = _reader(text, family, found)
    keys = reader.model() | _released(text.get("quantization_config"), reader.given.get("dtype"), found)
    unknown = _leftover(text, reader)
    refuse(name, found)
    keys["name"] = name
    for line in model_mistakes(keys):
        theirs = [their for their, ours in reader.taken.items() if line.split()[0] in ours]
        found.append(
            f"{line} ({', '.join(reader.spelled.get(key, key) for key in theirs)})" if theirs else line
        )
    refuse(name, found)
    assumed = ", ".join(f"{key} = {str(value).lower()}" for key, value in reader.assumed.items())
    notes += [f"taken as the family has it: {assumed}"] if assumed else []
    notes += [] if reader.given.get("dtype") else ["no dtype is given: 16 bits a parameter"]
    return Config(
        model=model_of(keys, name),
        taken={
            reader.spelled[key]: ", ".join(ours) for key, ours in reader.taken.items() if key in reader.given
        },
        unknown=unknown,
        notes=(*notes, *family.get("notes", ())),
        known_family=family is not _families()["unknown"],
    )


# ---- the file and its text model --------------------------------------------------------------
def _opened(source) -> tuple[dict, str]:
    """The mapping of a source, and the model's name."""
    place = None
    if not isinstance(source, Mapping):
        if not isinstance(source, (str, Path)) or not str(source):
            raise BadInput(f"a config.json, its folder or its mapping is taken, got {source!r}")
        place = Path(source)
        place = place / "config.json" if place.is_dir() else place
        source = read_json(place)
    sized = {*SIZES, *config_table()["keys"]["text"]} & source.keys()
    other = [what for key, what in OTHER_FILES.items() if key in source] or ["no configuration of a model"]
    if not sized or not all(isinstance(key, str) for key in source):
        takes = "a config.json with hidden_size, num_hidden_layers and the like is taken"
        raise BadInput(f"{place or 'the mapping'} is {other[0]}; {takes}")
    said, kind = source.get("_name_or_path"), source.get("model_type")
    stem = place and (place.resolve().parent.name if place.stem == "config" else place.stem)
    said = None if isinstance(said, str) and re.match(r"[./~]|.*[\\:]", said) else said  # a place, no name
    names = [name for name in (said, stem, kind) if isinstance(name, str) and name.strip()]
    return dict(source), names[0] if names else "config.json"


def _text_of(given: dict) -> tuple[dict, list, Mistakes]:
    """The text model of a configuration, what is left out beside it, and what is wrong around it."""
    table, found = config_table()["keys"], Mistakes()
    beside = [key for key in given if re.fullmatch(table["towers"], key) and given[key]]
    notes = [f"the text model only, without {', '.join(beside)}"] if beside else []
    inner = [key for key in table["text"] if given.get(key) is not None]
    if not inner:
        return dict(given), notes, found
    if not isinstance(given[inner[0]], Mapping):
        found.append(f"{inner[0]} takes the mapping of a text model, got {given[inner[0]]!r}")
        return {}, notes, found
    text = dict(given[inner[0]])
    for key in ("tie_word_embeddings", "dtype", "torch_dtype", "quantization_config"):
        outer = given.get(key)
        if outer is not None and text.setdefault(key, outer) != outer and key == "tie_word_embeddings":
            found.append(f"{key} takes one value, got {text[key]!r} in {inner[0]} and {outer!r} beside it")
    neutral = "|".join([table["wrapper"], table["towers"], *table["text"], *table["neutral"]])
    for key, value in given.items():
        known = re.fullmatch(neutral, key) or text.get(key) == value
        if not known and value and re.search(table["structure"], key):
            found.append(_structural(key, value, "a model around a text model"))
    return text, notes, found


def _uncountable(given: dict, text: dict, kind) -> list[str]:
    """What a configuration is that has no count here, by its type and the names of its classes."""
    found = [f"model_type takes a text, got {kind!r}"] if not isinstance(kind, (str, type(None))) else []
    for each in (kind, given.get("model_type")):
        for pattern, why in config_table()["refused"].items():
            if isinstance(each, str) and re.fullmatch(pattern, each):
                found.append(
                    f"model_type takes a family that can be counted, got {each!r}: {why} would be wrong"
                )
    if given.get("is_encoder_decoder") or text.get("is_encoder_decoder"):
        found.append(
            "is_encoder_decoder takes false, got True: an encoder's count and cache would be missing"
        )
    classes = text.get("architectures") or []
    for name in classes if isinstance(classes, list) and text.keys() == given.keys() else []:
        if re.fullmatch(HEADLESS, str(name)) and kind not in ("chatglm",):
            found.append(
                f"architectures takes a model with an unembedding, got {name!r}: the count would differ"
            )
    return list(dict.fromkeys(found))


# ---- families ----------------------------------------------------------------------------------
@cache
def _families() -> dict[str, dict]:
    """The families by model_type, each with what it takes over from others."""
    table, whole, by_type = config_table()["families"], {}, {}
    for name, own in table.items():  # a family stands below the one that it is like
        base = whole.get(own.get("like"), {})
        merged = {key: base[key] | own.get(key, {}) for key in base if isinstance(base[key], dict)}
        whole[name] = {"default": {}, "values": {}, "bias": {}, "unused": []} | base | own | merged
        whole[name] |= {"name": name, "reads": _reads(whole[name])}
        by_type |= dict.fromkeys(own["types"], whole[name])
    return by_type


def _reads(family: dict) -> set:
    """The keys that a family knows."""
    rules = family.get("when", ())
    told = [
        *family["model"].values(),
        *family["default"].values(),
        *(x for r in rules for x in r["set"].values()),
    ]
    words = {word for formula in told if isinstance(formula, str) for word in formula.split()}
    words |= {key for rule in rules for key in rule["if"]}
    words |= {key for rule in (family["mixing"], family.get("mlps")) for key in PLACED.get(rule, "").split()}
    return (
        words
        | {"layer_types", "mlp_layer_types", "dtype"}
        | {*family["default"], *family["values"], *family["bias"], *family["unused"]}
    )


def _reader(text: dict, family: dict, found: Mistakes) -> "_Reader":
    """A reader of a text model by its family, with every key under one spelling."""
    flat = {key: value for key, value in text.items() if key not in family.get("inside", ())}
    for part in family.get("inside", ()):
        inner = text.get(part) or {}
        if not isinstance(inner, Mapping):
            found.append(f"{part} takes a mapping, got {inner!r}")
            continue
        clash = [key for key in inner.keys() & flat.keys() & family["reads"] if inner[key] != flat[key]]
        found += [f"{key} takes one value, got {flat[key]!r} and {inner[key]!r} in {part}" for key in clash]
        flat = {**inner, **flat}
    canon = {other: key for key, others in config_table()["alias"].items() for other in others}
    given, spelled = {}, {}
    for key, value in flat.items():
        one = canon.get(key, key)
        if value is not None and (given.get(one) or value) != value:
            found.append(f"{key} takes the value of {spelled[one]} = {given[one]!r}, got {value!r}")
        given[one] = value if given.get(one) is None else given[one]
        spelled[one] = key if value is not None or one not in spelled else spelled[one]
    given = {key: value for key, value in given.items() if value is not None}
    return _Reader(family=family, given=given, spelled=spelled, found=found, flat=flat)


@dataclass
class _Reader:
    """Reads keys under one spelling, keeps what it took, and goes on with 1 where a value is wrong."""

    family: dict
    given: dict
    spelled: dict
    found: Mistakes
    flat: dict
    taken: dict = field(default_factory=dict)
    assumed: dict = field(default_factory=dict)
    told: set = field(default_factory=set)
    into: str = ""

    def value(self, key: str, kind: Kind = WHOLE, default=None):
        """A key's value, or what the family takes where the file leaves it out."""
        ours = self.taken.setdefault(key, [])
        ours += [self.into] if self.into and self.into not in ours else []
        default = self.family["default"].get(key, default)
        got = self.given.get(key)
        if got is not None and got != "auto":
            return got if not self.wrong(kind.mistake(self.spelled[key], got), key) else 1
        if isinstance(default, str) and kind is not TEXT:
            return self.formula(default)
        if default is None:
            self.wrong(f"{key} takes {kind.words}, got nothing", key)
            return 1
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
        first, *rest = (int(word) if word.isdigit() else word for word in text.split())
        read = lambda word: self.value(word, kind) if isinstance(word, str) else word
        total = read(first)
        for sign, other in zip(rest[::2], map(read, rest[1::2])):
            if sign == "/" and (not other or total % other):
                self.found += (
                    [] if self.found else [f"{text} takes numbers that divide, got {total} / {other}"]
                )
                return 1
            total = {"*": total * other, "+": total + other, "/": total // max(other, 1)}[sign]
        return total

    def model(self) -> dict:
        """The keys of a model file."""
        family, drop = self.family, set(self.family.get("drop", ()))
        plan = dict(family["model"])
        for rule in family.get("when", ()):
            holds = [self.given_as(key, value) for key, value in rule["if"].items()]
            plan |= rule["set"] if all(holds) else {}
        self.into = "layers"
        layers = self.formula(plan["layers"], LAYERS)
        kinds, mlps = _placed(self, layers) if not self.found else (["full"], ["dense"])
        drop |= set() if "experts" in mlps else {"n_experts", *EXPERT_KEYS}
        drop |= set() if "dense" in mlps else {"d_ff"}
        drop |= set() if family.get("state") in kinds else set(STATE_KEYS)
        keys = {"layer_kinds": _shortest(kinds)} | _mlp_keys(mlps)
        keys |= {k: _limit(self, k) for k in ("window", "chunk") if k in kinds}
        for key, told in plan.items():
            if key not in drop:
                self.into = key
                formula = isinstance(told, str) and TYPES[key] is not str
                keys[key] = self.formula(told, MODEL_KEYS[key]) if formula else told
        self.into = "biases"
        flags = [flag for flag in family["bias"] if flag == "always" or self.value(flag, FLAG, False) is True]
        biased = {matrix for flag in flags for matrix in family["bias"][flag]}
        keys["biases"] = [matrix for matrix in BIASED if matrix in biased]
        if not keys["biases"]:
            del keys["biases"]
        if keys.get("d_embedding") == keys["d_model"]:
            del keys["d_embedding"]
        return keys

    def given_as(self, key, value) -> bool:
        """Whether a key has this value, off where nobody says."""
        if isinstance(value, bool):
            return self.value(key, FLAG, False) is value
        return self.value(key) == value


# ---- kinds of layers ---------------------------------------------------------------------------
KINDS = {"full_attention": "full", "attention": "full", "sliding_attention": "window"}
KINDS |= {"chunked_attention": "chunk", "linear_attention": "state", "mamba": "state"}
LETTERS = {"M": "mamba", "*": "attention", "-": "mlp", "E": "moe"}  # of a hybrid_override_pattern
BLOCKS = {
    word: (KINDS[word], "none") for word in ("mamba", "linear_attention", "attention", "full_attention")
}
BLOCKS |= {"mlp": ("none", "dense"), "moe": ("none", "experts")}  # layers that either mix or have an MLP
PLACED = {  # keys that a rule reads, beside those with a default
    "window": "sliding_window",
    "every": "sliding_window",
    "local": "sliding_window attention_types attention_layers",
    "chunk": "no_rope_layers no_rope_layer_interval",
    "indices": "attn_layer_indices",
    "flags": "attn_type_list",
    "pattern": "hybrid_override_pattern",
    "step": "moe_layers mlp_only_layers",
    "range": "moe_layer_end_index",
}
OTHERS = {"full": (), "window": ("window",), "every": ("window",), "local": ("window",), "chunk": ("chunk",)}


def _placed(r: _Reader, layers: int) -> tuple[list, list]:
    """What mixes the tokens in each layer, and what follows."""
    r.into = "layer_kinds"
    if r.family["mixing"] == "pattern":
        if "hybrid_override_pattern" in r.given:
            letters = r.value("hybrid_override_pattern", TEXT)
            words = [LETTERS.get(letter, letter) for letter in str(letters)]
            r.given["layer_types"], r.spelled["layer_types"] = words, "hybrid_override_pattern"
        words = _list(r, "layer_types", layers, BLOCKS)
        kinds, mlps = map(list, zip(*(BLOCKS[word] for word in words)))
    else:
        others = OTHERS.get(r.family["mixing"], ("state",))
        if "layer_types" in r.given:
            known = [word for word, kind in KINDS.items() if kind in ("full", *others)]
            kinds = [KINDS[word] for word in _list(r, "layer_types", layers, known)]
        else:
            kinds = _mixing(r, layers)
        r.into = "mlp_kinds"
        mlps = _mlps(r, layers)
    return [r.family.get("state") if kind == "state" else kind for kind in kinds], mlps


def _mixing(r: _Reader, layers: int) -> list[str]:
    """What mixes the tokens in each layer by the family's rule, where no list says it."""
    rule, every = r.family["mixing"], range(layers)
    period = lambda key: max(1, r.value(key))
    if rule in ("window", "every", "local") and not _limit(r, "window") or rule == "full":
        return ["full"] * layers
    if rule == "window":
        first = r.value("max_window_layers") if "max_window_layers" in r.family["default"] else 0
        return ["window" if i >= first else "full" for i in every]
    if rule == "every":
        letters = r.given.get("sliding_window_pattern")
        if isinstance(letters, str) and re.fullmatch("[LG]+", letters):
            r.taken.setdefault("sliding_window_pattern", ["layer_kinds"])
            return ["window" if letters[i % len(letters)] == "L" else "full" for i in every]
        n = period("sliding_window_pattern")
        return ["window" if (i + 1) % n else "full" for i in every]
    if rule == "chunk":
        flags = _list(r, "no_rope_layers", layers, (0, 1)) if r.given.get("no_rope_layers") else None
        n = 4 if flags else r.value("no_rope_layer_interval", WHOLE, 4) or layers
        local = [bool(flags[i] if flags else (i + 1) % n) and _limit(r, "chunk") for i in every]
        return ["chunk" if each else "full" for each in local]
    if rule == "local":
        return _local(r, layers)
    if rule == "interval":
        n = period("full_attention_interval")
        return ["state" if (i + 1) % n else "full" for i in every]
    if rule == "period":
        n, first = period("attn_layer_period"), r.value("attn_layer_offset")
        return ["full" if i % n == first else "state" for i in every]
    if rule == "indices":
        full = r.value("attn_layer_indices", LIST, [])
        return ["full" if i in full else "state" for i in every]
    flags = _list(r, "attn_type_list" if rule == "flags" else "layer_types", layers, (0, 1))
    return ["full" if flag else "state" for flag in flags]


def _local(r: _Reader, layers: int) -> list[str]:
    """GPT-Neo's `[[["global", "local"], 12]]`."""
    try:
        words = [
            word for part, times in r.value("attention_types", LIST) for word in part * min(times, layers)
        ]
        r.given["attention_layers"], r.spelled["attention_layers"] = words, "attention_types"
    except (TypeError, ValueError):
        r.wrong(
            f"attention_types takes a list of [kinds, times], got {_short(r.given.get('attention_types'))}"
        )
        return ["full"] * layers
    kinds = {"global": "full", "local": "window"}
    return [kinds[word] for word in _list(r, "attention_layers", layers, kinds)]


def _mlps(r: _Reader, layers: int) -> list[str]:
    """What follows the mixing in each layer."""
    rule, every = r.family.get("mlps", "dense"), range(layers)
    if rule == "dense" or not r.value("num_experts"):
        return ["dense"] * layers
    if "mlp_layer_types" in r.given:
        words = {"dense": "dense", "sparse": "experts"}
        return [words[word] for word in _list(r, "mlp_layer_types", layers, words)]
    routed = every
    if rule == "first":
        routed = every[r.value("first_k_dense_replace") :]
    elif rule == "period":
        n, first = max(1, r.value("expert_layer_period")), r.value("expert_layer_offset")
        routed = [i for i in every if i % n == first]
    elif rule == "range":
        last, n = r.value("moe_layer_end_index", WHOLE, layers - 1), max(1, r.value("moe_layer_interval"))
        routed = [i for i in every if r.value("moe_layer_start_index") <= i <= last and (i + 1) % n == 0]
    elif rule == "step" and r.given.get("moe_layers"):
        routed = r.value("moe_layers", LIST)
    elif rule == "step":
        step = (
            "interleave_moe_layer_step"
            if "interleave_moe_layer_step" in r.family["default"]
            else "decoder_sparse_step"
        )
        n, dense = r.value(step), r.value("mlp_only_layers", LIST, [])
        routed = [i for i in every if n and (i + 1) % n == 0 and i not in dense]
    return ["experts" if i in routed else "dense" for i in every]


def _list(r: _Reader, key: str, layers: int, known) -> list:
    """A list with an entry a layer, each one of the known."""
    got = r.value(key, LIST)
    if (
        isinstance(got, list)
        and len(got) == layers
        and all(type(x) in (str, int) and x in known for x in got)
    ):
        return got
    words = ", ".join(map(str, known))
    r.wrong(f"{r.spelled.get(key, key)} takes a list of {layers} entries of {words}, got {_short(got)}")
    return list(known)[:1] * layers


def _limit(r: _Reader, kind: str) -> int:
    """Tokens of a window or chunk, 0 for none; here null means none whatever the family has."""
    if kind == "window" and "use_sliding_window" in r.family["default"]:
        if r.value("use_sliding_window", FLAG) is False:
            r.taken.setdefault("sliding_window", [])
            return 0
    key = {"window": "sliding_window", "chunk": "attention_chunk_size"}[kind]
    r.into = kind
    off = key in r.spelled and key not in r.given
    return 0 if off else r.value(key, WHOLE, 0)


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


# ---- what was not read, and bytes ---------------------------------------------------------------
def _leftover(text: dict, r: _Reader) -> tuple[str, ...]:
    """Keys that nothing took: those that may change a count or the cache are mistakes, the rest is returned."""
    table, family, unknown = config_table()["keys"], r.family, []
    canon = {spelling: one for one, others in config_table()["alias"].items() for spelling in (one, *others)}
    neutral = "|".join([*table["neutral"], table["towers"], *table["text"], "quantization_config"])
    for key, value in r.flat.items():
        one = canon.get(key, key)
        allowed = family["values"].get(one, family["values"].get(key))
        if allowed is not None and value is not None and not _among(value, allowed):
            takes = " or ".join(map(repr, allowed)) or "null"
            r.wrong(
                f"{key} takes {takes} ({family['name']}), got {_short(value)}: the count would be another"
            )
        active = re.fullmatch(ACTIVATION, key) and allowed is None and value is not None
        if active and not _among(value, table["activations"]):
            r.wrong(f"{key} takes one of {', '.join(table['activations'])}, got {_short(value)}")
        read = (
            {one, key} & {*r.taken, *family["reads"]}
            or re.fullmatch(neutral, key)
            or re.fullmatch(neutral, one)
        )
        if read or not value:
            continue
        if re.search(table["structure"], key):
            r.wrong(_structural(key, value, family["name"]))
        else:
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


def _released(told, dtype, found: Mistakes) -> dict:
    """Bytes of a parameter as released: by the dtype, and by how the matrices are quantised."""
    plain = BYTES.get(str(dtype).removeprefix("torch."), 2.0)
    if dtype is not None and str(dtype).removeprefix("torch.") not in BYTES:
        found.append(f"dtype takes one of {', '.join(BYTES)}, got {dtype!r}: bytes would be wrong")
    sizes = {"matrix_bytes": plain, "expert_bytes": plain, "other_bytes": plain}
    if not told:
        return sizes
    if not isinstance(told, Mapping):
        found.append(f"quantization_config takes a mapping, got {_short(told)}")
        return sizes
    method = told.get("quant_method") or ("bitsandbytes" if "load_in_4bit" in told else None)
    if method not in QUANTISED:
        takes = f"one of {', '.join(QUANTISED)}"
        found.append(f"quant_method takes {takes}, got {method!r}: bytes of the weights would be wrong")
        return sizes
    try:
        bytes_each, only_experts = QUANTISED[method](told)
    except (KeyError, TypeError, ValueError, ZeroDivisionError, AttributeError, BadInput) as error:
        found.append(f"quantization_config takes the keys of {method}, got {_short(dict(told))} ({error})")
        return sizes
    return sizes | {"expert_bytes": bytes_each} | ({} if only_experts else {"matrix_bytes": bytes_each})


# Bytes of a quantised parameter with its scales and zero points, and whether experts alone are quantised.
def _fp8(told):
    rows, columns = told.get("weight_block_size") or (math.inf, math.inf)
    return 1 + 4 / (rows * columns), False


def _grouped(told):
    bits = told.get("bits") or told["w_bit"]
    group = told["group_size"] if "group_size" in told else told["q_group_size"]
    if bits not in (2, 3, 4, 8):
        raise BadInput(f"bits takes 2, 3, 4 or 8, got {bits!r}")
    zeros = bits / 8 if told.get("zero_point", True) else 0
    return bits / 8 + ((2 + zeros) / group if group > 0 else 0), False


def _blocked(told):
    if told.get("load_in_8bit"):
        return 1.0, False
    double = 1 / 64 + 4 / (64 * 256)
    return 0.5 + (double if told.get("bnb_4bit_use_double_quant") else 4 / 64), False


def _compressed(told):
    (group,) = told["config_groups"].values()
    weights = group["weights"]
    scales = {"group": 2 / (weights.get("group_size") or 1), "channel": 0, "tensor": 0, "block": 0}
    zeros = (
        0
        if weights.get("symmetric", True)
        else weights["num_bits"] / 8 / (weights.get("group_size") or math.inf)
    )
    skipped = any("attn" in name for name in told.get("ignore") or ())
    return weights["num_bits"] / 8 + scales[weights["strategy"]] + zeros, skipped


QUANTISED = {"fp8": _fp8, "mxfp4": lambda told: (4.25 / 8, True), "gptq": _grouped, "awq": _grouped}
QUANTISED |= {"bitsandbytes": _blocked, "compressed-tensors": _compressed}


# ---- shipped configurations ---------------------------------------------------------------------
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
