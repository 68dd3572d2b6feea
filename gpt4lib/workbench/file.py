"""Layouts of a workbench file: what training and serving cannot divide, with the values that would do."""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from ..facts.devices import devices, hardware
from ..facts.files import data_file, read_toml, sources
from ..facts.given import given
from ..facts.models import (
    TYPES,
    Model,
    model_mistakes,
    model_of,
    published_model,
    published_models,
    read_model,
)
from ..spine.errors import BadInput, pick
from ..spine.interval import Interval
from ..spine.units import unit_factor
from ..systems.machine import PEAKS, Cluster, Layout, Recipe, Server
from ..systems.planner import RECOMPUTE


@dataclass(frozen=True, kw_only=True)
class Training:
    """A training run: tokens, batch and what is lost. `only` limits the layouts; price in USD/GPU/second."""

    tokens: Interval
    seq: int
    batch_tokens: int | list
    price: Interval | None
    mfu: Interval | None
    lost_share: Interval
    recipe: Recipe
    only: dict


@dataclass(frozen=True, kw_only=True)
class Serving:
    """A serving target. `n_gpus` is the cluster's where it serves; price in USD/GPU/second."""

    server: Server
    context: int
    batch: int | None
    user_rate: float | None
    prompt: int | None
    redundant_experts: int
    n_gpus: int | None
    price: Interval | None


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published figure, in the figure's unit, and where it stands."""

    figure: str
    value: Interval
    source: str
    place: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A checked file; sections that it does not have are None."""

    name: str
    about: str
    shape: Model
    cluster: Cluster | None
    training: Training | None
    serving: Serving | None
    published: tuple[Published, ...]


# ---- reading --------------------------------------------------------------------------------
def examples() -> list[str]:
    """The names of the example files."""
    return sorted(p.name.removesuffix(".toml") for p in data_file("workbench/gpt-4.toml").parent.iterdir())


def load_case(name) -> Case:
    """The case in a TOML file, or the example of that name ("gpt-4"). Raises BadInput that lists every mistake.

    >>> load_case("mixtral-8x7b").shape.top_k
    2
    """
    path = Path(name)
    if path.suffix == ".toml" or (str(name) and path.exists()):
        return check(_read(path), str(name))
    try:
        example = pick(str(name), examples(), "example")
    except BadInput as error:
        raise BadInput(
            f"{str(name)!r} is neither a file nor an example; {str(error).partition('; ')[2]}"
        ) from None
    return check(read_toml(data_file(f"workbench/{example}.toml")), str(name))


def _read(path) -> dict:
    """A user's file as a dict. Raises BadInput in one line: no file, a folder, not UTF-8, or not TOML and where."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        hint = f"; the example is called {path.stem}, without .toml" if path.stem in examples() else ""
        raise BadInput(f"{path}: there is no such file{hint}") from None
    except IsADirectoryError:
        raise BadInput(f"{path} is a folder, and report takes a TOML file") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror or error})") from None
    try:
        text = raw.decode("utf-8-sig")  # Windows editors open a file with a mark
        return tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise BadInput(
            f"{path} is not UTF-8 text (byte 0x{raw[error.start]:02x} in line {line}); save it as UTF-8"
        ) from None
    except tomllib.TOMLDecodeError as error:
        reason, _, at = (
            str(error).rstrip(")").rpartition(" (at ")
        )  # "... (at line 2, column 7)" or "... of document)"
        lines = text.rstrip().splitlines()
        line = int(found[0]) if (found := re.findall(r"\d+", at)) else len(lines)
        raise BadInput(
            f"{path} is not valid TOML: line {line}, {_brief(lines[line - 1].strip())}: {reason}"
        ) from None


def check(mapping: dict, where: str = "case") -> Case:
    """A case from a dict with the file's sections. Raises BadInput that lists every mistake, one a line."""
    found = []
    top = {key: value for key, value in mapping.items() if key in KEYS["file"]}
    sections = {name: mapping[name] for name in SECTIONS[:-1] if name in mapping}
    for name, value in mapping.items():
        if name not in SECTIONS and name not in KEYS["file"]:
            found.append(_unknown(name, value, [*KEYS["file"], *SECTIONS]))
    found += _values("file", top)
    for name, section in sections.items():
        if not isinstance(section, dict):
            found.append(f"[{name}] takes a section of keys, got {section!r}")
            sections[name] = {}
    if "model" not in mapping:
        found.append('[model] takes shape = "NAME" or the keys of a shape, got nothing')
    shape, wrong = _shape(
        sections.get("model", {}), where if TEXT(top.get("name", where)) else top.get("name", where)
    )
    found += wrong
    for name in ("cluster", "training", "serving"):
        section = dict(sections.get(name, {}))
        layout = section.pop("layout", {}) if name == "training" else {}
        found += _values(name, section, needed=name in sections) + _values("training.layout", layout)
    found += _together(**{name: sections.get(name, {}) for name in ("cluster", "training", "serving")})
    if shape and sections.get("serving"):
        found += serving_layout(shape, sections["serving"])
    rows = mapping.get("published", [])
    for i, row in enumerate(rows if isinstance(rows, list) else [rows], 1):
        place = f"[[published]] {i}:" if isinstance(rows, list) else "[[published]]"
        found += (wrong := _values("published", row, needed=True, place=place))
        if isinstance(row, dict) and ("ref" in row) == ("value" in row):
            found.append(f"{place} takes either value or ref, got {'both' if 'ref' in row else 'neither'}")
        elif not wrong:
            try:
                _published(row)
            except BadInput as error:
                unit = FIGURES[row["figure"]][1]
                found.append(
                    f"{place} ref takes a figure of the ledger in {unit}, got {row['ref']!r} ({error})"
                )
    if found:
        count = "1 mistake" if len(found) == 1 else f"{len(found)} mistakes"
        raise BadInput("\n".join([f"{where}: {count}", *(f"  {line}" for line in found)]))
    return _case(top, shape, sections, rows, where)


def _values(section, given, needed=False, place=None):
    """The mistakes in one section: unknown keys, values, missing keys. `place` says where, by default [section]."""
    place = place or f"[{section}]"
    if not isinstance(given, dict):
        return [f"{place} takes a section of keys, got {given!r}"]
    found, place = [], "" if section == "file" else f"{place} "
    for key, value in given.items():
        takes = KEYS[section][key](value) if key in KEYS[section] else None
        if key not in KEYS[section]:
            found.append(
                place + _unknown(key, value, [*KEYS[section], *(["layout"] if section == "training" else [])])
            )
        elif takes:
            exponent = isinstance(value, float) and value.is_integer() and not KEYS[section][key](int(value))
            hint = f" (write {int(value):_}, without point or exponent)" if exponent else ""
            found.append(f"{place}{key} takes {takes}, got {value!r}{hint}")
    missing = [key for key in NEEDED.get(section, ()) if needed and key not in given]
    return found + [f"{place}{key} takes {KEYS[section][key](None)}, got nothing" for key in missing]


def _unknown(key, value, known):
    homes = ["the top of the file"] if key in (*SECTIONS, *KEYS["file"]) else []
    homes += [
        f"[{name}]"
        for name in ("model", "cluster", "training", "serving")
        if key in (TYPES if name == "model" else KEYS[name])
    ]
    if homes:
        return f"unknown key {key!r}; it belongs to {' or '.join(homes)}; its value is {_brief(value)}"
    try:
        pick(key, known, "key")
    except BadInput as error:
        return f"{error}; its value is {_brief(value)}"


def _brief(value):
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _shape(given, name):
    """The shape of [model], and the mistakes in it."""
    if "shape" not in given:
        found = [f"[model] {_unknown(key, given[key], TYPES)}" for key in given if key not in TYPES]
        keys = {"name": name} | {key: value for key, value in given.items() if key in TYPES}
        found += [f"[model] {mistake}" for mistake in model_mistakes(keys)] if given else []
        return (None if found or not given else model_of(keys)), found
    files = [p.name.removesuffix(".toml") for p in data_file("shapes/gpt4_multi_head.toml").parent.iterdir()]
    found = [
        f"[model] {key} takes no value beside shape, got {given[key]!r}" for key in given if key != "shape"
    ]
    takes = known(lambda: [*published_models(), *files], "model")(given["shape"])
    if takes:
        found.append(f"[model] shape takes {takes}, got {given['shape']!r}")
    if found:
        return None, found
    name = given["shape"]
    return read_model(data_file(f"shapes/{name}.toml")) if name in files else published_model(name).shape, []


def _together(cluster, training, serving):
    """Mistakes that only show between keys."""
    found, seq = [], training.get("seq")
    batches = training.get("batch_tokens", [])
    for batch in batches if isinstance(batches, list) else [batches]:
        if whole(seq) and whole(batch) and batch % seq:
            near = max(1, round(batch / seq)) * seq
            found.append(
                f"[training] batch_tokens takes multiples of seq = {seq:,}, such as {near:,}, got {batch:,}"
            )
    if training and not cluster:
        found.append("[cluster] is missing, and [training] takes one")
    if serving and "gpu" not in serving and "gpu" not in cluster:
        found.append("[serving] gpu is missing, and there is no [cluster] to take it from")
    for name, section in (("cluster", cluster), ("serving", serving)):
        gpu = section.get("gpu", cluster.get("gpu"))
        if not section or gpu not in devices():
            continue
        held, there = section.get("reserve_gb", 0), hardware(gpu).memory_bytes / unit_factor("GB", "byte")
        if isinstance(held, (int, float)) and held >= there:
            found.append(f"[{name}] reserve_gb takes less than the {there:g} GB of {gpu}, got {held}")
        links = {**cluster, **section} if gpu == cluster.get("gpu") else section
        if hardware(gpu).interconnect_bytes_per_s is None and "nvlink_gb_per_s" not in links:
            found.append(
                f"[{name}] nvlink_gb_per_s takes a positive number (no sheet has {gpu}'s), got nothing"
            )
    gpu, compute = serving.get("gpu", cluster.get("gpu")), serving.get("compute", "bf16")
    if serving and gpu in devices() and compute in PEAKS and getattr(hardware(gpu), PEAKS[compute]) is None:
        there = [name for name, field in PEAKS.items() if getattr(hardware(gpu), field)]
        found.append(f"[serving] compute takes one of {', '.join(there)} on {gpu}, got {compute!r}")
    return found


# ---- from keys to the library's objects -----------------------------------------------------
def interval(value) -> Interval:
    """An interval of a number or of [low, high]."""
    return Interval(*map(float, value)) if isinstance(value, list) else Interval(float(value), float(value))


def _price(section):
    hour = section.get("price_usd_per_gpu_hour")
    factor = unit_factor("USD/GPU/hour", "USD/GPU/second")
    return None if hour is None else Interval(interval(hour).lo * factor, interval(hour).hi * factor)


def _links(section):
    """Link rates in byte/second, as far as the section gives them."""
    units = {"nvlink_gb_per_s": ("nvlink_bytes_per_s", "GB"), "nic_gbit_per_s": ("nic_bytes_per_s", "Gb")}
    return {
        name: section[key] * unit_factor(unit, "byte")
        for key, (name, unit) in units.items()
        if key in section
    }


def _case(top, shape, sections, rows, where):
    c, s = sections.get("cluster", {}), sections.get("serving", {})
    return Case(
        name=top.get("name", where),
        about=top.get("about", ""),
        shape=shape,
        cluster=_cluster(c) if c else None,
        training=_training(sections["training"], _price(c)) if sections.get("training") else None,
        serving=_serving(s, c) if s else None,
        published=tuple(_published(row) for row in rows),
    )


def _cluster(c):
    reserve = c.get("reserve_gb", 0.0) * unit_factor("GB", "byte")
    size = {"n_gpus": c["n_gpus"], "gpus_per_node": c.get("gpus_per_node", 8)}
    return Cluster(device=c["gpu"], reserve_bytes=reserve, **size, **_links(c))


def _training(t, price):
    return Training(
        tokens=interval(t["tokens"]),
        seq=t["seq"],
        batch_tokens=t["batch_tokens"],
        price=price,
        mfu=interval(t["mfu"]) if "mfu" in t else None,
        lost_share=interval(t.get("lost_share", 0.0)),
        recipe=Recipe(**{f.name: t[f.name] for f in fields(Recipe) if f.name in t}),
        only=t.get("layout", {}),
    )


def _serving(s, c):
    same = s.get("gpu", c.get("gpu")) == c.get("gpu")
    options = {f.name: s[f.name] for f in fields(Server) if f.name in s}
    options |= _links({**(c if same else {}), **s})
    return Serving(
        server=Server(**{"gpu": c.get("gpu"), **options}),
        context=s["context"],
        batch=s.get("batch"),
        user_rate=s.get("user_tokens_per_s"),
        prompt=s.get("prompt"),
        redundant_experts=s.get("redundant_experts", 0),
        n_gpus=None if "gpu" in s else c["n_gpus"],
        price=_price(s) or (_price(c) if same else None),
    )


def _published(row):
    """A published figure with its value as an interval, in the figure's unit; `ref` names one of the ledger's."""
    if "ref" not in row:
        return Published(**row | {"value": interval(row["value"])})
    found, unit = given(row["ref"]), FIGURES[row["figure"]][1]
    factor = 1.0 if unit == "%" else unit_factor(found.unit, unit)
    value = Interval(found.interval.lo * factor, found.interval.hi * factor)
    return Published(**{key: row[key] for key in row if key != "ref"}, value=value)


FIGURES = {  # what a published figure may be set against: in words, its unit, and how the report comes to it
    "model.parameters": ("parameters", "parameter", "counted"),
    "model.active_parameters": ("active parameters", "parameter", "counted"),
    "model.training_flop_per_token": ("training FLOP, token", "FLOP/token", "counted"),
    "training.flop": ("training FLOP", "FLOP", "counted"),
    "training.mfu": ("utilisation", "%", "predicted"),
    "training.mfu_with_scores": ("utilisation, scores too", "%", "predicted"),
    "training.flop_per_s_per_gpu": ("rate of a GPU", "FLOP/second/GPU", "predicted"),
    "training.machine_flop_per_s_per_gpu": ("rate, recompute too", "FLOP/second/GPU", "predicted"),
    "training.days": ("days", "day", "predicted"),
    "training.gpu_hours": ("GPU-hours", "GPU*hour", "predicted"),
    "training.cost_usd": ("training cost", "USD", "predicted"),
    "serving.kv_cache_bytes_per_token": ("KV cache of a token", "byte/token", "counted"),
    "serving.tokens_per_s_per_user": ("tokens/s of a user", "token/second", "data sheet"),
    "serving.tokens_per_s_per_gpu": ("tokens/s of a GPU", "token/second/GPU", "data sheet"),
    "serving.cost_usd_per_1000_tokens": ("cost of 1,000 tokens", "USD", "data sheet"),
}


# ---- what each key takes --------------------------------------------------------------------
def _number(x, low=0.0, high=math.inf, strict=True):
    real = isinstance(x, (int, float)) and not isinstance(x, bool) and math.isfinite(x)
    return real and (low < x if strict else low <= x) and x <= high


def whole(x) -> bool:
    """Whether x is a positive whole number."""
    return type(x) is int and x > 0


def _one_or_two(check):
    """Whether x passes, or is [low, high] of two that do."""
    return lambda x: check(x) or (isinstance(x, list) and len(x) == 2 and all(map(check, x)) and x[0] <= x[1])


def _some(check):
    """Whether x passes, or is a list of such."""
    return lambda x: check(x) or (isinstance(x, list) and x != [] and all(map(check, x)))


def known(names, kind: str):
    """A check of a name: None where it is known, else what is, the nearest first."""

    def takes(x):
        if x is None:
            return f"the name of a known {kind}"
        try:
            pick(x, names(), kind)
        except BadInput as error:
            return f"a known {kind} ({str(error).partition('; ')[2]})"

    return takes


def _takes(words, check):
    return lambda x: None if check(x) else words


TEXT = _takes("a text", lambda x: isinstance(x, str) and x.strip())
COUNT = _takes("a positive whole number", whole)
COUNTS = _takes("a positive whole number or a list of them", _some(whole))
NUMBER = _takes("a positive number", _number)
FROM_ZERO = _takes("a number of at least 0", lambda x: _number(x, strict=False))
FROM_ZERO_WHOLE = _takes("a whole number of at least 0", lambda x: type(x) is int and x >= 0)
FROM_ONE = _takes("a number of at least 1", lambda x: _number(x, 1.0, strict=False))
RANGE = _takes("a positive number or [low, high]", _one_or_two(_number))
SHARE = _takes("a share from 0 to 1", lambda x: _number(x, 0.0, 1.0, strict=False))
PART = _takes("a share above 0 and up to 1", lambda x: _number(x, 0.0, 1.0))
MFU = _takes("a share above 0 and up to 1, or [low, high]", _one_or_two(lambda x: _number(x, 0.0, 1.0)))
LOST = _takes(
    "a share from 0 to 0.99, or [low, high]", _one_or_two(lambda x: _number(x, 0.0, 0.99, strict=False))
)


def _source(x):
    """A key of the bibliography, or any other text; what all but spells a key is taken for a misspelt one."""
    if not isinstance(x, str) or not x.strip():
        return "a key of the bibliography, or a source in your own words or as a URL"
    like_a_key = x.replace("_", "").isalnum() and x.islower() and x not in sources()
    near = difflib.get_close_matches(x, sources(), n=1, cutoff=0.85) if like_a_key else []
    if not near:
        return None
    return f"a key of the bibliography (nearest known: {near[0]}), or a source in your own words or as a URL"


GPU = known(devices, "accelerator")
COMPUTE = _takes(f"one of {', '.join(PEAKS)}", lambda x: x in tuple(PEAKS))
LAYOUT = {f.name: COUNTS for f in fields(Layout)} | {
    "recompute": _takes(f"one of {', '.join(RECOMPUTE)}, or a list of them", _some(lambda x: x in RECOMPUTE)),
    "sequence": _takes("true or false", lambda x: isinstance(x, bool)),
    "zero": _takes("a stage from 0 to 3, or a list of them", _some(lambda x: type(x) is int and 0 <= x <= 3)),
}
LAYOUT.pop("batch")
KEYS = {
    "file": {"name": TEXT, "about": TEXT},
    "cluster": {
        "gpu": GPU,
        "n_gpus": COUNT,
        "nic_gbit_per_s": NUMBER,
        "gpus_per_node": COUNT,
        "nvlink_gb_per_s": NUMBER,
        "reserve_gb": FROM_ZERO,
        "price_usd_per_gpu_hour": RANGE,
    },
    "training": {"tokens": RANGE, "seq": COUNT, "batch_tokens": COUNTS, "mfu": MFU, "lost_share": LOST}
    | {f.name: SHARE if f.name.endswith("overlap") else NUMBER for f in fields(Recipe)},
    "training.layout": LAYOUT,
    "serving": {
        "gpu": GPU,
        "context": COUNT,
        "batch": COUNT,
        "user_tokens_per_s": NUMBER,
        "prompt": COUNT,
        "tensor": COUNT,
        "pipeline": COUNT,
        "expert": COUNT,
        "redundant_experts": FROM_ZERO_WHOLE,
        "micro_batches": COUNT,
        "weight_bytes": NUMBER,
        "kv_bytes": NUMBER,
        "act_bytes": NUMBER,
        "compute": COMPUTE,
        "nvlink_gb_per_s": NUMBER,
        "nic_gbit_per_s": NUMBER,
        "overhead": FROM_ONE,
        "overlap": SHARE,
        "ceiling": PART,
        "transfer": PART,
        "layer_seconds": FROM_ZERO,
        "usable": PART,
        "price_usd_per_gpu_hour": RANGE,
    },
    "published": {
        "figure": known(lambda: FIGURES, "figure"),
        "value": RANGE,
        "ref": TEXT,
        "place": TEXT,
        "note": TEXT,
        "source": _source,
    },
}
SECTIONS = ("model", "cluster", "training", "serving", "published")
NEEDED = {
    "cluster": ("gpu", "n_gpus", "nic_gbit_per_s"),
    "training": ("tokens", "seq", "batch_tokens"),
    "serving": ("context",),
    "published": ("figure", "source"),
}


def choice(allowed, near=None) -> str:
    """Values as a message lists them: all of a few, of many those nearest to `near`.

    >>> choice([1, 2, 4, 8]), choice(range(1, 99), 40)
    ('1, 2, 4, 8', 'such as 37, 38, 39, 40, 41, 42, 43')
    """
    allowed = sorted(allowed)
    if len(allowed) <= 16:
        return ", ".join(map(str, allowed))
    far = (lambda x: abs(x - near)) if isinstance(near, int) else allowed.index
    return "such as " + ", ".join(map(str, sorted(sorted(allowed, key=far)[:7])))


def serving_layout(shape, serving: dict) -> list[str]:
    """Mistakes in how [serving] divides a model: ranks that heads, widths or experts do not divide by, empty stages."""

    def size(name):
        value = serving.get(name, getattr(Server, name, 0))
        return value if type(value) is int and value >= (name != "redundant_experts") else None

    def fail(name, takes, value):
        found.append(
            f"[serving] {name} takes {takes}, got {value}" + ("" if name in serving else ", the default")
        )

    found, tensor, stages, ranks = [], size("tensor"), size("pipeline"), size("expert")
    widths = {"d_ff": shape.d_ff if shape.dense_layers else 0, "d_ff_expert": shape.d_ff_expert}
    for name, width in {"n_heads": shape.n_heads, **widths}.items():
        if tensor and width % tensor:
            fail("tensor", f"a divisor of {name} = {width}", tensor)
            break
    if stages and stages > shape.layers:
        fail("pipeline", f"at most layers = {shape.layers}", stages)
    experts, copies = shape.n_experts, size("redundant_experts") or 0
    if not experts:
        found += [
            f"[serving] {name} takes no value above {least} without experts in [model], got {serving[name]}"
            for name, least in (("expert", 1), ("redundant_experts", 0))
            if (size(name) or 0) > least
        ]
    elif ranks and (held := experts + copies) % ranks:
        words = f"n_experts + redundant_experts = {held}" if copies else f"n_experts = {experts}"
        allowed = choice([i for i in range(1, held + 1) if held % i == 0], ranks)
        fail("expert", f"a divisor of {words} ({allowed})", ranks)
    return found


def training_limits(every, only):
    """Raise BadInput at the first key of [training.layout] that leaves no layout, with the values that would."""
    left, before = np.ones(len(every), dtype=bool), []
    for key, asked in only.items():
        wanted = np.logical_or.reduce(
            [every.where(**{key: value}) for value in np.atleast_1d(asked).tolist()]
        )
        if not (left & wanted).any():
            rows = np.flatnonzero(left)[np.unique(every.columns[key][left], return_index=True)[1]]
            allowed = choice([getattr(every.layout(int(row)), key) for row in rows], asked)
            beside = f" beside {', '.join(before)}" if before else ""
            raise BadInput(
                f"layout.{key} takes {allowed}{beside}, so that model, batch and n_gpus = "
                f"{every.cluster.n_gpus:,} divide, got {asked}"
            )
        left, before = left & wanted, [*before, f"{key} = {asked}"]
