"""Checks of serving: latencies, utilisation, batching. Chapters 1, 6 and 9 discuss these tables."""

from __future__ import annotations

from ..chapters import batching, dense_wall
from ..facts.devices import hardware
from ..facts.given import given
from ..facts.models import published_model
from ..simulate.batching import geometric, mean_longest, mean_of
from ..systems.count import parameters
from . import torus
from .check import Check, column, rows_of, value


def palm_on_tpus() -> list[Check]:
    """PaLM on TPU v4: latencies by the seven other rows, utilisation, decode rate from weights alone."""
    found, tpu = [], hardware("TPU v4")
    cells = [
        (table, i, r) for table in ("pope_table2_palm540b", "pope_table3_palm62b") for i, r in rows_of(table)
    ]
    for (table, i, r), row, ratio in zip(cells, torus.latencies(), torus.leave_one_out_ratios(), strict=True):
        decode, name = r["phase"] == "decode", f"{row.model}, {r['scenario']} {r['phase']}"
        N, rate = parameters(published_model(row.model).shape).total, int(r["tokens"]) / value(r["latency_s"])
        time = column(
            table,
            "latency_s",
            "torus.predict",
            kind="measured",
            unit="second",
            inputs="shape, layout, data sheet",
            fitted="two constants, on the seven other rows",
        )
        found.append(time(i, ratio * row.measured_seconds * (int(r["tokens"]) if decode else 1), name))
        mfu = column(
            table,
            "mfu_pct",
            "dense_wall.decode_mfu",
            kind="computed",
            scale=0.01,
            inputs="shape, measured latency",
        )
        share = dense_wall.decode_mfu(N=N, R_out=rate * row.batch, n=row.chips, F=tpu.bf16_flop_per_s)
        found.append(mfu(i, share, name))
        if decode:
            most = dense_wall.decode_rate(
                n=row.chips,
                mem_rate=tpu.bandwidth_bytes_per_s,
                overhead=1,
                N=N,
                weight_bytes=row.weight_bytes,
            )
            bound = column(
                table,
                "latency_s",
                "dense_wall.decode_rate",
                kind="bound",
                unit="token/second",
                inputs="size, memory rate; caches, links and FLOP left out",
            )
            found.append(bound(i, most, name, read=lambda t, r=r: int(r["tokens"]) / t))
    return found


def batching_gain() -> list[Check]:
    """Continuous over optimised static batching in Anyscale's benchmark, batches as its script makes them."""
    rows = {r["system"]: (i, r) for i, r in rows_of("serving_speedups")}
    mean, top, slots = (
        int(given(f"fact:anyscale-{k}").value) for k in ("mean-output", "top", "static-batch")
    )
    lengths = geometric(mean, top)
    ours = batching.gain(n_long=mean_longest(lengths, slots), n_mean=mean_of(lengths))
    static = value(rows["FasterTransformer (optimised static) vs naive static"][1]["value"])
    make = column(
        "serving_speedups",
        "value",
        "batching.gain",
        kind="measured",
        scale=1 / static,
        inputs="distribution of lengths, static batch",
    )
    line = rows["Continuous batching (TGI / Ray Serve) vs naive static"][0]
    return [make(line, ours, "continuous over optimised static")]


FAMILIES = (palm_on_tpus, batching_gain)
