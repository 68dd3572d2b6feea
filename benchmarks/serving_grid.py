"""Points per second of the serving model over a grid of batch and context.

    python benchmarks/serving_grid.py [repeats]

Target: a million points, 1,000 batches x 1,000 contexts, in one second. Exits 1 when it is missed.
"""

import statistics
import sys
import time

import numpy as np

from gpt4lib.systems.count import served_model
from gpt4lib.systems.machine import Server
from gpt4lib.systems.serving import decode


def main():
    """Print seconds and points per second; say by the exit status whether the target is met."""
    batch, context = np.linspace(1, 4096, 1000)[:, None], np.linspace(16, 32768, 1000)[None, :]
    served, server = served_model("gpt4_multi_query"), Server(gpu="H100-SXM 80GB", pipeline=16)
    taken = []
    for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 7):
        start = time.perf_counter()
        found = decode(served, server, batch=batch, context=context, price=1 / 3600)
        taken.append(time.perf_counter() - start)
    best, middle = min(taken), statistics.median(taken)
    points = found.pass_seconds.size
    print(
        f"{points:,} points: best {best:.2f} s ({points / best:,.0f} points/s), "
        f"median {middle:.2f} s ({points / middle:,.0f} points/s)"
    )
    sys.exit(best > 1)


if __name__ == "__main__":
    main()
