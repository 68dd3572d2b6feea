"""The serving model: what a model on a server takes for a pass, in seconds, bytes and dollars.

    x = decode(model("gpt4_multi_query"), Server(gpu="H100-SXM 80GB", pipeline=16), batch=256, context=2048)
    x.user_rate, x.rate, x.mfu, x.batch_limit

`PASS` is the whole of it: laws of chapters 2 and 6 in the order of the argument, for one batch or for arrays
of them; the workbench's page prints the same chain. Stages, ranks and experts count as evenly loaded; routing
counts as uniform unless `hit` says how many experts a pass reaches. The defaults are a bound: data-sheet
rates, memory and compute fully overlapped, nothing lost. `Server` holds every departure from it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..chapters import architecture
from ..chapters import inference_tradeoffs as laws
from ..chapters.moe_inference import experts_hit
from ..spine.chain import Chain, link
from ..spine.errors import BadInput, refuse
from .count import ServedModel
from .machine import DoesNotFit, Server, positive_numbers, stage_mistakes, undivided

HOLD = Chain(link("Q_held", laws.held_weights_by_part), link("Q_left", laws.memory_left, Q_w="Q_held"))
HIT = link("E_hit", experts_hit, B_seq="n_tok")
READ = Chain(HIT, laws.rank_weights_by_part, laws.rank_cache, laws.memory_time)
MULTIPLY = Chain(architecture.full, laws.pass_flop, laws.compute_time, laws.core_time)
MOVE = Chain(laws.tensor_time, laws.split_time, laws.expert_time, laws.hop_time)
RATES = Chain(laws.pass_time, laws.waiting, laws.user_rate, laws.cluster_rate)
ROOM = Chain(link("Q_cache", laws.held_cache), link("B_max", laws.largest_batch))
WORTH = Chain(
    link("N_pass", architecture.active, N_attn="N_fix"),
    link("n_serve", laws.cluster_gpus),
    link("mfu_serve", laws.serving_mfu, n="n_serve", N="N_pass"),
    link("c_tok", laws.token_cost, n="n_serve"),
)
PASS = Chain(HOLD, READ, MULTIPLY, MOVE, RATES, ROOM, WORTH)
PROMPT = PASS.but(link("R_out", laws.prompt_rate))  # rates count a whole prompt, not a token a sequence
UNEVEN = (  # stages that are not equal: one is like so many equal ones, the longest sets the beat
    link("Q_cache", laws.held_cache, p="like"),
    link("B_max", laws.largest_batch, p="like"),
    link("turns", laws.waiting, p="beat"),
)
NAMES = {"pass_seconds": "t_pass", "user_rate": "R_out", "rate": "R_serve", "mfu": "mfu_serve"}
NAMES |= {"n_gpus": "n_serve", "experts_hit": "E_hit", "batch_limit": "B_max", "left_bytes": "Q_left"}
NAMES |= {"weight_bytes_held": "Q_held", "cache_bytes_held": "Q_cache", "cost": "c_tok"}


@dataclass(frozen=True)
class Pass:
    """A pass of a model through a server: seconds of its parts, rates, memory, and USD for a token.

    Arrays of the shape that batch and context span together. Bytes are those of one GPU; `experts_hit` counts
    in a layer, `batch_limit` is the batch that the memory `left_bytes` by the weights allows, `in_flight` the
    sequences of all passes under way. `cost` is None where no price is given.
    """

    memory_seconds: np.ndarray
    compute_seconds: np.ndarray
    tensor_seconds: np.ndarray
    split_seconds: np.ndarray
    expert_seconds: np.ndarray
    hop_seconds: np.ndarray
    layers_seconds: np.ndarray
    pass_seconds: np.ndarray
    user_rate: np.ndarray
    rate: np.ndarray
    mfu: np.ndarray
    n_gpus: float
    experts_hit: np.ndarray
    weight_bytes_held: float
    cache_bytes_held: np.ndarray
    left_bytes: float
    batch_limit: np.ndarray
    in_flight: np.ndarray
    cost: np.ndarray | None = None

    @property
    def fits(self) -> np.ndarray:
        """Whether the cache of all sequences in flight fits beside the weights."""
        return self.cache_bytes_held <= self.left_bytes

    @property
    def seconds(self) -> dict:
        """Seconds by part, the first seven fields; those of memory and compute may overlap."""
        return {name.removesuffix("_seconds"): getattr(self, name) for name in list(vars(self))[:7]}

    @property
    def bound(self) -> np.ndarray:
        """The name of the part that takes longest."""
        parts = [np.broadcast_to(part, np.shape(self.pass_seconds)) for part in self.seconds.values()]
        return np.array(list(self.seconds))[np.argmax(np.stack(parts), axis=0)]


def decode(model: ServedModel, server: Server, *, batch, context, hit=None, tokens=1, price=None) -> Pass:
    """Time, rates, memory and cost of a step in which each of `batch` sequences puts out one token.

    `batch` sequences (a number or array) make one pass, `context` tokens stand in each one's cache. `hit` is
    the mean number of experts reached (default: uniform routing). `tokens` positions of each sequence go
    through the pass together, as when drafts are checked; rates still count one token a sequence and pass.
    `price` in USD per GPU and second adds `cost`. Raises DoesNotFit where the weights do not fit and BadInput
    for numbers that are not positive, and for key-value heads that `tensor` neither divides nor copies. Query
    heads have to divide where the cache is divided by heads; by sequences they count as evenly spread.
    """
    return _run(PASS, model, server, batch, context, tokens, hit, price)


def prefill(model: ServedModel, server: Server, *, batch, prompt, hit=None, price=None) -> Pass:
    """The same for a pass over whole prompts; `pass_seconds` is the time to the first token.

    Rates, utilisation and cost count the tokens of the prompts.
    """
    return _run(PROMPT, model, server, batch, prompt, prompt, hit, price)


def cache_ranks_of(model: ServedModel, server: Server) -> int:
    """Ranks over which a stage divides a token's cache; the others hold copies."""
    return server.tensor if server.divide_cache else min(model.kv_splits, server.tensor)


def _run(chain, model, server, batch, context, tokens, hit, price) -> Pass:
    """The chain on what model, server and batch say, without the links that the caller knows better."""
    positive_numbers(batch=batch, context=context, tokens=tokens)
    for name, value in (("expert", server.expert), ("hit", 0 if hit is None else np.max(hit))):
        if value > model.E:
            raise BadInput(f"{name} takes at most the {model.E} experts of {model.name}, got {value:g}")
    grid = np.broadcast_arrays(np.asarray(batch, float), np.asarray(context, float))
    sizes = dict(zip(("B_seq", "S"), grid))
    known = vars(model) | server.facts() | sizes | {"n_tok": sizes["B_seq"] * tokens}
    split = {} if server.divide_cache else {"n_heads": model.n_h}
    refuse(model.name, undivided(server.tensor, model.kv_splits, **split))
    known["C_pair"] = model.score_flop(np.asarray(context, float), mean=chain is PROMPT)
    known["cache_ranks"] = cache_ranks_of(model, server)
    once = model.state / sizes["S"] * (1 - known["cache_ranks"] / server.tensor)  # states are never copied
    known["kv"] = (model.mean_entries(sizes["S"]) - once) * server.kv_bytes
    known |= {} if hit is None else {"E_hit": np.asarray(hit, float)[()]}
    known |= {} if server.divide_cache else {"t_split": 0.0 * sizes["B_seq"]}
    known |= {} if price is None else {"price": price}
    own = server.stage_layers
    known |= {"Q_held": laws.held_weights_by_part.at(known)} if own is None else _stages(model, server, known)
    held, space = known["Q_held"], known["mem"] * known["usable"]
    if held >= space:
        layout = ", ".join(f"{name} = {getattr(server, name)}" for name in ("tensor", "pipeline", "expert"))
        words = f"{held / 1e9:,.1f} GB of weights on each {server.gpu} with {space / 1e9:,.1f} GB ({layout})"
        raise DoesNotFit(f"{model.name} does not fit: {words}", held, space)
    left_out = {"Q_held", "E_hit", "t_split"} & set(known) | (set() if "price" in known else {"c_tok"})
    return _named(chain.but(*(UNEVEN if own else ()), without=left_out).run(known))


def _stages(model: ServedModel, server: Server, known: dict) -> dict:
    """Weights of the stage with the least room for its layers' cache, and the letters of `UNEVEN`.

    The first stage has the input table, the last the output table: again, where one serves both.
    """
    own = server.stage_layers
    wrong = stage_mistakes(own, model.L)
    if not wrong and len(own) != server.pipeline:
        wrong = [f"stage_layers takes {server.pipeline} stages, as pipeline says, got {len(own)}"]
    refuse(model.name, wrong)
    tied = model.N_held == model.N_fix
    first = model.N_table if tied else model.N_held - model.N_fix
    ends, like = np.zeros(len(own)), model.L / np.array(own)
    ends[0] += first
    ends[-1] += 0 if tied and len(own) == 1 else model.N_table
    inner = model.N_held - first - (0 if tied else model.N_table)
    held = laws.held_weights_by_part.on_arrays(known | {"N_held": ends * like + inner, "p": like})
    least = np.argmin((known["mem"] * known["usable"] - held) * like)
    return {"Q_held": float(held[least]), "like": float(like[least]), "beat": float(like.min())}


def _named(x: dict) -> Pass:
    """The results of the chain under the names of `Pass`."""
    parts = {"memory": x["t_mem"] * x["overhead"], "compute": x["t_mm"] * x["overhead"]}
    parts |= {name: x[f"t_{name}"] for name in ("tensor", "split", "expert", "hop")}
    parts["layers"] = x["t_layer"] * x["L"] + 0.0 * x["t_mem"]
    found = {f"{name}_seconds": part for name, part in parts.items()}
    found |= {name: x.get(letter) for name, letter in NAMES.items()}
    return Pass(**found, in_flight=x["m"] * x["B_seq"])


def at_the_limit(model: ServedModel, server: Server, *, context: float, price: float) -> Pass:
    """`decode` with as many sequences as memory allows.

    Where not one sequence a stage fits, fewer micro-batches of one, and stages that wait. Raises DoesNotFit
    where no whole sequence fits.
    """
    one, m = decode(model, server, batch=1, context=context), server.facts()["m"]
    most = float(one.batch_limit)
    if most * m < 1:
        words = f"context takes less: not one sequence of {context:g} tokens fits, {most * m:.3g} would"
        raise DoesNotFit(words, float(one.cache_bytes_held) / m, one.left_bytes)
    if most < 1:
        server, most = replace(server, micro_batches=int(most * m)), 1.0
    return decode(model, server, batch=most, context=context, price=price)
