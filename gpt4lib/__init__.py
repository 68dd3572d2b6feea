"""gpt4lib: laws, units, intervals and claims behind the book "GPT-4, Recomputed".

Submodules load when first used: `gpt4lib.training_cost.compute(N=280e9, D=13e12)`.
"""

from importlib import import_module

__version__ = "0.1.0"
_HOME = {
    "Law": "law",
    "symbol": "law",
    "constant": "law",
    "Interval": "interval",
    "stated": "interval",
    "BadInput": "units",
    "hardware": "data",
    "published": "data",
    "sources": "data",
    "fmt": "text",
    "written": "text",
    "claim": "ledger",
    "given": "ledger",
    "must_be": "show",
    "sensitivities": "show",
    "show_figure": "figures",
    "glue": "show",
    "table": "show",
    "claims_table": "show",
    "assumptions": "show",
    "explore": "charts",
    "Slider": "charts",
    "use_style": "figures",
    "direct_label": "figures",
    "COLORS": "figures",
}


def __getattr__(name):
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    try:
        return import_module(f".{name}", __name__)
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None


def __dir__():
    return sorted([*globals(), *_HOME])
