"""Validation: every published table of this library against the law that should return it.

A `Check` is one printed cell and our number for it. `ours` never reads that cell: the tests change the cell
and see that ours stays. Where constants are fitted on the same table, the row in question is left out of the
fit.
"""

from __future__ import annotations

import numpy as np

from ..spine.errors import BadInput
from . import attention, serving, sizes, training
from .check import Check

FAMILIES = (*sizes.FAMILIES, *training.FAMILIES, *serving.FAMILIES, *attention.FAMILIES)
LAWS = {  # the law or function of this library that a check calls, and its short name
    "count.parameters": "parameters of a shape",
    "architecture.head_width": "width of a head",
    "count.flop_per_token": "FLOP of a token",
    "dataset.scaled_tokens": "optimal tokens, exponent",
    "dataset.optimal_tokens": "optimal tokens, loss",
    "dataset.optimal_size": "optimal size",
    "dataset.size_exponent": "exponent of the size",
    "architecture.joint_loss": "loss of a routed model",
    "architecture.cutoff": "size limit of routing",
    "architecture.compute": "training FLOP",
    "training_cost.throughput_mfu": "utilisation, training",
    "training_cost.duration": "days of a run",
    "training_cost.gpu_seconds": "accelerator time",
    "training_cost.rental": "cost of a run",
    "training.share": "shares and ratios",
    "training_cost.time_between": "time between failures",
    "training_step.kept": "activations, layer",
    "training_step.stage_activations": "activations, stage",
    "training_step.edge": "activations, ends",
    "step.STATE": "training state",
    "efficiency.leave_one_out": "training rate",
    "planner.explain": "step and layer time",
    "torus.predict": "serving latency",
    "dense_wall.decode_mfu": "utilisation, serving",
    "dense_wall.decode_rate": "decode rate, weights alone",
    "batching.gain": "gain of batching",
    "speculative_decoding.speed_up_free": "speed-up of drafts",
    "mqa.longest": "longest context",
    "architecture.token_cache": "cache of a token",
    "mqa.latent_cache": "cache, latent",
    "architecture.mlp": "width of an MLP",
    "vision_io.cross": "cross-attention",
    "vision_io.grid": "tokens of an image",
}
NOT_CHECKED = {  # tables without a number that a law of this library predicts
    "a100_prices": "market prices; inputs of chapter 5",
    "batch_sizes": "choices of their authors; inputs of chapter 3",
    "checkpoint_formulas": "formulas without a number; chapter 5 compares their values",
    "ainslie_gqa_table1": "quality and times of shared heads; discussed in chapter 8",
    "flamingo_table4_shapes": "shapes without sizes; inputs of the checks of flamingo_table1_counts",
    "gpt4_vision_benchmarks": "scores; no law here predicts how good an answer is",
    "image_sets": "sizes of data sets; inputs of chapter 11",
    "kv_heads_2023": "who shares heads; counted in chapter 8",
    "leviathan_table3_alpha": "acceptances of drafts; inputs of chapter 10",
    "llama3_table3_shapes": "a shape without a size; these models' sizes are in models.csv, and checked",
    "megatron_table1_runs": "settings of the runs of megatron_table1; inputs of its checks",
    "mosaic_h100_mfu": "rates without the layouts that a prediction needs; inputs of chapter 5",
    "nvlink_generations": "data sheets a second time; a test compares them with hardware.csv",
    "switch_table9": "sizes checked in models.csv; its FLOP need sequence lengths that it does not print",
}


def checks() -> list[Check]:
    """All checks of all families."""
    return [check for family in FAMILIES for check in family()]


def by_law(some: list[Check]) -> dict[str, list[Check]]:
    """The checks of each law, laws in the order of `LAWS`."""
    return {law: found for law in LAWS if (found := [c for c in some if c.law == law])}


def headline(some: list[Check]) -> tuple[int, float, float]:
    """Number, median and worst error of the predictions among them: no circular rows, no known misprints.

    Raises BadInput where none is left.
    """
    errors = [c.error for c in some if c.counts]
    if not errors:
        raise BadInput("some takes at least one check that is neither circular nor a known misprint")
    return len(errors), float(np.median(errors)), max(errors)
