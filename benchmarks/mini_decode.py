"""Tokens per second that the miniature decodes, with the weights read and the FLOP done in a step.

    python benchmarks/mini_decode.py [batch] [steps]

4 layers of width 256, 16 experts, one key-value head, 64-bit numbers, batch 64. The target is 1,000 tokens/s
on two cores; exits 1 below it. The products are small and bound by memory, so one BLAS thread does; two that
wait for each other on a busy machine are many times slower. Set OPENBLAS_NUM_THREADS to try another number.
"""

import os
import statistics
import sys
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from gpt4lib.mini.meter import Meter
from gpt4lib.mini.model import Transformer, default_shape

TARGET, PROMPT = 1000, 32


def measure(batch, steps, dtype):
    """Seconds of each decode step, and the meter of the last one."""
    model, times = Transformer(default_shape(), dtype=dtype), []
    cache = model.cache(batch, PROMPT + steps)
    tokens = np.random.default_rng(0).integers(0, model.shape.vocab, (batch, PROMPT))
    logits = model.forward(tokens, cache)[:, -1:]
    for _ in range(steps):
        meter, start = Meter(), time.perf_counter()
        logits = model.forward(logits.argmax(axis=-1), cache, meter=meter)
        times.append(time.perf_counter() - start)
    return times, meter


def main():
    """Print the rates of 64-bit and 32-bit numbers."""
    batch, steps = (int(a) for a in (*sys.argv[1:], *("64", "30")[len(sys.argv) - 1 :]))
    rates = {}
    for dtype in (np.float64, np.float32):
        times, meter = measure(batch, steps, dtype)
        rates[dtype] = batch / statistics.median(times)
        read, done = (sum(counts.values()) for counts in (meter.weight_bytes_read, meter.flop))
        print(f"{dtype.__name__}: {rates[dtype]:,.0f} tokens/s, median of {steps} steps of {batch} tokens")
        print(f"  a step reads {read / 1e6:,.0f} MB of weights and does {done / 1e9:.2f} GFLOP")
    sys.exit(rates[np.float64] < TARGET)


if __name__ == "__main__":
    main()
