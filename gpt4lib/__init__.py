"""gpt4lib: laws, units, intervals and claims behind the book "GPT-4, Recomputed".

What a notebook uses stands here by name and loads when first used:
`gpt4lib.architecture.compute(N=280e9, D=13e12)`.
"""

from importlib import import_module

__version__ = "0.1.0"
_CHAPTERS = """architecture batching dataset dense_wall inference_tradeoffs moe_inference mqa parallelism
    speculative_decoding training_cost training_step vision_io"""
_HOME = {  # module: what notebooks take from it; a dot is the module itself
    "spine.errors": "BadInput pick",
    "spine.law": "Law constant symbol",
    "spine.interval": "Interval draw",
    "spine.stated": "stated",
    "spine.text": "fmt number written",
    "facts.files": "data_file published read_csv read_toml sources",
    "facts.devices": "Device devices hardware",
    "facts.models": "Model model_of published_model published_models",
    "facts.given": "given look_up",
    "chapters.index": "find_law symbols",
    "systems.count": "flop_per_token parameters",
    "ledger": "claim .",
    "show.claims": "claims_table verdict_legend",
    "show.tables": "assumptions dollars glue must_be sensitivities table",
    "show.charts": "Slider explore",
    "show.figures": "COLORS direct_label show_figure use_style",
    **{f"chapters.{chapter}": "." for chapter in _CHAPTERS.split()},
}
_AT = {
    (module.rpartition(".")[2] if name == "." else name): (module, name)
    for module, names in _HOME.items()
    for name in names.split()
}


def __getattr__(name):
    if name not in _AT:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home, what = _AT[name]
    module = import_module(f".{home}", __name__)
    return module if what == "." else getattr(module, name)


def __dir__():
    return sorted([*globals(), *_AT])
