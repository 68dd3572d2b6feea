"""What `params` says of a model: parameters by part, bytes of its weights, and its cache."""

from __future__ import annotations

from ..facts.models import Model
from ..show.tables import Table
from ..spine.text import fmt
from ..systems.count import cache_of, parameters, state_numbers, weight_formats

CONTEXTS = (8_192, 131_072)  # where no other is asked for


def counts(shape: Model, context: int | None = None) -> dict:
    """Counts and caches by name, for JSON; bytes of the cache in 16 bits an entry, those of states too.

    `active` takes in both tables, `active_without_input_table` only the one that makes logits. Blocks that
    predict further tokens are in `total` and not in `active`. `kv_cache_bytes` are keys and values as
    windows and chunks leave them; `kv_cache_bytes_full_pages` are those of an engine that keeps every layer
    as long as the context; the states that some layers keep instead stand apart.
    """
    count = parameters(shape)
    found = {"name": shape.name, "total": count.total, "active": count.active, "parts": count.parts}
    found |= {"active_parts": count.active_parts, "without_mtp": count.without_mtp}
    found["active_without_input_table"] = count.active_without_input_table
    formats, experts = weight_formats(shape), count.parts["experts"]
    rest = count.without_mtp - experts
    found["weight_bytes"] = rest * formats["weight_bytes"] + experts * formats["expert_bytes"]
    found |= {"kv_cache_bytes_per_token": cache_of(shape, 1).token_bytes}
    found |= {"state_numbers": state_numbers(shape), "state_bytes": cache_of(shape, 1).state_bytes}
    return found | (_of_sequence(shape, context) if context else {})


def _of_sequence(shape: Model, context: int) -> dict:
    """The cache of one sequence, by name."""
    cache = cache_of(shape, context)
    found = {"context": context, "kv_cache_bytes": cache.kept_bytes}
    return found | {
        "kv_cache_bytes_full_pages": cache.full_pages_bytes,
        "sequence_bytes": cache.sequence_bytes,
    }


def counts_in_text(shape: Model, context: int | None = None) -> str:
    """The same as a table of parts, and a line for each thing more."""
    found = counts(shape)
    active = found["active_parts"]
    rows = [(part, f"{size:,}", f"{active[part]:,}") for part, size in found["parts"].items() if size]
    rows.append(("total", f"{found['total']:,}", f"{found['active']:,}"))
    lines = [repr(Table(rows, ("part", "parameters", "active"))), ""]
    more = found["without_mtp"] != found["total"]
    if more:
        lines.append(f"without blocks that predict further tokens: {found['without_mtp']:,}")
    lines.append(f"active without the input table: {found['active_without_input_table']:,}")
    left_out = ", those blocks left out" if more else ""
    lines.append(f"bytes of the weights{left_out}: {fmt(found['weight_bytes'], 'byte')}")
    lines.append(f"KV cache of a token: {fmt(found['kv_cache_bytes_per_token'], 'byte')}")
    for length in (context,) if context else CONTEXTS:
        cache = cache_of(shape, length)
        kept, pages = fmt(cache.kept_bytes, "byte"), fmt(cache.full_pages_bytes, "byte")
        more = (
            f"; {pages} if every layer keeps all" if cache.full_pages_bytes > 1.01 * cache.kept_bytes else ""
        )
        states = f"; states {fmt(cache.state_bytes, 'byte')}" if cache.state_bytes else ""
        lines.append(f"KV cache of {length:,} tokens: {kept}{more}{states}")
    return "\n".join(lines)
