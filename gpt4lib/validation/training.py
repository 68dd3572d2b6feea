"""Checks of training: FLOP, days, dollars, failures, memory, rates. Chapters 4 and 5 discuss these tables."""

from __future__ import annotations

import re
from itertools import product

import sympy

from ..chapters import architecture, training_cost, training_step
from ..facts.devices import hardware
from ..facts.files import published
from ..facts.models import published_model
from ..systems import step
from ..systems.efficiency import gpt, leave_one_out
from ..systems.machine import Cluster, Layout
from ..systems.planner import explain
from .check import DAY, GB, HOUR, Check, column, rows_of, value
from .sizes import misprinted_tokens, size_label

A100 = "A100-SXM 80GB"


# ---- compute, time, money -------------------------------------------------------------------
def training_flop() -> list[Check]:
    """Six FLOP per parameter and token: GPT-3's Table D.1, Chinchilla's optima, whole runs."""
    law, own = "architecture.compute", {"kind": "computed", "unit": "FLOP", "inputs": "parameters, tokens"}
    make = column("gpt3_tableD1_compute", "flops", law, **own)
    found = [
        make(
            i,
            architecture.compute(
                N=value(r["frac_active"]) * 1e6 * value(r["params_M"]), D=1e9 * value(r["tokens_B"])
            ),
            r["model"],
        )
        for i, r in rows_of("gpt3_tableD1_compute")
    ]
    three, a3 = "chinchilla_table3_optimal", "chinchilla_tableA3_optimal"
    for table, end in ((three, ""), (a3, "_2"), (a3, "_3")):
        make = column(table, f"flops{end}", law, **own)
        for i, r in rows_of(table):
            wrong = r["notes"] if end == "_3" else misprinted_tokens(table, r)
            ours = architecture.compute(N=value(r["params"]), D=value(r[f"tokens{end}"]))
            found.append(make(i, ours, size_label(r, end[1:] or "1"), misprint=wrong))
    make = column("training_runs", "train_flops", law, **own)
    return found + [make(i, architecture.compute(N=value(r["params"]), D=value(r["tokens"])), r["model"])
                    for i, r in rows_of("training_runs") if all(r[k] for k in ("train_flops", "params", "tokens"))
                    and r["model"] != "GPT-3 175B"]  # fmt: skip  # whose FLOP are in Table D.1


def _run_of(name: str, N: float) -> dict:
    s = published_model(name).shape
    return {"N": N, "L": s.layers, "n_h": s.n_heads, "d_h": s.d_head, "T": 2048}


def _turing() -> dict:
    row = next(r for r in published("megatron_table1") if r["params_B"] == "529.6")
    heads = value(row["heads"])
    return {
        "N": 530e9,
        "L": value(row["layers"]),
        "n_h": heads,
        "d_h": value(row["hidden"]) / heads,
        "T": 2048,
    }


def utilisation_rates() -> list[Check]:
    """Utilisation from tokens per second: PaLM's Table 3, its FLOP a token, Megatron-Turing's iterations."""
    law = "training_cost.throughput_mfu"
    batch = next(r for r in published("batch_sizes") if r["model"] == "Gopher 280B")
    known = {  # tokens per second of the number in the column "detail", accelerators, card, run
        "PaLM": (1.0, 6144, "TPU v4", _run_of("PaLM 540B", 540.35e9)),
        "Megatron-Turing NLG": (1.0, 2240, A100, _turing()),
        "Gopher": (value(batch["batch_last"]), 4096, "TPU v3", _run_of("Gopher 280B", 280e9)),
        "GPT-3": (
            1e12 / architecture.compute(N=175e9, D=1),
            1,
            "V100-SXM2 32GB",
            _run_of("GPT-3 175B", 175e9),
        ),
    }
    make, found = (
        column(
            "palm_table3_mfu",
            "mfu_pct",
            law,
            kind="computed",
            scale=0.01,
            inputs="measured tokens, steps or FLOP per second; shape",
        ),
        [],
    )
    for i, r in rows_of("palm_table3_mfu"):
        tokens, n, card, run = known[r["model"]]
        rate = tokens * value(r["detail"])
        found.append(
            make(
                i,
                training_cost.throughput_mfu(R=rate, n=n, F=hardware(card).bf16_flop_per_s, **run),
                r["model"],
            )
        )
    cells = {
        "table": "training_runs",
        "name": "hfu_or_tflops_per_accel",
        "law": law,
        "kind": "computed",
        "scale": 1e12,
    }
    token = column(**cells, unit="FLOP", pattern=r"([\d.]+) ?/ ?[\d.]+", inputs="shape")
    iteration = column(
        **cells,
        unit="FLOP/GPU/second",
        pattern=r"([\d.]+) TFLOP/s",
        inputs="measured time of an iteration; recomputation counted",
    )
    again = 8 / 6  # activations computed twice: eight FLOP per parameter and token in place of six
    for i, r in rows_of("training_runs"):
        if r["model"] in ("PaLM 8B", "PaLM 62B", "PaLM 540B"):
            flop = (
                training_cost.throughput_mfu(R=1, n=1, F=1e15, **_run_of(r["model"], value(r["params"])))
                * 1e15
            )
            found.append(token(i, flop, f"{r['model']}, a token"))
        if r["model"].startswith("MT-NLG"):
            rate, F = 1920 * 2048 / value(r["wall_time"]), hardware(A100).bf16_flop_per_s
            mfu = training_cost.throughput_mfu(R=rate, n=value(r["n_accel"]), F=F, **_turing())
            found.append(iteration(i, again * F * mfu, r["model"]))
    return found


def days_and_dollars() -> list[Check]:
    """Megatron's days from measured rates, DeepSeek-V3's dollars and days, GPT-3's rate from assumed days."""
    found, time = [], training_cost.duration.given(architecture.compute)
    for table, name in (
        ("megatron_training_time", "days_published"),
        ("megatron_table2", "days_for_300B_tokens"),
    ):
        make = column(
            table,
            name,
            "training_cost.duration",
            kind="computed",
            unit="second",
            scale=DAY,
            inputs="size, tokens, GPUs, measured rate; recomputation counted",
        )
        for i, r in rows_of(table):
            N = value(r["params"].split("(")[-1]) if "params" in r else 1e9 * value(r["params_B"])
            ours = time(
                k_train=8,
                N=N,
                D=value(r.get("tokens", "300e9")),
                n=value(r["n_gpus"]),
                F=1e12 * value(r["tflops_per_gpu"]),
                mfu=1,
            )
            found.append(make(i, ours, r.get("model") or run_label(r)))
    cost = column(
        "training_runs",
        "cost_usd",
        "training_cost.rental",
        kind="computed",
        unit="USD",
        inputs="hours, price",
    )
    days = column(
        "training_runs",
        "wall_time",
        "training_cost.gpu_seconds",
        kind="computed",
        unit="second",
        scale=DAY,
        pattern=r"([\d.]+) days",
        inputs="GPU-hours, GPUs",
    )
    rate = column(
        "training_runs",
        "hfu_or_tflops_per_accel",
        "training_cost.gpu_seconds",
        kind="computed",
        scale=1e12,
        unit="FLOP/GPU/second",
        inputs="size, tokens, GPUs, days",
    )
    for i, r in rows_of("training_runs"):
        n = value(r["n_accel"]) if r["n_accel"] and r["n_accel"][0].isdigit() else None
        if r["cost_usd"]:
            t = value(r["accel_hours"]) / n * HOUR
            found.append(cost(i, training_cost.rental(price="2 USD/GPU/hour", n=n, t=t), r["model"]))
        if r["model"] == "DeepSeek-V3 pre-training":
            per_trillion = value(r["hfu_or_tflops_per_accel"]) * HOUR
            ours = training_cost.gpu_seconds.solve("t")(gpu_time=per_trillion, n=n)
            found.append(days(i, ours, "DeepSeek-V3, a trillion tokens"))
        if r["model"] == "GPT-3 175B":
            C = architecture.compute(N=value(r["params"]), D=value(r["tokens"]))
            found.append(
                rate(i, C / training_cost.gpu_seconds(n=n, t=value(r["wall_time"]) * DAY), r["model"])
            )
    return found


def run_label(row: dict) -> str:
    """A run of Narayanan's Table 2: "PTD-P, 174.6B on 384 GPUs"."""
    return f"{row['scheme']}, {row['params_B']}B on {row['n_gpus']} GPUs"


def times_between_failures() -> list[Check]:
    """Time between failures of a job, from the failures per node-day of Meta's cluster, eight GPUs a node."""
    rows = [(i, r) for i, r in rows_of("failures_and_mtbf") if r["system"] == "Meta RSC-1"]
    (printed,) = (value(r["value"]) for _, r in rows if "rate" in r["figure"])
    rate, found = training_cost.failure_rate(failures=printed, n_ref=8000, t_ref=DAY), []
    for i, r in rows:
        job = re.search(r"(\d+)(?:-GPU| GPUs)", r["figure"])
        if job:
            kind = "computed" if "projected" in r["figure"] else "measured"
            make = column(
                "failures_and_mtbf",
                "value",
                "training_cost.time_between",
                kind=kind,
                unit="second",
                scale={"hours": HOUR, "days": DAY}[r["unit"]],
                inputs="failure rate of all jobs",
            )
            found.append(make(i, training_cost.time_between(fail_rate=rate, n=int(job[1])), r["figure"]))
    return found


def interruptions() -> list[Check]:
    """Shares of Llama 3's interruptions from their counts."""
    rows = rows_of("llama3_table5_interruptions")
    total = sum(value(r["count"]) for _, r in rows)
    make = column(
        "llama3_table5_interruptions",
        "pct_printed",
        "training.share",
        kind="computed",
        scale=0.01,
        inputs="counts",
    )
    wrong = {"Faulty GPU": "30.1% is printed; 148 of 419 are 35.3%, with which the shares add up to all"}
    return [
        make(i, share(value(r["count"]), total), r["component"], misprint=wrong.get(r["component"], ""))
        for i, r in rows
    ]


def share(part: float, whole: float) -> float:
    """part / whole."""
    return part / whole


# ---- memory ---------------------------------------------------------------------------------
_CELLS = {  # the cells of Korthikanti's Table 2: recomputation, sequence divided
    "no parallelism": ("none", False),
    "tensor parallel (baseline)": ("none", False),
    "tensor + sequence parallel": ("none", True),
    "tensor parallel + selective recompute": ("selective", False),
    "tensor + sequence + selective recompute": ("selective", True),
    "full recompute": ("full", False),
}


def activation_memory() -> list[Check]:
    """Korthikanti's printed formulas, evaluated for the four models of Table 3, against our laws."""
    found, table, par = [], "korthikanti_table2_formulas", training_step
    for r in published("korthikanti_table3_configs"):
        a, h, L, t, p, b = (int(r[k]) for k in ("heads", "hidden", "layers", "tp", "pp", "micro_batch"))
        v, m = int(r["interleave_m"] or 1), int(r["global_batch"]) // b
        x = {
            "n_tok": 2048 * b,
            "d": h,
            "k": 1,
            "n_h": a,
            "S": 2048,
            "act_bytes": 2,
            "d_att": 4 * h,
            "d_mlp": 8 * h,
        }
        printed = {
            "s": 2048,
            "b": b,
            "h": h,
            "a": a,
            "t": t,
            "L": L,
            "p": p,
            "m": v,
            "v": 51200,
            "one": int(p == 1),
        }
        flying = par.flying_interleaved(m=m, p=p, v=v) if v > 1 else par.flying(m=m, p=p)
        ends = {"in_flight": p, "n_tok": 2048 * b, "d": h, "tp": t}
        for i, cell in rows_of(table):
            name, text, law = cell["configuration"], cell["bytes_per_layer"], "training_step.kept"
            if name in _CELLS:
                ours = par.kept[_CELLS[name]].at(x, tp=1 if name == "no parallelism" else t)
            elif name.startswith("first"):
                law, (first, more) = "training_step.stage_activations", text.split("; interleaved: *")
                text = f"({first})*{more}" if v > 1 else first
                layer = par.kept["none", True].at(x, tp=t)
                ours = par.stage_activations(in_flight=flying, act_layer=layer, L=L, p=p)
            else:
                law, text = "training_step.edge", text.replace("[p=1]", "one")
                ours = par.edge(**ends) if p > 1 else par.edge_of_one_stage(**ends, act_bytes=2, V=51200)
            theirs = float(sympy.sympify(text).subs(printed))
            found.append(
                Check(
                    table,
                    i,
                    "bytes_per_layer",
                    law,
                    f"{r['model']}: {name}",
                    theirs,
                    0.0,
                    float(ours),
                    "byte",
                    "shape and layout of Table 3",
                    "computed",
                )
            )
    return found


def training_state() -> list[Check]:
    """ZeRO's Figure 1 and Table 2; measured largest models are smaller, since activations need room too."""
    each, law = {"weight_bytes": 2, "grad_bytes": 2, "opt_bytes": 12, "p": 1}, "step.STATE"
    make = column(
        "zero_fig1_memory",
        "GB_psi7.5B_nd64",
        law,
        kind="computed",
        unit="byte",
        scale=GB,
        inputs="7.5 billion parameters on 64 GPUs",
    )
    found = [
        make(i, state.at(each | {"N_total": 7.5e9, "tp": 1, "dp": 64}), f"Figure 1, {r['stage']}")
        for (i, r), state in zip(rows_of("zero_fig1_memory"), step.STATE, strict=True)
    ]
    for name, state in zip(("baseline", "Pos", "Pos+g", "Pos+g+p"), step.STATE):
        largest = state.solve("N_total")
        kinds = (("theory", "computed"), ("measured", "bound"))
        for (i, r), (what, kind) in product(rows_of("zero_table2_max_model"), kinds):
            if f"{what}_{name}" in r:
                make = column(
                    "zero_table2_max_model",
                    f"{what}_{name}",
                    law,
                    kind=kind,
                    unit="parameter",
                    inputs="32 GB, GPUs",
                )
                known = each | {"Q_state": 32e9, "tp": int(r["mp"]), "dp": int(r["gpus"]) / int(r["mp"])}
                found.append(make(i, largest.at(known), f"{r['gpus']} GPUs, {name}, {what}"))
    return found


# ---- times that somebody measured -----------------------------------------------------------
_FITTED = "three constants, on the ten runs of Narayanan's Table 1"


def _a100(n: int) -> Cluster:
    return Cluster(device=A100, n_gpus=n, nic_bytes_per_s=25e9)


def training_rates() -> list[Check]:
    """Rates of Megatron's runs: each of Table 1 by the nine others, Table 2 by all ten of Table 1."""
    own = {
        "unit": "FLOP/GPU/second",
        "scale": 1e12,
        "kind": "measured",
        "inputs": "shape, layout, data sheet",
    }
    make = column(
        "megatron_table1",
        "tflops_per_gpu",
        "efficiency.leave_one_out",
        fitted="three constants, on the nine other runs",
        **own,
    )
    found = [
        make(i, x, f"{r['params_B']}B on {r['n_gpus']} GPUs")
        for (i, r), x in zip(rows_of("megatron_table1"), leave_one_out(), strict=True)
    ]
    make = column("megatron_table2", "tflops_per_gpu", "planner.explain", fitted=_FITTED, **own)
    gpts = {r["params_B"]: r for r in published("megatron_table1")}
    gpt3 = gpt(heads=96, hidden=12288, layers=96)  # which Table 1 does not have
    for i, r in rows_of("megatron_table2"):
        n, ranks, row = int(r["n_gpus"]), int(r["model_parallel"]), gpts.get(r["params_B"])
        shape = gpt(**{k: int(row[k]) for k in ("heads", "hidden", "layers")}) if row else gpt3
        split = {"tensor": 8, "pipeline": ranks // 8} if ranks > 1 else {"zero": 3}
        split |= {"data": n // ranks, "micro_batch": int(r["micro_batch"]), "batch": int(r["batch"])}
        x = explain(shape, _a100(n), Layout(recompute="full", **split), seq=2048)
        found.append(make(i, x["flop_per_gpu_s"], run_label(r), kind="measured" if ranks > 1 else "bound"))
    return found


def layer_times() -> list[Check]:
    """Forward and backward milliseconds of a layer of the 22B model on eight GPUs, Korthikanti's Table 4."""
    kinds = {
        "Baseline no recompute": ("none", False),
        "Sequence Parallelism": ("none", True),
        "Baseline with recompute": ("full", False),
        "Selective Recompute": ("selective", False),
        "Selective + Sequence": ("selective", True),
    }
    table, found = "korthikanti_table4_layer_time_22B", []
    ways = [
        column(
            table,
            f"{way}_ms",
            "planner.explain",
            kind="measured",
            unit="second",
            scale=1e-3,
            fitted=_FITTED,
            inputs="shape, layout, data sheet",
        )
        for way in ("forward", "backward")
    ]
    for i, r in rows_of(table):
        recompute, sequence = kinds[r["experiment"]]
        layout = Layout(tensor=8, micro_batch=4, batch=4, recompute=recompute, sequence=sequence)
        x = explain(gpt(heads=64, hidden=6144, layers=48), _a100(8), layout, seq=2048)["terms"]
        forward = x["t_fwd"] + x["t_tensor"] / (3 if recompute == "full" else 2)
        both = (forward, "forward"), (x["t_work"] + x["t_tensor"] - forward, "backward")
        found += [make(i, time / 48, f"{r['experiment']}, {way}") for make, (time, way) in zip(ways, both)]
    return found


FAMILIES = (
    training_flop,
    utilisation_rates,
    days_and_dollars,
    times_between_failures,
    interruptions,
    activation_memory,
    training_state,
    training_rates,
    layer_times,
)
