"""The cache of keys and values: the bytes kept for each token, and read for each new one."""

from __future__ import annotations

from .law import Law
from .symbols import B_seq, L, Q_kv, S, d_h, kv, kv_bytes, n_kv

token_cache = Law(
    kv, 2 * L * n_kv * d_h * kv_bytes, "Cache of one token: keys and values", source="shazeer2019"
)
cache_read = Law(Q_kv, kv * B_seq * S, "Cache that a decode step reads", source="shazeer2019")
cache_read_of_shape = cache_read.given(token_cache)
