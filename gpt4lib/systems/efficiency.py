"""Efficiency: how much of its data sheet a machine reaches with its software, fitted on published runs.

    efficiency_for("H100-SXM 80GB", "fused").efficiency.ceiling

`efficiency_sets` are the rows of `data/efficiency.csv`: constants fitted on runs of one card and software,
stored with how far they miss a run that they have not seen. `fit` fits them all, `leave_one_out` judges.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from functools import cache
from math import log

import numpy as np

from ..chapters import training_step as laws
from ..facts.devices import Device, hardware
from ..facts.files import published, read_csv
from ..facts.models import Model, model_of
from ..spine.errors import pick
from .count import flop_per_token
from .machine import Cluster, Layout, Recipe
from .step import before_kinds, of_kind, parts_of, step_inputs, with_ranks

CHAPTERS = "A100 2021 Megatron"  # the set that stands in where none is named: A100, unfused


@dataclass(frozen=True)
class Efficiency:
    """How much of its data sheet a GPU reaches.

    `ceiling` is the share of peak of an endless matrix product, `half_side` the side of the cube that
    reaches half of that, `transfer` the share of memory and link rates, `attention` the share of peak of a
    fused attention kernel; None takes that for a product like others.
    """

    ceiling: float
    half_side: float
    transfer: float
    attention: float | None = None

    def letters(self, known: dict) -> dict:
        """The constants by letter; `known` sides of a product give what nobody measured."""
        found = {name: x for name, x in asdict(self).items() if x is not None}
        sides = {"rows": known["T"], "inner": known["T"], "columns": known["d_qk"]}
        size = laws.product_volume(**sides)
        return {"attention": laws.as_others.at(found, volume=size)} | found


# ---- sets -----------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class EfficiencySet:
    """Constants of one card and software, fitted on the `section` of a published table.

    `error` is the mean miss of a run left out; of ten such runs nine measured `low` to `high` times what was
    predicted. `data_overlap` and `assumed` say what was taken for granted.
    """

    name: str
    card: str
    precision: str
    attention_kernel: str
    software: str
    year: int
    table: str
    section: str
    data_overlap: float
    efficiency: Efficiency
    error: float
    low: float
    high: float
    source: str
    assumed: str


@cache
def efficiency_sets() -> dict[str, EfficiencySet]:
    """All sets by name."""
    found = {}
    for row in read_csv("efficiency.csv"):
        numbers = {name: float(row.pop(name)) for name in ("data_overlap", "error", "low", "high")}
        constants = {name: row.pop(name) for name in Efficiency.__dataclass_fields__}
        fitted = Efficiency(**{name: float(x) for name, x in constants.items() if x})
        year = int(row.pop("year"))
        found[row["name"]] = EfficiencySet(**row | numbers, year=year, efficiency=fitted)
    return found


def efficiency_for(card: str | Device, attention: str, precision: str = "bf16") -> EfficiencySet:
    """The set of the card nearest in peak, then of the same kind of attention, then the newest.

    Raises BadInput for an unknown card or precision.

    >>> efficiency_for("H200-SXM", "fused").name, efficiency_for("A100-SXM 40GB", "unfused").name
    ('H100 2023 MosaicML', 'A100 2021 Megatron')
    """
    known = [each for each in efficiency_sets().values() if each.precision == precision]
    pick(precision, {each.precision for each in efficiency_sets().values()}, "precision of a set")
    peak = lambda of: log(hardware(of).bf16_flop_per_s)
    far = lambda each: abs(peak(each.card) - peak(card))
    return min(known, key=lambda each: (far(each), each.attention_kernel != attention, -each.year))


# ---- published runs -------------------------------------------------------------------------
@dataclass(frozen=True)
class PublishedRun:
    """A published run and its FLOP per second and GPU as measured, repeated FLOP included."""

    shape: Model
    cluster: Cluster
    layout: Layout
    seq: int
    recipe: Recipe
    measured: float


def gpt(*, heads: int, hidden: int, layers: int, vocab: int = 51200, seq: int = 2048) -> Model:
    """A GPT with plain MLP of fourfold width and biases; Narayanan et al. 2021 took 51,200 words."""
    shape = {"name": f"GPT, {layers} layers of {hidden}", "layers": layers, "d_model": hidden}
    shape |= {"n_heads": heads, "n_kv_heads": heads, "d_head": hidden // heads}
    shape |= {"vocab": vocab, "tied_embeddings": True, "positions": "learned", "max_positions": seq}
    return model_of(shape | {"d_ff": 4 * hidden, "mlp_matrices": 2, "biases": True})


@cache
def runs(name: str = CHAPTERS) -> tuple[PublishedRun, ...]:
    """The runs that the set `name` is fitted on. Raises BadInput for an unknown set."""
    asked = efficiency_sets()[pick(name, efficiency_sets(), "efficiency")]
    if asked.table == "mosaic_runs":
        return tuple(mosaic_run(r) for r in published(asked.table) if r["section"] == asked.section)
    rows, scripts = published(asked.table), published(f"{asked.table}_runs")
    return tuple(megatron_run(row, script) for row, script in zip(rows, scripts, strict=True))


def megatron_run(row: dict, script: dict) -> PublishedRun:
    """A run of Narayanan et al. 2021, Table 1, with what its script says of chunks and overlap."""
    names = ("heads", "hidden", "layers", "tp", "pp", "n_gpus", "batch")
    heads, hidden, layers, tp, p, n, batch = (int(row[name]) for name in names)
    chunks = layers // p // int(script["layers_per_chunk"]) if script["layers_per_chunk"] else 1
    layout = Layout(tp, p, n // tp // p, 1, chunks, int(script["micro_batch"]), batch, "full")
    nic = float(script["nic_gbit_per_s"]) * 1e9 / 8
    cluster = Cluster(device="A100-SXM 80GB", n_gpus=n, nic_bytes_per_s=nic)
    # PyTorch's own data parallelism reduces the gradient beside the backward pass.
    recipe = Recipe(data_overlap=float(script["data_parallel"] == "torch"))
    shape = gpt(heads=heads, hidden=hidden, layers=layers)
    return PublishedRun(shape, cluster, layout, 2048, recipe, float(row["tflops_per_gpu"]) * 1e12)


def mosaic_run(row: dict) -> PublishedRun:
    """A run of MosaicML's table: FSDP, its transfers hidden, and one attention kernel."""
    names = ("heads", "hidden", "layers", "sequence", "n_gpus", "micro_batch", "batch")
    heads, hidden, layers, seq, n, micro_batch, batch = (int(row[name]) for name in names)
    shape = gpt(heads=heads, hidden=hidden, layers=layers, vocab=50368, seq=seq)
    recompute = "full" if row["checkpointing"] == "true" else "none"
    zero = 3 if row["sharding"] == "FULL_SHARD" else 2
    layout = Layout(data=n, micro_batch=micro_batch, batch=batch, recompute=recompute, zero=zero)
    cluster = Cluster(device=row["card"], n_gpus=n, nic_bytes_per_s=float(row["nic_gbit_per_s"]) * 1e9 / 8)
    measured = float(row["tokens_per_s_per_gpu"]) * token_flop(shape, seq, recompute)
    return PublishedRun(shape, cluster, layout, seq, Recipe(attention="fused", data_overlap=1.0), measured)


def token_flop(shape: Model, seq: int, recompute: str) -> float:
    """FLOP of training on one token, done again where everything is."""
    flop = flop_per_token(shape, seq)
    again = sum(flop.values()) - flop["unembedding"] if recompute == "full" else 0.0
    return laws.machine_flop(C_full=sum(flop.values()), C_again=again, B_tok=1)


# ---- fit ------------------------------------------------------------------------------------
@cache
def _columns(rows: tuple[PublishedRun, ...]) -> dict:
    """Inputs of the laws as arrays, and the places of their runs, by kind of layout and attention."""
    each, found = defaultdict(list), {}
    for i, r in enumerate(rows):
        kind = r.layout.recompute, r.layout.sequence, r.layout.zero, False, r.recipe.attention == "fused"
        each[kind].append((i, step_inputs(r.shape, r.cluster, r.seq, r.recipe) | asdict(r.layout)))
    for kind, some in each.items():
        places, inputs = zip(*some)
        words = ("recompute", "stage_layers", "fused")
        columns = {x: np.array([own[x] for own in inputs], float) for x in inputs[0] if x not in words}
        found[kind] = list(places), with_ranks(columns)
    return found


def predicted(rows: tuple[PublishedRun, ...], efficiency: Efficiency) -> np.ndarray:
    """FLOP per second and GPU of published runs; a row for each of constants given as columns."""
    constants = {name: x for name, x in asdict(efficiency).items() if x is not None}
    found = np.empty((*np.shape(efficiency.ceiling)[:1], len(rows)))
    for kind, (places, columns) in _columns(rows).items():
        x = columns | constants
        chain = before_kinds(parts_of(x), kind[-1]) + of_kind(*kind)
        found[..., places] = chain.on_arrays(x)["flop_per_gpu_s"]
    return found


def _efficiency(free: np.ndarray) -> Efficiency:
    """The constants from three or four numbers without bounds: the shares stay between 0 and 1."""
    share = lambda x: 1 / (1 + np.exp(-x))
    return Efficiency(share(free[0]), np.exp(free[1]), *map(share, free[2:]))


def _search(rows: list[int], constants: int):
    """Levenberg-Marquardt: yields points, is sent the misses of all runs there, returns `rows`' best."""
    free, damping = np.array([1.0, 7.0, 1.0, -1.0][:constants]), 1e-2
    now = (yield free[None])[0][rows]
    for _ in range(200):
        beside = yield free + 1e-6 * np.eye(constants)
        slope = np.array([(miss[rows] - now) / 1e-6 for miss in beside]).T
        square = slope.T @ slope
        lift = damping * (np.diag(np.diag(square)) + 1e-9 * np.eye(constants))
        move = np.linalg.solve(square + lift, -slope.T @ now)
        there = (yield (free + move)[None])[0][rows]
        if there @ there < now @ now:
            free, now = free + move, there
            damping /= 5
        else:
            damping *= 5
        if np.abs(move).max() < 1e-7:
            break
    return free


def fits(left_out, rows: tuple[PublishedRun, ...] | None = None) -> list[Efficiency]:
    """`fit` without each of these runs; the searches go side by side, their points evaluated together."""
    rows = runs() if rows is None else rows
    measured = np.array([r.measured for r in rows])
    constants = 3 + any(r.recipe.attention == "fused" for r in rows)
    searches = [_search([i for i in range(len(rows)) if i != out], constants) for out in left_out]
    asked, found = {search: next(search) for search in searches}, {}
    while asked:
        points, ends = np.concatenate(list(asked.values())), np.cumsum([len(x) for x in asked.values()])
        misses = np.log(predicted(rows, _efficiency(points.T[..., None])) / measured)
        for search, some in zip(list(asked), np.split(misses, ends[:-1])):
            try:
                asked[search] = search.send(some)
            except StopIteration as end:
                own = asdict(_efficiency(end.value)).values()
                found[search] = Efficiency(*(float(x) for x in own if x is not None))
                del asked[search]
    return [found[search] for search in searches]


@cache
def fit(without: int | None = None, rows: tuple[PublishedRun, ...] | None = None) -> Efficiency:
    """The constants that predict published runs, all or `without` one, best: least squares of logarithms.

    >>> fit().half_side > 1000 and 0.7 < fit().ceiling < 1
    True
    """
    return fits([without], rows)[0]


def leave_one_out(rows: tuple[PublishedRun, ...] | None = None) -> np.ndarray:
    """FLOP per second and GPU of each published run, predicted with the constants of the others."""
    rows = runs() if rows is None else rows
    return np.array([predicted(rows, own)[i] for i, own in enumerate(fits(range(len(rows)), rows))])


def fitted_anew(name: str) -> dict:
    """What the set `name` stores, computed anew: its constants and how far runs left out of the fit miss."""
    rows = runs(name)
    found = np.array([r.measured for r in rows]) / leave_one_out(rows)
    low, high = np.percentile(found, (5, 95))
    errors = {"error": np.abs(1 / found - 1).mean(), "low": low, "high": high}
    return asdict(fit(None, rows)) | {key: float(x) for key, x in errors.items()}
