"""Checks of sizes, and of what scaling laws say about them: chapters 2 and 3 discuss these tables."""

from __future__ import annotations

from itertools import product

import numpy as np

from ..chapters import architecture, dataset
from ..facts.models import Model, model_of, published_models
from ..systems.count import flop_per_token, parameters
from ..systems.efficiency import gpt
from ..systems.optimal_tokens import PIVOT, scaling_constants, scaling_fits
from .check import Check, by_line, column, numbers_in, value

_JOINT = {"E_start": 2.0732, "E_max": 290.4521}  # of the joint law's saturation, ludziejewski2025


# ---- parameters and FLOP from a shape -------------------------------------------------------
def model_sizes() -> list[Check]:
    """Parameters, total and active, of the published models in `models.csv`, and GPT-3's in its Table D.1."""
    total, active = column("models.published_total"), column("models.published_active")
    d1 = column("gpt3_tableD1_compute.params_M")
    lines = {r["name"]: i for i, r in total.rows}
    of_d1 = {r["model"]: i for i, r in d1.rows}
    found = []
    for name, m in published_models().items():
        count, wrong = parameters(m.shape), m.why if m.reason == "misprint" else ""
        inferred = "inferred from the counts" in m.notes
        own = {"circular": inferred, "fitted": "vocabulary, on these rows" if inferred else ""}
        found.append(total.check(lines[name], count.total, name, misprint=wrong, **own))
        if m.shape.n_experts and m.published_active:
            found.append(active.check(lines[name], count.active, f"{name}, active", **own))
        if name in of_d1:
            found.append(d1.check(of_d1[name], count.total, f"{name}, Table D.1", misprint=wrong))
    return found


def head_widths() -> list[Check]:
    """GPT-3's head width from its width and heads."""
    return column("gpt3_table2_1.d_head").each()


def chinchilla_shape(row: dict, **convention) -> Model:
    """A model of Hoffmann et al.'s Tables A4 and A9, counted by one convention."""
    heads = ("n_heads", "num_heads")
    names = {"layers": ("n_layers", "num_layers"), "d_model": ("d_model",), "d_ff": ("ffw_size",)}
    names |= {"n_heads": heads, "n_kv_heads": heads, "d_head": ("kv_size", "kq_size")}
    sizes = {key: int(next(row[name] for name in either if name in row)) for key, either in names.items()}
    return model_of({"name": "Chinchilla", "mlp_matrices": 2, "vocab": 32000, **sizes, **convention})


def chosen_elsewhere(ours: np.ndarray, printed: np.ndarray) -> np.ndarray:
    """For each row the convention of least median error on the other rows; `ours` is convention x row."""
    miss = np.abs(np.log(ours / printed))
    return np.array([ours[np.median(np.delete(miss, i, 1), axis=1).argmin(), i] for i in range(len(printed))])


def chinchilla_sizes() -> list[Check]:
    """Fifty sizes of Table A9: whether tables are tied and positions have a matrix, the other rows decide."""
    make = column("chinchilla_tableA9_models.params_M")
    ways = [{"tied_embeddings": t, "positions": p} for t, p in product((True, False), ("relative", "rotary"))]
    ours = [[parameters(chinchilla_shape(r, **way)).total for _, r in make.rows] for way in ways]
    printed = np.array([1e6 * value(r["params_M"]) for _, r in make.rows])
    best = chosen_elsewhere(np.array(ours, dtype=float), printed).tolist()
    return [make.check(i, size) for i, size in enumerate(best)]


def chinchilla_flop() -> list[Check]:
    """Table A4, FLOP over six per parameter: the other rows decide on softmax (3 a score) and vocabulary."""
    make = column("chinchilla_tableA4_flop_ratio.flop_ratio_ours_over_6ND")
    known = [chinchilla_shape(r, tied_embeddings=True, positions="relative") for _, r in make.rows]
    flop = [flop_per_token(s, 2048) for s in known]

    def ratio(s, f, softmax, tables):
        scores = f["scores"] + softmax * s.n_heads * 2048 * s.layers
        done = f["attention"] + f["mlp"] + scores + tables * f["unembedding"]
        return done / architecture.forward(N=parameters(s).total)

    ours = np.array([[ratio(s, f, *way) for s, f in zip(known, flop)] for way in product((0, 3), (0, 2))])
    best = chosen_elsewhere(ours, np.array([value(r[make.column]) for _, r in make.rows]))
    return [make.check(i, ratio) for i, ratio in enumerate(best)]


def gpt_of(row: dict) -> Model:
    """The GPT of a row of Megatron's tables."""
    return gpt(**{key: int(row[key]) for key in ("heads", "hidden", "layers")})


def megatron_sizes() -> list[Check]:
    """Sizes of Megatron's models, in Narayanan's Table 1 and in the names of Korthikanti's Table 3."""
    ours = lambda r: parameters(gpt_of(r)).total
    names = ("megatron_table1.params_B", "korthikanti_table3_configs.model")
    return [check for name in names for check in column(name).each(ours)]


# ---- scaling laws ---------------------------------------------------------------------------
def size_label(row: dict, approach: str) -> str:
    """A row of Chinchilla's optima: "67B, approach 1"."""
    return f"{value(row['params']) / 1e9:,g}B, approach {approach}"


def _optima(approach: str, column_name: str, **own) -> list[Check]:
    fit = scaling_fits()[approach]
    ours = lambda r: fit.tokens(value(r["params"]))
    return column(column_name).each(ours, lambda r: size_label(r, approach), **own)


def chinchilla_optima() -> list[Check]:
    """Compute-optimal tokens: by the exponents of two approaches, from one row each; by the third's loss."""
    pivot = {"circular": lambda r: value(r["params"]) == PIVOT}
    return [
        *_optima("1", "chinchilla_table3_optimal.tokens", **pivot),
        *_optima("2", "chinchilla_tableA3_optimal.tokens_2", **pivot),
        *_optima("3", "chinchilla_tableA3_optimal.tokens_3"),
    ]


def size_exponents() -> list[Check]:
    """The exponent of the compute-optimal size from the constants of a loss."""
    table2 = "chinchilla_table2_exponents.a_Nopt"
    cells = [  # column, row, fit
        (table2, "3 Parametric modelling of the loss", "chinchilla-3"),
        (table2, "Kaplan et al. (2020)", "kaplan-joint"),
        ("scaling_law_constants.a_N", "refit-mean", "refit-mean"),
    ]
    found = []
    for name, row, fit in cells:
        make, constants = column(name), scaling_constants(fit)
        (line,) = (i for i, r in make.rows if row in (r.get("approach"), r.get("name")))
        ours = dataset.size_exponent(alpha=constants["alpha"], beta=constants["beta"])
        found.append(make.check(line, ours))
    return found


def _two_terms(row: dict) -> dict:
    return dict(zip(("A", "alpha", "B", "beta"), numbers_in(row, "m", "mu", "n", "nu")))


def joint_law() -> list[Check]:
    """Optima of the joint law from its printed reduction, and the reduction from the law itself."""
    size, tokens = column("joint_moe_table1.params_active_M"), column("joint_moe_table1.tokens_B")
    loss = column("joint_moe_table4.m")
    fits = {r["experts"]: _two_terms(r) for _, r in loss.rows}
    sizes = size.each(lambda r: dataset.optimal_size(C=value(r["budget_flop"]), **fits[r["experts"]]))
    best = lambda r: dataset.optimal_tokens(N=1e6 * value(r["params_active_M"]), **fits[r["experts"]])

    def joint(r):
        full = architecture.saturation(E=int(r["experts"]), **_JOINT)
        return architecture.joint_loss(N=1e9, D=2e10, E_hat=full)

    def reduced(r):
        rest = _two_terms(r) | {"N": 1e9, "D": 2e10, "ell_min": value(r["c"])}
        return lambda m: dataset.parametric(**rest | {"A": m})

    return by_line(sizes, tokens.each(best)) + loss.each(joint, read=reduced)


def cutoffs() -> list[Check]:
    """The size at which more experts stop paying, from the two slopes of Clark et al."""
    return column("clark_table3_routing.N_cutoff").each()


FAMILIES = (model_sizes, head_widths, chinchilla_sizes, chinchilla_flop, megatron_sizes)
FAMILIES += (chinchilla_optima, size_exponents, joint_law, cutoffs)
