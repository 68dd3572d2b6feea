"""Loads of experts under random routing: exact distributions at any batch; enumeration and draws beside them.

Each token of a batch goes to `top_k` different experts of a layer. In uniform routing all sets of `top_k`
experts are equally likely. Skewed routing has two definitions. In the first the probability of a set is
proportional to the product of its experts' weights. In the second, `one_by_one`, experts are drawn one after
another in proportion to the weights of those not yet drawn, which is what the k largest of noisy scores give.
They agree where all weights are equal. Busiest experts are exact for the first definition, reached experts
for both.
"""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import combinations, combinations_with_replacement, permutations
from math import comb, exp, factorial, pi, prod, sqrt

import numpy as np

from ..spine.errors import BadInput, positive

_ROUNDING = 1e-12  # not mutated: any small number makes up for the rounding of doubles


def reached(batch: int, *, experts: int, top_k: int) -> np.ndarray:
    """P(distinct experts = j), j = 0 to `experts`, uniform routing: one token after another.

    From j experts a token reaches a new ones with probability
    C(experts - j, a) C(j, top_k - a) / C(experts, top_k).

    >>> reached(2, experts=4, top_k=2).round(4).tolist()
    [0.0, 0.0, 0.1667, 0.6667, 0.1667]
    """
    _check(batch, experts, top_k)
    move = np.zeros((experts + 1, experts + 1))
    for j in range(experts + 1):
        for new in range(min(top_k, experts - j) + 1):
            move[j, j + new] = comb(experts - j, new) * comb(j, top_k - new) / comb(experts, top_k)
    return np.linalg.matrix_power(move, batch)[0]


def reached_of(routes: tuple, batch: int) -> np.ndarray:
    """The same for any routing law: `routes` as `sets` gives them, at most 20 experts.

    Inclusion and exclusion over the sets A of experts: all tokens stay in A with probability
    P(route in A)^batch. Raises BadInput for more experts.
    """
    members, p = routes
    experts = members.shape[1]
    _check(batch, experts, 1)
    if experts > 20:
        raise BadInput(f"routes takes at most 20 experts, since every set of them is visited, got {experts}")
    inside = np.zeros(2**experts)
    inside[(members << np.arange(experts)).sum(axis=1)] = p
    for e in range(experts):  # a set holds the routes of all its subsets
        halves = inside.reshape(-1, 2, 2**e)
        halves[:, 1] += halves[:, 0]
    size = np.array([i.bit_count() for i in range(2**experts)])
    within = np.bincount(size, weights=inside**batch)
    found = np.zeros(experts + 1)
    for i, j in combinations_with_replacement(range(experts + 1), 2):
        found[j] += (-1) ** (j - i) * comb(experts - i, j - i) * within[i]
    return found


def busiest(batch: int, *, top_k: int, experts: int | None = None, weights=None) -> np.ndarray:
    """P(load of the busiest expert = m), m = 0 to `batch`: `experts` alike or with `weights`; top_k 1 or 2.

    For one expert a token the loads are Poisson numbers, given their sum. For two, the routings with loads
    n_1, n_2, ... number E[prod He_n(z)] over a standard normal z: e_2 = (p_1^2 - p_2) / 2, and the square is
    a mean over z. So the loads are independent given z, with generating function exp(z t y - (t y)^2 / 2),
    and the sum of the loads, top_k x batch, is picked out by a Fourier sum. No step is approximate; both sums
    stop below 1e-18. Draws with replacement: give top_k = 1 and the number of draws as `batch`. Raises
    BadInput for another top_k, for sizes that do not fit and for weights that no such routing has.
    """
    w = _weights(batch, experts, weights, top_k)
    if top_k == len(w):
        return np.eye(batch + 1)[batch]
    rate = w * (batch if top_k == 1 else sqrt(2 * batch / (1 - w @ w)))
    mean = rate.max() * (1 if top_k == 1 else float(rate.sum()) - rate.max())
    tail = 12 * sqrt(mean) + 40  # not mutated: larger loads weigh nothing in double precision
    top = min(batch, int(mean + tail))
    z, share = (np.zeros(1), np.ones(1)) if top_k == 1 else _normal(float(rate.sum()), top, mean)
    kinds, alike = np.unique(rate, return_counts=True)
    loads = [_poisson(t, top) if top_k == 1 else _hermite(z, t, top) for t in kinds]
    enough = 24 * int(sqrt(top_k * batch)) + 60  # not mutated: a longer period picks out the same sum
    period = min(len(w) * batch + 1, enough)  # not mutated: as before
    below = _picked(loads, alike.tolist(), share, top_k * batch, period)
    found = np.zeros(batch + 1)
    found[: top + 1] = np.diff(below * _over_poisson(batch) / period, prepend=0)
    return found


def _weights(batch, experts, weights, top_k):
    """The experts' shares of the weights, where `busiest` can take them."""
    w = np.ones(experts) if weights is None else np.asarray(weights, dtype=float)
    _check(batch, len(w), top_k)
    if top_k > 2:
        more = "`enumerate_loads` takes more, at small batches"
        raise BadInput(f"top_k takes 1 or 2 at any batch, got {top_k}; {more}")
    if not np.isfinite(w).all() or not (w > 0).all():
        raise BadInput(f"weights takes positive numbers, got {w.min():g}")
    most = w.max() / w.sum()
    if 2 == top_k < len(w) and most > 0.5 + _ROUNDING:
        raise BadInput(f"weights takes at most half of their sum for one expert of two, got {most:.3g} of it")
    return w / w.sum()


def _normal(common, top, mean):
    """(z, share): points of a standard normal and their weights, z and -z in one, where the loads live."""
    # Hermite polynomials swing where z^2 < 4 n, and want a finer step there.
    swings = common**2 < 4 * min(top, mean + 6 * sqrt(mean))  # not mutated: a finer step changes no result
    step = min(0.4, 1 / sqrt(top)) if swings else 0.4  # not mutated: nor does it here
    low = max(0.0, common - 8)  # not mutated: further points weigh nothing
    z = np.arange(low, common + 8, step)  # not mutated: nor do these
    share = 2 * step * np.exp(-((z - common) ** 2) / 2) / sqrt(2 * pi)  # and as much at -z
    share[0] /= 2 if low == 0 else 1
    return z, share


def _picked(loads, alike, share, picks, period):
    """The Fourier sum, `period` times the weight of all loads <= m with the sum `picks`, m = 0 to the top."""
    top = loads[0].shape[1] - 1
    block = max(1, 1_000_000 // (len(share) * (top + 1)))  # not mutated: block size, changes no result
    below = np.zeros(top + 1)
    for start in range(0, period // 2 + 1, block):
        j = np.arange(start, min(start + block, period // 2 + 1))
        turn = np.exp(2j * pi * np.outer(j, np.arange(top + 1)) / period)
        up_to = prod(_power(np.cumsum(q[:, None] * turn, axis=2), c) for q, c in zip(loads, alike))
        part = np.einsum("z,ztn,t->tn", share, up_to, np.exp(-2j * pi * j * picks / period)).real
        below += np.where((j == 0) | (2 * j == period), 1, 2) @ part
        if start and abs(part).max() < 1e-18:  # not mutated: later terms are below what a double holds
            break
    return below


def _hermite(z, t, top):
    """He_n(z) t^n / n! e^(t^2/2 - z t) for each z and n = 0 to `top`; scaled by powers of two on the way."""
    value, power = np.empty((len(z), top + 1)), np.empty((len(z), top + 1), dtype=int)
    last, now = np.zeros_like(z), np.ones_like(z)
    shift = np.zeros(len(z), dtype=int)
    for n in range(top + 1):
        value[:, n], power[:, n] = now, shift
        last, now = now, (z * t * now - t * t * last) / (n + 1)
        more = np.frexp(np.maximum(abs(last), abs(now)))[1]
        last, now = np.ldexp(last, -more), np.ldexp(now, -more)
        shift = shift + more
    z, t = np.longdouble(z), np.longdouble(t)
    return (value * np.exp(power * np.log(np.longdouble(2)) + (t * t / 2 - z * t)[:, None])).astype(float)


def _poisson(mean, top):
    """Poisson probabilities 0 to `top`, as one row."""
    n = np.longdouble(np.arange(1, top + 1))
    logs = np.concatenate([[0], np.cumsum(np.log(np.longdouble(mean) / n))]) - np.longdouble(mean)
    return np.exp(logs).astype(float)[None]


def _over_poisson(n):
    """n! e^n / n^n, one over the probability that a Poisson number of mean n is n."""
    if n < 100:
        return factorial(n) / n**n * exp(n)
    return sqrt(2 * pi * n) * exp(1 / (12 * n) - 1 / (360 * n**3) + 1 / (1260 * n**5))


def _power(x, n):
    """x^n by squaring."""
    result = 1
    while n:
        result = result * x if n & 1 else result
        x, n = (x * x if n > 1 else x), n >> 1
    return result


def enumerate_loads(batch: int, *, experts: int, top_k: int) -> dict[tuple, Fraction]:
    """Exact probabilities of all loads, each sorted from the largest, token after token; for small batches.

    >>> enumerate_loads(1, experts=3, top_k=2)
    {(1, 1, 0): Fraction(1, 1)}
    """
    _check(batch, experts, top_k)
    found, every = {(0,) * experts: Fraction(1)}, list(combinations(range(experts), top_k))
    for _ in range(batch):
        after = Counter()
        for loads, p in found.items():
            for chosen in every:
                more = sorted((n + (e in chosen) for e, n in enumerate(loads)), reverse=True)
                after[tuple(more)] += p / len(every)
        found = dict(after)
    return found


def sets(experts: int, *, top_k: int, weights=None, one_by_one=False) -> tuple[np.ndarray, np.ndarray]:
    """(members, p): every set of `top_k` experts as a row of zeros and ones, and its probability.

    Raises BadInput for sizes that do not fit and for weights that are not positive, one an expert.
    """
    _check(1, experts, top_k)
    w = np.ones(experts) if weights is None else np.asarray(weights, dtype=float)
    if w.shape != (experts,) or not (w > 0).all():
        raise BadInput(f"weights takes {experts} positive numbers, got {w.tolist()}")
    w, chosen = w / w.sum(), list(combinations(range(experts), top_k))
    members = np.zeros((len(chosen), experts), dtype=int)
    for row, group in zip(members, chosen):
        row[list(group)] = 1

    def in_order(order):  # the probability to draw experts in this order, each from those that are left
        return prod(w[e] / (1 - w[list(order[:i])].sum()) for i, e in enumerate(order))

    if one_by_one:
        p = [sum(map(in_order, permutations(group))) for group in chosen]
    else:
        p = [prod(w[list(group)]) for group in chosen]
    return members, np.array(p) / sum(p)


def draw_loads(routes: tuple, batch: int, *, draws: int, seed: int = 0) -> np.ndarray:
    """(draws, experts) loads of random batches: tokens of each set, then of each expert."""
    members, p = routes
    _check(batch, members.shape[1], 1)
    return np.random.default_rng(seed).multinomial(batch, p, size=draws) @ members


def moments(p) -> tuple[float, float]:
    """Mean and standard deviation of a distribution over 0, 1, 2, ..."""
    n = np.arange(len(p))
    return float(n @ p), sqrt(max(float(n**2 @ p) - float(n @ p) ** 2, 0.0))


def _check(batch, experts, top_k):
    for name, value in {"batch": batch, "experts": experts, "top_k": top_k}.items():
        positive(name, value)
    if top_k > experts:
        raise BadInput(f"top_k takes at most the {experts} experts there are, got {top_k}")
