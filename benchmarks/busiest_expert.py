"""Time of the exact distribution of the busiest expert's load: batch 4,096, 16 experts, two a token.

    python benchmarks/busiest_expert.py [repeats]

Target: under one second, and a total probability of one to 1e-12. Exits 1 when one is missed.
"""

import sys
import time

import numpy as np

from gpt4lib.simulate.routing import busiest, moments


def main():
    """Print the best time, the total and the mean; say by the exit status whether the target is met."""
    missed = False
    alike, skewed = ("uniform", np.ones(16)), ("weights 1/i^0.5", np.arange(1, 17) ** -0.5)
    for batch, (name, weights) in ((8, alike), (4096, alike), (4096, skewed)):
        taken = []
        for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 3):
            start = time.perf_counter()
            p = busiest(batch, top_k=2, weights=weights)
            taken.append(time.perf_counter() - start)
        off, (mean, deviation) = p.sum() - 1, moments(p)
        result = f"total 1 {off:+.1e}, busiest {mean:.3f} +- {deviation:.3f}"
        print(f"{name}, batch {batch:,}: {min(taken):.3f} s, {result}")
        missed |= abs(off) > 1e-12 or (name == "uniform" and min(taken) >= 1)
    sys.exit(missed)


if __name__ == "__main__":
    main()
