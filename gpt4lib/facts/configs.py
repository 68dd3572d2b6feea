"""Configurations: a Hugging Face config.json read into a `Model`.

The families stand in `data/configs/families.toml`. Nothing that changes a count or a cache is passed over in
silence: a key that speaks of structure and is not known to its family is refused by name.
"""

import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..spine.errors import BadInput, nearest, refuse
from ..spine.schema import COUNT, Mistakes
from .families import (
    Reader,
    families,
    in_short,
    in_snake_case,
    is_structure,
    model_keys,
    not_read,
    reader_of,
    structural,
)
from .files import data_file, data_names, read_csv, read_json
from .models import (
    Model,
    config_table,
    model_mistakes,
    model_of,
    published_model,
    published_models,
    read_model,
)

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
    given, name, where = _opened(source)
    found = Mistakes()
    text, notes = _text_of(given, found)
    kind = text.get("model_type", given.get("model_type"))
    _refuse_uncountable(given, text, kind, found)
    refuse(where, found)
    family = families().get(kind) or families()["unknown"]
    r = reader_of(text, family, found, inner=text is not given)
    keys = model_keys(r)
    keys |= _released(r, notes) | {"name": name}
    unknown = not_read(r, keys)
    refuse(where, found)
    for line in model_mistakes(keys):
        theirs = [r.spelled.get(key, key) for key, ours in r.taken.items() if line.split()[0] in ours]
        found.append(f"{line} ({', '.join(theirs)})" if theirs else line)
    refuse(where, found)
    assumed = ", ".join(f"{key} = {str(value).lower()}" for key, value in r.assumed.items())
    notes += [f"taken as the family has it: {assumed}"] if assumed else []
    return Config(
        model=model_of(keys, where),
        taken={r.spelled[key]: ", ".join(ours) for key, ours in r.taken.items() if key in r.given},
        unknown=unknown,
        notes=(*notes, *family.get("notes", ())),
        known_family=family["name"] != "unknown",
    )


# ---- the file and its text model ---------------------------------------------------------------
def _opened(source) -> tuple[dict, str, str]:
    """The mapping of a source, the model's name, and where it stands for messages."""
    table, place = config_table()["files"], None
    if not isinstance(source, Mapping):
        if not isinstance(source, (str, Path)) or not str(source):
            raise BadInput(f"a config.json, its folder or its mapping is taken, got {source!r}")
        place = Path(source)
        if place.is_dir() and not (place / "config.json").exists():
            raise BadInput(f"{place} is a folder that holds no config.json")
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
    name = names[0] if names else "config.json"
    return dict(source), name, str(place or name)


def _text_of(given: dict, found: Mistakes) -> tuple[dict, list]:
    """The text model of a configuration, and notes on what is left out beside it."""
    table = config_table()["files"]
    beside = [key for key, value in given.items() if re.fullmatch(table["towers"], key) and value]
    notes = [f"the text model only, without {', '.join(beside)}"] if beside else []
    inner = next((key for key in table["text"] if given.get(key) is not None), None)
    if inner is None:
        return given, notes
    if not isinstance(given[inner], Mapping):
        found.append(f"{inner} takes the mapping of a text model, got {in_short(given[inner])}")
        return {}, notes
    text, more = _text_of(given[inner], found)
    text, notes = dict(text), [*notes, *more]
    for key in ("tie_word_embeddings", "dtype", "torch_dtype", "quantization_config", "quantization"):
        outer = given.get(key)
        if "dtype" in key and {"dtype", "torch_dtype"} & text.keys():
            continue
        if outer is not None and text.setdefault(key, outer) != outer and key == "tie_word_embeddings":
            found.append(f"{key} takes one value, got {text[key]!r} in {inner} and {outer!r} beside it")
    neutral = "|".join([table["wrapper"], table["towers"], *table["text"], *table["neutral"]])
    strange = [key for key, value in given.items() if value and not re.fullmatch(neutral, key)]
    strange = [key for key in strange if is_structure(key) and text.get(key) != given[key]]
    found += [structural(key, given[key], "a model around a text model") for key in strange]
    return text, notes


def _refuse_uncountable(given: dict, text: dict, kind, found: Mistakes) -> None:
    """Keeps as a mistake what has no count here by its type or the names of its classes."""
    if not isinstance(kind, (str, type(None))):
        found.append(f"model_type takes a text, got {kind!r}")
    for each in dict.fromkeys((str(kind), str(given.get("model_type")))):
        takes = "model_type takes a family that has a count here"
        found += [f"{takes}, got {each!r}: {why}" for why in _uncounted(each.replace("-", "_"))]
    if given.get("is_encoder_decoder") or text.get("is_encoder_decoder"):
        found.append(
            "is_encoder_decoder takes false, got true: an encoder's weights and cache would be missing"
        )
    names = text.get("architectures") or []
    for name in map(str, names if isinstance(names, list) else []):
        if text is given and re.fullmatch(config_table()["files"]["headless"], name) and kind != "chatglm":
            found.append(
                f"architectures takes a model with an unembedding, got {name!r}: the count would differ"
            )
        elif not found:
            takes = f"architectures takes a class of {kind}"
            found += [f"{takes}, got {name!r}: {why}" for why in _other_class(name, kind)]


def _uncounted(*kinds: str) -> list[str]:
    """Why a type, under any of its spellings, has no count here."""
    table = config_table()["refused"].items()
    return [why for pattern, why in table if any(re.fullmatch(pattern, kind) for kind in kinds)]


def _other_class(name: str, kind) -> list[str]:
    """Why a class is none of a type: it has no count here, or is that of a family of another structure."""
    stem = re.sub(r"(For[A-Z]\w+|LMHeadModel|Model)$", "", name)
    plain = lambda text: re.sub("[_-]", "", text).lower()
    theirs = next((each for each in families() if plain(each) == plain(stem)), "")
    ours = kind if kind in families() else "llama"
    rules = lambda each: [families()[each][key] for key in ("model", "mlps")]
    if theirs and rules(theirs) != rules(ours):
        return [f"it is that of {theirs}"]
    return _uncounted(in_snake_case(stem), stem.lower())


# ---- bytes ----------------------------------------------------------------------------------------------
def _released(r: Reader, notes: list) -> dict:
    """Bytes of a parameter as released: by the dtype, and by how the matrices are quantised."""
    dtype = r.given.get("dtype")
    key = "quantization_config" if r.given.get("quantization_config") else "quantization"
    told = r.given.get(key)
    plain = _BYTES.get(str(dtype).removeprefix("torch."), 2.0 if dtype is None else 0)
    if not plain:
        r.wrong(f"dtype takes one of {', '.join(_BYTES)}, got {dtype!r}: bytes of the weights would be wrong")
    notes += ["no dtype is given: 16 bits a parameter"] if dtype is None else []
    sizes = {"matrix_bytes": plain, "expert_bytes": plain, "other_bytes": plain}
    if not told:
        return sizes
    if not isinstance(told, Mapping):
        r.wrong(f"{key} takes a mapping, got {in_short(told)}")
        return sizes
    method = _method(told, "quantization" in r.given)
    way = _QUANTISED.get(method)
    each, parts = r.found.attempt(way, told, place=f"{method}: ") or (None, ()) if way else (None, ())
    if not each:
        notes.append(f"quantised ({method}), its bytes are not known here: counted by the dtype")
        return sizes
    skipped = [name for key in _SKIPPED for name in _names(told, key) if re.search(_MATRICES, name)]
    if skipped and parts != _EXPERTS:
        notes.append(f"bytes as if every matrix were quantised, though {skipped[0]} is not")
    notes += ["bytes as if norms were packed with the matrices and tables"] if method == "mlx" else []
    return sizes | dict.fromkeys(parts, each)


def _names(told: Mapping, key: str) -> list[str]:
    names = told.get(key)
    return [*map(str, names)] if isinstance(names, list) else []


def _method(told: Mapping, mlx: bool) -> str:
    """The name of a way of quantising; two tools do not give it."""
    if "load_in_4bit" in told:
        return "bitsandbytes"
    mlx = mlx or told.keys() <= {"bits", "group_size", "mode"}
    return str(told.get("quant_method") or ("mlx" if mlx else "no quant_method"))[:40]


_SKIPPED = ("modules_to_not_convert", "ignore", "ignored_layers")
_MATRICES = (
    r"_proj\b|attn|attention|experts?\b|mlp$"  # of the layers; gates, norms and tables are never quantised
)
_EXPERTS = ("expert_bytes",)
_EVERY = (*_EXPERTS, "matrix_bytes")


# Bytes of a quantised parameter with its scales and zero points, and what is quantised; no bytes for unknown.
def _fp8(told):
    blocks = told.get("weight_block_size")
    if blocks is None:
        return 1.0, _EVERY
    if not (isinstance(blocks, list) and len(blocks) == 2 and all(COUNT(x) is None for x in blocks)):
        raise BadInput(f"weight_block_size takes two positive whole numbers, got {in_short(blocks)}")
    return 1 + 4 / math.prod(blocks), _EVERY


def _number(told, *keys, fits=range(1, 10_000)):
    """The number under the first of these keys that is there. Raises BadInput for one that does not fit."""
    key = next((key for key in keys if key in told), keys[0])
    if type(told.get(key)) is not int or told[key] not in fits:
        takes = (
            "a positive whole number" if isinstance(fits, range) else f"one of {', '.join(map(str, fits))}"
        )
        raise BadInput(f"{key} takes {takes}, got {in_short(told[key]) if key in told else 'nothing'}")
    return told[key]


def _grouped(told):
    bits = _number(told, "bits", "w_bit", fits=(2, 3, 4, 8))
    every = told.get("group_size", told.get("q_group_size")) == -1
    group = math.inf if every else _number(told, "group_size", "q_group_size")
    zeros = bits / 8 if told.get("zero_point", True) else 0
    return bits / 8 + (2 + zeros) / group, _EVERY


def _mlx(told):
    bits, group = _number(told, "bits", fits=(2, 3, 4, 5, 6, 8)), _number(told, "group_size")
    each = bits / 8 + 4 / group if told.get("mode", "affine") == "affine" else None
    return each, (*_EVERY, "other_bytes")


def _blocks(told):
    if told.get("load_in_8bit"):
        return 1.0, _EVERY
    scales = 1 / 64 + 4 / (64 * 256) if told.get("bnb_4bit_use_double_quant") else 4 / 64
    return 0.5 + scales, _EVERY


def _compressed(told):
    parts = told.get("config_groups")
    parts = list(parts.values()) if isinstance(parts, Mapping) else []
    weights = parts[0].get("weights") if len(parts) == 1 and isinstance(parts[0], Mapping) else None
    strategy = weights.get("strategy") if isinstance(weights, Mapping) else None
    if strategy not in ("group", "channel", "tensor"):
        return None, ()
    own = _number(weights, "num_bits", fits=(2, 3, 4, 8)) / 8
    group = _number(weights, "group_size") if strategy == "group" else math.inf
    zeros = 0 if weights.get("symmetric", True) else own
    only = any("attn" in name for name in _names(told, "ignore"))
    return own + ((2 + zeros) / group), _EXPERTS if only else _EVERY


_QUANTISED = {"fp8": _fp8, "fbgemm_fp8": lambda told: (1.0, _EVERY), "gptq": _grouped, "awq": _grouped}
_QUANTISED |= {"mxfp4": lambda told: (4.25 / 8, _EXPERTS), "bitsandbytes": _blocks, "mlx": _mlx}
_QUANTISED |= {"compressed-tensors": _compressed}


# ---- shipped configurations -------------------------------------------------------------------------------
def known_models() -> list[str]:
    """The names of all models: of `data/models.csv`, of `data/shapes` and of the shipped configurations."""
    return [*published_models(), *data_names("shapes", ".toml"), *shipped_models()]


def named_model(name: str) -> tuple[Model, tuple[str, ...]]:
    """A model by its name, and notes on how it was read. Raises BadInput that names the nearest ones.

    Where a shipped configuration has the name too, the row of `data/models.csv` is taken; they differ at most
    in blocks that predict further tokens, and then a note says so.
    """
    if name in published_models():
        shape = published_model(name).shape
        same = [each for each in shipped_models() if each.split("/")[-1] == name]
        more = [each for each in same if shipped_model(each).model.n_mtp_layers != shape.n_mtp_layers]
        return shape, tuple(f"without the block for further tokens, which {each} has" for each in more)
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
