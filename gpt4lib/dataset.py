"""Dataset: how much of the training tokens is unique, what a repeat is worth, and how many would be enough.

The laws stand in the order of chapter 3. `fits` are the published answers to "how many tokens for this
size", each a function of the size; `ramp_by_counting` counts the steps of a growing batch one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sympy import exp, log, powsimp

from . import architecture, training_cost
from .data import pick, published
from .interval import Interval
from .law import Law, symbol
from .ledger import given
from .symbols import (
    B_0,
    A,
    B,
    B_crit,
    B_exp,
    B_ref,
    B_star,
    B_tok,
    C,
    C_full,
    C_pair,
    D,
    D_eff,
    D_pub,
    D_ramp,
    D_ref,
    E,
    E_hat,
    E_start,
    N,
    N_eq,
    N_ref,
    R,
    R_star,
    R_work,
    T,
    T_long,
    T_pub,
    U,
    U_code,
    U_text,
    a_N,
    a_r,
    alpha,
    alpha_B,
    b_D,
    b_r,
    beta,
    bubble,
    c_r,
    ell,
    ell_min,
    epochs,
    epochs_code,
    epochs_text,
    k,
    n_steps,
    q,
    stock,
    t,
    t_fill,
    t_ramp,
    t_step,
    tok,
    w,
    worth,
    x_batch,
    x_code,
    x_cost,
    x_ctx,
    x_ramp,
    x_stock,
    x_waste,
)
from .units import BadInput

# ---- tokens, epochs, unique tokens --------------------------------------------------------
as_published = Law(D, D_pub, "Tokens as published")
tokens_seen = Law(D, epochs_text * U_text + epochs_code * U_code, "Every pass counts")
text_unique = Law(U_text, (1 - x_code) * D / epochs_text, "Unique text")
code_unique = Law(U_code, x_code * D / epochs_code, "Unique code")
unique = Law(U, U_text + U_code, "Unique tokens").given(text_unique, code_unique)
text_left = Law(x_stock, stock / U, "Text that exists over text scraped")

# ---- what a repeat is worth ---------------------------------------------------------------
effective = Law(
    D_eff,
    U * (1 + R_star * (1 - exp((1 - epochs) / R_star))),
    "Fresh tokens that repeated ones are worth",
    source="muennighoff2023",
)
_text = effective.rhs.xreplace({U: text_unique.rhs, epochs: epochs_text})
_code = effective.rhs.xreplace({U: code_unique.rhs, epochs: epochs_code})
effective_mix = Law(
    D_eff, _text + _code, "Fresh tokens that text and code are worth", source="muennighoff2023"
)
worth_of_mix = Law(worth, (effective_mix.rhs / D).expand(), "Worth of the mix", source="muennighoff2023")

# ---- compute-optimal tokens ---------------------------------------------------------------
size_term = Law(ell, A * (N / w) ** -alpha, "Loss for want of size", source="hoffmann2022")
data_term = Law(ell, B * (D / tok) ** -beta, "Loss for want of data", source="hoffmann2022")
parametric = Law(ell, ell_min + size_term.rhs + data_term.rhs, "Loss of size and data", source="hoffmann2022")
# At fixed N D the loss is least where alpha * size_term = beta * data_term.
optimal_tokens = Law(
    D,
    data_term.solve("D").given(Law(ell, alpha / beta * size_term.rhs)).rhs,
    "Compute-optimal tokens",
    source="hoffmann2022",
)
_plain = symbol("n_plain", "1", "parameters as a plain number")
_budget = training_cost.compute.given(optimal_tokens).rhs.xreplace({N: w * _plain})
optimal_size = Law(
    N,
    w * Law(C, powsimp(_budget.expand(force=True), force=True)).solve("n_plain").rhs,
    "Compute-optimal size",
    source="hoffmann2022",
)
size_exponent = Law(a_N, beta / (alpha + beta), "Exponent of the compute-optimal size", source="hoffmann2022")
scaled_tokens = Law(
    D, D_ref * (N / N_ref) ** (b_D / a_N), "Tokens from a published optimum", source="hoffmann2022"
)
tokens_by_rule = Law(D, q * N, "A fixed number of tokens per parameter", source="hoffmann2022")
_slope = a_r - c_r * log(E_hat) / log(10)
_dense = _slope.xreplace({E_hat: E_start})
dense_equivalent = Law(
    N_eq,
    w * (N / w) ** (_slope / _dense) * (E_hat / E_start) ** (b_r / _dense),
    "Effective parameter count",
    source="clark2022",
).given(architecture.saturation)

# ---- steps, their time, the ramp ----------------------------------------------------------
rate = Law(R, D / t, "Tokens per second")
steps = Law(n_steps, D / B_tok, "Steps at a fixed batch")
step_of_run = Law(t_step, t * B_tok / D, "Time of a step")
ramp_tokens = Law(D_ramp, R * t_ramp, "Tokens trained on during the ramp")
ramp_steps = Law(
    n_steps,
    D / B_tok + D_ramp * (log(B_tok / B_0) / (B_tok - B_0) - 1 / B_tok),
    "Steps, the batch growing in proportion to the tokens seen",
)
ramp_time = Law(t_ramp, x_ramp * t, "Time of the ramp")
fill = Law(t_fill, bubble * t_step, "Time in which the pipeline fills and drains")
run_time = Law(t, D / R_work + n_steps * t_fill, "Time of the run: work, and one filling per step")

# ---- the batch ----------------------------------------------------------------------------
expert_tokens = Law(B_exp, B_tok * k / E, "Tokens for one expert")
batch_ratio = Law(x_batch, B_tok / B_ref, "Batch against another")
critical_batch = Law(B_crit, B_star * ell ** (-1 / alpha_B), "Critical batch", source="kaplan2020")
more_tokens = Law(
    x_waste, 1 + B_tok / B_crit, "Tokens needed over the fewest possible", source="mccandlish2018"
)

# ---- context ------------------------------------------------------------------------------
same_context = Law(T, T_pub, "Context as published")
context_ratio = Law(x_ctx, T_long / T, "Longer context over shorter")
context_cost = Law(
    x_cost,
    architecture.full.rhs.xreplace({C_pair: x_ctx * C_pair}) / C_full,
    "FLOP of a token in the longer context",
).given(architecture.full)


# ---- published fits -----------------------------------------------------------------------
@dataclass(frozen=True)
class Fit:
    """A published answer to "how many tokens for this size?": `tokens(size)`; `span(size)` where its error is known."""

    label: str
    source: str
    tokens: Callable
    span: Callable | None = None


def fit_row(name: str) -> dict:
    """A row of `published("scaling_law_constants")`. Raises BadInput that names the nearest known ones."""
    rows = {row["name"]: row for row in published("scaling_law_constants")}
    return rows[pick(name, rows, "fit")]


def constants(name: str) -> dict[str, float]:
    """A, B, alpha and beta of a published fit by the parametric law, as `optimal_tokens` takes them.

    Kaplan's L(N, D) is a power of such a sum, and is least where the sum is. Raises BadInput for other fits.
    """
    row = fit_row(name)
    if row["A"]:
        return {key: float(row[key]) for key in ("A", "B", "alpha", "beta")}
    if name != "kaplan-joint":
        raise BadInput(f"{name} is no fit of size and data together")
    ratio = float(row["alphaN"]) / float(row["alphaD"])
    return {"A": float(row["Nc"]) ** ratio, "B": float(row["Dc"]), "alpha": ratio, "beta": 1.0}


def _by_law(name):
    return lambda size: optimal_tokens(N=size, **constants(name))


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


def fits() -> dict[str, Fit]:
    """The published fits by name, from the fewest tokens to the most at 1.8 trillion parameters.

    Chinchilla's approaches 1 and 2 start from their printed optimum at `PIVOT` and vary the exponents over
    Table 2's intervals; the refit varies its exponent over its 90% interval, 1.645 standard errors.
    """
    refit, row, llama = _by_law("refit-mean"), fit_row("refit-mean"), fit_row("llama3")
    a = [float(row["a_N"]) + sign * 1.645 * float(row["a_N_se"]) for sign in (-1, 1)]
    a_l, twenty = float(llama["a_N"]), given("fact:chinchilla-tokens").value
    return {
        "kaplan": Fit("Kaplan 2020", "kaplan2020", _by_law("kaplan-joint")),
        "refit": Fit(
            "Besiroglu refit", "besiroglu2024", refit, _span(PIVOT, refit(PIVOT), a, [1 - a[1], 1 - a[0]])
        ),
        "c4": Fit("Muennighoff C4", "muennighoff2023", _by_law("muennighoff")),
        "rule": Fit("20 a parameter", "hoffmann2022", lambda size: tokens_by_rule(N=size, q=twenty)),
        "1": _chinchilla("1", "chinchilla_table3_optimal", "tokens"),
        "2": _chinchilla("2", "chinchilla_tableA3_optimal", "tokens_2"),
        "llama3": Fit(
            "Llama 3", "llama3", _by_exponent(float(llama["N_ref"]), float(llama["D_ref"]), a_l, 1 - a_l)
        ),
        "3": Fit("Chinchilla 3", "hoffmann2022", _by_law("chinchilla-3")),
    }


# ---- counting -----------------------------------------------------------------------------
def ramp_by_counting(*, tokens: float, ramp: float, first: float, last: float) -> int:
    """Steps of a run of `tokens` whose batch grows from `first` to `last` with the tokens seen, up to `ramp` of them.

    Counted one step at a time. Raises BadInput unless 0 < first <= last and 0 <= ramp <= tokens.
    """
    if not 0 < first <= last or not 0 <= ramp <= tokens:
        got = f"first={first!r}, last={last!r}, ramp={ramp!r}, tokens={tokens!r}"
        raise BadInput(f"a ramp takes 0 < first <= last and 0 <= ramp <= tokens, got {got}")
    seen, count = 0.0, 0
    while seen < tokens:
        seen += first + (last - first) * seen / ramp if seen < ramp else last
        count += 1
    return count
