"""The workbench's file: a model, a cluster, a training run and a serving target in TOML, read and checked.

Every mistake of a file is found and named at once: the key, what it takes, what it got. The examples are
`data/workbench/*.toml`; `gpt4lib.workbench` makes the report.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

from . import shapes
from .data import data_file, devices, hardware, pick, read_toml
from .interval import Interval
from .serving_model import PEAKS, Server
from .step_time import Cluster, Recipe
from .units import BadInput, unit_factor
from .workbench_keys import FIGURES, KEYS, NEEDED, SECTIONS, TEXT, known, whole
from .workbench_layout import serving_layout


@dataclass(frozen=True, kw_only=True)
class Case:
    """A checked file. `training` and `serving` are empty where it has no such section; prices in USD/GPU/second."""

    name: str
    about: str
    shape: shapes.Shape
    cluster: Cluster | None
    training: dict
    serving: dict
    published: tuple


# ---- reading --------------------------------------------------------------------------------
def examples() -> list[str]:
    """The names of the example files."""
    return sorted(p.name.removesuffix(".toml") for p in data_file("workbench/gpt-4.toml").parent.iterdir())


def load(name) -> Case:
    """The case in a TOML file, or the example of that name ("gpt-4"). Raises BadInput that lists every mistake.

    >>> load("mixtral-8x7b").shape.top_k
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
        if key in (shapes.TYPES if name == "model" else KEYS[name])
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
        found = [
            f"[model] {_unknown(key, given[key], shapes.TYPES)}" for key in given if key not in shapes.TYPES
        ]
        keys = {"name": name} | {key: value for key, value in given.items() if key in shapes.TYPES}
        found += [f"[model] {mistake}" for mistake in shapes.mistakes(keys)] if given else []
        return (None if found or not given else shapes.from_mapping(keys)), found
    files = [p.name.removesuffix(".toml") for p in data_file("shapes/gpt4_multi_head.toml").parent.iterdir()]
    found = [
        f"[model] {key} takes no value beside shape, got {given[key]!r}" for key in given if key != "shape"
    ]
    takes = known(lambda: [*shapes.models(), *files], "model")(given["shape"])
    if takes:
        found.append(f"[model] shape takes {takes}, got {given['shape']!r}")
    if found:
        return None, found
    name = given["shape"]
    return shapes.load(data_file(f"shapes/{name}.toml")) if name in files else shapes.model(name).shape, []


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
    c, t, s = ({**sections.get(name, {})} for name in ("cluster", "training", "serving"))
    price = _price(c)
    cluster = (
        Cluster(
            device=c["gpu"],
            n_gpus=c["n_gpus"],
            gpus_per_node=c.get("gpus_per_node", 8),
            reserve_bytes=c.get("reserve_gb", 0.0) * unit_factor("GB", "byte"),
            **_links(c),
        )
        if c
        else None
    )
    training = (
        {
            "tokens": interval(t["tokens"]),
            "seq": t["seq"],
            "batch_tokens": t["batch_tokens"],
            "price": price,
            "mfu": interval(t["mfu"]) if "mfu" in t else None,
            "lost_share": interval(t.get("lost_share", 0.0)),
            "recipe": Recipe(**{f.name: t[f.name] for f in fields(Recipe) if f.name in t}),
            "only": t.get("layout", {}),
        }
        if t
        else {}
    )
    same = s.get("gpu", c.get("gpu")) == c.get("gpu")
    options = {f.name: s[f.name] for f in fields(Server) if f.name in s} | _links(
        {**(c if same else {}), **s}
    )
    serving = (
        {
            "server": Server(**{"gpu": c.get("gpu"), **options}),
            "context": s["context"],
            "batch": s.get("batch"),
            "user_rate": s.get("user_tokens_per_s"),
            "prompt": s.get("prompt"),
            "redundant_experts": s.get("redundant_experts", 0),
            "n_gpus": None if "gpu" in s else c["n_gpus"],
            "price": _price(s) or (price if same else None),
        }
        if s
        else {}
    )
    published = tuple(_published(row) for row in rows)
    return Case(
        name=top.get("name", where),
        about=top.get("about", ""),
        shape=shape,
        cluster=cluster,
        training=training,
        serving=serving,
        published=published,
    )


def _published(row):
    """A published figure with its value as an interval, in the figure's unit; `ref` names one of the ledger's."""
    row = {"place": "", "note": ""} | row
    if "ref" not in row:
        return row | {"value": interval(row["value"])}
    from .ledger import given

    stated, unit = given(row["ref"]), FIGURES[row["figure"]][1]
    factor = 1.0 if unit == "%" else unit_factor(stated.unit, unit)
    return row | {"value": Interval(stated.interval.lo * factor, stated.interval.hi * factor)}
