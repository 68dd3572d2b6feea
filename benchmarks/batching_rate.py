"""Output tokens per second that the batching simulator simulates: 2,048 requests of a chat-like trace.

    python benchmarks/batching_rate.py

Poisson arrivals, geometric lengths with the means of ShareGPT, 64 slots, a step time that grows with the
batch. The target is 3,000,000 tokens/s; Vidur's paper and code give about 71,000 on such a machine.
"""

from time import perf_counter

import numpy as np

from gpt4lib.facts.given import given
from gpt4lib.simulate.batching import simulate_batching

REQUESTS, SLOTS, REPEATS = 2048, 64, 5
WAYS = {"continuous": {}, "continuous, prompts in chunks of 256": {"prompt_chunk": 256}}
WAYS |= {"continuous, cache of 20,000 tokens with eviction": {"kv_tokens": 20_000, "evict": True}}
WAYS |= {"static": {"continuous": False}}


def step_seconds(batch: int, prompt_tokens: int) -> float:
    """A step reads the weights once, a cache for each sequence, and computes the prompts that it takes in."""
    return 20e-3 + 50e-6 * batch + 20e-6 * prompt_tokens


def main() -> None:
    """Simulate the trace several times and print the median rate."""
    rng = np.random.default_rng(0)
    arrival = np.cumsum(rng.exponential(0.2, REQUESTS))
    means = [given(f"fact:chat-{part}").value for part in ("prompt", "answer")]
    prompt, output = (rng.geometric(1 / mean, REQUESTS) for mean in means)
    for name, how in WAYS.items():
        taken = []
        for _ in range(REPEATS):
            start = perf_counter()
            simulate_batching(arrival, prompt, output, slots=SLOTS, step_time=step_seconds, **how)
            taken.append(perf_counter() - start)
        print(f"{name}: {output.sum() / np.median(taken):,.0f} tokens/s")


if __name__ == "__main__":
    main()
