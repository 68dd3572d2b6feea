"""Checks of training: FLOP, days, dollars, failures, memory, rates. Chapters 4 and 5 discuss these tables."""

from __future__ import annotations

import re
from dataclasses import replace
from operator import itemgetter

import sympy

from ..chapters import architecture, training_cost, training_step
from ..facts.devices import hardware
from ..facts.files import published
from ..facts.models import published_model
from ..spine.law import Law
from ..systems import step
from ..systems.efficiency import efficiency_sets, gpt, leave_one_out, mosaic_run, predicted, runs, token_flop
from ..systems.machine import Cluster, Layout
from ..systems.planner import explain
from .check import DAY, HOUR, Check, by_line, column, numbers_in, value
from .sizes import gpt_of, size_label

A100 = "A100-SXM 80GB"


# ---- compute, time, money -------------------------------------------------------------------
def _optima_flop(end: str, **own) -> list[Check]:
    table = "tableA3_optimal" if end else "table3_optimal"
    label = lambda r: size_label(r, end[1:] or "1")
    return column(f"chinchilla_{table}.flops{end}").each(row=label, **own)


def training_flop() -> list[Check]:
    """Six FLOP per parameter and token: GPT-3's Table D.1, Chinchilla's optima, whole runs."""

    def gpt3(r):
        active, N, D = numbers_in(r, "frac_active", "params_M", "tokens_B")
        return architecture.compute(N=active * 1e6 * N, D=1e9 * D)

    def whole(r):  # GPT-3's FLOP are in Table D.1
        return all(r[key] for key in ("train_flops", "params", "tokens")) and r["model"] != "GPT-3 175B"

    found = column("gpt3_tableD1_compute.flops").each(gpt3)
    found += _optima_flop("") + _optima_flop("_2") + _optima_flop("_3", misprint=itemgetter("notes"))
    return found + column("training_runs.train_flops").each(where=whole)


def _run_of(name: str, N: float) -> dict:
    s = published_model(name).shape
    return {"N": N, "L": s.layers, "n_h": s.n_heads, "d_h": s.d_head, "T": 2048}


def _turing() -> dict:
    row = next(r for r in published("megatron_table1") if r["params_B"] == "529.6")
    layers, heads, hidden = numbers_in(row, "layers", "heads", "hidden")
    return {"N": 530e9, "L": layers, "n_h": heads, "d_h": hidden / heads, "T": 2048}


def utilisation_rates() -> list[Check]:
    """Utilisation from tokens per second, in PaLM's Table 3."""
    batch = next(r for r in published("batch_sizes") if r["model"] == "Gopher 280B")
    sixth = 1e12 / architecture.compute(N=175e9, D=1)
    known = {  # tokens per second of the number in the column "detail", accelerators, card, run
        "PaLM": (1.0, 6144, "TPU v4", _run_of("PaLM 540B", 540.35e9)),
        "Megatron-Turing NLG": (1.0, 2240, A100, _turing()),
        "Gopher": (value(batch["batch_last"]), 4096, "TPU v3", _run_of("Gopher 280B", 280e9)),
        "GPT-3": (sixth, 1, "V100-SXM2 32GB", _run_of("GPT-3 175B", 175e9)),
    }

    def ours(r):
        tokens, n, card, run = known[r["model"]]
        rate = tokens * value(r["detail"])
        return training_cost.throughput_mfu(R=rate, n=n, F=hardware(card).bf16_flop_per_s, **run)

    return column("palm_table3_mfu.mfu_pct").each(ours)


def token_and_iteration_rates() -> list[Check]:
    """PaLM's FLOP per token, and Megatron-Turing's FLOP per second from the times of its iterations."""
    law, again = training_cost.throughput_mfu, 8 / 6  # activations twice: eight FLOP in place of six
    token = lambda r: law(R=1, n=1, F=1e15, **_run_of(r["model"], value(r["params"]))) * 1e15

    def iteration(r):
        rate, F = 1920 * 2048 / value(r["wall_time"]), hardware(A100).bf16_flop_per_s
        return again * F * law(R=rate, n=value(r["n_accel"]), F=F, **_turing())

    cells, palm = "training_runs.hfu_or_tflops_per_accel", ("PaLM 8B", "PaLM 62B", "PaLM 540B")
    turing = lambda r: r["model"].startswith("MT-NLG")
    found = column(f"{cells}:token").each(token, where=lambda r: r["model"] in palm)
    return found + column(f"{cells}:iteration").each(iteration, where=turing)


def training_days() -> list[Check]:
    """Megatron's days from measured rates."""
    time = training_cost.duration.given(architecture.compute)

    def ours(r):
        N = value(r["params"].split("(")[-1]) if "params" in r else 1e9 * value(r["params_B"])
        n, rate = numbers_in(r, "n_gpus", "tflops_per_gpu")
        return time(k_train=8, N=N, D=value(r.get("tokens", "300e9")), n=n, F=1e12 * rate, mfu=1)

    names = ("megatron_training_time.days_published", "megatron_table2.days_for_300B_tokens")
    return [check for name in names for check in column(name).each(ours)]


def days_and_dollars() -> list[Check]:
    """DeepSeek-V3's dollars and days from GPU-hours, GPT-3's rate from assumed days."""
    gpu_seconds = training_cost.gpu_seconds

    def cost(r):
        hours, n = numbers_in(r, "accel_hours", "n_accel")
        return training_cost.rental(price="2 USD/GPU/hour", n=n, t=hours / n * HOUR)

    def days(r):
        per_trillion, n = numbers_in(r, "hfu_or_tflops_per_accel", "n_accel")
        return gpu_seconds.solve("t")(gpu_time=per_trillion * HOUR, n=n)

    def rate(r):
        N, D, n, t = numbers_in(r, "params", "tokens", "n_accel", "wall_time")
        return architecture.compute(N=N, D=D) / gpu_seconds(n=n, t=t * DAY)

    run = lambda name: lambda r: r["model"] == name
    return by_line(
        column("training_runs.cost_usd").each(cost, where=itemgetter("cost_usd")),
        column("training_runs.wall_time").each(days, where=run("DeepSeek-V3 pre-training")),
        column("training_runs.hfu_or_tflops_per_accel:days").each(rate, where=run("GPT-3 175B")),
    )


def times_between_failures() -> list[Check]:
    """Time between failures of a job, from the failures per node-day of Meta's cluster, eight GPUs a node."""
    make = column("failures_and_mtbf.value")
    rows = [(i, r) for i, r in make.rows if r["system"] == "Meta RSC-1"]
    (printed,) = (value(r["value"]) for _, r in rows if "rate" in r["figure"])
    rate, found = training_cost.failure_rate(failures=printed, n_ref=8000, t_ref=DAY), []
    for i, r in rows:
        if job := re.search(r"(\d+)(?:-GPU| GPUs)", r["figure"]):
            kind = "computed" if "projected" in r["figure"] else "measured"
            own = replace(make, kind=kind, scale={"hours": HOUR, "days": DAY}[r["unit"]])
            found.append(own.check(i, training_cost.time_between(fail_rate=rate, n=int(job[1]))))
    return found


def interruptions() -> list[Check]:
    """Shares of Llama 3's interruptions from their counts."""
    make = column("llama3_table5_interruptions.pct_printed")
    total = sum(value(r["count"]) for _, r in make.rows)
    return make.each(lambda r: share(value(r["count"]), total))


def share(part: float, whole: float) -> float:
    """part / whole."""
    return part / whole


# ---- memory ---------------------------------------------------------------------------------
# The cells of Korthikanti's Table 2: recomputation, sequence divided.
_CELLS = {"no parallelism": ("none", False), "tensor parallel (baseline)": ("none", False)}
_CELLS |= {"tensor + sequence parallel": ("none", True), "full recompute": ("full", False)}
_CELLS |= {"tensor parallel + selective recompute": ("selective", False)}
_CELLS |= {"tensor + sequence + selective recompute": ("selective", True)}


def _kept(name: str, run: dict) -> float:
    """Bytes that a layer keeps in one cell of Table 2."""
    h = run["h"]
    x = {"n_tok": 2048 * run["b"], "d": h, "k": 1, "n_h": run["a"], "S": 2048, "act_bytes": 2}
    law = training_step.kept[_CELLS[name]]
    return law.at(x | {"d_att": 4 * h, "d_mlp": 8 * h}, tp=1 if name == "no parallelism" else run["t"])


def _kept_by_first_stage(run: dict) -> float:
    m, p, v = (run[key] for key in ("batches", "p", "m"))
    par, layer = training_step, _kept("tensor + sequence parallel", run)
    at = {"m": m, "p": p, "before": 0}
    flying = par.flying_interleaved(**at, v=v) if v > 1 else par.flying(**at)
    return par.stage_activations(in_flight=flying, act_layer=layer, L=run["L"], p=p)


def _kept_at_ends(run: dict) -> float:
    ends = {"in_flight": run["p"], "n_tok": 2048 * run["b"], "d": run["h"], "tp": run["t"]}
    par = training_step
    loss = 0.0 if run["p"] > 1 else par.edge_of_loss.at(ends, act_bytes=2, V=51200)
    return par.edge(**ends) + loss


def activation_memory() -> list[Check]:
    """Korthikanti's printed formulas, evaluated for the four models of Table 3, against our laws."""
    printed, found = "korthikanti_table2_formulas.bytes_per_layer", []
    layer, stage, edge = (column(printed + which) for which in ("", ":stage", ":edge"))
    for r in published("korthikanti_table3_configs"):
        cells = {"a": "heads", "h": "hidden", "L": "layers", "t": "tp", "p": "pp", "b": "micro_batch"}
        run = {letter: int(r[name]) for letter, name in cells.items()} | {"m": int(r["interleave_m"] or 1)}
        run["batches"] = int(r["global_batch"]) // run["b"]
        letters = run | {"s": 2048, "v": 51200, "one": int(run["p"] == 1)}  # m: stages of a GPU; v: words
        for i, cell in layer.rows:
            name, text = cell["configuration"], cell["bytes_per_layer"]
            if name in _CELLS:
                make, ours = layer, _kept(name, run)
            elif name.startswith("first"):
                make, ours = stage, _kept_by_first_stage(run)
                first, more = text.split("; interleaved: *")
                text = f"({first})*{more}" if run["m"] > 1 else first
            else:
                make, ours = edge, _kept_at_ends(run)
            by_formula = float(sympy.sympify(text.replace("[p=1]", "one")).subs(letters))
            found.append(make.check(i, ours, f"{r['model']}: {name}", printed=by_formula))
    return found


def training_state() -> list[Check]:
    """ZeRO's Figure 1 and Table 2; measured largest models are smaller, since activations need room too."""
    each = {"weight_bytes": 2, "grad_bytes": 2, "opt_bytes": 12, "p": 1}
    figure, found = column("zero_fig1_memory.GB_psi7.5B_nd64"), []
    for (i, _), state in zip(figure.rows, step.STATE, strict=True):
        found.append(figure.check(i, state.at(each | {"N_total": 7.5e9, "tp": 1, "dp": 64})))
    for name, state in zip(("baseline", "Pos", "Pos+g", "Pos+g+p"), step.STATE):
        printed = ("theory", "measured") if name in ("baseline", "Pos") else ("theory",)
        largest = state.solve("N_total")
        found += by_line(*(_largest_models(f"{what}_{name}", largest, each) for what in printed))
    return found


def _largest_models(cell: str, law: Law, each: dict) -> list[Check]:
    def ours(r):
        mp, gpus = int(r["mp"]), int(r["gpus"])
        return law.at(each | {"Q_state": 32e9, "tp": mp, "dp": gpus / mp})

    return column(f"zero_table2_max_model.{cell}").each(ours)


# ---- times that somebody measured -----------------------------------------------------------
def _a100(n: int) -> Cluster:
    return Cluster(device=A100, n_gpus=n, nic_bytes_per_s=25e9)


def training_rates() -> list[Check]:
    """Rates of Megatron's runs: each of Table 1 by the nine others, Table 2 by all ten of Table 1."""
    table1, predicted = column("megatron_table1.tflops_per_gpu"), leave_one_out()
    gpts = {r["params_B"]: gpt_of(r) for _, r in table1.rows}
    gpt3 = gpt(heads=96, hidden=12288, layers=96)  # which Table 1 does not have

    def ours(r):
        n, ranks = int(r["n_gpus"]), int(r["model_parallel"])
        split = {"tensor": 8, "pipeline": ranks // 8} if ranks > 1 else {"zero": 3}
        split |= {"data": n // ranks, "micro_batch": int(r["micro_batch"]), "batch": int(r["batch"])}
        shape, layout = gpts.get(r["params_B"], gpt3), Layout(recompute="full", **split)
        return explain(shape, _a100(n), layout, seq=2048).flop_per_gpu_s

    found = [table1.check(i, x) for (i, _), x in zip(table1.rows, predicted, strict=True)]
    kind = lambda r: "measured" if int(r["model_parallel"]) > 1 else "bound"
    return found + column("megatron_table2.tflops_per_gpu").each(ours, kind=kind)


def fused_rates() -> list[Check]:
    """Tokens per second of MosaicML's runs: of a set's section each by the others, the rest by the set."""
    each = {"A100": "A100 2023 MosaicML", "H100": "H100 2023 MosaicML"}
    sections = {efficiency_sets()[name].section: iter(leave_one_out(runs(name))) for name in each.values()}

    def ours(r):
        run = mosaic_run(r)
        left_out = sections.get(r["section"])
        known = efficiency_sets()[each[r["card"][:4]]].efficiency
        rate = predicted((run,), known)[0] if left_out is None else next(left_out)
        return rate / token_flop(run.shape, run.seq, run.layout.recompute)

    own, other = (column(f"mosaic_runs.tokens_per_s_per_gpu{which}") for which in ("", ":set"))
    found = own.each(ours, where=lambda r: r["section"] in sections)
    return found + other.each(ours, where=lambda r: r["section"] not in sections)


def layer_times() -> list[Check]:
    """Forward and backward milliseconds of a layer of the 22B model on eight GPUs, Korthikanti's Table 4."""
    kinds = {"Baseline no recompute": ("none", False), "Sequence Parallelism": ("none", True)}
    kinds |= {"Baseline with recompute": ("full", False), "Selective Recompute": ("selective", False)}
    kinds |= {"Selective + Sequence": ("selective", True)}

    def times(r):
        recompute, sequence = kinds[r["experiment"]]
        layout = Layout(tensor=8, micro_batch=4, batch=4, recompute=recompute, sequence=sequence)
        x = explain(gpt(heads=64, hidden=6144, layers=48), _a100(8), layout, seq=2048).terms
        forward = x["t_fwd"] + x["t_tensor"] / (3 if recompute == "full" else 2)
        return forward / 48, (x["t_work"] + x["t_tensor"] - forward) / 48

    table = "korthikanti_table4_layer_time_22B"
    forward, backward = column(f"{table}.forward_ms"), column(f"{table}.backward_ms")
    return by_line(forward.each(lambda r: times(r)[0]), backward.each(lambda r: times(r)[1]))


FAMILIES = (training_flop, utilisation_rates, token_and_iteration_rates, training_days, days_and_dollars)
FAMILIES += (times_between_failures, interruptions, activation_memory, training_state)
FAMILIES += (training_rates, fused_rates, layer_times)
