"""Intervals, the exact range of a law over a box of them, and draws from them.

Moore, Kearfott and Cloud 2009, ch. 5-6: monotonicity, else branch and bound in interval arithmetic.
"""

from __future__ import annotations

import heapq
import math
import sys
from collections import namedtuple
from dataclasses import dataclass
from functools import cache

import numpy as np
import sympy
from mpmath import iv
from sympy.printing.pycode import PythonCodePrinter

from .errors import BadInput

INF = math.inf


@dataclass(frozen=True)
class Interval:
    """The closed interval [lo, hi]; a half-line has an infinite end.

    >>> Interval(90, 100).meets(Interval(100, 120)), Interval(90, 100).contains(89)
    (True, False)
    """

    lo: float
    hi: float

    def __post_init__(self):
        if not self.lo <= self.hi:
            raise BadInput(f"an interval takes lo <= hi, got lo={self.lo!r}, hi={self.hi!r}")

    def meets(self, other: Interval) -> bool:
        """Whether the two intervals have a point in common."""
        return self.lo <= other.hi and other.lo <= self.hi

    def contains(self, x: float) -> bool:
        """Whether x lies in the interval."""
        return self.lo <= x <= self.hi


def compiled(letters, expr, printer=PythonCodePrinter, **known):
    """The expression as a function of its letters, as `sympy.lambdify` makes it; it uses what is `known`."""
    options = {"fully_qualified_modules": False, "inline": True, "allow_unknown_functions": True}
    prints = printer(options | {"user_functions": dict(zip(known, known))})
    text = f"lambda {', '.join(map(prints.doprint, letters))}: {prints.doprint(expr)}"
    used = [(sys.modules[module], name) for module, names in prints.module_imports.items() for name in names]
    return eval(text, {name: getattr(module, name) for module, name in used} | known)


def image(expr, box: dict, *, tolerance: float = 1e-6, max_boxes: int = 20_000) -> Interval:
    """The range of a SymPy expression over `box` ({symbol: Interval}).

    Exact where the partial derivatives keep their sign; elsewhere an enclosure by branch and bound,
    too wide by at most `tolerance` relative to the largest value met.
    Raises BadInput where the range cannot be bounded in `max_boxes` boxes.
    """
    symbols = sorted((s for s in box if s in expr.free_symbols), key=str)
    start = tuple((box[s].lo, box[s].hi) for s in symbols)
    plain = cache(lambda i: _over_intervals(symbols, expr.diff(symbols[i])))
    together = cache(lambda i: _over_intervals(symbols, expr.diff(symbols[i]).together()))
    at_point, over_box = compiled(symbols, expr), _over_intervals(symbols, expr)
    problem = _Problem(expr, symbols, at_point, over_box, plain, together)
    low, high = (sign * _minimum(problem, start, sign, tolerance, max_boxes) for sign in (1, -1))
    return Interval(low, high)


_Problem = namedtuple("_Problem", "expr symbols at_point over_box plain together")


def _over_intervals(symbols, expr):
    """The expression as a function of intervals, returning (lo, hi); unbounded where it cannot tell."""
    if expr.has(sympy.Piecewise, sympy.DiracDelta, sympy.Derivative, sympy.floor, sympy.ceiling):
        return lambda sides: (-INF, INF)
    low, high = (lambda x: float(iv.mpf(x).a)), (lambda x: float(iv.mpf(x).b))
    by_ends = lambda f: lambda *xs: iv.mpf([f(map(low, xs)), f(map(high, xs))])  # of what only rises
    ends = {"max": by_ends(max), "min": by_ends(min)}
    ends["Heaviside"] = lambda x, *_: iv.mpf([float(low(x) > 0), float(high(x) >= 0)])
    known = {name: getattr(iv, name) for name in ("exp", "log", "sqrt", "sin", "cos", "pi")}
    function = compiled(symbols, expr, **ends, **known)

    def over(sides):
        try:
            result = iv.mpf(function(*(iv.mpf([lo, hi]) for lo, hi in sides)))
        except (ArithmeticError, ValueError, TypeError, NameError, AttributeError, NotImplementedError):
            return -INF, INF
        lo, hi = low(result), high(result)
        return (-INF if math.isnan(lo) else lo), (INF if math.isnan(hi) else hi)

    return over


def _minimum(problem, start, sign, tolerance, max_boxes):
    """min of sign * f over the box, by best-first branch and bound with a monotonicity test."""

    def bound(sides):
        lo, hi = problem.over_box(sides)
        return lo if sign > 0 else -hi

    start = _shrink(problem.together, _shrink(problem.plain, start, sign), sign)
    tried = [sign * _value(problem, corner) for corner in _probes(start)]
    best, scale = min(tried), max((abs(v) for v in tried if v < INF), default=1.0)
    heap = [(bound(start), 0, start)]
    for count in range(1, max_boxes):
        low, _, sides = heapq.heappop(heap)
        if all(lo == hi for lo, hi in sides):
            return best
        if best - low <= tolerance * max(abs(best), scale):
            return min(best, low)
        for half in _halves(sides):
            half = _shrink(problem.together, half, sign)
            best = min(best, *(sign * _value(problem, probe) for probe in _probes(half)))
            point = tuple(lo for lo, hi in half if lo == hi)
            low_half = sign * _value(problem, point) if len(point) == len(half) else bound(half)
            if low_half <= best:
                heapq.heappush(heap, (low_half, len(heap) + count * 1e-6, half))
        if not heap:
            return best
    names = ", ".join(map(str, problem.symbols))
    raise BadInput(f"the range over {names} could not be bounded in {max_boxes} boxes")


def _shrink(slope, sides, sign):
    """Replace each side on which f only rises or only falls by the end where sign * f is least."""
    for i, (lo, hi) in enumerate(sides):
        down, up = slope(i)(sides) if lo < hi else (-INF, INF)
        if down >= 0 or up <= 0:
            end = lo if (down >= 0) == (sign > 0) else hi
            return _shrink(slope, (*sides[:i], (end, end), *sides[i + 1 :]), sign)
    return sides


def _halves(sides):
    """Split the widest side (relatively); a half-line is cut at twice its finite end."""
    i = max(range(len(sides)), key=lambda j: _width(*sides[j]))
    lo, hi = sides[i]
    cut = max(2 * lo, 1.0) if hi == INF else (math.sqrt(lo * hi) if lo > 0 and hi / lo > 4 else (lo + hi) / 2)
    return ((*sides[:i], part, *sides[i + 1 :]) for part in ((lo, cut), (cut, hi)))


def _width(lo, hi):
    return 0.0 if lo == hi else INF if hi == INF else (hi - lo) / max(abs(lo), abs(hi))


def _probes(sides):
    """Points to try in a box: its middle and its two diagonal corners."""
    middle = tuple(lo if lo == hi else max(2 * lo, 1.0) if hi == INF else (lo + hi) / 2 for lo, hi in sides)
    return middle, tuple(lo for lo, _ in sides), tuple(hi for _, hi in sides)


def _value(problem, point):
    """f at a point, with the limit where a coordinate is infinite or the value undefined."""
    try:
        value = problem.at_point(*point)
        if not math.isnan(value) and not any(map(math.isinf, point)):
            return value
    except (ZeroDivisionError, ValueError, OverflowError):
        pass
    expr = problem.expr
    for symbol, x in zip(problem.symbols, point):
        expr = sympy.limit(expr, symbol, sympy.oo if x == INF else x, "-" if x == INF else "+")
    if not expr.is_extended_real:
        raise BadInput(f"no value at {dict(zip(map(str, problem.symbols), point))}")
    return float(expr)


def draw(inputs: dict, size: int, seed: int = 0, shape: str = "uniform") -> dict:
    """`size` values of each interval among the `inputs`, drawn on its own; the other inputs unchanged.

    `shape` is "uniform" or "triangular", with its peak in the middle. Raises BadInput for another
    shape or an interval without an end.

    >>> draw({"n": Interval(1, 2), "F": 3.0}, 2)["F"]
    3.0
    """
    if shape not in ("uniform", "triangular"):
        raise BadInput(f"shape takes 'uniform' or 'triangular', got {shape!r}")
    rng, drawn = np.random.default_rng(seed), dict(inputs)
    for name, x in inputs.items():
        if isinstance(x, Interval):
            if x.lo < x.hi == INF:
                raise BadInput(f"{name} takes an interval with two ends, got {x}")
            between = (x.lo, x.hi) if shape == "uniform" else (x.lo, (x.lo + x.hi) / 2, x.hi)
            drawn[name] = getattr(rng, shape)(*between, size) if x.lo < x.hi else x.lo
    return drawn
