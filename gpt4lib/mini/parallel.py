"""One model on several ranks, in one process; every transfer goes through a `Communicator` that counts it.

    split = TensorParallel(model, ranks=4)          # or PipelineParallel, ExpertParallel
    cache = split.cache(batch=8, max_tokens=32)
    logits = split.forward(tokens, cache)           # those of model.forward, to rounding
    split.comm.sent["all-reduce"]                   # bytes that each rank sent

A rank is a `Model` that holds its own part of the weights and runs the same steps as the whole one. Ranks
share nothing but the book-keeping of lengths. `ZeroAdam` is one optimiser on data-parallel ranks.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import partial
from itertools import repeat

import numpy as np

from ..spine.errors import BadInput
from .meter import Meter
from .model import Step, Transformer, run_experts


class Communicator:
    """Transfers among `ranks` ranks; `sent[kind]` is an array of the bytes that each rank has sent."""

    def __init__(self, ranks: int):
        self.ranks = ranks
        self.sent = defaultdict(lambda: np.zeros(ranks, int))

    def send(self, kind: str, source: int, target: int, array: np.ndarray) -> np.ndarray:
        """A copy of `array` at `target`; what stays on its rank costs nothing."""
        if source != target:
            self.sent[kind][source] += array.nbytes
        return array.copy()

    def reduce_scatter(self, arrays: list, kind: str = "reduce-scatter") -> list:
        """Rank r gets chunk r of the sum: round the ring, each rank adds its own chunk and passes it on."""
        n, chunks = self.ranks, [np.array_split(a.ravel(), self.ranks) for a in arrays]
        for step in range(n - 1):
            moving = [(r - step - 1) % n for r in range(n)]
            arrived = [self.send(kind, r, (r + 1) % n, chunks[r][c]) for r, c in enumerate(moving)]
            for r, c in enumerate(moving):
                chunks[(r + 1) % n][c] = chunks[(r + 1) % n][c] + arrived[r]
        return [chunks[r][r] for r in range(n)]

    def all_gather(self, pieces: list, kind: str = "all-gather") -> list:
        """Each rank gets all pieces in order: round the ring, each passes on the piece that came last."""
        n, held = self.ranks, [{r: piece} for r, piece in enumerate(pieces)]
        for step in range(n - 1):
            for r in range(n):
                c = (r - step) % n
                held[(r + 1) % n][c] = self.send(kind, r, (r + 1) % n, held[r][c])
        return [np.concatenate([own[c] for c in range(n)]) for own in held]

    def all_reduce(self, arrays: list, kind: str = "all-reduce") -> list:
        """Each rank gets the sum: a reduce-scatter, then an all-gather."""
        sums = self.all_gather(self.reduce_scatter(arrays, kind), kind)
        return [y.reshape(a.shape) for y, a in zip(sums, arrays)]

    def all_to_all(self, blocks: list, kind: str) -> list:
        """blocks[i][j] goes from rank i to rank j and arrives as result[j][i]."""
        n = range(self.ranks)
        return [[self.send(kind, i, j, blocks[i][j]) for i in n] for j in n]


class RankCaches(list):
    """One cache for each rank, of all sequences or of its own; `lengths` are those of all, shared."""

    def __init__(self, ranks: list, batch: int, max_tokens: int, *, divided: bool):
        rows = divide("batch", batch, "ranks", len(ranks)) if divided else batch
        super().__init__(rank.cache(rows, max_tokens) for rank in ranks)
        self.lengths = np.zeros(batch, int)
        self.max_tokens, self.divided = max_tokens, divided
        for r, cache in enumerate(self):
            cache.lengths = self.lengths[r * rows : (r + 1) * rows] if divided else self.lengths

    def steps(self, tokens, lengths, vocab: int, parts: int) -> list:
        """The pass cut into `parts` of equally many sequences: the ranks' own ones, or micro-batches.

        Raises BadInput unless `tokens` and `lengths` have a row a sequence and the parts are equal.
        """
        tokens, batch = np.asarray(tokens), len(self.lengths)
        lengths = np.full(batch, tokens.shape[-1]) if lengths is None else np.asarray(lengths)
        if tokens.ndim != 2 or len(tokens) != batch or lengths.shape != (batch,):
            got = f"{tokens.shape}, {lengths.shape}"
            raise BadInput(f"tokens and lengths take {batch} rows, as the cache: got {got}")
        each, steps = divide("batch", batch, "micro_batches", parts), []
        for rows in np.arange(batch).reshape(parts, each):
            held, places = (self.lengths[rows], None) if self.divided else (self.lengths, rows)
            steps.append(Step(tokens[rows], held, self.max_tokens, vocab, lengths[rows], places))
        return steps


def divide(name: str, value: int, by: str, ranks: int) -> int:
    """value / ranks. Raises BadInput that names both where it is no whole number."""
    if ranks < 1 or value % ranks:
        raise BadInput(f"{by} takes a divisor of {name} = {value}, got {ranks}")
    return value // ranks


class Split:
    """What the ways to divide a model share: `ranks`, their `comm`, and whether sequences are `divided`."""

    divided = False

    def cache(self, batch: int, max_tokens: int) -> RankCaches:
        """Empty caches, one for each rank, of all sequences or of its share."""
        return RankCaches(self.ranks, batch, max_tokens, divided=self.divided)

    def _each(self, method: str, i: int, *arguments) -> list:
        """The same method of layer `i` on every rank, each with its own arguments."""
        return [getattr(rank, method)(i, *own) for rank, *own in zip(self.ranks, *arguments)]

    def _through(self, xs: list, attention, mlp, meters: list) -> list:
        """The residual streams xs after all layers: each rank adds its part of attention, then of the MLP."""
        for i in range(len(self.ranks[0].layers)):
            for name, part in (("attention", attention), ("mlp", mlp)):
                normed = self._each("norm", i, repeat(name), xs, meters)
                xs = [x + y for x, y in zip(xs, part(i, normed))]
        return xs


class TensorParallel(Split):
    """Heads and MLP columns divided among the ranks; norms, router, tables copied; two all-reduces a layer.

    Key-value heads are divided where there are enough, else copied (`cache_over="heads"`). With
    `cache_over="batch"` every rank has all key-value heads, but keeps the cache of its own sequences only:
    queries travel to the sequences' ranks and mixed values back, two all-to-alls a layer.
    """

    def __init__(self, model: Transformer, ranks: int, cache_over: str = "heads"):
        if cache_over not in ("heads", "batch"):
            raise BadInput(f"cache_over takes 'heads' or 'batch', got {cache_over!r}")
        self.comm, self.divided = Communicator(ranks), cache_over == "batch"
        s, heads = model.shape, model.shape.n_kv_heads
        names = ("n_heads", "d_ff", "d_ff_expert", "d_ff_shared")
        widths = {name: divide(name, getattr(s, name), "ranks", ranks) for name in names}
        if not self.divided:
            if heads % ranks and ranks % heads:
                raise BadInput(f"ranks takes a divisor or a multiple of n_kv_heads = {heads}, got {ranks}")
            heads = max(heads // ranks, 1)
        shape, self.ranks = replace(s, n_kv_heads=heads, **widths), []
        for r in range(ranks):
            first = 0 if self.divided else r * s.n_kv_heads // ranks
            own = slice(first * s.d_head, (first + heads) * s.d_head)
            part = partial(self._part, r=r, own=own)
            layers = [{name: part(name, w) for name, w in layer.items()} for layer in model.layers]
            self.ranks.append(Transformer(shape, dtype=model.dtype, tables=model.tables, layers=layers))

    def _part(self, part: str, arrays: dict, r: int, own: slice) -> dict:
        """Rank r's columns of what reads the residual stream, rows of what writes it, `own` keys, values."""
        if part in ("norms", "router"):
            return arrays
        axes, ranks = {"o": -2, "out": -2}, self.comm.ranks
        cut = lambda name, w: np.split(w, ranks, axis=axes.get(name, -1))[r]
        return {name: w[:, own] if name in ("k", "v") else cut(name, w) for name, w in arrays.items()}

    def forward(self, tokens, caches: RankCaches, *, lengths=None, meters=None) -> np.ndarray:
        """Logits as of the whole model, from rank 0; `meters`, one for each rank."""
        meters, vocab = meters or [Meter() for _ in self.ranks], self.ranks[0].shape.vocab
        step = Step(tokens, caches.lengths, caches.max_tokens, vocab, lengths)
        own = caches.steps(tokens, lengths, vocab, len(caches)) if self.divided else [step] * len(caches)
        attend = self._attention_over_batch if self.divided else partial(self._each, "attention")
        attention = lambda i, normed: self.comm.all_reduce(attend(i, normed, caches, own, meters))
        mlp = lambda i, normed: self.comm.all_reduce(self._each("mlp", i, normed, meters))
        xs = [rank.embed(step, meter) for rank, meter in zip(self.ranks, meters)]
        xs = self._through(xs, attention, mlp, meters)
        caches.lengths[:] = step.after
        return step.pad(self.ranks[0].logits(xs[0], meters[0]), np.nan)

    def _attention_over_batch(self, i, xs, caches, own, meters):
        sizes, positions = [len(step.tokens) for step in own], [step.positions for step in own]
        queries = self._each("project", i, xs, repeat(np.concatenate(positions)), meters, repeat("q"))
        arrived, blocks = self.comm.all_to_all([_cut(q, sizes) for (q,) in queries], "queries"), []
        for r, (rank, q, meter) in enumerate(zip(self.ranks, arrived, meters)):
            k, v = rank.project(i, _cut(xs[r], sizes)[r], positions[r], meter, "kv")
            mixed = rank.attend(i, np.concatenate(q, axis=1), k, v, caches[r], own[r], meter)
            blocks.append(np.split(mixed, len(self.ranks), axis=1))
        mixed = [np.concatenate(heads) for heads in self.comm.all_to_all(blocks, "mixed values")]
        return self._each("output", i, mixed, meters)


class PipelineParallel(Split):
    """Layers divided among stages; micro-batches of whole sequences follow each other through them.

    The first stage has the embedding, the last one the final norm and the logits' table (a tied one twice).
    `idle` is the share of stage time that the last pass left unused, each stage's work on a micro-batch
    taking one tick.
    """

    def __init__(self, model: Transformer, stages: int):
        each = divide("layers", len(model.layers), "stages", stages)
        self.comm, self.idle = Communicator(stages), None
        last = ("norms", "unembedding" if "unembedding" in model.tables else "embedding")
        self.ranks = []
        for s in range(stages):
            names = (("embedding", "positions") if s == 0 else ()) + (last if s == stages - 1 else ())
            tables = {name: table for name, table in model.tables.items() if name in names}
            layers = model.layers[s * each : (s + 1) * each]
            self.ranks.append(Transformer(model.shape, dtype=model.dtype, tables=tables, layers=layers))

    def forward(
        self, tokens, caches: RankCaches, *, micro_batches: int = 1, lengths=None, meters=None
    ) -> np.ndarray:
        """Logits as of the whole model; sends each stage's output to the next, one micro-batch a tick."""
        meters, stages = meters or [Meter() for _ in self.ranks], len(self.ranks)
        steps = caches.steps(tokens, lengths, self.ranks[0].shape.vocab, micro_batches)
        x, logits = [None] * micro_batches, []
        busy = ticks = 0
        while len(logits) < micro_batches:
            for s in reversed(range(stages)):
                if 0 <= (j := ticks - s) < micro_batches:
                    busy += 1
                    x[j] = self._stage(s, x[j], caches[s], steps[j], meters[s])
                    if s == stages - 1:
                        logits.append(steps[j].pad(self.ranks[s].logits(x[j], meters[s]), np.nan))
            ticks += 1
        for step in steps:
            caches.lengths[step.cache_rows] = step.after
        self.idle = 1 - busy / (ticks * stages)
        return np.concatenate(logits)

    def _stage(self, s, x, cache, step, meter):
        """One micro-batch through stage s: what the stage before has sent, layer by layer."""
        rank = self.ranks[s]
        x = self.comm.send("point-to-point", s - 1, s, x) if s else rank.embed(step, meter)
        for i in range(len(rank.layers)):
            x = rank.layer(i, x, cache, step, meter)
        return x


class ExpertParallel(Split):
    """Experts divided among the ranks, and the sequences too; everything else is copied.

    In each layer of experts, tokens travel to their experts' ranks (dispatch) and back (combine).
    """

    divided = True

    def __init__(self, model: Transformer, ranks: int):
        divide("n_experts", model.shape.n_experts, "ranks", ranks)
        if not model.shape.n_experts:
            raise BadInput("n_experts takes at least 1 with expert parallelism, got 0")
        self.comm, self.ranks = Communicator(ranks), []
        for r in range(ranks):
            layers = [dict(layer) for layer in model.layers]
            for layer in layers[model.shape.dense_layers :]:
                layer["experts"] = {name: np.split(w, ranks)[r] for name, w in layer["experts"].items()}
            self.ranks.append(Transformer(model.shape, dtype=model.dtype, tables=model.tables, layers=layers))

    def forward(self, tokens, caches: RankCaches, *, lengths=None, meters=None) -> np.ndarray:
        """Logits as of the whole model, each rank's from its own sequences."""
        meters = meters or [Meter() for _ in self.ranks]
        steps = caches.steps(tokens, lengths, self.ranks[0].shape.vocab, len(caches))
        attention = lambda i, normed: self._each("attention", i, normed, caches, steps, meters)
        xs = [rank.embed(step, meter) for rank, step, meter in zip(self.ranks, steps, meters)]
        xs = self._through(xs, attention, partial(self._mlp, meters=meters), meters)
        caches.lengths[:] = np.concatenate([step.after for step in steps])
        logits = [rank.logits(x, meter) for rank, x, meter in zip(self.ranks, xs, meters)]
        return np.concatenate([step.pad(y, np.nan) for step, y in zip(steps, logits)])

    def _mlp(self, i, xs, meters):
        if "experts" not in self.ranks[0].layers[i]:
            return self._each("mlp", i, xs, meters)
        n, top_k = len(self.ranks), self.ranks[0].shape.top_k
        routed = self._each("route", i, xs, meters)
        loads = self.comm.all_to_all([np.split(load, n) for _, _, load in routed], "loads")
        blocks = [_cut(x[order // top_k], np.split(load, n)) for x, (_, order, load) in zip(xs, routed)]
        arrived, blocks = self.comm.all_to_all(blocks, "dispatch"), []
        for rank, x, load, meter in zip(self.ranks, arrived, loads, meters):
            x, expert = np.concatenate(x), [np.repeat(np.arange(len(part)), part) for part in load]
            order, y = np.argsort(np.concatenate(expert), kind="stable"), np.empty_like(x)
            y[order] = run_experts(rank.layers[i]["experts"], x[order], sum(load), meter)
            blocks.append(_cut(y, load))
        ys = [np.concatenate(y) for y in self.comm.all_to_all(blocks, "combine")]
        gates, orders, _ = zip(*routed)
        return self._each("combine", i, xs, gates, orders, ys, meters)


def _cut(rows, loads):
    """`rows` cut into one block for each of the `loads`, as long as its sum."""
    return np.split(rows, np.cumsum([np.sum(load) for load in loads])[:-1])


class ZeroAdam:
    """Adam on data-parallel ranks, ZeRO stage 0 to 3: what each rank holds, and one step on gradients given.

    `held[rank]` has the weights and the gradient (in `dtype`) and the optimiser state (a copy of the weights,
    mean and mean square of the gradient, in `state_dtype`). Stage 1 divides the state among the ranks, stage
    2 the gradient too, stage 3 the weights too.
    """

    def __init__(self, weights, ranks: int, stage, *, dtype=np.float32, state_dtype=np.float32, rate=1e-3):
        if stage not in (0, 1, 2, 3):
            raise BadInput(f"stage takes 0, 1, 2 or 3, got {stage!r}")
        each = divide("parameters", weights.size, "ranks", ranks)
        self.comm, self.steps = Communicator(ranks), 0
        self.stage, self.rate = stage, rate
        self.shares, self.held = [slice(r * each, (r + 1) * each) for r in range(ranks)], []
        for own in self.shares:
            w, g, master = (weights[own] if stage >= first else weights for first in (3, 2, 1))
            state = np.stack([master, 0 * master, 0 * master]).astype(state_dtype)
            gradient = np.zeros(g.size, dtype)
            self.held.append({"weights": w.astype(dtype), "gradient": gradient, "state": state})

    def weights(self) -> list:
        """Each rank's whole weights, gathered where they are divided."""
        own = [held["weights"] for held in self.held]
        return self.comm.all_gather(own) if self.stage == 3 else own

    def step(self, gradient) -> None:
        """One step on the mean over ranks of gradient(rank, weights), as flat arrays."""
        self.weights()  # for the forward pass
        weights = self.weights()  # and for the backward pass, since stage 3 lets go of what it gathers
        fresh = [gradient(r, w).astype(w.dtype) for r, w in enumerate(weights)]
        summed = self.comm.all_reduce(fresh) if self.stage == 0 else self.comm.reduce_scatter(fresh)
        self.steps += 1
        for held, own, part in zip(self.held, self.shares, summed):
            target = held["gradient"] if self.stage != 1 else held["gradient"][own]
            target[:] = part
            adam(held["state"], part.astype(held["state"].dtype) / len(self.held), self.steps, self.rate)
        new = [held["state"][0].astype(held["weights"].dtype) for held in self.held]
        for held, w in zip(self.held, self.comm.all_gather(new) if self.stage in (1, 2) else new):
            held["weights"][:] = w


def adam(state: np.ndarray, gradient: np.ndarray, step: int, rate: float) -> None:
    """One Adam step in place on state = (weights, mean, mean square); decay 0.9 and 0.999."""
    weights, mean, square = state
    mean += 0.1 * (gradient - mean)
    square += 0.001 * (gradient**2 - square)
    weights -= rate * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
