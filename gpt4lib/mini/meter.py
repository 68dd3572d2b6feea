"""A meter for one run of the miniature: FLOP, parameters and bytes, counted from the arrays as they are used.

FLOP are those of matrix products, 2 for each multiply and add, by part (`gpt4lib.systems.count.PARTS` and
"scores"). Every weight matrix counts as read once in each product it takes part in, which is once per pass;
an expert without tokens is not read. Attention is causal: a token at position t attends to t + 1 keys, its
own among them, in prefill as in decode. Only these pairs are counted, not the masked rest of the padded
array. Each cached key and value that some token attends to counts as read once per pass and layer.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Meter:
    """Counts of all passes that it was handed to; `loads[layer]` has tokens per expert for each pass."""

    flop: Counter = field(default_factory=Counter)
    parameters_read: Counter = field(default_factory=Counter)
    weight_bytes_read: Counter = field(default_factory=Counter)
    cache_bytes_read: int = 0
    cache_bytes_written: int = 0
    loads: dict = field(default_factory=lambda: defaultdict(list))

    def multiply(self, part: str, x: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """x @ weights, counted: (m, n) by (n, p) takes 2 m n p FLOP and reads n p parameters."""
        self.flop[part] += 2 * x.size * weights.shape[-1]
        return x @ self.read(part, weights)

    def read(self, part: str, weights: np.ndarray) -> np.ndarray:
        """The weights themselves, counted as read."""
        self.parameters_read[part] += weights.size
        self.weight_bytes_read[part] += weights.nbytes
        return weights

    def attend(self, q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray) -> None:
        """Scores, mixing and use of the cache; q, k, v are (new tokens, heads, width), `mask` as in Step."""
        self.flop["scores"] += int(mask.sum()) * q.shape[1] * 2 * (q.shape[2] + v.shape[2])
        self.cache_bytes_written += k.nbytes + v.nbytes
        seen = int(mask.any(axis=1).sum())
        self.cache_bytes_read += seen * k.shape[1] * (k.shape[2] + v.shape[2]) * k.itemsize

    def distinct_experts(self, layer: int) -> list[int]:
        """Experts of `layer` with at least one token, for each pass."""
        return [int(np.count_nonzero(load)) for load in self.loads[layer]]
