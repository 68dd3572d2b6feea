"""Speculative decoding: tokens per pass, speed-up, the best draft length, and what the rejection rule puts out.

    value(speed_up, accept=[0.5, 0.9], gamma=4, c_draft=0.05, v_check=1)
    best_draft_length(accept=0.7, c_draft=0.1)
    passes(keep, gamma=4)                      # rounds that a text takes, each token kept with its own probability

The sampler itself is `mini.speculative`. Sources: leviathan2023, chen2023, spector2023.
"""

from __future__ import annotations

import heapq

import numpy as np
import sympy

from . import serving_model
from .inference_tradeoffs import ridge_point, weight_intensity
from .law import Law
from .moe_inference import experts_hit, parameters_read
from .symbols import (
    B_dead,
    B_ridge,
    B_seq,
    E,
    N,
    N_exp,
    N_fix,
    N_total,
    accept,
    accept_len,
    bits,
    bits_len,
    c_alone,
    c_draft,
    c_in,
    c_tok,
    c_work,
    gamma,
    intensity,
    k,
    lenience,
    n_in,
    n_out,
    n_round,
    n_tok,
    p_long,
    p_run,
    ridge,
    tok,
    v_check,
    x_bits,
    x_bytes,
    x_double,
    x_inner,
    x_late,
    x_next,
    x_out,
    x_pay,
    x_peak,
    x_prompt,
    x_spec,
    x_tv,
    x_work,
)
from .units import BadInput, to_unit

# ---- why decoding is dear -----------------------------------------------------------------
_dense_ridge = weight_intensity.solve("B_seq").rhs.xreplace({intensity: ridge_point.rhs})
peak_share = Law(x_peak, weight_intensity.rhs / ridge, "Share of peak that reading allows").given(ridge_point)
prompt_gain = Law(
    x_prompt,
    sympy.Min(n_tok / tok * N / N_total, _dense_ridge),
    "A lone decoded token over a token of its prompt",
)
decode_share = Law(x_out, 1 / (1 + n_in / (x_prompt * n_out)), "Share of decoding in a request's time")
_prompt = Law(x_prompt, prompt_gain.rhs.xreplace({n_tok: n_in}), prompt_gain.title)
decode_share_alone = decode_share.given(_prompt)
price_ratio = Law(x_pay, c_tok / c_in, "Output price over input price")

# ---- tokens -------------------------------------------------------------------------------
tokens = Law(
    n_round, (1 - accept ** (gamma + 1)) / (1 - accept), "Tokens of one round", source="leviathan2023"
)
all_kept = Law(p_run, accept**gamma, "Probability that all drafts are kept", source="leviathan2023")


def _at(law, length):
    """The right side of a law at another draft length."""
    return law.rhs.xreplace({gamma: length})


_first, _second = (sympy.expand(_at(tokens, n) * (1 - accept)) for n in (gamma, 2 * gamma))
late = Law(
    x_late,
    sympy.factor(sympy.simplify((_second - _first) / (_first - (1 - accept)))),
    "What as many drafts again add, over the first",
)

# ---- time ---------------------------------------------------------------------------------
round_gain = Law(x_spec, n_round / (gamma * c_draft + v_check), "Speed-up of a round", source="leviathan2023")
speed_up = round_gain.given(tokens)
speed_up_free = speed_up.given(Law(v_check, 1))
next_gain = Law(x_next, _at(speed_up_free, gamma + 1) / speed_up_free.rhs, "Gain of one draft more")
tie = next_gain.solve("c_draft").given(Law(x_next, 1))
inner_draft = Law(c_draft, c_alone / x_inner, "Draft time with a draft of its own", source="spector2023")
work = Law(x_work, (gamma * c_work + gamma + 1) / n_round, "FLOP per token", source="leviathan2023").given(
    tokens
)

# ---- many sequences, many experts ---------------------------------------------------------
_read = parameters_read.given(experts_hit)
bytes_ratio = Law(
    x_bytes,
    _read.rhs.xreplace({B_seq: (gamma + 1) * B_seq}) / _read.rhs / n_round,
    "Weights read per token, with drafts over without",
).given(tokens)
_own = N_exp * (E - k) * experts_hit.rhs.xreplace({B_seq: gamma}) / E  # experts that only the drafts reach
bytes_ratio_alone = Law(
    x_bytes, (1 + _own / (N_fix + k * N_exp)) / n_round, "Weights read per token, one sequence"
).given(tokens)
ridge_batch = Law(
    B_ridge, _dense_ridge * N_total / N, "Positions at which compute takes as long as all weights"
)
dead_batch = Law(
    B_dead, B_ridge * (n_round - gamma * c_draft) / (gamma + 1), "Sequences at which drafts stop paying"
).given(tokens)
dead_batch_on = dead_batch.given(ridge_batch)

# ---- the relaxed rule ---------------------------------------------------------------------
distortion = Law(x_tv, accept_len - accept, "Total variation of the relaxed rule, one token")
distortion_bound = Law(x_tv, accept * (1 / lenience - 1), "Most that the relaxed rule can distort one token")

# ---- what is measured ---------------------------------------------------------------------
doubling = Law(x_double, sympy.log(p_long) / sympy.log(p_run), "Fall of a run twice as long, in logarithms")
bits_ratio = Law(x_bits, bits_len / bits, "Bits of real text, relaxed over exact")


def value(law: Law, **inputs):
    """A law at an acceptance from 0 to 1 and a draft length of at least 1; at acceptance 1 its limit.

    Takes arrays. Raises BadInput that names accept, c_draft, gamma, ...

    >>> value(tokens, accept=[0, 0.5, 1], gamma=2).tolist()
    [1.0, 1.75, 3.0]
    """
    for name, low, most in (("accept", 0, 1), ("gamma", 1, None)):
        if name in inputs:
            array = np.asarray(to_unit(inputs[name], "1", name, at_most=most))
            if (array < low).any():
                raise BadInput(f"{name} takes a number of at least {low}, got {array[array < low].flat[0]:g}")
    at_one = np.asarray(inputs.get("accept", 0), dtype=float) == 1
    if not at_one.any():
        return law(**inputs)
    sure = Law(law.lhs, sympy.limit(law.rhs, accept, 1), law.title)
    known = {s.name for s in (*sure.symbols, *sure.constants)}
    limit = sure(**{name: given for name, given in inputs.items() if name in known})
    if at_one.all():
        return limit
    return np.where(at_one, limit, law(**inputs | {"accept": np.where(at_one, 0.5, inputs["accept"])}))


def best_draft_length(*, accept, c_draft, most: int = 64):
    """The draft length from 1 to `most` with the largest speed-up, the shorter of two that tie; takes arrays."""
    if not most >= 1:
        raise BadInput(f"most takes a whole number of at least 1, got {most!r}")
    rates, costs = np.broadcast_arrays(np.asarray(accept, dtype=float), np.asarray(c_draft, dtype=float))
    lengths = np.arange(1, most + 1)
    found = value(speed_up_free, accept=rates[..., None], gamma=lengths, c_draft=costs[..., None])
    best = lengths[np.argmax(found, axis=-1)]
    return int(best) if best.ndim == 0 else best


def batch_gain(oracle, draft, server, draft_server, *, accept, gamma, batch, context, **routing) -> dict:
    """round_gain in the serving model: oracle and draft passes timed at `batch` sequences of `context` tokens.

    A dict of arrays: `speed_up`, `check` and `draft` (times over the oracle's plain pass), `plain_seconds`. `routing`
    is `hit` of `serving_model.decode`, as (plain, checking). Shapes of accept, gamma, batch and context must agree.
    """
    mean, length = value(tokens, accept=accept, gamma=gamma), np.asarray(gamma, dtype=float)
    plain_hit, check_hit = routing.get("hit", (None, None))
    timed = [
        serving_model.decode(model, on, batch=batch, context=context, tokens=positions, hit=hit)[
            "pass_seconds"
        ]
        for model, on, positions, hit in (
            (oracle, server, 1, plain_hit),
            (oracle, server, length + 1, check_hit),
            (draft, draft_server, 1, None),
        )
    ]
    plain, check, drafted = timed
    gain = round_gain(n_round=mean, gamma=gamma, c_draft=drafted / plain, v_check=check / plain)
    return {"speed_up": gain, "check": check / plain, "draft": drafted / plain, "plain_seconds": plain}


# ---- distributions ------------------------------------------------------------------------
def overlap(p, q, lenience: float = 1.0) -> np.ndarray:
    """Sum of min(q, p / lenience): the acceptance for distributions (..., vocab) of oracle and draft."""
    return np.minimum(q, np.asarray(p) / _lenience(lenience)).sum(axis=-1)


def rule_output(p, q, lenience: float = 1.0) -> np.ndarray:
    """min(q, p / lenience) + (1 - acceptance) residual: the distribution (..., vocab) of a drafted position's token.

    The residual is max(0, p - q), normalised, as in `mini.speculative`. With lenience 1 this is p.
    """
    p, q = np.asarray(p, dtype=float), np.asarray(q, dtype=float)
    rest = np.maximum(0, p - q)
    total = rest.sum(axis=-1, keepdims=True)
    residual = np.divide(rest, total, out=p.copy(), where=total > 0)
    return np.minimum(q, p / _lenience(lenience)) + (1 - overlap(p, q, lenience))[..., None] * residual


def _lenience(lenience):
    if not 0 < lenience <= 1:
        raise BadInput(f"lenience takes a number above 0 and at most 1, got {lenience!r}")
    return lenience


# ---- measured on a text -------------------------------------------------------------------
def streams(model, starts, length: int, rng) -> np.ndarray:
    """`length` tokens drawn from `model` after each of the contexts (n, tokens): (n, length)."""
    text = np.asarray(starts)
    for _ in range(length):
        ends = np.cumsum(model.probs(text), axis=-1)
        drawn = rng.random((len(text), 1)) * ends[:, -1:]
        text = np.concatenate([text, (ends <= drawn).sum(axis=-1, keepdims=True)], axis=1)
    return text[:, -length:]


def side_by_side(oracle, draft, texts, context: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(p, q, token) for each token of `texts` (n, length) with `context` tokens before it: p and q (n, ., vocab)."""
    runs = np.lib.stride_tricks.sliding_window_view(np.asarray(texts), context + 1, axis=1)
    return oracle.probs(runs[..., :-1]), draft.probs(runs[..., :-1]), runs[..., -1]


def kept_given(p, q, token) -> np.ndarray:
    """min(1, q / p) at `token`: probability that a drafted position whose output is `token` kept its draft."""
    at = [np.take_along_axis(np.asarray(x), np.asarray(token)[..., None], axis=-1)[..., 0] for x in (p, q)]
    return np.minimum(1, at[1] / at[0])


def draft_rank(q, token) -> np.ndarray:
    """The place of `token` in the draft's order of likelihood: 0 for its first choice."""
    order = np.argsort(-np.asarray(q), axis=-1, kind="stable")
    return np.argmax(order == np.asarray(token)[..., None], axis=-1)


def passes(keep, gamma: int) -> tuple[float, np.ndarray]:
    """(mean rounds, shares kept by draft position) for texts whose token i is a kept draft with probability keep[i].

    keep: (texts, length), from `kept_given`. The rounds that can start at each token are carried along with their
    probabilities, so the result is exact for the given texts, without sampling.
    """
    keep = np.asarray(keep, dtype=float)
    if keep.ndim != 2 or not keep.size or not ((keep >= 0) & (keep <= 1)).all():
        raise BadInput("keep takes probabilities from 0 to 1, texts by tokens, at least one of each")
    if gamma < 1:
        raise BadInput(f"gamma takes a whole number of at least 1, got {gamma!r}")
    length = keep.shape[1]
    start = np.zeros((length + 1, len(keep)))
    start[0] = 1
    reached, kept = np.zeros(gamma), np.zeros(gamma)
    for s in range(length):
        here = start[s]
        for i in range(min(gamma, length - s - 1)):
            on = here * keep[:, s + i]
            reached[i] += here.sum()
            kept[i] += on.sum()
            start[s + i + 1] += here - on
            here = on
        start[s + min(gamma, length - s - 1) + 1] += here
    return float(start[:-1].sum(axis=0).mean()), kept / np.maximum(reached, 1e-300)


# ---- trees --------------------------------------------------------------------------------
def best_tree(rank_share, nodes: int) -> dict[tuple, float]:
    """The `nodes` likeliest draft paths {ranks: probability}; rank_share[r]: the draft's choice r is the oracle's.

    Positions are taken to be independent. A path is in the tree only if its beginning is, since it is likelier.
    1 + the sum of the probabilities is the mean number of tokens of a round. Source: miao2023.

    >>> best_tree([0.6, 0.2], 3)
    {(0,): 0.6, (0, 0): 0.36, (0, 0, 0): 0.216}
    """
    share = np.asarray(rank_share, dtype=float)
    if not nodes >= 1:
        raise BadInput(f"nodes takes a whole number of at least 1, got {nodes!r}")
    if share.ndim != 1 or not len(share) or (share < 0).any() or share.sum() > 1 + 1e-9:
        raise BadInput(f"rank_share takes probabilities that add up to at most 1, got {rank_share!r}")
    heap, tree = [(-p, (r,)) for r, p in enumerate(share.tolist())], {}
    heapq.heapify(heap)
    while len(tree) < nodes:
        p, path = heapq.heappop(heap)
        tree[path] = -p
        for r, more in enumerate(share.tolist()):
            heapq.heappush(heap, (p * more, (*path, r)))
    return tree


def tree_tokens(ranks, tree) -> float:
    """Mean tokens of a round whose drafts are `tree`, over every start in texts of the oracle.

    ranks: (texts, length), the rank that the draft gave to each token. The oracle draws its token at each node and
    goes on if that is among the node's children, so the output is the oracle's.
    """
    depth, ranks = max(map(len, tree)), np.asarray(ranks)
    windows = np.lib.stride_tricks.sliding_window_view(ranks, depth, axis=1).reshape(-1, depth)
    base = int(ranks.max()) + 2
    total = np.ones(len(windows))
    for d in range(1, depth + 1):
        places = base ** np.arange(d)
        nodes = [int(np.dot(path, places)) for path in tree if len(path) == d]
        total += np.isin(windows[:, :d] @ places, nodes)
    return float(total.mean())
