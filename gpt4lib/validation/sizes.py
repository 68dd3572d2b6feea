"""Checks of sizes, and of what scaling laws say about them: chapters 2 and 3 discuss these tables."""

from __future__ import annotations

from itertools import product

import numpy as np

from ..chapters import architecture, dataset
from ..facts.files import published
from ..facts.models import Model, model_of, published_models
from ..systems.count import flop_per_token, parameters
from ..systems.efficiency import gpt
from ..systems.optimal_tokens import PIVOT, scaling_constants, scaling_fits
from .check import Check, column, rows_of, value

_JOINT = {"E_start": 2.0732, "E_max": 290.4521}  # of the joint law's saturation, ludziejewski2025


# ---- parameters and FLOP from a shape -------------------------------------------------------
def model_sizes() -> list[Check]:
    """Parameters, total and active, of the published models in `models.csv`, and GPT-3's in its Table D.1."""
    lines = {r["name"]: i for i, r in rows_of("models")}
    of_d1 = {r["model"]: i for i, r in rows_of("gpt3_tableD1_compute")}
    known = {"kind": "counted", "unit": "parameter"}
    total = column("models", "published_total", "count.parameters", inputs="shape", **known)
    active = column("models", "published_active", "count.parameters", inputs="shape", **known)
    d1 = column(
        "gpt3_tableD1_compute",
        "params_M",
        "count.parameters",
        scale=1e6,
        inputs="shape of Table 2.1",
        **known,
    )
    found = []
    for name, m in published_models().items():
        count, wrong = parameters(m.shape), m.why if m.reason == "misprint" else ""
        inferred = "inferred from the counts" in m.notes
        own = {"circular": inferred, "fitted": "vocabulary, on these rows" if inferred else ""}
        found.append(total(lines[name], count.total, name, misprint=wrong, **own))
        if m.shape.n_experts and m.published_active:
            found.append(active(lines[name], count.active, f"{name}, active", **own))
        if name in of_d1:
            found.append(d1(of_d1[name], count.total, f"{name}, Table D.1", misprint=wrong))
    return found


def head_widths() -> list[Check]:
    """GPT-3's head width from its width and heads."""
    wrong = {
        "GPT-3 XL": "24 heads are printed; 16 of 128 make the width of 2048",
        "GPT-3 13B": "a width of 5140 is printed; 40 heads of 128 make 5120",
    }
    make = column(
        "gpt3_table2_1",
        "d_head",
        "architecture.head_width",
        kind="computed",
        inputs="width, heads; heads share the width",
    )
    return [
        make(
            i,
            architecture.head_width(a_w=1, d=value(r["d_model"]), n_h=value(r["n_heads"])),
            r["model"],
            misprint=wrong.get(r["model"], ""),
        )
        for i, r in rows_of("gpt3_table2_1")
    ]


def chinchilla_shape(row: dict, **convention) -> Model:
    """A model of Hoffmann et al.'s Tables A4 and A9, counted by one convention."""
    names = {
        "layers": ("n_layers", "num_layers"),
        "d_model": ("d_model",),
        "d_ff": ("ffw_size",),
        "n_heads": ("n_heads", "num_heads"),
        "n_kv_heads": ("n_heads", "num_heads"),
        "d_head": ("kv_size", "kq_size"),
    }
    sizes = {key: int(next(row[name] for name in either if name in row)) for key, either in names.items()}
    return model_of({"name": "Chinchilla", "mlp_matrices": 2, "vocab": 32000, **sizes, **convention})


def chosen_elsewhere(ours: np.ndarray, printed: np.ndarray) -> np.ndarray:
    """For each row the convention of least median error on the other rows; `ours` is convention x row."""
    miss = np.abs(np.log(ours / printed))
    return np.array([ours[np.median(np.delete(miss, i, 1), axis=1).argmin(), i] for i in range(len(printed))])


_FOUR_WAYS = "one of four ways to count, on the other rows"


def chinchilla_sizes() -> list[Check]:
    """Fifty sizes of Table A9: whether tables are tied and positions have a matrix, the other rows decide."""
    rows = published("chinchilla_tableA9_models")
    ways = [{"tied_embeddings": t, "positions": p} for t, p in product((True, False), ("relative", "rotary"))]
    ours = np.array(
        [[parameters(chinchilla_shape(r, **way)).total for r in rows] for way in ways], dtype=float
    )
    best = chosen_elsewhere(ours, np.array([1e6 * value(r["params_M"]) for r in rows]))
    make = column(
        "chinchilla_tableA9_models",
        "params_M",
        "count.parameters",
        kind="counted",
        unit="parameter",
        scale=1e6,
        inputs="shape; vocabulary of the model card",
        fitted=_FOUR_WAYS,
    )
    return [
        make(i, n, f"width {r['d_model']}, {r['n_layers']} layers")
        for i, (r, n) in enumerate(zip(rows, best))
    ]


def chinchilla_flop() -> list[Check]:
    """Table A4, FLOP over six per parameter: the other rows decide on softmax (3 a score) and vocabulary."""
    rows = published("chinchilla_tableA4_flop_ratio")
    known = [chinchilla_shape(r, tied_embeddings=True, positions="relative") for r in rows]
    flop = [flop_per_token(s, 2048) for s in known]

    def ratio(s, f, softmax, tables):
        scores = f["scores"] + softmax * s.n_heads * 2048 * s.layers
        done = f["attention"] + f["mlp"] + scores + tables * f["unembedding"]
        return done / architecture.forward(N=parameters(s).total)

    ours = np.array([[ratio(s, f, *way) for s, f in zip(known, flop)] for way in product((0, 3), (0, 2))])
    best = chosen_elsewhere(ours, np.array([value(r["flop_ratio_ours_over_6ND"]) for r in rows]))
    make = column(
        "chinchilla_tableA4_flop_ratio",
        "flop_ratio_ours_over_6ND",
        "count.flop_per_token",
        kind="computed",
        inputs="shape; context of 2,048",
        fitted=_FOUR_WAYS,
    )
    return [make(i, x, rows[i]["params"]) for i, x in enumerate(best)]


def megatron_sizes() -> list[Check]:
    """Sizes of Megatron's models, in Narayanan's Table 1 and in the names of Korthikanti's Table 3."""
    found = []
    for table, name, scale in (
        ("megatron_table1", "params_B", 1e9),
        ("korthikanti_table3_configs", "model", 1.0),
    ):
        make = column(
            table, name, "count.parameters", kind="counted", unit="parameter", scale=scale, inputs="shape"
        )
        for i, r in rows_of(table):
            shape = gpt(**{key: int(r[key]) for key in ("heads", "hidden", "layers")})
            found.append(make(i, parameters(shape).total, f"Megatron {r[name]}" + "B" * (scale > 1)))
    return found


# ---- scaling laws ---------------------------------------------------------------------------
def size_label(row: dict, approach: str) -> str:
    """A row of Chinchilla's optima: "67B, approach 1"."""
    return f"{value(row['params']) / 1e9:,g}B, approach {approach}"


def misprinted_tokens(table: str, row: dict) -> str:
    """The reason why the tokens of one row of Chinchilla's Table 3 are a misprint."""
    odd = table == "chinchilla_table3_optimal" and row["params"] == "67e9"
    return "1.5 trillion tokens are printed; the row's FLOP and the other rows make 1.4" if odd else ""


def chinchilla_optima() -> list[Check]:
    """Compute-optimal tokens: by the exponents of two approaches, from one row each; by the third's loss."""
    found, fits, a3 = [], scaling_fits(), "chinchilla_tableA3_optimal"
    for table, name, way in (("chinchilla_table3_optimal", "tokens", "1"), (a3, "tokens_2", "2")):
        make = column(
            table,
            name,
            "dataset.scaled_tokens",
            kind="computed",
            unit="token",
            inputs="size; exponents of Table 2",
            fitted="starts from the row of ten billion",
        )
        for i, r in rows_of(table):
            own = {"circular": value(r["params"]) == PIVOT, "misprint": misprinted_tokens(table, r)}
            found.append(make(i, fits[way].tokens(value(r["params"])), size_label(r, way), **own))
    make = column(
        a3,
        "tokens_3",
        "dataset.optimal_tokens",
        kind="computed",
        unit="token",
        inputs="size; constants of the loss",
    )
    return found + [make(i, fits["3"].tokens(value(r["params"])), size_label(r, "3")) for i, r in rows_of(a3)]


def size_exponents() -> list[Check]:
    """The exponent of the compute-optimal size from the constants of a loss."""
    cells = [
        (
            "chinchilla_table2_exponents",
            "a_Nopt",
            "approach",
            "3 Parametric modelling of the loss",
            "chinchilla-3",
        ),
        ("chinchilla_table2_exponents", "a_Nopt", "approach", "Kaplan et al. (2020)", "kaplan-joint"),
        ("scaling_law_constants", "a_N", "name", "refit-mean", "refit-mean"),
    ]
    found = []
    for table, name, key, row, fit in cells:
        (line,) = (i for i, r in rows_of(table) if r[key] == row)
        constants = {k: v for k, v in scaling_constants(fit).items() if k in ("alpha", "beta")}
        make = column(table, name, "dataset.size_exponent", kind="computed", inputs="constants of the loss")
        found.append(make(line, dataset.size_exponent(**constants), row))
    return found


def _two_terms(row: dict) -> dict:
    return {"A": value(row["m"]), "alpha": value(row["mu"]), "B": value(row["n"]), "beta": value(row["nu"])}


def joint_law() -> list[Check]:
    """Optima of the joint law from its printed reduction, and the reduction from the law itself."""
    found, fits = [], {r["experts"]: _two_terms(r) for r in published("joint_moe_table4")}
    size = column(
        "joint_moe_table1",
        "params_active_M",
        "dataset.optimal_size",
        kind="computed",
        unit="parameter",
        scale=1e6,
        inputs="FLOP; constants of Table 4",
    )
    tokens = column(
        "joint_moe_table1",
        "tokens_B",
        "dataset.optimal_tokens",
        kind="computed",
        unit="token",
        scale=1e9,
        inputs="size; constants of Table 4",
    )
    for i, r in rows_of("joint_moe_table1"):
        fit, row = fits[r["experts"]], f"{r['budget_flop']} FLOP, {r['experts']} experts"
        found.append(size(i, dataset.optimal_size(C=value(r["budget_flop"]), **fit), row))
        found.append(tokens(i, dataset.optimal_tokens(N=1e6 * value(r["params_active_M"]), **fit), row))
    loss = column(
        "joint_moe_table4",
        "m",
        "architecture.joint_loss",
        kind="computed",
        inputs="coefficients of the paper's Table 3; a billion parameters, 20 tokens each",
    )
    for i, r in rows_of("joint_moe_table4"):
        ours = architecture.joint_loss(
            N=1e9, D=2e10, E_hat=architecture.saturation(E=int(r["experts"]), **_JOINT)
        )
        rest = _two_terms(r) | {"N": 1e9, "D": 2e10, "ell_min": value(r["c"])}
        read = lambda m, rest=rest: dataset.parametric(**rest | {"A": m})
        found.append(loss(i, ours, f"{r['experts']} experts", read=read))
    return found


def cutoffs() -> list[Check]:
    """The size at which more experts stop paying, from the two slopes of Clark et al."""
    make = column(
        "clark_table3_routing",
        "N_cutoff",
        "architecture.cutoff",
        kind="computed",
        unit="parameter",
        inputs="two slopes, one of them printed with one or two digits",
    )
    return [
        make(i, architecture.cutoff(b_r=value(r["b"]), c_r=value(r["c"])), r["router"])
        for i, r in rows_of("clark_table3_routing")
    ]


FAMILIES = (
    model_sizes,
    head_widths,
    chinchilla_sizes,
    chinchilla_flop,
    megatron_sizes,
    chinchilla_optima,
    size_exponents,
    joint_law,
    cutoffs,
)
