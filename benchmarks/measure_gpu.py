"""Measure a GPU: copy, matrix peak, decode-shaped products, a routed layer, as a CSV to set against the laws.

    pip install "torch>=2.4"   (the optional extra "gpu"; nothing else in the project needs it)
    python benchmarks/measure_gpu.py --out gpt4lib/data/measured/CARD.csv [--device "H100-SXM 80GB"]

Each row is the median over repeats after warm-up, on random data, by the device's own timers. `--device`
names the row of `gpt4lib/data/hardware.csv` that the card is; without it the script guesses from the card's
name and says so. The products are larger than the cache, and a buffer is overwritten between repeats, so that
weights come from memory.
"""

import argparse
import csv
import datetime
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gpt4lib.facts.devices import devices
from gpt4lib.validation.roofline import COLUMNS

BATCHES = tuple(2**i for i in range(13))  # 1 to 4,096
ROWS, INNER = 8192, 8192  # one decode-shaped matrix: 134 MB in bfloat16
EXPERTS, TOP_K, D_MODEL, D_FF = 16, 2, 4096, 14336
PEAK_SIDE, COPY_SIDE = 8192, 16384
FLUSH_BYTES = 256 * 2**20  # more than any card caches
# Rows of hardware.csv, and a part of the card's own name.
GUESSES = {"A100-SXM 40GB": "A100-SXM4-40GB", "A100-SXM 80GB": "A100-SXM4-80GB", "H200-SXM": "H200"}
GUESSES |= {"H100-SXM 80GB": "H100 80GB HBM3", "H100-PCIe 80GB": "H100 PCIe", "B200-SXM": "B200"}
GUESSES = {"GB200": "GB200"} | GUESSES  # before the B200, whose name it holds
GUESSES |= {"V100-SXM2 32GB": "V100-SXM2-32GB", "MI300X": "MI300X", "MI250X": "MI250X"}


def guess(card: str) -> str:
    """The row of hardware.csv that a card's name stands for, or "" where no row is known.

    >>> guess("NVIDIA H100 80GB HBM3"), guess("NVIDIA A100-SXM4-40GB"), guess("NVIDIA GeForce RTX 4090")
    ('H100-SXM 80GB', 'A100-SXM 40GB', '')
    """
    return next((name for name, part in GUESSES.items() if part in card), "")


def plan(fp8: bool) -> list[dict]:
    """What is measured, as rows without a time: kind, dtype, batch, rows, columns, experts, top_k."""
    names = ("kind", "dtype", "batch", "rows", "columns", "experts", "top_k")

    def row(*sizes, experts=1, top_k=1):
        return dict(zip(names, (*sizes, experts, top_k), strict=True))

    dtypes = ["bfloat16"] + ["float8"] * fp8
    rows = [row("copy", "bfloat16", 1, COPY_SIDE, COPY_SIDE)]
    rows += [row("peak", dtype, PEAK_SIDE, PEAK_SIDE, PEAK_SIDE) for dtype in dtypes]
    rows += [row("decode", dtype, batch, ROWS, INNER) for dtype in dtypes for batch in BATCHES]
    layer = {"experts": EXPERTS, "top_k": TOP_K}
    return rows + [row("experts", "bfloat16", batch, D_FF, D_MODEL, **layer) for batch in BATCHES]


def repeats_for(seconds: float, *, budget: float = 0.5, least: int = 10, most: int = 200) -> int:
    """How often to repeat what took `seconds` once: about `budget` seconds in all.

    >>> repeats_for(0.001), repeats_for(1.0), repeats_for(1e-6)
    (200, 10, 200)
    """
    return max(least, min(most, int(budget / max(seconds, 1e-9))))


def write(path, rows: list[dict], about: dict) -> None:
    """The measured rows as CSV, `about` (card, device, date, torch, cuda) in every row."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        out = csv.DictWriter(file, COLUMNS)
        out.writeheader()
        out.writerows({**about, **row} for row in rows)


def multiply(torch, dtype, batch, rows, columns):
    """A call that multiplies a (rows x columns) matrix with `batch` columns of random numbers."""
    x = torch.randn(batch, columns, device="cuda", dtype=torch.bfloat16)
    w = torch.randn(rows, columns, device="cuda", dtype=torch.bfloat16)
    if dtype == "bfloat16":
        return lambda: x @ w.t()
    padded = torch.zeros(-(-batch // 16) * 16, columns, device="cuda", dtype=torch.bfloat16)
    padded[:batch] = x  # FP8 kernels take rows in sixteens
    x8, w8, one = padded.to(torch.float8_e4m3fn), w.to(torch.float8_e4m3fn).t(), torch.ones((), device="cuda")
    return lambda: torch._scaled_mm(x8, w8, scale_a=one, scale_b=one, out_dtype=torch.bfloat16)


def route(torch, batch, experts, top_k, seed=0):
    """Uniform routing: for each expert the tokens that chose it, `top_k` different experts a token."""
    scores = torch.rand(batch, experts, generator=torch.Generator().manual_seed(seed))
    chosen = scores.topk(top_k, dim=1).indices
    return [(chosen == e).any(dim=1).nonzero().flatten() for e in range(experts)]


def expert_layer(torch, batch, rows, columns, experts, top_k):
    """A call that runs a layer of `experts` MLPs, two matrices each, on `batch` tokens routed uniformly."""
    x = torch.randn(batch, columns, device="cuda", dtype=torch.bfloat16)
    up = [torch.randn(columns, rows, device="cuda", dtype=torch.bfloat16) for _ in range(experts)]
    down = [torch.randn(rows, columns, device="cuda", dtype=torch.bfloat16) for _ in range(experts)]
    chosen = enumerate(route(torch, batch, experts, top_k))
    parts = [(e, tokens.cuda()) for e, tokens in chosen if len(tokens)]
    out = torch.zeros_like(x)

    def work():
        out.zero_()
        for e, tokens in parts:
            out.index_add_(0, tokens, torch.nn.functional.gelu(x[tokens] @ up[e]) @ down[e])

    return work


def work_of(torch, row):
    """The call that a row of the plan times."""
    if row["kind"] == "copy":
        source = torch.randn(row["rows"], row["columns"], device="cuda").to(torch.bfloat16)
        target = torch.empty_like(source)
        return lambda: target.copy_(source)
    if row["kind"] == "experts":
        return expert_layer(torch, *(row[name] for name in ("batch", "rows", "columns", "experts", "top_k")))
    return multiply(torch, row["dtype"], row["batch"], row["rows"], row["columns"])


def timed(torch, work, flush):
    """Median seconds of a call by the device's timers, and the number of repeats, after warm-up."""

    def once():
        flush.zero_()  # the weights leave the cache
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1e3

    repeats = repeats_for(min(once() for _ in range(5)))
    return statistics.median(once() for _ in range(repeats)), repeats


def no_gpu():
    """PyTorch with a GPU, or the message that says what is missing."""
    try:
        import torch
    except ImportError:
        why = "PyTorch is not installed: pip install torch (an optional extra, only this script needs it)"
        return None, why
    if torch.cuda.is_available():
        return torch, ""
    found = f"PyTorch {torch.__version__} finds no CUDA or ROCm GPU on this computer"
    return None, f"{found}; nothing was measured"


def wanted(arguments):
    """What the command line asks for."""
    parser = argparse.ArgumentParser(
        description="Measure a GPU for the book's comparison of laws and clocks."
    )
    out, card = (
        "where to write: gpt4lib/data/measured/CARD.csv",
        "the card's row in gpt4lib/data/hardware.csv",
    )
    parser.add_argument("--out", required=True, metavar="CSV", help=out)
    parser.add_argument("--device", default=None, metavar="NAME", help=card)
    options = parser.parse_args(arguments)
    if options.device is not None and options.device not in devices():
        parser.error(f"--device takes one of {', '.join(devices())}, got {options.device!r}")
    return options


def main(arguments=None):
    """Measure everything and write the CSV; return the exit status."""
    options = wanted(arguments)
    torch, missing = no_gpu()
    if missing:
        print(f"error: {missing}", file=sys.stderr)
        return 2
    card = torch.cuda.get_device_name(0)
    device = options.device or guess(card)
    print(f"{card}, taken for {device or 'no row of hardware.csv'}")
    about = {"card": card, "device": device, "date": datetime.date.today().isoformat()}
    about |= {"torch": torch.__version__, "cuda": torch.version.cuda or torch.version.hip or ""}
    fp8 = torch.cuda.get_device_capability(0) >= (8, 9) and hasattr(torch, "_scaled_mm")
    flush, rows = torch.empty(FLUSH_BYTES, dtype=torch.uint8, device="cuda"), []
    for row in plan(fp8):
        work = work_of(torch, row)
        seconds, repeats = timed(torch, work, flush)
        rows.append({**row, "seconds": f"{seconds:.6g}", "repeats": repeats})
        what = f"{row['kind']:8s} {row['dtype']:9s} batch {row['batch']:5d}"
        print(f"{len(rows):3d}  {what}  {seconds * 1e6:12.1f} us")
        del work
        torch.cuda.empty_cache()
    write(options.out, rows, about)
    print(f"{len(rows)} rows in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
