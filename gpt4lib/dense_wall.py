"""The dense wall: how fast a model can be read out of memory, and how large it may then be.

The laws stand in the order of chapter 1. `step_bytes` counts the bytes of one decode step matrix by matrix;
`days_to_spend` serves users message by message until a budget is spent.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from .law import Law
from .symbols import (
    B_seq,
    C,
    C_ref,
    D_serve,
    F,
    M,
    M_pub,
    N,
    N_total,
    R_out,
    R_serve,
    bandwidth,
    c_tok,
    chars_tok,
    chars_word,
    k_fwd,
    mem,
    mem_rate,
    mfu,
    minute,
    n,
    overhead,
    t,
    thousand,
    tok,
    tok_user,
    tok_word,
    users,
    weight_bytes,
    wpm,
    wpm_pub,
    x_C,
    x_mem,
    x_read,
    x_serve,
)
from .units import BadInput

# ---- reading ------------------------------------------------------------------------------
pace = Law(wpm, wpm_pub, "Reading speed as published")
reading_rate = Law(R_out, wpm * tok_word / minute, "Tokens per second for a reader")
word_tokens = Law(tok_word, tok * chars_word / chars_tok, "Tokens of a word, from characters")

# ---- reads, bandwidth, memory -------------------------------------------------------------
reads = Law(x_read, 1 / B_seq, "Reads of each weight for one token")
bandwidth_needed = Law(bandwidth, overhead * weight_bytes * N * R_out / tok, "Memory rate needed")
bandwidth_to_read = bandwidth_needed.given(reading_rate)
decode_rate = Law(
    R_out,
    bandwidth_needed.solve("R_out").rhs.xreplace({bandwidth: n * mem_rate}),
    "Tokens per second from memory",
)
largest = decode_rate.solve("N")
memory_share = Law(x_mem, weight_bytes * N_total / (n * mem), "Weights over memory")
full_memory_rate = decode_rate.given(Law(N, memory_share.solve("N_total").rhs.xreplace({x_mem: 1})))
decode_mfu = Law(mfu, k_fwd * N * R_out / (n * F), "Utilisation while decoding", source="kaplan2020")
mfu_at_the_wall = decode_mfu.given(decode_rate)

# ---- scale and money ----------------------------------------------------------------------
compute_ratio = Law(x_C, C / C_ref, "Compute against another model")
money = Law(M, M_pub, "Sum as published")
price_of_thousand = Law(M, c_tok * thousand, "Price of a thousand tokens")
traffic = Law(R_serve, users * tok_user, "Tokens served per second")
serving_ratio = Law(x_serve, c_tok * R_serve * t / M, "Serving over training")
serving_ratio_of_users = serving_ratio.given(traffic)
break_even = Law(D_serve, M / c_tok, "Served tokens that cost as much as training")


# ---- counting -----------------------------------------------------------------------------
def step_bytes(
    *,
    layers: int,
    d_model: int,
    d_ff: int,
    vocab: int,
    context: int,
    weight_bytes: float = 2,
    kv_bytes: float = 2,
) -> Counter:
    """Bytes that one token of a dense multi-head decoder reads, by part, one matrix and one cached token at a time.

    Norms, biases and positions are left out. Raises BadInput unless every size is a whole number of at least 1
    (`context` may be 0).
    """
    sizes = {"layers": layers, "d_model": d_model, "d_ff": d_ff, "vocab": vocab, "context": context}
    for name, size in sizes.items():
        if not isinstance(size, int) or size < (name != "context"):
            raise BadInput(f"{name} takes a whole number of at least {int(name != 'context')}, got {size!r}")
    matrices = {
        "query": (d_model, d_model),
        "key": (d_model, d_model),
        "value": (d_model, d_model),
        "output": (d_model, d_model),
        "up": (d_model, d_ff),
        "down": (d_ff, d_model),
    }
    read = Counter(vocabulary=vocab * d_model * weight_bytes)
    for _ in range(layers):
        for name, (rows, columns) in matrices.items():
            read["mlp" if name in ("up", "down") else "attention"] += rows * columns * weight_bytes
        for _ in range(context):
            read["cache"] += (d_model + d_model) * kv_bytes
    return read


def days_to_spend(
    *,
    users: int,
    messages: float,
    tokens: float,
    cost_usd: float,
    budget_usd: float,
    seed: int = 0,
    most: int = 100_000,
) -> int:
    """Days until serving has cost `budget_usd`, each user's messages of a day and each message's length drawn.

    Messages per user and day are Poisson with mean `messages`, lengths geometric with mean `tokens`; a token costs
    `cost_usd`. Raises BadInput for a size that is not positive and where `most` days are not enough.
    """
    given = {
        "users": users,
        "messages": messages,
        "tokens": tokens,
        "cost_usd": cost_usd,
        "budget_usd": budget_usd,
    }
    for name, value in given.items():
        if not value > 0 or (name == "tokens" and value < 1):
            raise BadInput(f"{name} takes a number of at least {int(name == 'tokens')}, got {value!r}")
    rng, spent = np.random.default_rng(seed), 0.0
    for day in range(1, most + 1):
        sent = int(rng.poisson(messages, users).sum())
        spent += int(rng.geometric(1 / tokens, sent).sum()) * cost_usd
        if spent >= budget_usd:
            return day
    raise BadInput(f"budget_usd = {budget_usd!r} is not spent in {most} days")
