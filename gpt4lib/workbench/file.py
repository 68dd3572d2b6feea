"""Workbench files: everything that is wrong in one, and the library's objects that a sound one stands for."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from sympy import divisors

from ..facts.configs import Config, known_models, named_model, read_config
from ..facts.devices import Device, devices, hardware
from ..facts.files import data_file, data_names, holds_json, read_toml
from ..facts.given import given
from ..facts.models import Model, model_mistakes, model_of
from ..spine.errors import BadInput, choice, nearest, refuse
from ..spine.interval import Interval
from ..spine.schema import COUNT, TEXT, Mistakes, wrong
from ..spine.units import base_unit, unit_factor
from ..systems.count import weight_formats
from ..systems.efficiency import EfficiencySet, efficiency_for, efficiency_sets
from ..systems.machine import PEAKS, Cluster, Recipe, Server, filled_stages, stage_mistakes, undivided
from .keys import ELSEWHERE, FIGURES, FORMATS, HOMES, KEYS, NEEDED, OWN_GPU, PLAIN, SECTIONS, STAGE_KEYS

__all__ = ["FIGURES", "KEYS", "NEEDED"]  # what others take from here


@dataclass(frozen=True, kw_only=True)
class Training:
    """A training run; `only` limits layouts, `stages` lists layers if unequal; price in USD/GPU/second.

    Where the file is silent, transfers of data parallelism overlap as in the runs of `efficiency`.
    """

    tokens: Interval
    seq: int
    batch_tokens: int | list
    price: Interval | None
    mfu: Interval | None
    lost_share: Interval
    recipe: Recipe
    efficiency: EfficiencySet
    only: dict
    stages: list


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
    """A checked file; sections that it does not have are None. `notes` say how its model was read."""

    name: str
    about: str
    shape: Model
    cluster: Cluster | None
    training: Training | None
    serving: Serving | None
    published: tuple[Published, ...]
    notes: tuple[str, ...] = ()


# ---- reading --------------------------------------------------------------------------------
def examples() -> list[str]:
    """The names of the example files."""
    return data_names("workbench", ".toml")


def load_case(name) -> Case:
    """The case in a workbench file, or of a model alone: a model file, a config.json or its folder, a name.

    Names are those of the examples and of all models. Raises BadInput that lists every mistake.

    >>> load_case("mixtral-8x7b").shape.top_k, load_case("Qwen3-8B").shape.layers
    (2, 36)
    """
    path, where = Path(name), str(name)
    if where and (path.suffix.lower() in (".toml", ".json") or path.exists()):
        if path.stem in examples() and not path.exists():
            hint = f"the example is called {path.stem}, without {path.suffix}"
            raise BadInput(f"{path}: cannot be read, there is no such file; {hint}")
        if path.is_dir() or holds_json(path):
            read = read_config(path)
            return _case_of(read.model, _notes(read))
        mapping = read_toml(path)
        alone = mapping.keys() - {*KEYS["file"]} and not mapping.keys() & {*SECTIONS}
        return _case_of(model_of(mapping, where)) if alone else check(mapping, where, path.parent)
    if where in examples():
        return check(read_toml(data_file(f"workbench/{where}.toml")), where)
    try:
        return _case_of(*named_model(where))
    except BadInput:
        names = nearest(where, [*examples(), *known_models()])
        names = names if names.startswith("nearest") else f"examples: {', '.join(examples())}"
        raise BadInput(f"{where!r} is neither a file nor an example nor a model; {names}") from None


def _case_of(shape: Model, notes=()) -> Case:
    """The case of a model alone."""
    sections = dict.fromkeys(("cluster", "training", "serving"))
    return Case(name=shape.name, about="", shape=shape, published=(), notes=tuple(notes), **sections)


def _notes(read: Config) -> tuple[str, ...]:
    """What a configuration says of how it was read."""
    unknown = f"not understood, and passed over: {', '.join(read.unknown)}"
    return (*read.notes, *([unknown] if read.unknown else []))


def check(mapping: dict, where: str = "case", folder: Path = Path()) -> Case:
    """A case from a dict with the sections of a file in `folder`.

    Raises BadInput that lists every mistake, one a line.
    """
    top = {key: value for key, value in mapping.items() if key not in SECTIONS}
    found = Mistakes(wrong(top, KEYS["file"], beside=SECTIONS, homes=HOMES).values())
    name = top.get("name", where)
    shape, notes = _shape(mapping.get("model", {}), where if TEXT(name) else name, folder, found)
    sections = {key: mapping[key] if isinstance(mapping.get(key), dict) else {} for key in PLAIN}
    for key, part in _parts(mapping):
        beside, keys = ["layout"] if key == "training" else [], KEYS[key]
        if _is_own(sections, key):
            keys, part = ({k: v for k, v in of.items() if k != "gpu"} for of in (keys, part))
        found += wrong(part, keys, f"[{key}]", beside=beside, homes=HOMES).values()
    if own := _own_gpu(sections["gpu"], found):
        sections |= {key: sections[key] | {"gpu": own} for key in sections if _is_own(sections, key)}
    found += _together(**sections)
    layout = sections["training"].get("layout", {})
    if shape and not {"", "pipeline", "chunks", *STAGE_KEYS} & {*wrong(layout, KEYS["training.layout"])}:
        found += [f"[training.layout] {line}" for line in stages_of(shape.layers, layout)[1]]
    if shape and sections["serving"]:
        found += serving_layout(shape, sections["serving"])
    rows = _rows(mapping.get("published", []), found)
    refuse(where, found)
    return replace(_case(top, shape, sections, rows, where), notes=notes)


def _parts(mapping):
    """The sections of keys that a file has, [training.layout] on its own."""
    for key in PLAIN:
        if key in mapping:
            part = mapping[key]
            if key == "training" and isinstance(part, dict) and "layout" in part:
                yield "training.layout", part["layout"]
                part = {name: value for name, value in part.items() if name != "layout"}
            yield key, part


def _is_own(sections, key) -> bool:
    """Whether the GPU of [cluster] or [serving] is that of [gpu]; a server's is the cluster's by default."""
    if key not in ("cluster", "serving") or not (sections["gpu"] and sections[key]):
        return False
    own = sections["gpu"].get("name", OWN_GPU)
    default = None if key == "serving" and sections["cluster"] else own
    return sections[key].get("gpu", default) == own


def _own_gpu(keys, found) -> Device | None:
    """The accelerator of [gpu], None where it is not there or wrong. Two memories or none join `found`."""
    memories = {"memory_gb", "memory_gib"} & {*keys}
    if keys and len(memories) != 1:
        got = "both" if memories else "neither"
        found.append(f"[gpu] takes either memory_gb or memory_gib, got {got}")
    if keys.get("name") in [*devices()]:
        found.append(f"[gpu] name takes one that no known accelerator has, got {keys['name']!r}")
    if len(memories) != 1 or wrong(keys, KEYS["gpu"]):
        return None
    known = _in_base(keys, _OF_GPU)
    if "interconnect_bytes_per_s" in known:
        known["interconnect_bytes_per_s"] *= 2  # both ways, as sheets count
    return Device(name=keys.get("name", OWN_GPU), **known)


def _shape(asked, name, folder, found) -> tuple[Model | None, tuple[str, ...]]:
    """The model of [model], with notes; None where something is wrong, which joins `found`."""
    if not isinstance(asked, dict) or not asked:
        takes = "a section of keys" if asked else 'shape = "NAME", config = "FILE" or the keys of a shape'
        found.append(f"[model] takes {takes}, got {repr(asked) if asked else 'nothing'}")
        return None, ()
    way = next((key for key in ELSEWHERE if key in asked), None)
    if way is None:
        keys = {"name": name} | asked
        lines = model_mistakes(keys, homes=HOMES)
    else:
        beside = [key for key in asked if key != way]
        lines = [f"{key} takes no value beside {way}, got {asked[key]!r}" for key in beside]
        lines += filter(None, [ELSEWHERE[way].mistake(way, asked[way])])
    found += [f"[model] {line}" for line in lines]
    if lines:
        return None, ()
    if way == "config":
        read = found.attempt(read_config, folder / asked["config"], place="[model] config: ")
        return (read.model, _notes(read)) if read else (None, ())
    return named_model(asked["shape"]) if way else (model_of(keys), ())


def _rows(rows, found) -> list[Published]:
    """The published figures; what is wrong in one joins `found`."""
    if not isinstance(rows, list):
        once = "double brackets, one section a figure" if isinstance(rows, dict) else "a section of keys"
        found.append(f"[[published]] takes {once}, got {rows!r}")
        return []
    read = []
    for i, row in enumerate(rows, 1):
        place = f"[[published]] {i}:"
        lines = wrong(row, KEYS["published"], place, homes=HOMES)
        found += lines.values()
        if isinstance(row, dict) and ("ref" in row) == ("value" in row):
            found.append(f"{place} takes either value or ref, got {'both' if 'ref' in row else 'neither'}")
        elif not lines:
            takes = f"ref takes a figure of the ledger in {FIGURES[row['figure']][1]}"
            read.append(found.attempt(_published, row, place=f"{place} {takes}, got {row.get('ref')!r}: "))
    return read


def _together(gpu, cluster, training, serving):
    """What only shows between keys of [gpu], [cluster], [training] and [serving]."""
    found, seq = [], training.get("seq")
    batches = training.get("batch_tokens", [])
    for batch in batches if isinstance(batches, list) else [batches]:
        if COUNT(seq) is None and COUNT(batch) is None and batch % seq:
            such = f"multiples of seq = {seq:,}, such as {max(1, round(batch / seq)) * seq:,}"
            found.append(f"[training] batch_tokens takes {such}, got {batch:,}")
    layout, fused = training.get("layout"), training.get("attention", "fused") == "fused"
    if fused and isinstance(layout, dict) and layout.get("recompute") == "selective":
        takes = 'none or full beside fused attention, which stores no scores, or attention = "unfused"'
        found.append(f"[training.layout] recompute takes {takes}, got 'selective'")
    if training and not cluster:
        found.append("[cluster] is missing, and [training] takes one")
    if serving and not gpu and "gpu" not in serving and "gpu" not in cluster:
        found.append("[serving] gpu is missing, and there is no [cluster] or [gpu] to take it from")
    prompt, context = serving.get("prompt", 1), serving.get("context")
    if COUNT(prompt) is None and COUNT(context) is None and prompt > context:
        found.append(f"[serving] prompt takes at most context = {context:,}, got {prompt:,}")
    for name, section in (("cluster", cluster), ("serving", serving)):
        used = section.get("gpu", cluster.get("gpu"))
        if section and (isinstance(used, Device) or used in [*devices()]):
            links = {**cluster, **section} if used == cluster.get("gpu") else section
            found += [f"[{name}] {line}" for line in _device(used, section, links)]
    return found


def _device(gpu, section, links):
    """What a section asks of an accelerator that it does not have."""
    found, device = [], hardware(gpu)
    held, there = section.get("reserve_gb", 0), device.memory_bytes / unit_factor("GB", "byte")
    if isinstance(held, (int, float)) and held >= there:
        found.append(f"reserve_gb takes less than the {there:g} GB of {gpu}, got {held}")
    several = section.get("n_gpus", section.get("tensor", Server.tensor)) != 1
    if device.interconnect_bytes_per_s is None and "nvlink_gb_per_s" not in links and several:
        found.append(f"nvlink_gb_per_s takes a positive number (no sheet has {gpu}'s), got nothing")
    computes, asked = [name for name, peak in PEAKS.items() if getattr(device, peak)], section.get("compute")
    if asked in [*PEAKS] and asked not in computes:
        found.append(f"compute takes one of {', '.join(computes)} on {gpu}, got {asked!r}")
    return found


# ---- from keys to the library's objects -----------------------------------------------------
def interval(value) -> Interval:
    """An interval of a number or of [low, high]."""
    return Interval(*map(float, value)) if isinstance(value, list) else Interval(float(value), float(value))


def _price(section):
    hour = section.get("price_usd_per_gpu_hour")
    factor = unit_factor("USD/GPU/hour", "USD/GPU/second")
    return None if hour is None else Interval(interval(hour).lo * factor, interval(hour).hi * factor)


_LINKS = {"nvlink_gb_per_s": ("nvlink_bytes_per_s", "GB"), "nic_gbit_per_s": ("nic_bytes_per_s", "Gb")}
_OF_GPU = {  # of [gpu]: field and unit
    **{f"memory_{unit.lower()}": ("memory_bytes", unit) for unit in ("GB", "GiB")},
    "bandwidth_gb_per_s": ("bandwidth_bytes_per_s", "GB"),
    **{f"{kind}_tflop_per_s": (f"{kind}_flop_per_s", "TFLOP") for kind in ("bf16", "fp8")},
    "int8_top_per_s": ("int8_op_per_s", "TFLOP"),
    "nvlink_gb_per_s": ("interconnect_bytes_per_s", "GB"),
    "tdp_watt": ("tdp_watt", "watt"),
}


def _in_base(section, units):
    """What a section gives of the keys of `units`, by field, in base units."""
    there = {key: how for key, how in units.items() if key in section}
    return {name: section[key] * unit_factor(unit, base_unit(unit)) for key, (name, unit) in there.items()}


def _case(top, shape, sections, rows, where):
    c, s = sections.get("cluster", {}), sections.get("serving", {})
    return Case(
        name=top.get("name", where),
        about=top.get("about", ""),
        shape=shape,
        cluster=_cluster(c) if c else None,
        training=_training(sections["training"], shape, c) if sections.get("training") else None,
        serving=_serving(s, c, shape) if s else None,
        published=tuple(rows),
    )


def _cluster(c):
    reserve = c.get("reserve_gb", 0.0) * unit_factor("GB", "byte")
    size = {"n_gpus": c["n_gpus"], "gpus_per_node": c.get("gpus_per_node", 8)}
    return Cluster(device=c["gpu"], reserve_bytes=reserve, **size, **_in_base(c, _LINKS))


def _training(t, shape, c):
    only, attention = t.get("layout", {}), t.get("attention", "fused")
    known = efficiency_sets()[t["efficiency"]] if "efficiency" in t else efficiency_for(c["gpu"], attention)
    default = {"attention": attention, "data_overlap": known.data_overlap}
    stages = stages_of(shape.layers, only)[0]
    if any(only.get(key) for key in STAGE_KEYS):
        only = only | {"pipeline": [*map(len, stages)]}
    return Training(
        tokens=interval(t["tokens"]),
        seq=t["seq"],
        batch_tokens=t["batch_tokens"],
        price=_price(c),
        mfu=interval(t["mfu"]) if "mfu" in t else None,
        lost_share=interval(t.get("lost_share", 0.0)),
        recipe=Recipe(**default | {f.name: t[f.name] for f in fields(Recipe) if f.name in t}),
        efficiency=known,
        only={key: asked for key, asked in only.items() if key not in STAGE_KEYS},
        stages=stages,
    )


def _serving(s, c, shape):
    same = s.get("gpu", c.get("gpu")) == c.get("gpu")
    options = {f.name: s[f.name] for f in fields(Server) if f.name in s}
    options |= _in_base({**(c if same else {}), **s}, _LINKS) | _formats(shape, s.get("weight_bytes", {}))
    if any(s.get(key) for key in STAGE_KEYS):
        stages = stages_of(shape.layers, s)[0][0]
        options |= {"stage_layers": stages, "pipeline": len(stages)}
    options["divide_cache"] = s.get("cache") == "sequences"
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


def _formats(shape, asked):
    """Bytes of a weight in and outside experts: as asked, one number or by part, and else as released."""
    each = asked if isinstance(asked, dict) else dict.fromkeys(FORMATS, asked)
    return weight_formats(replace(shape, **{FORMATS[part]: size for part, size in each.items()}))


def _published(row):
    """A published figure with its value, or that of its `ref`, as an interval in the figure's unit."""
    if "ref" not in row:
        return Published(**row | {"value": interval(row["value"])})
    found, unit = given(row["ref"]), FIGURES[row["figure"]][1]
    factor = 1.0 if unit == "%" else unit_factor(found.unit, unit)
    value = Interval(found.interval.lo * factor, found.interval.hi * factor)
    return Published(**{key: row[key] for key in row if key != "ref"}, value=value)


def stages_of(layers: int, layout: dict) -> tuple[list, list[str]]:
    """The layers of each stage as a section has them, for each number of stages; its mistakes."""
    asked, chunks = (np.atleast_1d(layout.get(key, [])).tolist() for key in ("pipeline", "chunks"))
    own, *fewer = (layout.get(key, 0) for key in STAGE_KEYS)
    if own:
        lines = [line for v in chunks or [1] for line in stage_mistakes(own, layers, v)]
        beside = {key: x for key, x in zip(STAGE_KEYS[1:], fewer) if x}
        lines += [f"{key} takes no value beside stage_layers, got {x}" for key, x in beside.items()]
        other = f"pipeline takes {len(own)}, the stages of stage_layers, got {layout.get('pipeline')}"
        return [tuple(own)], [*dict.fromkeys(lines), *([other] if asked and len(own) not in asked else [])]
    if not any(fewer):
        return [filled_stages(layers, p) for p in asked if layers % p and p < layers], []
    total = layers + sum(fewer)
    fit = [p for p in divisors(total)[1:] if total // p > max(fewer)]
    takes = f"a divisor of {total}, the layers and those that stages have fewer ({choice(fit) or 'none'})"
    lines = [f"pipeline takes {takes}, got {p}" for p in asked if p not in fit]
    if not fit:
        lines.append(f"first and last_stage_fewer take less than the layers of a stage, got {max(fewer)}")
    return [filled_stages(layers, p, *fewer) for p in asked or fit if p in fit], lines


def serving_layout(shape, serving: dict) -> list[str]:
    """What [serving] cannot divide: heads, widths or experts by its ranks, layers into its stages."""
    size = dict.fromkeys(("tensor", "pipeline", "expert"), 1) | {"redundant_experts": 0}
    for name, least in size.items():  # what is wrong on its own counts as the least, which always divides
        value = serving.get(name, getattr(Server, name, least))
        size[name] = value if type(value) is int and value > least else least
    widths = {name: getattr(shape, name) for name in ("n_heads", "d_ff_expert", "n_state_heads")}
    widths |= {"d_ff": shape.d_ff if shape.dense_layers else 0}
    copies, ranks = size["redundant_experts"], size["expert"]
    experts = shape.n_experts
    held = f"n_experts + redundant_experts = {experts + copies}" if copies else f"n_experts = {experts}"
    uneven = experts and (experts + copies) % ranks
    allowed = choice(divisors(experts + copies), ranks) if uneven else ""
    alone = "without experts in [model]"
    size["weight_bytes"] = formats = serving.get("weight_bytes", {})
    in_experts = isinstance(formats, dict) and "experts" in formats
    clashes = (
        ("pipeline", f"at most layers = {shape.layers}", size["pipeline"] > shape.layers),
        ("expert", f"a divisor of {held} ({allowed})", uneven),
        ("expert", f"no value above 1 {alone}", not experts and ranks > 1),
        ("redundant_experts", f"no value above 0 {alone}", not experts and copies),
        ("weight_bytes", f"no experts {alone}", not experts and in_experts),
    )
    staged = {key: serving[key] for key in (*STAGE_KEYS, "pipeline") if key in serving}
    lines = []
    if any(map(staged.get, STAGE_KEYS)) and not wrong(staged, KEYS["serving"]).keys() & staged.keys():
        default = {} if "stage_layers" in staged else {"pipeline": 1}
        lines = stages_of(shape.layers, default | staged)[1]
    lines += undivided(size["tensor"], shape.n_kv_heads or 1, **widths)
    lines += [f"{name} takes {takes}, got {size[name]}" for name, takes, bad in clashes if bad]
    default = lambda line: "" if line.split()[0] in serving else ", the default"
    return [f"[serving] {line}{default(line)}" for line in lines]


def training_limits(every, only):
    """Raise BadInput at the first key of [training.layout] that leaves no layout, with values that would."""
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
