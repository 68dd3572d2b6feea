"""Laws: one SymPy equation over symbols that carry LaTeX, a unit and a meaning.

From that one object come the value (numbers, arrays, intervals), the exact solution for any of its
symbols, the dimension check, elasticities, the typeset equation and the browser's expression.
"""

from __future__ import annotations

import math
import random
import re
from fractions import Fraction
from functools import cached_property, partial
from itertools import count

import numpy as np
import sympy
from sympy.printing.numpy import NumPyPrinter

from .browser import browser_name, browser_text
from .errors import BadInput
from .interval import Interval, compiled, image
from .units import base_unit, parse_unit, to_unit, unit_factor

_FIELDS = ("unit", "meaning", "tex", "at_most", "value", "source", "place", "heading")
_GREEK = "alpha beta gamma delta zeta omega lambda mu rho tau phi eta kappa sigma ell".split()
_elsewhere = count()
Min, Max = partial(sympy.Min, evaluate=False), partial(sympy.Max, evaluate=False)  # compared only when put in


class Quantity(sympy.Symbol):
    """A positive SymPy symbol that knows its unit, meaning and LaTeX; a constant also its value.

    Two quantities are equal when name, unit and meaning are. `place` is (chapter, number): where it is
    declared, the order of typesetting.
    """

    __slots__ = _FIELDS

    def __new__(
        cls, name, unit, meaning, tex=None, at_most=None, value=None, source=None, place=None, heading=""
    ):
        self = sympy.Symbol.__xnew__(cls, name, positive=True)
        self.unit, self.meaning, self.tex = unit, meaning, tex or name
        self.at_most, self.value, self.source = at_most, value, source
        self.place, self.heading = place or (99.0, next(_elsewhere)), heading
        return self

    def __getnewargs_ex__(self):
        return tuple(getattr(self, name) for name in ("name", *_FIELDS)), {}

    def _hashable_content(self):
        return (*super()._hashable_content(), self.unit, self.meaning, str(self.value))

    def sort_key(self, order=None):
        """Typeset in the order of declaration, so 6 N D and not 6 D N."""
        place = f"{self.place[0]:05.2f}{self.place[1]:06d}"
        return self.class_key(), (1, (place,)), sympy.S.One.sort_key(), sympy.S.One

    def _latex(self, printer):
        return self.tex


def symbol(name: str, unit: str, meaning: str, *, latex: str = "", at_most=None) -> Quantity:
    """A positive quantity in a coherent unit (second, FLOP, byte, ...); `at_most` bounds its input.

    Raises BadInput for a name that is no identifier.
    """
    if not name.isidentifier():
        raise BadInput(f"a symbol's name takes an identifier, got {name!r}")
    return Quantity(name, unit, meaning, latex, at_most)


def constant(name: str, value, unit: str, meaning: str, *, source=None, latex: str = "") -> Quantity:
    """A coefficient with a value and a unit, such as 6 FLOP/parameter/token.

    It is typeset as its number unless `latex` is given. Raises BadInput for a value that is no number.
    """
    exact = _exact(value)
    if exact is None:
        raise BadInput(f"constant {name} takes a number, got {value!r}")
    return Quantity(name, unit, meaning, latex, None, exact, source)


def letters(chapter: float, heading: str) -> tuple:
    """Functions that declare a chapter's letters in order: `symbol`, `share` (from 0 to 1) and `constant`.

    They take name, [value,] unit, meaning, [source,] and LaTeX, where it is not the name: N_ref stands for
    N_{\\mathrm{ref}}, beta_in for \\beta_{\\mathrm{in}}.
    """
    number = count()

    def placed(quantity):
        quantity.place, quantity.heading = (float(chapter), next(number)), heading
        return quantity

    def declare(name, unit, meaning, tex=None, at_most=None):
        return placed(symbol(name, unit, meaning, latex=_tex(tex or name), at_most=at_most))

    def declare_constant(name, value, unit, meaning, source=None, tex=None):
        return placed(constant(name, value, unit, meaning, source=source, latex=_tex(tex)))

    return declare, lambda name, meaning, tex=None: declare(name, "1", meaning, tex, 1), declare_constant


def _tex(short):
    """LaTeX of a letter: a base, Greek where it is spelt so, and an upright index; anything else as it is."""
    if short is None or not re.fullmatch("[A-Za-z]+(_[A-Za-z0-9]+)?", short):
        return short
    base, _, index = short.partition("_")
    base = f"\\{base}" if base in _GREEK else base
    return f"{base}_{{\\mathrm{{{index}}}}}" if index else base


class Law:
    """lhs = rhs, an equation between quantities.

    `rhs` may be a law, for its right side, or a function that makes it: then, and after `given`, it is made
    when first needed. Raises BadInput for what is no quantity and for `lhs` on both sides.

    >>> N, D = symbol("N", "parameter", "size"), symbol("D", "token", "tokens")
    >>> k = constant("k", 6, "FLOP/parameter/token", "2 forward, 4 backward")
    >>> compute = Law(symbol("C", "FLOP", "compute"), k * N * D)
    >>> compute(N=280e9, D="13e12 token")
    2.184e+25
    >>> compute.solve("D")(C=2.184e25, N=280e9)
    13000000000000.0
    """

    def __init__(self, lhs: Quantity, rhs, title: str = "", *, source: str | None = None):
        self.lhs, self._of, self.title, self.source = lhs, rhs, title, source
        callable(rhs) or self.rhs  # an expression is checked at once

    @cached_property
    def rhs(self):
        """The right side. Raises BadInput where it cannot be made."""
        of = self._of
        rhs = sympy.sympify(of.rhs if isinstance(of, Law) else of() if callable(of) else of)
        if strangers := [s for s in (self.lhs, *rhs.free_symbols) if not isinstance(s, Quantity)]:
            raise BadInput(f"a law takes symbols made by symbol() or constant(), got {strangers}")
        if self.lhs in rhs.free_symbols:
            raise BadInput(f"{self.lhs} stands on both sides of {self.lhs} = {rhs}")
        return rhs

    def __repr__(self):
        return f"Law({self.lhs} = {self.rhs})"

    @cached_property
    def quantities(self) -> dict[str, Quantity]:
        """Every letter of the right side by name: inputs, then constants, each in order of definition."""
        order = sorted(self.rhs.free_symbols, key=lambda s: (s.value is not None, s.place))
        return {s.name: s for s in order}

    @cached_property
    def symbols(self) -> tuple[Quantity, ...]:
        """The inputs: every symbol of the right side that is no constant, in order of definition."""
        return tuple(s for s in self.quantities.values() if s.value is None)

    @cached_property
    def constants(self) -> tuple[Quantity, ...]:
        """The coefficients of the right side, in order of definition."""
        return tuple(s for s in self.quantities.values() if s.value is not None)

    @cached_property
    def _numpy(self):
        return compiled(self.quantities.values(), self.rhs, NumPyPrinter)

    @cached_property
    def _coefficients(self):
        return tuple(float(c.value) for c in self.constants)

    def __call__(self, **values):
        """The value in the unit of `lhs`: float, array, or Interval when an input is one.

        Bare numbers are in each symbol's unit; strings ("90 day") and pint quantities are converted.
        Constants may be replaced by name. Raises BadInput for missing, unknown, negative, NaN or
        wrongly-dimensioned arguments and where the result is not finite.
        """
        if any(isinstance(v, Interval) for v in values.values()):
            return self._over(values)
        numbers = self._inputs(values)
        with np.errstate(all="ignore"):
            try:
                result = np.asarray(self._numpy(*(numbers[name] for name in self.quantities)), dtype=float)
            except (ZeroDivisionError, OverflowError):
                result = np.asarray(np.nan)
        if not np.isfinite(result).all():
            raise BadInput(f"{self.lhs} has no finite value for {values}")
        return float(result) if result.ndim == 0 else result

    def at(self, known, **own):
        """The value with what the law needs from `known`, a mapping that may hold more; `own` goes first.

        Raises BadInput as a call does, also where an input is missing from both.
        """
        needs = [s.name for s in self.symbols]
        return self(**{n: own[n] if n in own else known[n] for n in needs if n in own or n in known})

    def on_arrays(self, known, **own):
        """The same without the checks of a call: for millions of values that are known to be right."""
        given = (own[s.name] if s.name in own else known[s.name] for s in self.symbols)
        return self._numpy(*given, *self._coefficients)

    def exact(self, **values):
        """The value as an exact SymPy number; inputs as for a call, numbers only."""
        floats = self._inputs(values)
        given = {s: _exact(values.get(name, s.value)) for name, s in self.quantities.items()}
        return self.rhs.xreplace({s: _exact(floats[s.name]) if v is None else v for s, v in given.items()})

    def _over(self, values):
        points = self._inputs({k: v.lo if isinstance(v, Interval) else v for k, v in values.items()})
        box = {}
        for name, s in self.quantities.items():
            if isinstance(v := values.get(name), Interval):
                if v.hi != float("inf"):
                    to_unit(v.hi, s.unit, name, at_most=s.at_most)
                box[s] = v
            elif s.value is None or name in values:
                if not isinstance(points[name], float):
                    raise BadInput(f"{name} takes a number or an Interval beside other intervals, got {v!r}")
                box[s] = Interval(points[name], points[name])
        return image(self.rhs.xreplace({s: s.value for s in self.constants if s not in box}), box)

    def _inputs(self, values: dict) -> dict:
        known = self.quantities
        takes = ", ".join(f"{s.name} [{s.unit}]" for s in self.symbols) or "nothing"
        for name, value in values.items():
            if name not in known:
                raise BadInput(f"{self.lhs} has no input {name!r} (got {value!r}); it takes {takes}")
        if missing := [s.name for s in self.symbols if s.name not in values]:
            got = ", ".join(values) or "nothing"
            raise BadInput(f"{missing[0]} is missing: {self.lhs} takes {takes}, got {got}")
        given = {n: to_unit(v, known[n].unit, n, at_most=known[n].at_most) for n, v in values.items()}
        return {s.name: float(s.value) for s in self.constants} | given

    def _named(self, name) -> Quantity:
        if str(name) not in self.quantities:
            takes = ", ".join(s.name for s in self.symbols)
            raise BadInput(f"{self.lhs} has no input {str(name)!r}; it takes {takes}")
        return self.quantities[str(name)]

    def solve(self, name) -> Law:
        """The inverse law: this equation solved exactly for the symbol `name`; a letter is solved for later.

        Of several roots the one that returns the input at random positive points is taken. Raises
        BadInput where none or more than one does.
        """
        x = name if (later := isinstance(name, Quantity)) else self._named(name)
        root = partial(self._root, x) if later else self._root(x)
        return Law(x, root, f"{self.title}, solved for {x}" if self.title else "", source=self.source)

    def _root(self, x):
        x = self._named(x)
        side, value = _isolate(self.rhs, self.lhs, x)
        other = sympy.Dummy(positive=True)
        try:
            found = [other] if side == x else sympy.solve(sympy.Eq(side, other), x)
        except NotImplementedError:
            found = []
        roots = [root.xreplace({other: value}) for root in found]
        near = [root for root in roots if self._returns(root, x, isolated=side == x)]
        roots = near or [root for root in roots if self._returns(root, x, isolated=False, exactly=True)]
        if len(roots) != 1:
            many = len(roots) or "no"
            raise BadInput(f"{self.lhs} = {self.rhs} has {many} closed positive solution for {x}")
        return roots[0]

    def _returns(self, root, x, *, isolated: bool, exactly: bool = False) -> bool:
        rng = random.Random(0)  # not mutated: a seed
        number = sympy.Rational if exactly else lambda value: sympy.Float(value, 30)
        drawn = lambda most: number(rng.randint(1, 999)) / 1000 * (most or rng.choice([1, 10, 1000]))
        constants = {s: s.value for s in (*self.constants, x) if s.value is not None}
        for _ in range(1 if isolated else 4):  # not mutated: how often it is tried
            point = {s: drawn(s.at_most) for s in self.symbols}
            rest = {s: v for s, v in point.items() if s != x}
            put = sympy.Basic.subs if exactly else sympy.Basic.xreplace  # subs keeps roots together
            there = put(self.rhs, constants | point)
            back = put(root, {self.lhs: there} | constants | rest)
            want = point.get(x, x.value)
            if not sympy.Abs(sympy.N(back) - want) <= 1e-9 * want:
                return False
        return True

    def given(self, *laws: Law) -> Law:
        """This law with the right sides of `laws` for their left sides, in turn, when it is first needed.

        It raises BadInput for one whose left side does not occur.
        """

        def _rhs():
            found = self.rhs
            for law in laws:
                if law.lhs not in found.free_symbols:
                    raise BadInput(f"{law.lhs} does not occur in {self.lhs} = {found}")
                found = found.xreplace({law.lhs: law.rhs})
            return found

        return Law(self.lhs, _rhs, self.title, source=self.source)

    def elasticities(self, **values) -> dict:
        """d ln(lhs) / d ln(input) by the input's name: expressions, or numbers when values are given."""
        found = {s.name: sympy.simplify(self.rhs.diff(s) * s / self.rhs) for s in self.symbols}
        if not values:
            return found
        numbers = self._inputs(values)
        at = {s: numbers[name] for name, s in self.quantities.items()}
        return {name: float(e.subs(at)) for name, e in found.items()}

    def latex(self) -> str:
        """The equation in LaTeX, constants as their numbers."""
        plain = {s: s.value for s in self.constants if s.tex == s.name}
        shown = {s: value if value.is_Integer else sympy.Float(float(value)) for s, value in plain.items()}
        return f"{self.lhs.tex} = {sympy.latex(self.rhs.xreplace(shown))}"

    def _repr_latex_(self):
        return f"$\\displaystyle {self.latex()}$"

    def browser(self, names: dict | None = None) -> str:
        """The right side as an expression for the browser; `names` gives an input another name or a term.

        Inputs keep their names, but for Vega's own words: the experts E become E_.
        """
        names = {s.name: browser_name(s.name) for s in self.symbols} | (names or {})
        letters = {s: sympy.Symbol(names[n], positive=True) for n, s in self.quantities.items() if n in names}
        return browser_text(self.rhs.xreplace({s: s.value for s in self.constants} | letters))

    def check_dimensions(self) -> None:
        """Raise BadInput unless both sides have one dimension and every unit is coherent."""
        for s in (self.lhs, *self.rhs.free_symbols):
            if unit_factor(s.unit, base_unit(s.unit)) != 1:
                raise BadInput(f"{s.name} takes a base unit such as {base_unit(s.unit)}, got {s.unit}")
        left, right = _dimension(self.lhs), _dimension(self.rhs)
        if left != right:
            raise BadInput(f"{self!r}: left side is {dict(left)}, right side is {dict(right)}")


def _isolate(side, value, x):
    """Undo, from the outside in, what is done to x in side = value, as far as x stands in one place only."""
    while side != x:
        rest, core = side.as_independent(x, as_Add=side.is_Add)
        if side.is_Add and rest == 0 and (together := sympy.factor_terms(side)).is_Mul:
            side = together  # a / x + b / x: x stands in one place after all
            continue
        if (side.is_Add or side.is_Mul) and rest != side.func.identity:
            side, value = core, (value - rest if side.is_Add else value / rest)
        elif side.is_Pow and x not in side.exp.free_symbols:
            side, value = side.base, value ** (1 / side.exp)
        elif side.is_Pow and x not in side.base.free_symbols:
            side, value = side.exp, sympy.log(value) / sympy.log(side.base)
        elif isinstance(side, sympy.log):
            side, value = side.args[0], sympy.exp(value)
        else:
            break
    return side, value


def _dimension(expr):
    """The pint dimensionality of an expression; sums must agree, functions take plain numbers."""
    none = parse_unit("1").dimensionality
    if isinstance(expr, Quantity):
        return parse_unit(expr.unit).dimensionality
    if expr.is_Mul:
        return math.prod(map(_dimension, expr.args), start=none)
    if expr.is_Pow and expr.exp.is_Rational:
        return _dimension(expr.base) ** Fraction(int(expr.exp.p), int(expr.exp.q))
    dimensions = [_dimension(arg) for arg in expr.args]
    if expr.is_Add or isinstance(expr, (sympy.Max, sympy.Min)):
        if any(d != dimensions[0] for d in dimensions):
            raise BadInput(f"{expr} adds or compares {[dict(d) for d in dimensions]}")
        return dimensions[0]
    if any(d != none for d in dimensions):
        raise BadInput(f"{expr} takes plain numbers, got {[dict(d) for d in dimensions]}")
    return none


def _exact(value):
    """The exact SymPy number of an int, float or number-like string; None for anything else."""
    try:
        return sympy.Rational(str(value)) if not isinstance(value, (bool, Quantity)) else None
    except (TypeError, ValueError):
        return None
