"""Efficiency: how much of its data sheet a machine reaches, fitted on ten published runs.

Three constants say it: `fit` finds them, `leave_one_out` says how well they predict a run that they have not
seen. They were measured on A100s in 2021; for other machines they are an assumption.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache

import numpy as np

from ..facts.files import published
from ..facts.models import Model, model_of
from .machine import Cluster, Layout, Recipe
from .step import before_kinds, of_kind, parts_of, ranks, step_inputs


@dataclass(frozen=True)
class Efficiency:
    """How much of its data sheet a GPU reaches.

    `ceiling` is the share of peak of an endless matrix product, `half_side` the side of the cube that
    reaches half of that, `transfer` the share of memory and link rates.
    """

    ceiling: float
    half_side: float
    transfer: float


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
    """A GPT of Narayanan et al. 2021: a plain MLP four times as wide, biases, 51,200 words, 2,048 learned positions."""
    return model_of(
        {
            "name": f"GPT, {layers} layers of {hidden}",
            "layers": layers,
            "d_model": hidden,
            "n_heads": heads,
            "n_kv_heads": heads,
            "d_head": hidden // heads,
            "d_ff": 4 * hidden,
            "mlp_matrices": 2,
            "vocab": 51200,
            "tied_embeddings": True,
            "positions": "learned",
            "max_positions": 2048,
            "biases": True,
        }
    )


@cache
def runs() -> tuple[PublishedRun, ...]:
    """The ten runs of Narayanan et al. 2021, Table 1, with micro-batches, chunks and overlap from their scripts."""
    found, names = [], ("heads", "hidden", "layers", "tp", "pp", "n_gpus", "batch")
    for row, script in zip(published("megatron_table1"), published("megatron_table1_runs"), strict=True):
        heads, hidden, layers, tp, p, n, batch = (int(row[name]) for name in names)
        chunks = layers // p // int(script["layers_per_chunk"]) if script["layers_per_chunk"] else 1
        layout = Layout(tp, p, n // tp // p, 1, chunks, int(script["micro_batch"]), batch, "full")
        cluster = Cluster(
            device="A100-SXM 80GB", n_gpus=n, nic_bytes_per_s=float(script["nic_gbit_per_s"]) * 1e9 / 8
        )
        beside = (
            script["data_parallel"] == "torch"
        )  # PyTorch's own reduces the gradient beside the backward pass
        shape = gpt(heads=heads, hidden=hidden, layers=layers)
        recipe = Recipe(data_overlap=float(beside))
        found.append(PublishedRun(shape, cluster, layout, 2048, recipe, float(row["tflops_per_gpu"]) * 1e12))
    return tuple(found)


@cache
def _columns() -> dict:
    each = [step_inputs(r.shape, r.cluster, r.seq, r.recipe) | asdict(r.layout) for r in runs()]
    return {name: np.array([x[name] for x in each], dtype=float) for name in each[0] if name != "recompute"}


def predicted(efficiency: Efficiency) -> np.ndarray:
    """FLOP per second and GPU of the published runs, all of which compute everything twice and use no ZeRO."""
    x = ranks(_columns()) | asdict(efficiency)
    return (before_kinds(parts_of(x)) + of_kind("full", False, 0, False)).on_arrays(x)["flop_per_gpu_s"]


def _efficiency(free) -> Efficiency:
    """The constants from three numbers without bounds: the shares stay between 0 and 1."""
    ceiling, transfer = 1 / (1 + np.exp(-free[[0, 2]]))
    return Efficiency(float(ceiling), float(np.exp(free[1])), float(transfer))


@cache
def fit(without: int | None = None) -> Efficiency:
    """The constants that predict the published runs best: least squares of logarithms, `without` one of them
    or none.

    >>> fit().half_side > 1000 and 0.7 < fit().ceiling < 1
    True
    """
    measured = np.array([r.measured for r in runs()])
    rows = [i for i in range(len(measured)) if i != without]

    def miss(free):
        return np.log(predicted(_efficiency(free)) / measured)[rows]

    free, damping = np.array([1.0, 7.0, 1.0]), 1e-2
    now = miss(free)
    for _ in range(200):  # Levenberg-Marquardt
        slope = np.array([(miss(free + step) - now) / 1e-6 for step in 1e-6 * np.eye(3)]).T
        square = slope.T @ slope
        move = np.linalg.solve(
            square + damping * (np.diag(np.diag(square)) + 1e-9 * np.eye(3)), -slope.T @ now
        )
        there = miss(free + move)
        if there @ there < now @ now:
            free, now, damping = free + move, there, damping / 5
        else:
            damping *= 5
        if np.abs(move).max() < 1e-7:
            break
    return _efficiency(free)


def leave_one_out() -> np.ndarray:
    """FLOP per second and GPU of each published run, predicted with the constants of the other nine."""
    return np.array([predicted(fit(i))[i] for i in range(len(runs()))])
