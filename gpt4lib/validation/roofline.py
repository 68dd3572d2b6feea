"""The roofline, measured: the time of a product of matrices by the laws, and by a computer's or GPU's clock.

A decode step is a weight matrix times a few columns, one for each sequence. `predict_product` says what that
takes from a memory rate and a peak. `own` measures both on this computer, and the products beside them.
`measurements` reads what `benchmarks/measure_gpu.py` recorded on GPUs, `against_law` compares.
"""

from __future__ import annotations

import csv
import time
from importlib.resources import files
from pathlib import Path

import numpy as np

from ..chapters import inference_tradeoffs as laws
from ..chapters.moe_inference import experts_hit
from ..facts.devices import devices
from ..spine.chain import Chain
from ..spine.errors import BadInput, positive
from ..systems.machine import positive_numbers

ELEMENT_BYTES = {"float32": 4, "bfloat16": 2, "float8": 1}
PEAK_OF = {"bfloat16": "bf16_flop_per_s", "float8": "fp8_flop_per_s"}
_WHERE = ("card", "device", "date", "torch", "cuda", "kind", "dtype")
_SIZES = ("batch", "rows", "columns", "experts", "top_k")
COLUMNS = (*_WHERE, *_SIZES, "seconds", "repeats")
MEASURED_KINDS = ("copy", "peak", "decode", "experts")
PRODUCT = (
    Chain(  # of `serving.PASS`, what one matrix on one GPU needs; its cache is what goes in and comes out
        experts_hit, laws.rank_weights, laws.pass_flop, laws.memory_time, laws.compute_time, laws.core_time
    )
)


# ---- by the laws ----------------------------------------------------------------------------
def predict_product(
    *, batch, rows: int, columns: int, dtype: str, bandwidth: float, peak: float, experts=1, top_k=1
):
    """max(bytes / bandwidth, FLOP / peak) of a (rows x columns) product with `batch` columns, in seconds.

    Of several experts, each of two such matrices, the weights of those that the batch reaches under uniform
    routing are read. Bytes: weights, input and output once each. Raises BadInput for sizes and rates that are
    not positive.
    """
    if dtype not in ELEMENT_BYTES:
        raise BadInput(f"dtype takes one of {', '.join(ELEMENT_BYTES)}, got {dtype!r}")
    for name, value in (("rows", rows), ("columns", columns), ("experts", experts), ("top_k", top_k)):
        positive(name, value)
    batch = np.asarray(batch, dtype=float)
    positive_numbers(batch=batch, bandwidth=bandwidth, peak=peak)
    if top_k > experts:
        raise BadInput(f"top_k takes at most experts = {experts}, got {top_k}")
    each, width = rows * columns, ELEMENT_BYTES[dtype]
    matrices = 1 if experts == 1 else 2
    x = dict.fromkeys(("tp", "ep", "transfer", "ceiling", "overlap"), 1.0)
    x |= {"mem_rate": bandwidth, "F": peak}
    x |= {"E": experts, "k": top_k, "B_seq": batch, "n_tok": batch, "weight_bytes": width}
    x |= {"N_fix": 0.0, "N_exp": matrices * each, "Q_kv": width * batch * (rows + columns)}
    x["C_full"] = laws.weight_flop(B_seq=1) * matrices * top_k * each
    return PRODUCT.run(x)["t_core"]


# ---- by this computer's clock ---------------------------------------------------------------
def timed(work, repeats: int) -> float:
    """Least seconds of `repeats` calls, after one that does not count: other programs only ever add to it."""
    work()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def own(
    *, side: int = 3584, batches=(1, 2, 4, 8, 16, 32, 64, 128, 256), repeats: int = 3, seed: int = 0
) -> dict:
    """Memory rate and peak of this computer in float32, and seconds of a (side x side) matrix by batch.

    A sum over an array as large as the matrix gives the rate, a square product the peak: neither is one of
    the products that they predict. Returns bandwidth [byte/s], peak [FLOP/s], batch, seconds, predicted.
    Raises BadInput for sizes that are not positive.
    """
    positive("side", side)
    positive("repeats", repeats)
    for batch in batches:
        positive("batches", batch)
    rng = np.random.default_rng(seed)
    weights = rng.random((side, side), dtype=np.float32)
    flat, block = weights.reshape(-1), weights[: side // 4 or 1, : side // 4 or 1].copy()
    bandwidth = weights.nbytes / timed(lambda: flat.sum(), repeats)
    peak = laws.weight_flop(B_seq=len(block)) * block.size / timed(lambda: block @ block, repeats)
    entries = [rng.random((side, batch), dtype=np.float32) for batch in batches]
    seconds = [timed(lambda x=x: weights @ x, repeats) for x in entries]
    found = {"bandwidth": bandwidth, "peak": peak}
    predicted = predict_product(batch=np.array(batches), rows=side, columns=side, dtype="float32", **found)
    return found | {"batch": np.array(batches), "seconds": np.array(seconds), "predicted": predicted}


# ---- by a GPU's clock -----------------------------------------------------------------------
def measurements(folder=None) -> list[dict]:
    """The rows of every CSV of `data/measured`, or of `folder`, numbers as numbers; [] where there is none.

    Raises BadInput for a file with other columns, an unknown kind or a number that is not positive.
    """
    place = files("gpt4lib") / "data" / "measured" if folder is None else Path(folder)
    paths = [p for p in place.iterdir() if p.name.endswith(".csv")] if place.is_dir() else []
    found = []
    for path in sorted(paths, key=lambda p: p.name):
        found += [_row(path.name, line) for line in csv.DictReader(path.read_text("utf-8").splitlines())]
    return found


def _row(where: str, line: dict) -> dict:
    if tuple(line) != COLUMNS:
        raise BadInput(f"{where} takes the columns {', '.join(COLUMNS)}, got {', '.join(map(str, line))}")
    row = dict(line)
    if row["kind"] not in MEASURED_KINDS or row["dtype"] not in ELEMENT_BYTES:
        takes = f"kind {', '.join(MEASURED_KINDS)} and dtype {', '.join(ELEMENT_BYTES)}"
        raise BadInput(f"{where} takes {takes}, got {row['kind']}, {row['dtype']}")
    for name in (*_SIZES, "seconds", "repeats"):
        try:
            row[name] = float(row[name]) if name == "seconds" else int(row[name])
        except (TypeError, ValueError):
            raise BadInput(f"{where}: {name} takes a number, got {row[name]!r}") from None
        if not 0 < row[name] < np.inf:
            raise BadInput(f"{where}: {name} takes a positive number, got {row[name]!r}")
    return row


def card_rates(rows: list[dict]) -> dict:
    """Per card: bytes per second of its copy, read and written, and FLOP per second of its best products."""
    found = {}
    for r in rows:
        card = found.setdefault(r["card"], {})
        if r["kind"] == "copy":
            card["bandwidth"] = 2 * r["rows"] * r["columns"] * ELEMENT_BYTES[r["dtype"]] / r["seconds"]
        elif r["kind"] == "peak":
            flop = laws.weight_flop(B_seq=r["batch"]) * r["rows"] * r["columns"]
            card[r["dtype"]] = max(card.get(r["dtype"], 0.0), flop / r["seconds"])
    return found


def against_law(rows: list[dict]) -> list[dict]:
    """Each decode and expert row with `by_sheet` and `by_own`: predicted seconds over measured ones.

    By the data sheet (None where `device` is not one of `data/hardware.csv` or has no such peak), and by the
    card's own copy and peak (None where they were not measured).
    """
    own_rates, found = card_rates(rows), []
    for r in rows:
        if r["kind"] not in ("decode", "experts"):
            continue
        sizes = {name: r[name] for name in (*_SIZES, "dtype")}
        sheet, card = devices().get(r["device"]), own_rates[r["card"]]
        fields = "bandwidth_bytes_per_s", PEAK_OF.get(r["dtype"], "")
        rates = {"by_sheet": [getattr(sheet, field, None) for field in fields]}
        rates["by_own"] = card.get("bandwidth"), card.get(r["dtype"])
        ratio = dict.fromkeys(rates)
        for name, (bandwidth, peak) in rates.items():
            if bandwidth is not None and peak is not None:
                ratio[name] = float(predict_product(**sizes, bandwidth=bandwidth, peak=peak)) / r["seconds"]
        found.append(r | ratio)
    return found
