"""A run that fails at random and restarts from its checkpoint: the second route to the laws of lost time."""

from __future__ import annotations


def simulate_failures(
    mtbf: float, tau: float, write: float, restart: float, segments: int, seed: int = 0
) -> float:
    """Share of time lost in a run of `segments` checkpoints under random (exponential) failures.

    Each segment is `tau` of work and one `write`; a failure throws the segment away and costs a
    `restart`, which can fail too.
    """
    import numpy as np

    rng, clock = np.random.default_rng(seed), 0.0
    for _ in range(segments):
        need = tau + write
        while (next_failure := rng.exponential(mtbf)) < need:
            clock += next_failure
            need = restart + tau + write
        clock += need
    return 1 - segments * tau / clock
