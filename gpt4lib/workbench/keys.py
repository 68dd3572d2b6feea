"""What a workbench file takes: its sections with their keys, the figures it may name, and its JSON Schema."""

from __future__ import annotations

import difflib
from dataclasses import replace

from ..facts.configs import known_models
from ..facts.devices import devices, same_chip
from ..facts.files import sources
from ..facts.models import MODEL_KEYS, keys_schema
from ..spine.schema import (
    COUNT,
    COUNTS,
    FLAG,
    FROM_ONE,
    FROM_ZERO,
    PART,
    POSITIVE,
    RANGE,
    SHARE,
    TEXT,
    WHOLE,
    Kind,
    Name,
    document,
    one_of,
    or_list,
    or_range,
    section,
)
from ..systems.efficiency import efficiency_sets
from ..systems.machine import ATTENTION, PEAKS
from ..systems.planner import RECOMPUTE

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


class Source(Kind):
    """A key of the bibliography, or any other text; what all but spells a key is taken for a misspelt one."""

    def __call__(self, value):
        if super().__call__(value) is None and value.replace("_", "").isalnum() and value.islower():
            near = difflib.get_close_matches(value, sources(), n=1, cutoff=0.85)
            if near and value not in sources():
                return self.words.replace(",", f" (nearest known: {near[0]}),", 1)
        return super().__call__(value)


LIST = Kind(words="a list of positive whole numbers", rule=COUNTS.rule["anyOf"][1])
GPU = Name(kind="accelerator", names=devices, hint=same_chip)
SOURCE = Source(words="a key of the bibliography, or a source in your own words or as a URL", rule=TEXT.rule)
STAGE = Kind(words="a stage from 0 to 3", rule={"type": "integer", "minimum": 0, "maximum": 3})
LOST = Kind(words="", rule={"type": "number", "minimum": 0, "maximum": 0.99})
MFU = or_range(PART, "a share above 0 and up to 1, or [low, high]")
CACHE = ("heads", "sequences")  # copied where ranks share a head, or divided whatever the heads
FP8 = {"experts": 1, "matrices": 1, "other": 2}
NIC, NVLINK = (POSITIVE.of(f"{link}, per GPU and one way") for link in ("network in Gb/s", "NVLink in GB/s"))
FORMATS = {"experts": "expert_bytes", "matrices": "matrix_bytes", "other": "other_bytes"}  # keys of a model
_by_part = {"type": "object", "propertyNames": {"enum": [*FORMATS]}, "additionalProperties": POSITIVE.rule}
BY_PART = Kind(
    words=f"{POSITIVE.words}, or such numbers by part: {', '.join(FORMATS)}",
    rule={"anyOf": [POSITIVE.rule, _by_part]},
)
PRICE = RANGE.of("rent of a GPU for an hour in USD", 2.0, [1.5, 2.5])
OWN_STAGES = {
    "stage_layers": LIST.of("layers of each pipeline stage, where they differ", [7, 8, 8, 7]),
    "first_stage_fewer": WHOLE.of("layers that the first stage has fewer than others"),
    "last_stage_fewer": WHOLE.of("layers that the last stage has fewer than others"),
}
STAGE_KEYS = (*OWN_STAGES,)
KEYS = {
    "file": {"name": TEXT.of("what the report calls the case"), "about": TEXT.of("a line below the name")},
    "gpu": {
        "name": TEXT.of("what the report calls it", "RTX 6000 Ada"),
        "memory_gb": POSITIVE.of("memory in GB, or else in GiB"),
        "memory_gib": POSITIVE.of("memory in GiB, as the card reports it", 47.99),
        "bandwidth_gb_per_s": POSITIVE.of("rate of the memory", 960, needed=True),
        "bf16_tflop_per_s": POSITIVE.of("dense peak in BF16 or FP16", 364.2, needed=True),
        "fp8_tflop_per_s": POSITIVE.of("dense peak in FP8"),
        "int8_top_per_s": POSITIVE.of("dense peak in INT8"),
        "nvlink_gb_per_s": NVLINK,
        "tdp_watt": POSITIVE.of("power"),
    },
    "cluster": {
        "gpu": GPU.of("accelerator, by default that of [gpu]", "H100-SXM 80GB", needed=True),
        "n_gpus": COUNT.of("GPUs in all", 2048, needed=True),
        "nic_gbit_per_s": replace(NIC, needed=True),
        "gpus_per_node": COUNT.of("GPUs that NVLink joins, by default 8"),
        "nvlink_gb_per_s": NVLINK,
        "reserve_gb": FROM_ZERO.of("memory of a GPU in GB that the run may not use"),
        "price_usd_per_gpu_hour": PRICE,
    },
    "training": {
        "tokens": RANGE.of("tokens trained on", 15.6e12, needed=True),
        "seq": COUNT.of("tokens of a sequence", 8192, needed=True),
        "batch_tokens": COUNTS.of("tokens of a batch, or of the batches to try", 16777216, needed=True),
        "mfu": MFU.of("utilisation, instead of the planner's", 0.4),
        "lost_share": or_range(LOST, "a share from 0 to 0.99, or [low, high]").of("share of the time lost"),
        "weight_bytes": POSITIVE.of("bytes of a weight"),
        "grad_bytes": POSITIVE.of("bytes of a gradient"),
        "opt_bytes": POSITIVE.of("bytes of a parameter's optimiser state"),
        "act_bytes": POSITIVE.of("bytes of an activation"),
        "efficiency": Name(kind="efficiency", names=efficiency_sets).of(
            "set of constants, by default of such a card"
        ),
        "attention": one_of(*ATTENTION).of("whether one kernel keeps scores from memory, by default fused"),
        **{
            f"{kind}_overlap": SHARE.of(f"share of the {kind}-parallel transfers hidden behind work")
            for kind in ("tensor", "expert", "pipeline", "data")
        },
    },
    "training.layout": {
        "tensor": COUNTS.of("tensor-parallel ranks"),
        "pipeline": COUNTS.of("pipeline stages"),
        "data": COUNTS.of("data-parallel ranks"),
        "expert": COUNTS.of("expert-parallel ranks"),
        "chunks": COUNTS.of("chunks of layers in a stage"),
        "micro_batch": COUNTS.of("sequences of a micro-batch"),
        "recompute": or_list(one_of(*RECOMPUTE), f"one of {', '.join(RECOMPUTE)}, or a list of them").of(
            "which activations are computed again"
        ),
        "sequence": FLAG.of("whether tensor-parallel ranks split the sequence too"),
        "zero": or_list(STAGE, "a stage from 0 to 3, or a list of them").of("stage of ZeRO"),
        **OWN_STAGES,
    },
    "serving": {
        "gpu": GPU.of("accelerator, by default the cluster's, else that of [gpu]"),
        "context": COUNT.of("tokens in the cache of a sequence", 8192, needed=True),
        "batch": COUNT.of("sequences decoded together, by default as many as fit"),
        "user_tokens_per_s": POSITIVE.of("rate that a user gets, which limits the batch"),
        "prompt": COUNT.of("tokens of a prompt"),
        "tensor": COUNT.of("tensor-parallel ranks, by default 8"),
        "pipeline": COUNT.of("pipeline stages, by default 1"),
        **OWN_STAGES,
        "expert": COUNT.of("expert-parallel ranks, by default 1"),
        "redundant_experts": WHOLE.of("copies of experts beside n_experts"),
        "micro_batches": COUNT.of("batches under way at once, by default one a stage"),
        "cache": one_of(*CACHE).of("what tensor-parallel ranks divide the cache by, heads by default"),
        "weight_bytes": BY_PART.of("bytes of a weight, by default as the model is released", 1, FP8),
        "kv_bytes": POSITIVE.of("bytes of an entry of the cache"),
        "act_bytes": POSITIVE.of("bytes of an activation on the way between GPUs"),
        "compute": one_of(*PEAKS).of("format of the products, which sets the peak"),
        "nvlink_gb_per_s": NVLINK,
        "nic_gbit_per_s": NIC,
        "overhead": FROM_ONE.of("factor on the time in memory and products"),
        "overlap": SHARE.of("share of the transfers hidden behind work"),
        "ceiling": PART.of("share of the peak that products reach"),
        "transfer": PART.of("share of the link rates that transfers reach"),
        "layer_seconds": FROM_ZERO.of("seconds added in every layer"),
        "usable": PART.of("share of the memory that weights and cache may fill"),
        "price_usd_per_gpu_hour": PRICE,
    },
    "published": {
        "figure": Name(kind="figure", names=lambda: FIGURES).of("the figure of the report", needed=True),
        "value": RANGE.of("the published value, in the figure's unit"),
        "ref": TEXT.of("a value of the ledger instead", "claim:training-cost-days"),
        "place": TEXT.of("where the source has it", "Table 1"),
        "note": TEXT.of("a remark"),
        "source": SOURCE.of("who published it", "kaplan2020", needed=True),
    },
}
NEEDED = {
    name: needed
    for name, keys in KEYS.items()
    if (needed := tuple(key for key, kind in keys.items() if kind.needed))
}
OWN_GPU = "own GPU"  # the name of [gpu] where it gives none
PLAIN = ("gpu", "cluster", "training", "serving")  # sections of keys alone
SECTIONS = ("model", *PLAIN, "published")
HOMES = {"the top of the file": {*SECTIONS, *KEYS["file"]}, "[model]": MODEL_KEYS}
HOMES |= {f"[{name}]": KEYS[name] for name in PLAIN}
ELSEWHERE = {  # keys of [model] that name a model kept elsewhere, instead of saying its own
    "shape": Name(kind="model", names=known_models).of("name of a model of the book"),
    "config": TEXT.of("a config.json or its folder, from this file's own", "config.json"),
}


def workbench_schema() -> dict:
    """The JSON Schema of a workbench file, with what keys ask of each other as far as it has words for it."""
    parts = {name: section(KEYS[name]) for name in ("file", *PLAIN)}
    parts["training"]["properties"]["layout"] = section(KEYS["training.layout"])
    model = keys_schema(left_out=("name",))
    model["properties"] = {key: kind.schema() for key, kind in ELSEWHERE.items()} | model["properties"]
    model |= {
        "if": {"anyOf": [{"required": [key]} for key in ELSEWHERE]},
        "then": {"maxProperties": 1},
        "else": {key: model.pop(key) for key in ("required", "allOf")},
    }
    either = [{"required": ["value"]}, {"required": ["ref"]}]
    rows = {"type": "array", "items": section(KEYS["published"]) | {"oneOf": either}}
    parts["gpu"]["oneOf"] = [{"required": ["memory_gb"]}, {"required": ["memory_gib"]}]
    top = parts.pop("file")
    more = {"required": ["model"], "dependentRequired": {"training": ["cluster"]}} | _without_own(parts)
    top["properties"] |= {"model": model} | parts | {"published": rows}
    about = "A model, a cluster, a training run and a serving target."
    return document("Workbench file", about, top | more)


def _without_own(parts):
    """What a file without [gpu] has to keep, taken from the sections: a known gpu, named in [cluster]."""
    known = {}
    for name in ("cluster", "serving"):
        kept = parts[name]["properties"]["gpu"]
        known[name] = {"properties": {"gpu": {"enum": kept["enum"]}}}
        kept["examples"] = kept.pop("enum")
    parts["cluster"]["required"].remove("gpu")
    known["cluster"]["required"] = ["gpu"]
    return {"if": {"not": {"required": ["gpu"]}}, "then": {"properties": known}}
