"""What a file of the workbench may hold: its sections, their keys, and what each key takes."""

from __future__ import annotations

import difflib
import math
from dataclasses import fields

from .data import devices, pick, sources
from .planner import RECOMPUTE
from .serving_model import PEAKS
from .step_time import Layout, Recipe
from .units import BadInput

FIGURES = {  # what a published figure may be set against: in words, its unit, and how the report comes to it
    "model.parameters": ("parameters", "parameter", "counted"),
    "model.active_parameters": ("active parameters", "parameter", "counted"),
    "model.training_flop_per_token": ("training FLOP, token", "FLOP/token", "counted"),
    "training.flop": ("training FLOP", "FLOP", "counted"),
    "training.mfu": ("utilisation", "%", "predicted"),
    "training.mfu_with_scores": ("utilisation, scores too", "%", "predicted"),
    "training.flop_per_s_per_gpu": ("rate of a GPU", "FLOP/second/GPU", "predicted"),
    "training.machine_flop_per_s_per_gpu": ("rate, recompute too", "FLOP/second/GPU", "predicted"),
    "training.days": ("days", "day", "predicted"),
    "training.gpu_hours": ("GPU-hours", "GPU*hour", "predicted"),
    "training.cost_usd": ("training cost", "USD", "predicted"),
    "serving.kv_cache_bytes_per_token": ("KV cache of a token", "byte/token", "counted"),
    "serving.tokens_per_s_per_user": ("tokens/s of a user", "token/second", "data sheet"),
    "serving.tokens_per_s_per_gpu": ("tokens/s of a GPU", "token/second/GPU", "data sheet"),
    "serving.cost_usd_per_1000_tokens": ("cost of 1,000 tokens", "USD", "data sheet"),
}


# ---- what each key takes --------------------------------------------------------------------
def _number(x, low=0.0, high=math.inf, strict=True):
    real = isinstance(x, (int, float)) and not isinstance(x, bool) and math.isfinite(x)
    return real and (low < x if strict else low <= x) and x <= high


def whole(x) -> bool:
    """Whether x is a positive whole number."""
    return type(x) is int and x > 0


def _one_or_two(check):
    """Whether x passes, or is [low, high] of two that do."""
    return lambda x: check(x) or (isinstance(x, list) and len(x) == 2 and all(map(check, x)) and x[0] <= x[1])


def _some(check):
    """Whether x passes, or is a list of such."""
    return lambda x: check(x) or (isinstance(x, list) and x != [] and all(map(check, x)))


def known(names, kind: str):
    """A check of a name: None where it is known, else what is, the nearest first."""

    def takes(x):
        if x is None:
            return f"the name of a known {kind}"
        try:
            pick(x, names(), kind)
        except BadInput as error:
            return f"a known {kind} ({str(error).partition('; ')[2]})"

    return takes


def _takes(words, check):
    return lambda x: None if check(x) else words


TEXT = _takes("a text", lambda x: isinstance(x, str) and x.strip())
COUNT = _takes("a positive whole number", whole)
COUNTS = _takes("a positive whole number or a list of them", _some(whole))
NUMBER = _takes("a positive number", _number)
FROM_ZERO = _takes("a number of at least 0", lambda x: _number(x, strict=False))
FROM_ZERO_WHOLE = _takes("a whole number of at least 0", lambda x: type(x) is int and x >= 0)
FROM_ONE = _takes("a number of at least 1", lambda x: _number(x, 1.0, strict=False))
RANGE = _takes("a positive number or [low, high]", _one_or_two(_number))
SHARE = _takes("a share from 0 to 1", lambda x: _number(x, 0.0, 1.0, strict=False))
PART = _takes("a share above 0 and up to 1", lambda x: _number(x, 0.0, 1.0))
MFU = _takes("a share above 0 and up to 1, or [low, high]", _one_or_two(lambda x: _number(x, 0.0, 1.0)))
LOST = _takes(
    "a share from 0 to 0.99, or [low, high]", _one_or_two(lambda x: _number(x, 0.0, 0.99, strict=False))
)


def _source(x):
    """A key of the bibliography, or any other text; what all but spells a key is taken for a misspelt one."""
    if not isinstance(x, str) or not x.strip():
        return "a key of the bibliography, or a source in your own words or as a URL"
    like_a_key = x.replace("_", "").isalnum() and x.islower() and x not in sources()
    near = difflib.get_close_matches(x, sources(), n=1, cutoff=0.85) if like_a_key else []
    if not near:
        return None
    return f"a key of the bibliography (nearest known: {near[0]}), or a source in your own words or as a URL"


GPU = known(devices, "accelerator")
COMPUTE = _takes(f"one of {', '.join(PEAKS)}", lambda x: x in tuple(PEAKS))
LAYOUT = {f.name: COUNTS for f in fields(Layout)} | {
    "recompute": _takes(f"one of {', '.join(RECOMPUTE)}, or a list of them", _some(lambda x: x in RECOMPUTE)),
    "sequence": _takes("true or false", lambda x: isinstance(x, bool)),
    "zero": _takes("a stage from 0 to 3, or a list of them", _some(lambda x: type(x) is int and 0 <= x <= 3)),
}
LAYOUT.pop("batch")
KEYS = {
    "file": {"name": TEXT, "about": TEXT},
    "cluster": {
        "gpu": GPU,
        "n_gpus": COUNT,
        "nic_gbit_per_s": NUMBER,
        "gpus_per_node": COUNT,
        "nvlink_gb_per_s": NUMBER,
        "reserve_gb": FROM_ZERO,
        "price_usd_per_gpu_hour": RANGE,
    },
    "training": {"tokens": RANGE, "seq": COUNT, "batch_tokens": COUNTS, "mfu": MFU, "lost_share": LOST}
    | {f.name: SHARE if f.name.endswith("overlap") else NUMBER for f in fields(Recipe)},
    "training.layout": LAYOUT,
    "serving": {
        "gpu": GPU,
        "context": COUNT,
        "batch": COUNT,
        "user_tokens_per_s": NUMBER,
        "prompt": COUNT,
        "tensor": COUNT,
        "pipeline": COUNT,
        "expert": COUNT,
        "redundant_experts": FROM_ZERO_WHOLE,
        "micro_batches": COUNT,
        "weight_bytes": NUMBER,
        "kv_bytes": NUMBER,
        "act_bytes": NUMBER,
        "compute": COMPUTE,
        "nvlink_gb_per_s": NUMBER,
        "nic_gbit_per_s": NUMBER,
        "overhead": FROM_ONE,
        "overlap": SHARE,
        "ceiling": PART,
        "transfer": PART,
        "layer_seconds": FROM_ZERO,
        "usable": PART,
        "price_usd_per_gpu_hour": RANGE,
    },
    "published": {
        "figure": known(lambda: FIGURES, "figure"),
        "value": RANGE,
        "ref": TEXT,
        "place": TEXT,
        "note": TEXT,
        "source": _source,
    },
}
SECTIONS = ("model", "cluster", "training", "serving", "published")
NEEDED = {
    "cluster": ("gpu", "n_gpus", "nic_gbit_per_s"),
    "training": ("tokens", "seq", "batch_tokens"),
    "serving": ("context",),
    "published": ("figure", "source"),
}
