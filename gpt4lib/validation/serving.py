"""Checks of serving: latencies, utilisation, batching. Chapters 1, 6 and 9 discuss these tables."""

from __future__ import annotations

from dataclasses import replace

from ..chapters import batching, dense_wall
from ..facts.devices import hardware
from ..facts.given import given
from ..facts.models import published_model
from ..simulate.batching import geometric, mean_longest, mean_of
from ..systems.count import parameters
from . import torus
from .check import Check, by_line, column, value


def palm_on_tpus() -> list[Check]:
    """PaLM on TPU v4: latencies by the seven other rows, utilisation, decode rate from weights alone."""
    known = list(zip(torus.latencies(), torus.leave_one_out_ratios(), strict=True))
    tables = {"PaLM 540B": "pope_table2_palm540b", "PaLM 62B": "pope_table3_palm62b"}
    found = [_palm(m, table, [of for of in known if of[0].model == m]) for m, table in tables.items()]
    return [check for checks in found for check in checks]


def _palm(model: str, table: str, known: list[tuple]) -> list[Check]:
    """The checks of one table; `known` has its rows, each with its predicted over its measured time."""
    N, tpu = parameters(published_model(model).shape).total, hardware("TPU v4")
    time, mfu, bound = (column(f"{table}.{name}") for name in ("latency_s", "mfu_pct", "latency_s:rate"))
    of = {(r["scenario"], r["phase"]): row for (_, r), row in zip(time.rows, known, strict=True)}
    decode = lambda r: r["phase"] == "decode"

    def latency(r):
        row, ratio = of[r["scenario"], r["phase"]]
        return ratio * row.measured_seconds * (int(r["tokens"]) if decode(r) else 1)

    def share(r):
        row, rate = of[r["scenario"], r["phase"]][0], int(r["tokens"]) / value(r["latency_s"])
        return dense_wall.decode_mfu(N=N, R_out=rate * row.batch, n=row.chips, F=tpu.bf16_flop_per_s)

    def most(r):
        row, x = of[r["scenario"], r["phase"]][0], {"mem_rate": tpu.bandwidth_bytes_per_s}
        return dense_wall.decode_rate(N=N, n=row.chips, weight_bytes=row.weight_bytes, overhead=1, **x)

    rate = lambda r: lambda seconds: int(r["tokens"]) / seconds
    bounds = bound.each(most, where=decode, read=rate)
    return by_line(time.each(latency), mfu.each(share), bounds)


def batching_gain() -> list[Check]:
    """Continuous over optimised static batching in Anyscale's benchmark, batches as its script makes them."""
    make, facts = column("serving_speedups.value"), ("mean-output", "top", "static-batch")
    rows = {r["system"]: (i, r) for i, r in make.rows}
    mean, top, slots = (int(given(f"fact:anyscale-{k}").value) for k in facts)
    lengths = geometric(mean, top)
    ours = batching.gain(n_long=mean_longest(lengths, slots), n_mean=mean_of(lengths))
    static = value(rows["FasterTransformer (optimised static) vs naive static"][1]["value"])
    line = rows["Continuous batching (TGI / Ray Serve) vs naive static"][0]
    over_static = replace(make, scale=1 / static)
    return [over_static.check(line, ours)]


FAMILIES = (palm_on_tpus, batching_gain)
