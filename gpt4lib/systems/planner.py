"""Planner: every layout of one model on one cluster, what it takes, and the best of them.

`plan` runs the laws of `gpt4lib.systems.step` over all layouts at once; `explain` takes one apart.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from itertools import product

import numpy as np

from ..facts.models import Model
from ..spine.errors import BadInput, pick, positive
from ..spine.law import Law
from ..spine.text import fmt
from .efficiency import Efficiency, fit
from .machine import Cluster, Layout, Recipe
from .step import finish, split, step_inputs

RECOMPUTE = ("none", "selective", "full")
KIND = ("recompute", "sequence", "zero")
LAYOUT_KINDS = tuple(product(RECOMPUTE, (False, True), range(4)))
PIECE = 1 << 13  # layouts evaluated together: few enough for the processor's cache

CLASHES = {  # what rules a layout out: in words, and as a test of the columns
    "gpus": (
        "tensor x pipeline x data = {tensor} x {pipeline} x {data} ranks are not {n:,} GPUs",
        lambda x: x["tensor"] * x["pipeline"] * x["data"] != x["n"],
    ),
    "heads": (
        "{n_h} heads, {n_kv} of keys and values, do not divide by tensor = {tensor}",
        lambda x: (
            (x["n_h"] % x["tensor"] > 0) | (x["n_kv"] % x["tensor"] > 0) & (x["tensor"] % x["n_kv"] > 0)
        ),
    ),
    "width": (
        "MLP widths of {d_ff:,} (dense) and {d_exp:,} (experts) do not divide by tensor = {tensor}",
        lambda x: (x["d_ff"] % x["tensor"] > 0) | (x["d_exp"] % x["tensor"] > 0),
    ),
    "layers": (
        "{L} layers do not divide by pipeline x chunks = {pipeline} x {chunks}",
        lambda x: x["L"] % (x["pipeline"] * x["chunks"]) > 0,
    ),
    "experts": (
        "{E} experts and {data} data-parallel ranks do not both divide by expert = {expert}",
        lambda x: (x["E"] % x["expert"] > 0) | (x["data"] % x["expert"] > 0),
    ),
    "batch": (
        "a batch of {batch:,} sequences does not divide by data x micro_batch = {data} x {micro_batch}",
        lambda x: x["batch"] % (x["data"] * x["micro_batch"]) > 0,
    ),
    "chunks": (
        "chunks = {chunks} take at least two stages and a multiple of pipeline = {pipeline} micro-batches",
        lambda x: (
            (x["chunks"] > 1)
            & ((x["pipeline"] == 1) | (x["batch"] % (x["data"] * x["micro_batch"] * x["pipeline"]) > 0))
        ),
    ),
    "sequence": (
        "a sequence of {T:,} tokens is not divided among tensor = {tensor} ranks",
        lambda x: x["sequence"] & ((x["tensor"] == 1) | (x["T"] % x["tensor"] > 0)),
    ),
    "zero": (
        "ZeRO stage {zero} takes more than one data-parallel rank",
        lambda x: (x["zero"] > 0) & (x["data"] == 1),
    ),
}
OF_SPLIT = ("gpus", "heads", "width", "layers", "experts")


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan:
    """Every layout that divides model, cluster and batch: `columns` by field of `Layout`, and what each takes.

    `rejected` counts by reason what does not divide: splits of the model ("heads", "width", "layers",
    "experts"), splits for each batch ("batch"), and these with a micro-batch ("chunks").
    """

    shape: Model
    cluster: Cluster
    seq: int
    recipe: Recipe
    efficiency: Efficiency
    columns: dict
    step_seconds: np.ndarray
    memory_bytes: np.ndarray
    mfu: np.ndarray
    capacity_bytes: float
    rejected: dict

    def __len__(self):
        return len(self.step_seconds)

    @property
    def over_bytes(self) -> np.ndarray:
        """Bytes by which each layout exceeds the memory; 0 where it fits."""
        return np.maximum(0.0, self.memory_bytes - self.capacity_bytes)

    @property
    def feasible(self) -> np.ndarray:
        """Mask of the layouts that fit the memory."""
        return self.over_bytes == 0

    def layout(self, row: int) -> Layout:
        """The layout of one row."""
        field = {name: column[row].item() for name, column in self.columns.items()}
        return Layout(
            **field | {"recompute": RECOMPUTE[field["recompute"]], "sequence": bool(field["sequence"])}
        )

    def where(self, **fixed) -> np.ndarray:
        """Mask of the layouts with these values: `where(tensor=8, recompute="full")`."""
        mask = np.ones(len(self), dtype=bool)
        for name, value in fixed.items():
            column = self.columns[pick(name, self.columns, "dimension of a layout")]
            if name == "recompute":
                value = RECOMPUTE.index(pick(value, RECOMPUTE, "recomputation"))
            mask &= column == value
        return mask

    def best(self, **fixed) -> int:
        """Row of the highest utilisation among the layouts that fit and have the `fixed` values."""
        mask = self.where(**fixed)
        rows = np.flatnonzero(mask & self.feasible)
        if not len(rows):
            if not mask.any():
                raise BadInput(f"no layout has {_named(fixed)}")
            least = _excess(self.memory_bytes[mask].min(), self.capacity_bytes)
            raise BadInput(f"no layout fits a GPU: the smallest needs {least}")
        return int(rows[self.mfu[rows].argmax()])

    def pareto(self, **fixed) -> np.ndarray:
        """Rows of the feasible layouts that no other beats in memory and time per sequence, by rising memory."""
        rows = np.flatnonzero(self.where(**fixed) & self.feasible)
        time = self.step_seconds[rows] / self.columns["batch"][rows]
        order = np.lexsort((time, self.memory_bytes[rows]))
        before = np.minimum.accumulate(np.append(np.inf, time[order]))[:-1]
        return rows[order[time[order] < before]]

    def explain(self, layout) -> dict:
        """`explain` for a row, or for any layout of this model and cluster."""
        layout = layout if isinstance(layout, Layout) else self.layout(layout)
        given = {"seq": self.seq, "recipe": self.recipe, "efficiency": self.efficiency}
        return explain(self.shape, self.cluster, layout, **given)


def plan(
    shape: Model,
    cluster: Cluster,
    *,
    batch_tokens,
    seq: int,
    recipe=Recipe(),
    efficiency=None,
    only=None,
    progress=None,
) -> Plan:
    """Step time, memory and utilisation of every layout of `shape` on all GPUs of `cluster`.

    `batch_tokens` is one batch or several to try, each a multiple of `seq`. `only` limits the search:
    `{"tensor": 8, "zero": (0, 1)}`. `progress(done, total)` is called now and then. Raises BadInput
    where no layout divides model, cluster and batch, and says what would.
    """
    known, rejected = step_inputs(shape, cluster, seq, recipe), {}
    searched = [name for name in Layout.__dataclass_fields__ if name != "batch"]
    only = {pick(name, searched, "dimension"): np.atleast_1d(x).tolist() for name, x in (only or {}).items()}
    batches = [_sequences(tokens, seq) for tokens in np.atleast_1d(batch_tokens).tolist()]
    efficiency = efficiency or fit()
    splits = _enumerate(known, batches, only, rejected)
    divided, several = (splits["tensor"] > 1) & (seq % splits["tensor"] == 0), splits["data"] > 1
    pieces = []
    for pair in product((False, True), repeat=2):
        rows = np.flatnonzero((divided == pair[0]) & (several == pair[1]))
        kinds = [
            kind
            for kind in LAYOUT_KINDS
            if kind[1] <= pair[0]
            and (pair[1] or not kind[2])
            and all(value in only.get(name, (value,)) for name, value in zip(KIND, kind))
        ]
        pieces += [(rows[i : i + PIECE], kinds) for i in range(0, len(rows), PIECE)]
    total, done, known = sum(len(rows) * len(kinds) for rows, kinds in pieces), 0, known | asdict(efficiency)
    if not total:
        raise BadInput(_nothing_divides(known, batches, only))
    columns = {name: np.empty(total, np.int32) for name in splits} | {
        name: np.empty(total, np.int8) for name in KIND
    }
    found = {name: np.empty(total) for name in ("t_step", "Q_rank", "mfu")}
    for rows, kinds in pieces:
        piece = {name: column[rows] for name, column in splits.items()}
        x = split(known | {name: column.astype(float) for name, column in piece.items()})
        for kind in kinds:
            here, terms = slice(done, done := done + len(rows)), finish(x, *kind)
            for name, column in piece.items():
                columns[name][here] = column
            for name, value in zip(KIND, (RECOMPUTE.index(kind[0]), *kind[1:])):
                columns[name][here] = value
            for name, column in found.items():
                column[here] = terms[name]
        if progress:
            progress(done, total)
    return Plan(
        shape=shape,
        cluster=cluster,
        seq=seq,
        recipe=recipe,
        efficiency=efficiency,
        columns=columns,
        step_seconds=found["t_step"],
        memory_bytes=found["Q_rank"],
        mfu=found["mfu"],
        capacity_bytes=known["memory"],
        rejected={why: count for why, count in rejected.items() if count},
    )


def explain(
    shape: Model, cluster: Cluster, layout: Layout, *, seq: int, recipe=Recipe(), efficiency=None
) -> dict:
    """One layout, term by term: `seconds` add up to the step, `bytes` to the memory, `reasons` speak against it.

    Every law is called on its own, with its checks. A layout that does not divide has reasons only.
    """
    x = step_inputs(shape, cluster, seq, recipe) | asdict(efficiency or fit()) | asdict(layout)
    for name in ("tensor", "pipeline", "data", "expert", "chunks", "micro_batch", "batch"):
        positive(name, x[name])
    if (layout.recompute, layout.sequence, layout.zero) not in LAYOUT_KINDS:
        takes = f"recompute of {RECOMPUTE}, sequence of True or False, zero of 0 to 3"
        raise BadInput(f"a layout takes {takes}, got {layout}")
    reasons = [words.format(**x) for words, clash in CLASHES.values() if clash(x)]
    if reasons:
        return {"layout": layout, "reasons": reasons}
    x = finish(split(x, Law.at), layout.recompute, layout.sequence, layout.zero, Law.at)
    m = x["m"]
    if x["Q_rank"] > x["memory"]:
        reasons = [f"it needs {_excess(x['Q_rank'], x['memory'])}"]
    seconds = {
        "forward and backward": m * (x["t_work"] - x["t_again"]),
        "repeated": m * x["t_again"],
        "tensor": m * x["t_tensor"],
        "expert": m * x["t_expert"],
        "pipeline": m * x["t_hop"],
        "loss": m * x["t_head"],
        "bubble": x["t_pipe"] - m * (x["t_stage"] + x["t_head"]),
        "data": x["t_data"],
        "optimiser": x["t_update"],
    }
    held = {
        "state": "Q_state",
        "activations": "Q_act",
        "embedding and loss": "Q_edge",
        "layer at work": "Q_work",
    }
    wide = {"tensor": layout.tensor, "expert": layout.tensor * layout.expert * (layout.expert > 1)}
    notes = [
        f"{name}-parallel groups of {size} GPUs leave the node"
        for name, size in wide.items()
        if size > x["node"]
    ]
    return {
        "layout": layout,
        "reasons": reasons,
        "notes": notes,
        "step_seconds": x["t_step"],
        "memory_bytes": x["Q_rank"],
        "mfu": x["mfu"],
        "flop_per_gpu_s": x["flop_per_gpu_s"],
        "terms": x,
        "seconds": {name: float(value) for name, value in seconds.items()},
        "bytes": {name: float(x[term]) for name, term in held.items()},
    }


# ---- which layouts there are ----------------------------------------------------------------
def _divisors(n: int) -> list[int]:
    return [i for i in range(1, n + 1) if n % i == 0]


def _keep(columns: dict, known: dict, clashes, rejected: dict) -> dict:
    """The columns without the rows that clash; `rejected` counts those by their first reason."""
    for why in clashes:
        wrong = np.broadcast_to(CLASHES[why][1](known | columns), columns["tensor"].shape)
        rejected[why] = rejected.get(why, 0) + int(wrong.sum())
        columns = {name: column[~wrong] for name, column in columns.items()}
    return columns


def _enumerate(known: dict, batches: list[int], only: dict, rejected: dict) -> dict:
    """Columns of every way to split model, cluster and batches."""

    def among(name, values):
        return [int(value) for value in values if value in only.get(name, (value,))]

    names, n = ("tensor", "pipeline", "expert", "chunks"), known["n"]
    every = product(
        *(among(name, _divisors(size)) for name, size in zip(names, (n, n, known["E"], known["L"])))
    )
    rows = np.array([row for row in every if n % (row[0] * row[1]) == 0], dtype=int).reshape(-1, 4)
    splits = dict(zip(names, rows.T))
    splits["data"] = n // (splits["tensor"] * splits["pipeline"])
    splits, found = _keep(splits, known, OF_SPLIT, rejected), []
    micro_batches = cache(lambda size: among("micro_batch", _divisors(size)))
    for dp in among("data", np.unique(splits["data"])):
        group = {name: column[splits["data"] == dp] for name, column in splits.items()}
        whole, rows = [batch for batch in batches if batch % dp == 0], len(group["data"])
        pairs = [(size, batch) for batch in whole for size in micro_batches(batch // dp)]
        columns = {name: np.repeat(column, len(pairs)) for name, column in group.items()}
        columns |= dict(
            zip(("micro_batch", "batch"), np.tile(np.array(pairs, dtype=int).reshape(-1, 2), (rows, 1)).T)
        )
        rejected["batch"] = rejected.get("batch", 0) + rows * (len(batches) - len(whole))
        found.append(_keep(columns, known, ("chunks",), rejected))
    names = (*splits, "micro_batch", "batch")
    return {name: np.concatenate([np.empty(0, int), *(columns[name] for columns in found)]) for name in names}


def _sequences(tokens, seq: int) -> int:
    """A batch of tokens in sequences."""
    if isinstance(tokens, bool) or not isinstance(tokens, (int, float)) or not 0 < tokens < np.inf:
        raise BadInput(f"batch_tokens takes a positive multiple of seq = {seq:,}, got {tokens!r}")
    if tokens % seq:
        near = max(1, round(tokens / seq)) * seq
        raise BadInput(f"batch_tokens takes a multiple of seq = {seq:,}, such as {near:,}, got {tokens:,}")
    return int(tokens // seq)


def _nothing_divides(known: dict, batches: list[int], only: dict) -> str:
    """Why no layout divides, and what would."""
    n, batch = known["n"], max(batches)
    if only:
        return f"no layout of {n:,} GPUs and a batch of {batch:,} sequences has {_named(only)}"
    clashes = [CLASHES[why][1] for why in ("heads", "width")]
    widths = [
        t for t in _divisors(known["n_h"]) if not any(clash(known | {"tensor": t}) for clash in clashes)
    ]
    replicas = {t * p for t in widths for p in _divisors(known["L"])}
    largest = max(replicas)
    least = -(-n // largest)
    if least > batch:
        return (
            f"n_gpus = {n:,} makes at least {least:,} replicas (of up to {largest:,} GPUs each), and a batch has fewer "
            f"sequences ({batch:,}): batch_tokens takes at least {least * known['T']:,}, or n_gpus at most "
            f"{batch * largest:,}"
        )
    filled = sorted({size * dp for size in replicas for dp in _divisors(batch)})
    near = [max(x for x in filled if x < n), *[x for x in filled if x > n][:1]]
    return (
        f"no layout fills n_gpus = {n:,}: tensor takes a divisor of {known['n_h']:,} heads, pipeline of {known['L']:,} "
        f"layers, data of the {batch:,} sequences of a batch, and their product is all GPUs; clusters that can be "
        f"filled have {' or '.join(f'{x:,}' for x in near)} GPUs"
    )


def _named(limits: dict) -> str:
    """Limits as a file writes them: "tensor = 8, zero = 0 or 1"."""
    texts = {name: " or ".join(map(str, np.atleast_1d(value).tolist())) for name, value in limits.items()}
    return ", ".join(f"{name} = {text}" for name, text in texts.items())


def _excess(needed: float, there: float) -> str:
    """Bytes that are more than there are, in words."""
    return f"{fmt(needed, 'byte')}, {fmt(needed - there, 'byte')} more than the {fmt(there, 'byte')} of a GPU"
