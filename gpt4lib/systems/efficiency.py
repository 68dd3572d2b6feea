"""Efficiency: how much of its data sheet a machine reaches, fitted on ten published runs.

Three constants say it: `fit` finds them, `leave_one_out` says how well they predict a run that they have not
seen. They were measured on A100s in 2021; for other machines they are an assumption.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache

import numpy as np

from ..chapters import training_step as laws
from ..facts.files import published
from ..facts.models import Model, model_of
from .machine import Cluster, Layout, Recipe
from .step import before_kinds, of_kind, parts_of, step_inputs, with_ranks


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


# ---- three constants from ten published runs ------------------------------------------------
@dataclass(frozen=True)
class PublishedRun:
    """A published run and its FLOP per second and GPU as measured, repeated FLOP included."""

    shape: Model
    cluster: Cluster
    layout: Layout
    seq: int
    recipe: Recipe
    measured: float


def gpt(*, heads: int, hidden: int, layers: int) -> Model:
    """A GPT of Narayanan et al. 2021: plain MLP of fourfold width, biases, 51,200 words."""
    shape = {"name": f"GPT, {layers} layers of {hidden}", "layers": layers, "d_model": hidden}
    shape |= {"n_heads": heads, "n_kv_heads": heads, "d_head": hidden // heads}
    shape |= {"vocab": 51200, "tied_embeddings": True, "positions": "learned", "max_positions": 2048}
    return model_of(shape | {"d_ff": 4 * hidden, "mlp_matrices": 2, "biases": True})


@cache
def runs() -> tuple[PublishedRun, ...]:
    """The ten runs of Narayanan et al. 2021, Table 1, with what their scripts say of chunks and overlap."""
    found, names = [], ("heads", "hidden", "layers", "tp", "pp", "n_gpus", "batch")
    for row, script in zip(published("megatron_table1"), published("megatron_table1_runs"), strict=True):
        heads, hidden, layers, tp, p, n, batch = (int(row[name]) for name in names)
        chunks = layers // p // int(script["layers_per_chunk"]) if script["layers_per_chunk"] else 1
        layout = Layout(tp, p, n // tp // p, 1, chunks, int(script["micro_batch"]), batch, "full")
        nic = float(script["nic_gbit_per_s"]) * 1e9 / 8
        cluster = Cluster(device="A100-SXM 80GB", n_gpus=n, nic_bytes_per_s=nic)
        # PyTorch's own data parallelism reduces the gradient beside the backward pass.
        recipe = Recipe(data_overlap=float(script["data_parallel"] == "torch"))
        shape = gpt(heads=heads, hidden=hidden, layers=layers)
        found.append(PublishedRun(shape, cluster, layout, 2048, recipe, float(row["tflops_per_gpu"]) * 1e12))
    return tuple(found)


@cache
def _columns() -> dict:
    each = [step_inputs(r.shape, r.cluster, r.seq, r.recipe) | asdict(r.layout) for r in runs()]
    words = ("recompute", "stage_layers")
    return {name: np.array([x[name] for x in each], dtype=float) for name in each[0] if name not in words}


def predicted(efficiency: Efficiency) -> np.ndarray:
    """FLOP per second and GPU of the published runs; a row for each of constants given as columns."""
    x = with_ranks(_columns()) | asdict(efficiency)
    return (before_kinds(parts_of(x)) + of_kind("full", False, 0, False)).on_arrays(x)["flop_per_gpu_s"]


def _efficiency(free: np.ndarray) -> Efficiency:
    """The constants from three numbers without bounds: the shares stay between 0 and 1."""
    (ceiling, transfer), half_side = 1 / (1 + np.exp(-free[[0, 2]])), np.exp(free[1])
    return Efficiency(ceiling, half_side, transfer)


def _search(rows: list[int]):
    """Levenberg-Marquardt: yields points, is sent the misses of all runs there, returns `rows`' best."""
    free, damping = np.array([1.0, 7.0, 1.0]), 1e-2
    now = (yield free[None])[0][rows]
    for _ in range(200):
        beside = yield free + 1e-6 * np.eye(3)
        slope = np.array([(miss[rows] - now) / 1e-6 for miss in beside]).T
        square = slope.T @ slope
        lift = damping * (np.diag(np.diag(square)) + 1e-9 * np.eye(3))
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


def fits(left_out) -> list[Efficiency]:
    """`fit` without each of these runs; the searches go side by side, their points evaluated together."""
    measured = np.array([r.measured for r in runs()])
    searches = [_search([i for i in range(len(measured)) if i != out]) for out in left_out]
    asked, found = {search: next(search) for search in searches}, {}
    while asked:
        points, ends = np.concatenate(list(asked.values())), np.cumsum([len(x) for x in asked.values()])
        misses = np.log(predicted(_efficiency(points.T[..., None])) / measured)
        for search, some in zip(list(asked), np.split(misses, ends[:-1])):
            try:
                asked[search] = search.send(some)
            except StopIteration as end:
                found[search] = Efficiency(*map(float, list(asdict(_efficiency(end.value)).values())[:3]))
                del asked[search]
    return [found[search] for search in searches]


@cache
def fit(without: int | None = None) -> Efficiency:
    """The constants that predict the published runs, all or `without` one, best: least squares of logarithms.

    >>> fit().half_side > 1000 and 0.7 < fit().ceiling < 1
    True
    """
    return fits([without])[0]


def leave_one_out() -> np.ndarray:
    """FLOP per second and GPU of each published run, predicted with the constants of the other nine."""
    return np.array([predicted(efficiency)[i] for i, efficiency in enumerate(fits(range(len(runs()))))])
