"""Time and memory of replaying pipeline schedules of 64 stages and 1,024 micro-batches.

    python benchmarks/schedule.py [repeats]

Target: each schedule in under one second, its idle share equal to the closed form. Exits 1 if one is missed.
"""

import resource
import sys
import time

from gpt4lib.chapters import parallelism
from gpt4lib.simulate.pipeline import pipeline_schedule, stage_idle_share

STAGES, MICRO_BATCHES = 64, 1024


def main():
    """Print the best time of each schedule; say by the exit status whether the target is met."""
    missed = False
    for kind, chunks in (("GPipe", 1), ("1F1B", 1), ("1F1B", 2), ("ZB-H1", 1)):
        taken = []
        for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 3):
            start = time.perf_counter()
            rows = pipeline_schedule(STAGES, MICRO_BATCHES, chunks, kind)
            taken.append(time.perf_counter() - start)
        if kind == "ZB-H1":
            law = parallelism.zero_bubble(p=STAGES, m=MICRO_BATCHES, t_fwd=1, t_din=1, t_dw=1)
        else:
            law = parallelism.bubble_share(p=STAGES, m=MICRO_BATCHES, v=chunks)
        pieces, idle = sum(map(len, rows)), stage_idle_share(rows)
        name = f"{kind}, {chunks} chunk{'s' * (chunks > 1)}"
        print(f"{name:14s}: {pieces:,} pieces in {min(taken):.3f} s, idle {idle:.4%}, closed form {law:.4%}")
        missed |= min(taken) >= 1 or abs(idle - law) > 1e-9
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9:.2f} GB")
    sys.exit(missed)


if __name__ == "__main__":
    main()
