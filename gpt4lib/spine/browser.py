"""Expressions that a chart in the browser evaluates: JavaScript as Vega knows it."""

import sympy
from sympy.printing.jscode import JavascriptCodePrinter

_VEGA_WORDS = """E PI LN2 LN10 LOG2E LOG10E SQRT2 SQRT1_2 NaN Infinity
datum item event parent width height data""".split()


class _Printer(JavascriptCodePrinter):
    """JavaScript without the cube root, which Vega does not know."""

    def _print_Pow(self, expr):
        if expr.exp == sympy.Rational(1, 3):
            return f"pow({self._print(expr.base)}, 1 / 3)"
        return super()._print_Pow(expr)


def browser_name(name: str) -> str:
    """A symbol's name as a Vega signal: Vega keeps E, PI and the like for itself.

    >>> browser_name("E"), browser_name("mfu")
    ('E_', 'mfu')
    """
    return name + "_" if name in _VEGA_WORDS else name


def browser_text(expr) -> str:
    """A SymPy expression as a Vega expression; its symbols' names stand for themselves."""
    return _Printer().doprint(expr).replace("Math.", "")
