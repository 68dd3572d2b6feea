"""Expressions as Python functions, as `sympy.lambdify` makes them, but importing only the names they use."""

from importlib import import_module

from sympy.printing.pycode import PythonCodePrinter


def compiled(letters, expr, printer=PythonCodePrinter, known=None):
    """The expression as a function of its letters in order; `known` are functions by the names it uses."""
    known = known or {}
    options = {"fully_qualified_modules": False, "inline": True, "allow_unknown_functions": True}
    prints = printer(options | {"user_functions": {name: name for name in known}})
    text = f"lambda {', '.join(map(prints.doprint, letters))}: {prints.doprint(expr)}"
    needs = {name: import_module(module) for module, names in prints.module_imports.items() for name in names}
    return eval(text, {name: getattr(module, name) for name, module in needs.items()} | known)
