"""A published check of the serving model: PaLM on TPU v4, eight latencies, two fitted constants.

The laws are those of `gpt4lib.chapters.inference_tradeoffs`. Chips form a box of axes with links both ways;
an axis closes to a ring only where every side of the box is a multiple of four, so a chip of a smaller slice
has one link an axis and not two. Fitted on the rows: `ceiling`, the share of peak that matrix products reach,
and `layer_seconds`, what a layer adds whatever its size. PaLM 540B was served with its 48 heads padded to 64,
for 64 chips, which adds 18 billion parameters. Everything else is a data sheet, a shape or a column of the
table. Sources: pope2022; for the meshes google_tpu_v4.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from ..chapters import inference_tradeoffs as laws
from ..chapters.architecture import full
from ..facts.devices import hardware
from ..facts.files import published
from ..facts.given import given
from ..facts.models import Model, published_model
from ..spine.chain import Chain
from ..spine.errors import BadInput
from ..systems.count import serving_view

LINKS = 6
SLICES = {8: (2, 2, 2), 16: (2, 2, 4), 32: (2, 4, 4), 64: (4, 4, 4)}
HEADS = {"PaLM 540B": 64}  # as served; the shape has 48
WEIGHT_BYTES = {"int8": 1.0, "bfloat16": 2.0}
_READ = Chain(laws.rank_weights, laws.rank_cache, laws.memory_time, full, laws.pass_flop, laws.compute_time)
TORUS = {"WS": _READ + Chain(laws.stationary_time), "WG": _READ + Chain(laws.gathered_time)}  # stay, or move


@dataclass(frozen=True)
class Row:
    """One latency of the paper's Tables 2 and 3: seconds of a whole prefill, or of one decode step."""

    model: str
    phase: str
    chips: int
    batch: int
    layout: str
    weight_bytes: float
    measured_seconds: float
    printed_mfu: float


def latencies() -> list[Row]:
    """The eight latencies, as printed; a decode step is the printed time over its number of tokens."""
    found = []
    for name, table in (("PaLM 540B", "pope_table2_palm540b"), ("PaLM 62B", "pope_table3_palm62b")):
        for r in published(table):
            steps, width = int(r["tokens"]) if r["phase"] == "decode" else 1, WEIGHT_BYTES[r["weights"]]
            how = name, r["phase"], int(r["chips"]), int(r["batch"]), r["ffn"], width
            found.append(Row(*how, float(r["latency_s"]) / steps, float(r["mfu_pct"]) / 100))
    return found


def links_of_axes(chips: int) -> tuple[int, int]:
    """Links of a chip in the first axis of its slice, and in the other two together.

    Raises BadInput for a number of chips that is none of `SLICES`.
    """
    if chips not in SLICES:
        raise BadInput(f"chips takes one of {', '.join(map(str, SLICES))}, got {chips!r}")
    each = 2 if all(side % 4 == 0 for side in SLICES[chips]) else 1
    return each, 2 * each


def served(name: str, *, padded: bool = True) -> Model:
    """The shape of a model as the paper served it: heads padded where it says so."""
    shape = published_model(name).shape
    return replace(shape, n_heads=HEADS.get(name, shape.n_heads)) if padded else shape


def pass_parts(
    row: Row, *, prompt: int = 2048, link: float | None = None, rings: bool | None = None, padded: bool = True
) -> dict:
    """Seconds of memory and communication, seconds of compute at peak, and layers, of one row.

    `rings` overrides what the slice says: whether its axes close. `padded` is as in `served`. `link` is one
    link, one way, in bytes per second (default: the paper's 270 GB/s of a chip over its six links).
    """
    link = given("fact:tpu-v4-chip-links").value / LINKS if link is None else link
    shape, tpu = served(row.model, padded=padded), hardware("TPU v4")
    prefill = row.phase == "prefill"
    model, (side, *others) = serving_view(shape), SLICES[row.chips]
    links_x, links_yz = links_of_axes(row.chips) if rings is None else (1 + rings, 2 * (1 + rings))
    x = vars(model) | dict.fromkeys(("ep", "transfer", "ceiling", "E_hit"), 1.0)
    x |= dict.fromkeys(("tp", "cache_ranks", "n"), row.chips) | {"act_bytes": 2.0}
    tokens = prompt if prefill else 1
    x |= {"weight_bytes": row.weight_bytes, "B_seq": row.batch, "n_tok": row.batch * tokens}
    x |= {"S": prompt, "C_pair": model.score_flop(prompt, mean=prefill), "N": model.total}
    x["kv"] = 2.0 * model.mean_entries(prompt)
    x |= {"F": tpu.bf16_flop_per_s, "mem_rate": tpu.bandwidth_bytes_per_s, "link": link}
    x |= {"links": links_x + links_yz, "links_x": links_x, "links_yz": links_yz}
    x |= {"torus_x": side, "torus_yz": prod(others)}
    x |= {"n_mat": shape.mlp_matrices, "d_ff": shape.d_ff, "n_kv": shape.n_kv_heads}
    found = TORUS["WS" if row.layout.startswith("WS") else "WG"].run(x)
    return {"t_peak": found["t_mm"]} | {letter: found[letter] for letter in ("t_mem", "t_comm", "L")}


def predict(row: Row, ceiling: float, layer_seconds: float, **how) -> float:
    """Seconds of a row: memory, compute, communication and layers, one after the other."""
    x = pass_parts(row, **how)
    return laws.torus_pass.at(x, t_mm=x["t_peak"] / ceiling, t_layer=layer_seconds)


def fit_constants(some=None, **how) -> tuple[float, float]:
    """The two constants that make the relative errors of these rows smallest, by least squares.

    Raises BadInput for fewer than two rows.
    """
    some = latencies() if some is None else some
    if len(some) < 2:
        raise BadInput(f"some takes two rows or more, got {len(some)}")
    x = [pass_parts(row, **how) for row in some]
    sides = np.array([[p["t_peak"], p["L"]] for p in x])
    rest = np.array([row.measured_seconds - p["t_mem"] - p["t_comm"] for row, p in zip(some, x, strict=True)])
    scale = np.array([row.measured_seconds for row in some])
    inverse, layer = np.linalg.lstsq(sides / scale[:, None], rest / scale, rcond=None)[0]
    return float(1 / inverse), float(layer)


def leave_one_out_ratios(**how) -> list[float]:
    """Predicted over measured seconds of each row, by constants fitted on the seven others."""
    every = latencies()
    fitted = [fit_constants([other for other in every if other is not row], **how) for row in every]
    return [predict(row, *of, **how) / row.measured_seconds for row, of in zip(every, fitted, strict=True)]
