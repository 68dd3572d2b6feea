"""Planner: every layout of one model on one cluster, what it takes, and the best of them.

`plan` runs the chains of `gpt4lib.systems.step` over all layouts at once; `explain` takes one apart.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import product
from math import isqrt

import numpy as np

from ..facts.models import Model
from ..spine.errors import BadInput, pick, positive
from ..spine.text import fmt
from .efficiency import CHAPTERS, Efficiency, efficiency_sets
from .machine import Cluster, DoesNotFit, Layout, Recipe, chunks_clash, stage_mistakes
from .step import MOST, STAGES, before_kinds, of_kind, parts_of, step_inputs, with_ranks

RECOMPUTE = ("none", "selective", "full")
KIND = ("recompute", "sequence", "zero")
LAYOUT_KINDS = tuple(product(RECOMPUTE, (False, True), range(4)))
RECIPE = Recipe()
PIECE = 1 << 13  # layouts evaluated together: few enough for the processor's cache


def _left_over(L, pipeline, chunks, stages, **_):
    """Whether layers do not divide into equal stages and chunks, or given stages into chunks."""
    clash = L % (pipeline * chunks) > 0
    for own in stages:
        clash = np.where(pipeline == len(own), chunks_clash(own, chunks), clash)
    return clash


CLASHES = {  # what rules a layout out, as a test of its columns and of what is known, and in words
    "gpus": lambda tensor, pipeline, data, n, **_: tensor * pipeline * data != n,
    "heads": lambda n_h, n_kv, tensor, **_: (n_h % tensor > 0) | (n_kv % tensor > 0) & (tensor % n_kv > 0),
    "width": lambda d_ff, d_exp, tensor, **_: (d_ff % tensor > 0) | (d_exp % tensor > 0),
    "layers": _left_over,
    "experts": lambda E, data, expert, **_: (E % expert > 0) | (data % expert > 0),
    "batch": lambda batch, data, micro_batch, **_: batch % (data * micro_batch) > 0,
    "chunks": lambda chunks, pipeline, batch, data, micro_batch, **_: (
        (chunks > 1) & ((pipeline == 1) | (batch % (data * micro_batch * pipeline) > 0))
    ),
    "sequence": lambda sequence, T, tensor, **_: sequence & ((tensor == 1) | (T % tensor > 0)),
    "zero": lambda zero, data, **_: (zero > 0) & (data == 1),
    "selective": lambda recompute, fused, **_: fused and recompute == "selective",
}
WORDS = {
    "gpus": "tensor x pipeline x data = {tensor} x {pipeline} x {data} ranks are not {n:,} GPUs",
    "heads": "{n_h} heads, {n_kv} of keys and values, do not divide by tensor = {tensor}",
    "width": "MLP widths of {d_ff:,} (dense) and {d_exp:,} (experts) do not divide by tensor = {tensor}",
    "layers": "{L} layers do not divide by pipeline x chunks = {pipeline} x {chunks}",
    "experts": "{E} experts and {data} data-parallel ranks do not both divide by expert = {expert}",
    "batch": "a batch of {batch:,} sequences does not divide by data x micro_batch = {data} x {micro_batch}",
    "chunks": "chunks = {chunks} take at least two stages and a multiple of pipeline = {pipeline} "
    "micro-batches",
    "sequence": "a sequence of {T:,} tokens is not divided among tensor = {tensor} ranks",
    "zero": "ZeRO stage {zero} takes more than one data-parallel rank",
    "selective": "selective recomputation takes unfused attention: a fused kernel stores no scores",
}
OF_SPLIT = ("gpus", "heads", "width", "layers", "experts")
SIZES = ("tensor", "pipeline", "data", "expert", "chunks", "micro_batch", "batch")


class NoLayout(BadInput):
    """No layout divides model, cluster and batch; the message says what would."""


@dataclass(frozen=True, eq=False)
class Plan:
    """Every layout that divides model, cluster and batch: `columns` by field of `Layout`, and its results.

    `stages` holds what is not split equally: the layers of each stage, once for a number of stages.
    `rejected` counts what does not divide by reason: splits of the model ("heads", "width", "layers",
    "experts"), of each batch ("batch"), and these with a micro-batch ("chunks").
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
    stages: tuple = ()

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
        field |= {"recompute": RECOMPUTE[field["recompute"]], "sequence": bool(field["sequence"])}
        uneven = {len(own): own for own in self.stages}
        return Layout(**field, stage_layers=uneven.get(field["pipeline"]))

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
                raise NoLayout(f"no layout has {_named(fixed)}")
            least = self.memory_bytes[mask].min(), self.capacity_bytes
            raise DoesNotFit(f"no layout fits a GPU: the smallest needs {_excess(*least)}", *least)
        return int(rows[self.mfu[rows].argmax()])

    def pareto(self, **fixed) -> np.ndarray:
        """Rows of the feasible layouts that none beats in memory and time per sequence, by rising memory."""
        rows = np.flatnonzero(self.where(**fixed) & self.feasible)
        time = self.step_seconds[rows] / self.columns["batch"][rows]
        order = np.lexsort((time, self.memory_bytes[rows]))
        before = np.minimum.accumulate(np.append(np.inf, time[order]))[:-1]
        return rows[order[time[order] < before]]

    def within(self, only: dict) -> Plan:
        """The plan of the layouts within limits such as `{"tensor": 8, "zero": (0, 1)}`."""
        rows = np.ones(len(self), dtype=bool)
        for name, values in only.items():
            rows &= np.logical_or.reduce([self.where(**{name: x}) for x in np.atleast_1d(values).tolist()])
        each = {name: getattr(self, name)[rows] for name in ("step_seconds", "memory_bytes", "mfu")}
        return replace(self, columns={name: column[rows] for name, column in self.columns.items()}, **each)

    def explain(self, layout) -> Explained:
        """`explain` for a row, or for any layout of this model and cluster."""
        layout = layout if isinstance(layout, Layout) else self.layout(layout)
        given = {"seq": self.seq, "recipe": self.recipe, "efficiency": self.efficiency}
        return explain(self.shape, self.cluster, layout, **given)


def plan(
    shape, cluster, *, batch_tokens, seq, recipe=RECIPE, efficiency=None, only=None, stages=(), progress=None
) -> Plan:
    """Step time, memory and utilisation of every layout of `shape` on all GPUs of `cluster`.

    `batch_tokens` is one batch or several to try, each a multiple of `seq`. `only` limits the search:
    `{"tensor": 8, "zero": (0, 1)}`. `stages` lists the layers of each stage, `[(7, 8, 8, 7)]`, for numbers of
    stages that do not have as many each. `progress(done, total)` is called now and then. Raises NoLayout
    where no layout divides model, cluster and batch, and says what would, and BadInput for a bad size.
    """
    efficiency, stages = efficiency or efficiency_sets()[CHAPTERS].efficiency, _checked(stages, shape.layers)
    known, rejected = step_inputs(shape, cluster, seq, recipe) | {"stages": stages}, Counter()
    searched = [name for name in Layout.__dataclass_fields__ if name not in ("batch", "stage_layers")]
    only = {pick(name, searched, "dimension"): np.atleast_1d(x).tolist() for name, x in (only or {}).items()}
    batches = [_sequences(tokens, seq) for tokens in np.atleast_1d(batch_tokens).tolist()]
    splits = _enumerate(known, batches, only, rejected)
    pieces = _pieces(splits, seq, only, known["fused"])
    if not pieces:
        raise NoLayout(_nothing_divides(known, batches, only))
    columns, found = _evaluate(known | efficiency.letters(known), splits, pieces, progress)
    task = (shape, cluster, seq, recipe, efficiency)
    rest = {"capacity_bytes": known["memory"], "rejected": dict(+rejected), "stages": stages}
    return Plan(*task, columns, *found.values(), **rest)


def _checked(stages, layers: int, chunks: int = 1) -> tuple:
    """Lists of the layers of each stage. Raises BadInput with every mistake in them."""
    wrong = [line for own in stages for line in stage_mistakes(own, layers, chunks)]
    if not wrong and len({*map(len, stages)}) < len(stages):
        wrong = [f"stages takes one list for a number of stages, got {list(map(len, stages))}"]
    if wrong:
        raise BadInput("; ".join(wrong))
    return tuple(map(tuple, stages))


def _pieces(splits: dict, seq: int, only: dict, fused: bool) -> list:
    """Rows of `splits` that are evaluated together, with the kinds of layout that make sense for them."""
    divided, several = (splits["tensor"] > 1) & (seq % splits["tensor"] == 0), splits["data"] > 1
    kinds = [kind for kind in LAYOUT_KINDS if not CLASHES["selective"](recompute=kind[0], fused=fused)]
    kinds = [kind for kind in kinds if all(x in only.get(name, (x,)) for name, x in zip(KIND, kind))]
    found = []
    for pair in product((False, True), repeat=2):
        rows = np.flatnonzero((divided == pair[0]) & (several == pair[1]))
        some = [kind for kind in kinds if kind[1] <= pair[0] and (pair[1] or not kind[2])]
        found += [(rows[i : i + PIECE], some) for i in range(0, len(rows) if some else 0, PIECE)]
    return found


def _evaluate(known: dict, splits: dict, pieces: list, progress) -> tuple[dict, dict]:
    """The columns of all layouts, and their step time, memory and utilisation by letter."""
    total, done = sum(len(rows) * len(kinds) for rows, kinds in pieces), 0
    parts = parts_of(known)
    columns = {name: np.empty(total, np.int8 if name in KIND else np.int32) for name in (*splits, *KIND)}
    found = {name: np.empty(total) for name in ("t_step", "Q_rank", "mfu")}
    for rows, kinds in pieces:
        piece = {name: column[rows] for name, column in splits.items()}
        floats = {name: column.astype(float) for name, column in piece.items()}
        x = before_kinds(parts, known["fused"]).on_arrays(with_ranks(known | floats, known["stages"]))
        for kind in kinds:
            here = slice(done, done := done + len(rows))
            terms = of_kind(*kind, "experts" in parts, known["fused"]).on_arrays(x)
            own = piece | dict(zip(KIND, (RECOMPUTE.index(kind[0]), *kind[1:])))
            for name, column in columns.items():
                column[here] = own[name]
            for name, column in found.items():
                column[here] = terms[name]
        if progress:
            progress(done, total)
    return columns, found


# ---- one layout, term by term ---------------------------------------------------------------
@dataclass(frozen=True)
class Explained:
    """One layout taken apart, by part in words: `seconds` make up `step_seconds`, `bytes` `memory_bytes`.

    `stage` of `STAGES` is the one that needs most memory, whose `bytes` these are; "only" of a single one.
    `reasons` speak against the layout, `notes` do not; `terms` holds every letter of the laws. `mfu` counts
    attention scores, `flop_per_gpu_s` what is repeated too. A layout that does not divide has reasons only.
    """

    layout: Layout
    reasons: list
    notes: list | tuple = ()
    terms: dict | None = None
    stage: str | None = None
    seconds: dict | None = None
    bytes: dict | None = None
    step_seconds: float | None = None
    memory_bytes: float | None = None
    mfu: float | None = None
    flop_per_gpu_s: float | None = None


BYTES = {"state": "Q_state", "activations": "Q_act"}
BYTES |= {"embedding and loss": "Q_edge", "layer at work": "Q_work"}


def explain(
    shape: Model, cluster: Cluster, layout: Layout, *, seq: int, recipe=RECIPE, efficiency=None
) -> Explained:
    """One layout, term by term; every law is called on its own, with its checks.

    Raises BadInput for a size that cannot be; a layout that does not divide or fit has its reasons.
    """
    x = step_inputs(shape, cluster, seq, recipe)
    x |= (efficiency or efficiency_sets()[CHAPTERS].efficiency).letters(x) | asdict(layout)
    for name in SIZES:
        positive(name, x[name])
    own = [] if layout.stage_layers is None else [layout.stage_layers]
    x["stages"] = stages = _checked(own, shape.layers, layout.chunks)
    if stages and len(*own) != layout.pipeline:
        raise BadInput(f"stage_layers takes {layout.pipeline} stages, as pipeline says, got {len(*own)}")
    kind = (layout.recompute, layout.sequence, layout.zero)
    if kind not in LAYOUT_KINDS:
        takes = f"recompute of {RECOMPUTE}, sequence of True or False, zero of 0 to 3"
        raise BadInput(f"a layout takes {takes}, got {layout}")
    reasons = [WORDS[why].format(**x) for why, clash in CLASHES.items() if clash(**x)]
    if reasons:
        return Explained(layout, reasons)
    parts = parts_of(x)
    chain = before_kinds(parts, x["fused"]) + of_kind(*kind, "experts" in parts, x["fused"])
    x = chain.run(with_ranks(x, stages))
    most = int(x["Q_stages"].argmax())
    x = {name: term[most].item() if isinstance(term, np.ndarray) else term for name, term in x.items()}
    if x["Q_rank"] > x["memory"]:
        reasons = [f"it needs {_excess(x['Q_rank'], x['memory'])}"]
    wide = {"tensor": layout.tensor, "expert": layout.tensor * layout.expert * (layout.expert > 1)}
    notes = [
        f"{kind}-parallel groups of {n} GPUs leave the node" for kind, n in wide.items() if n > x["node"]
    ]
    held = {name: x[term] for name, term in BYTES.items()}
    whole = [x[term] for term in ("t_step", "Q_rank", "mfu", "flop_per_gpu_s")]
    stage = STAGES[most] if layout.pipeline > 1 else "only"
    return Explained(layout, reasons, notes, x, stage, _seconds(**x), held, *whole)


def _seconds(
    m, t_work, t_again, t_tensor, t_expert, t_hop, t_loss, t_stage, t_pipe, t_data, t_update, **_
) -> dict:
    """The seconds of a step by part."""
    each = {"forward and backward": t_work - t_again, "repeated": t_again, "tensor": t_tensor}
    each |= {"expert": t_expert, "pipeline": t_hop, "loss": t_loss}
    once = {"bubble": t_pipe - m * (t_stage + t_loss), "data": t_data, "optimiser": t_update}
    return {name: m * seconds for name, seconds in each.items()} | once


# ---- which layouts there are ----------------------------------------------------------------
def _divisors(n: int) -> list[int]:
    low = [i for i in range(1, isqrt(n) + 1) if n % i == 0]
    return low + [n // i for i in reversed(low) if i * i < n]


def _keep(columns: dict, known: dict, clashes, rejected: Counter) -> dict:
    """The columns without the rows that clash; `rejected` counts those by their first reason."""
    for why in clashes:
        wrong = np.broadcast_to(CLASHES[why](**known | columns), columns["tensor"].shape)
        rejected[why] += int(wrong.sum())
        columns = {name: column[~wrong] for name, column in columns.items()}
    return columns


def _enumerate(known: dict, batches: list[int], only: dict, rejected: Counter) -> dict:
    """Columns of every way to split model, cluster and batches."""

    def among(name, values):
        return [int(value) for value in values if value in only.get(name, (value,))]

    n = known["n"]
    most = {"tensor": [n], "pipeline": [n], "expert": [known["E"]]}
    most["chunks"] = [known["L"], *map(max, known["stages"])]
    each = {name: sorted({d for size in sizes for d in _divisors(size)}) for name, sizes in most.items()}
    every = product(*(among(name, values) for name, values in each.items()))
    rows = np.array([row for row in every if n % (row[0] * row[1]) == 0], dtype=int).reshape(-1, len(most))
    splits = dict(zip(most, rows.T))
    splits["data"] = n // (splits["tensor"] * splits["pipeline"])
    splits, found = _keep(splits, known, OF_SPLIT, rejected), []
    micro_batches = cache(lambda size: among("micro_batch", _divisors(size)))
    for dp in among("data", np.unique(splits["data"])):
        group = {name: column[splits["data"] == dp] for name, column in splits.items()}
        whole, rows = [batch for batch in batches if batch % dp == 0], int((splits["data"] == dp).sum())
        pairs = [(size, batch) for batch in whole for size in micro_batches(batch // dp)]
        columns = {name: np.repeat(column, len(pairs)) for name, column in group.items()}
        each = np.tile(np.array(pairs, dtype=int).reshape(-1, 2), (rows, 1)).T
        columns |= dict(zip(("micro_batch", "batch"), each))
        rejected["batch"] += rows * (len(batches) - len(whole))
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
    if tokens // seq > MOST:
        raise BadInput(f"batch_tokens takes at most {MOST:,} sequences, got {tokens // seq:,}")
    return int(tokens // seq)


def _nothing_divides(known: dict, batches: list[int], only: dict) -> str:
    """Why no layout divides, and what would."""
    n, heads, layers = (known[name] for name in ("n", "n_h", "L"))
    stages = {*_divisors(layers), *map(len, known["stages"])}
    batch = max(batches)
    if only:
        return f"no layout of {n:,} GPUs and a batch of {batch:,} sequences has {_named(only)}"
    clashes = [CLASHES[why] for why in ("heads", "width")]
    widths = [t for t in _divisors(heads) if not any(clash(**known | {"tensor": t}) for clash in clashes)]
    replicas = {t * p for t in widths for p in stages}
    largest = max(replicas)
    least = -(-n // largest)
    if least > batch:
        return (
            f"n_gpus = {n:,} makes at least {least:,} replicas (of up to {largest:,} GPUs each), and a batch "
            f"has fewer sequences ({batch:,}): batch_tokens takes at least {least * known['T']:,}, or n_gpus "
            f"at most {batch * largest:,}"
        )
    filled = sorted({size * dp for size in replicas for dp in _divisors(batch)})
    near = [max(x for x in filled if x < n), *[x for x in filled if x > n][:1]]
    return (
        f"no layout fills n_gpus = {n:,}: tensor takes a divisor of {heads:,} heads, pipeline of {layers:,} "
        f"layers, data of the {batch:,} sequences of a batch, and their product is all GPUs; clusters that "
        f"can be filled have {' or '.join(f'{x:,}' for x in near)} GPUs"
    )


def _named(limits: dict) -> str:
    """Limits as a file writes them: "tensor = 8, zero = 0 or 1"."""
    texts = {name: " or ".join(map(str, np.atleast_1d(value).tolist())) for name, value in limits.items()}
    return ", ".join(f"{name} = {text}" for name, text in texts.items())


def _excess(needed: float, there: float) -> str:
    """Bytes that are more than there are, in words."""
    return f"{fmt(needed, 'byte')}, {fmt(needed - there, 'byte')} more than the {fmt(there, 'byte')} of a GPU"
