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
from ..spine.schema import COUNT, Kind, Mistakes
from .families import families, in_short, model_keys, not_read, other_class, reader_of, structural, uncounted
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
    strange = [key for key in strange if text.get(key) != given[key]]
    found += filter(None, [structural(key, given[key], "a model around a text model") for key in strange])
    return text, notes


def _refuse_uncountable(given: dict, text: dict, kind, found: Mistakes) -> None:
    """Keeps as a mistake what has no count here by its type or the names of its classes."""
    if not isinstance(kind, (str, type(None))):
        found.append(f"model_type takes a text, got {kind!r}")
    for each in dict.fromkeys((str(kind), str(given.get("model_type")))):
        takes = "model_type takes a family that has a count here"
        found += [f"{takes}, got {each!r}: {why}" for why in uncounted(each)]
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
            found += [f"{takes}, got {name!r}: {why}" for why in other_class(name, kind)]


# ---- bytes ----------------------------------------------------------------------------------------------
def _released(r, notes: list) -> dict:
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
    told, method = _way(told, "quantization" in r.given)
    way = config_table()["quantised"].get(method)
    bits = r.found.attempt(_bits, told, way, place=f"{key}: ") if way else None
    if not bits:
        notes.append(f"quantised ({method}), its bytes are not known here: counted by the dtype")
        return sizes
    skipped = [name for key in _SKIPPED for name in _names(told, key) if re.search(_MATRICES, name)]
    parts = way.get("parts", ["expert_bytes", "matrix_bytes"])
    if way.get("attention") == "ignore" and any("attn" in name for name in _names(told, "ignore")):
        parts = ["expert_bytes"]
    if skipped and "matrix_bytes" in parts:
        notes.append(f"bytes as if every matrix were quantised, though {skipped[0]} is not")
    notes += ["bytes as if norms were packed with matrices and tables"] if "other_bytes" in parts else []
    return sizes | dict.fromkeys(parts, bits / 8)


_SKIPPED = ("modules_to_not_convert", "ignore", "ignored_layers")
_MATRICES = (
    r"_proj\b|attn|attention|experts?\b|mlp$"  # of the layers; gates, norms and tables are never quantised
)
_BITS = Kind(words="2, 3, 4, 5, 6 or 8", rule={"type": "integer", "enum": [2, 3, 4, 5, 6, 8]})
_GROUP = Kind(words="-1 or a positive whole number", rule={"anyOf": [{"enum": [-1]}, COUNT.rule]})
_BLOCK = {"type": "array", "items": COUNT.rule, "minItems": 2, "maxItems": 2}
_BLOCKS = Kind(words="two positive whole numbers", rule=_BLOCK)


def _names(told: Mapping, key: str) -> list[str]:
    names = told.get(key)
    return [*map(str, names)] if isinstance(names, list) else []


def _way(told: Mapping, mlx: bool) -> tuple[dict, str]:
    """The keys of a way of quantising with those of its only group, and its name in the table."""
    groups = told.get("config_groups")
    parts = [*groups.values()] if isinstance(groups, Mapping) else []
    weights = parts[0].get("weights") if len(parts) == 1 and isinstance(parts[0], Mapping) else None
    told = {**told, **(weights if isinstance(weights, Mapping) else {})}
    mlx = mlx or told.keys() <= {"bits", "group_size", "mode"}
    unnamed = "bitsandbytes" if "load_in_4bit" in told else "mlx" if mlx else "no quant_method"
    marks = ("load_in_8bit", "bnb_4bit_use_double_quant", "load_in_4bit", "weight_block_size")
    said = [told.get("quant_method") or unnamed, *[key for key in marks if told.get(key)][:1]]
    return told, " ".join(map(str, [*said, *filter(None, [told.get("strategy"), told.get("mode")])]))[:60]


def _bits(told: dict, way: dict) -> float:
    """Bits of a parameter, with its share of what a group of them has beside. Raises BadInput."""
    bits, group = (
        _number(told, way.get(name, -1), kind) for name, kind in (("bits", _BITS), ("group", _GROUP))
    )
    key, value = way.get("zeros", ("", None))
    beside = way.get("beside", 0) + (bits if told.get(key, True) is value else 0)
    return bits + (beside / group if group > 0 else 0)


def _number(told: dict, keys, kind: Kind) -> int:
    """A number, or what stands under the first of these keys that is there."""
    if isinstance(keys, int):
        return keys
    key = next((key for key in keys if key in told), keys[0])
    line = (_BLOCKS if key == "weight_block_size" else kind).mistake(key, told.get(key))
    if line:
        raise BadInput(line)
    return math.prod(told[key]) if isinstance(told[key], list) else told[key]


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
