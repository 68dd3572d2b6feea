"""Drafts on real distributions: acceptance, what the rejection rule puts out, rounds, trees.

    mean_rounds(keep, gamma=4)     # rounds that a text takes, each token kept with its own probability

The sampler itself is `mini.speculative`. Sources: leviathan2023, chen2023, spector2023, miao2023.
"""

from __future__ import annotations

import heapq

import numpy as np

from ..spine.errors import BadInput, positive

_ROUNDING = 1e-9  # not mutated: any small number makes up for the rounding of doubles


# ---- distributions ------------------------------------------------------------------------
def acceptance(p, q, lenience: float = 1.0) -> np.ndarray:
    """Sum of min(q, p / lenience): the acceptance for distributions (..., vocab) of oracle and draft."""
    return np.minimum(q, np.asarray(p) / _lenience(lenience)).sum(axis=-1)


def rule_output(p, q, lenience: float = 1.0) -> np.ndarray:
    """min(q, p / lenience) + (1 - acceptance) residual: the distribution of a drafted position's token.

    The residual is max(0, p - q), normalised, as in `mini.speculative`. With lenience 1 this is p.
    """
    p, q = np.asarray(p, dtype=float), np.asarray(q, dtype=float)
    rest = np.maximum(0, p - q)
    total = rest.sum(axis=-1, keepdims=True)
    residual = np.divide(rest, total, out=p.copy(), where=total > 0)
    return np.minimum(q, p / _lenience(lenience)) + (1 - acceptance(p, q, lenience))[..., None] * residual


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
    """(p, q, token) for each of `texts` (n, length) after `context` tokens: p and q are (n, ., vocab)."""
    runs = np.lib.stride_tricks.sliding_window_view(np.asarray(texts), context + 1, axis=1)
    return oracle.probs(runs[..., :-1]), draft.probs(runs[..., :-1]), runs[..., -1]


def kept_given(p, q, token) -> np.ndarray:
    """min(1, q / p) at `token`: how likely a drafted position whose output is `token` kept its draft."""
    at = [np.take_along_axis(np.asarray(x), np.asarray(token)[..., None], axis=-1)[..., 0] for x in (p, q)]
    return np.minimum(1, at[1] / at[0])


def draft_rank(q, token) -> np.ndarray:
    """The place of `token` in the draft's order of likelihood: 0 for its first choice."""
    order = np.argsort(-np.asarray(q), axis=-1, kind="stable")
    return np.argmax(order == np.asarray(token)[..., None], axis=-1)


def mean_rounds(keep, gamma: int) -> tuple[float, np.ndarray]:
    """(mean rounds, shares kept by draft position) where token i is a kept draft with probability keep[i].

    keep: (texts, length), from `kept_given`. The rounds that can start at each token are carried along with
    their probabilities, so the result is exact for the given texts, without sampling. Raises BadInput for
    what are no probabilities and for a gamma below 1.
    """
    keep = np.asarray(keep, dtype=float)
    if keep.ndim != 2 or not keep.size or not ((keep >= 0) & (keep <= 1)).all():
        raise BadInput("keep takes probabilities from 0 to 1, texts by tokens, at least one of each")
    positive("gamma", gamma)
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
    reached = np.maximum(reached, 1e-300)  # not mutated: a position never reached keeps 0 of anything
    return float(start[:-1].sum(axis=0).mean()), kept / reached


# ---- trees --------------------------------------------------------------------------------
def best_tree(rank_share, nodes: int) -> dict[tuple, float]:
    """The `nodes` likeliest draft paths {ranks: probability}; rank_share[r]: choice r is the oracle's.

    Positions are taken to be independent. A path is in the tree only if its beginning is, since it is
    likelier. 1 + the sum of the probabilities is the mean number of tokens of a round. Raises BadInput for
    shares that add up to more than 1 and unless `nodes` is a positive whole number. Source: miao2023.

    >>> best_tree([0.6, 0.2], 3)
    {(0,): 0.6, (0, 0): 0.36, (0, 0, 0): 0.216}
    """
    share = np.asarray(rank_share, dtype=float)
    positive("nodes", nodes)
    if share.ndim != 1 or not len(share) or (share < 0).any() or share.sum() > 1 + _ROUNDING:
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

    ranks: (texts, length), the rank that the draft gave to each token. The oracle draws its token at each
    node and goes on if that is among the node's children, so the output is the oracle's.
    """
    starts = np.lib.stride_tricks.sliding_window_view(np.asarray(ranks), max(map(len, tree)), axis=1)
    reached = sum(int((starts[..., : len(path)] == path).all(axis=-1).sum()) for path in tree)
    count = starts.shape[0] * starts.shape[1]
    return (count + reached) / count
