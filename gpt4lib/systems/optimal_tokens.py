"""Published answers to "how many tokens for this size?", each a function of the size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..chapters.dataset import optimal_tokens, scaled_tokens, tokens_by_rule
from ..facts.files import published
from ..facts.given import given
from ..spine.errors import BadInput, pick
from ..spine.interval import Interval


# ---- published fits -----------------------------------------------------------------------
@dataclass(frozen=True)
class Fit:
    """A published answer: `tokens(size)`, and `span(size)` where its error is known."""

    label: str
    source: str
    tokens: Callable
    span: Callable | None = None


def scaling_row(name: str) -> dict:
    """A row of `published("scaling_law_constants")`. Raises BadInput that names the nearest known ones."""
    rows = {row["name"]: row for row in published("scaling_law_constants")}
    return rows[pick(name, rows, "fit")]


def scaling_constants(name: str) -> dict[str, float]:
    """A, B, alpha and beta of a published fit by the parametric law, as `optimal_tokens` takes them.

    Kaplan's L(N, D) is a power of such a sum, and is least where the sum is. Raises BadInput for other fits.
    """
    row = scaling_row(name)
    if row["A"]:
        return {key: float(row[key]) for key in ("A", "B", "alpha", "beta")}
    if name != "kaplan-joint":
        raise BadInput(f"{name} is no fit of size and data together")
    ratio = float(row["alphaN"]) / float(row["alphaD"])
    return {"A": float(row["Nc"]) ** ratio, "B": float(row["Dc"]), "alpha": ratio, "beta": 1.0}


def _by_law(name):
    return lambda size: optimal_tokens(N=size, **scaling_constants(name))


def _by_exponent(N_ref, D_ref, a, b):
    return lambda size: scaled_tokens(N=size, N_ref=N_ref, D_ref=D_ref, a_N=a, b_D=b)


def _span(N_ref, D_ref, a, b):
    ends = [_by_exponent(N_ref, D_ref, a[i], b[1 - i]) for i in (0, 1)]
    return lambda size: Interval(*sorted(end(size) for end in ends))


def _chinchilla(approach: str, table: str, column: str) -> Fit:
    row = next(r for r in published("chinchilla_table2_exponents") if r["approach"].startswith(approach))
    D_ref = float(next(r for r in published(table) if float(r["params"]) == PIVOT)[column])
    a, b = (tuple(map(float, row[key].split("-"))) for key in ("a_ci", "b_ci"))
    tokens = _by_exponent(PIVOT, D_ref, float(row["a_Nopt"]), float(row["b_Dopt"]))
    return Fit(f"Chinchilla {approach}", "hoffmann2022", tokens, _span(PIVOT, D_ref, a, b))


PIVOT = 1e10  # the printed optimum that lies next to the largest models measured, 16 billion parameters


def scaling_fits() -> dict[str, Fit]:
    """The published fits by name, from the fewest tokens to the most at 1.8 trillion parameters.

    Chinchilla's approaches 1 and 2 start from their printed optimum at `PIVOT` and vary the exponents over
    Table 2's intervals; the refit varies its exponent over its 90% interval, 1.645 standard errors.
    """
    refit, row, llama = _by_law("refit-mean"), scaling_row("refit-mean"), scaling_row("llama3")
    a = [float(row["a_N"]) + sign * 1.645 * float(row["a_N_se"]) for sign in (-1, 1)]
    a_l, twenty = float(llama["a_N"]), given("fact:chinchilla-tokens").value
    of_llama = _by_exponent(float(llama["N_ref"]), float(llama["D_ref"]), a_l, 1 - a_l)
    of_refit = _span(PIVOT, refit(PIVOT), a, [1 - a[1], 1 - a[0]])
    return {
        "kaplan": Fit("Kaplan 2020", "kaplan2020", _by_law("kaplan-joint")),
        "refit": Fit("Besiroglu refit", "besiroglu2024", refit, of_refit),
        "c4": Fit("Muennighoff C4", "muennighoff2023", _by_law("muennighoff")),
        "rule": Fit("20 a parameter", "hoffmann2022", lambda size: tokens_by_rule(N=size, q=twenty)),
        "1": _chinchilla("1", "chinchilla_table3_optimal", "tokens"),
        "2": _chinchilla("2", "chinchilla_tableA3_optimal", "tokens_2"),
        "llama3": Fit("Llama 3", "llama3", of_llama),
        "3": Fit("Chinchilla 3", "hoffmann2022", _by_law("chinchilla-3")),
    }
