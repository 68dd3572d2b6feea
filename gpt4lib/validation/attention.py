"""Checks of attention's cache, speculation and vision: chapters 6, 8, 10 and 11 discuss these tables."""

from __future__ import annotations

import sympy

from ..chapters import architecture, mqa, parallelism, vision_io
from ..facts.files import published
from ..facts.models import published_model
from ..systems import efficiency
from ..systems.count import parameters
from .check import Check, by_line, column, value
from .sizes import chinchilla_shape
from .training import share


# ---- the cache, and who shares heads --------------------------------------------------------
def _longest(batch: int) -> list[Check]:
    palm, memory = published_model("PaLM 540B").shape, 32 * 2.0**30

    def ours(r):
        whole = {"L": palm.layers, "d_h": value(r["d_head"]), "kv_bytes": 2}
        whole["n_kv"] = palm.n_heads if r["variant"] == "Multihead" else 1
        divided = r["variant"].startswith("Optimized")  # sequences over the chips, else what heads there are
        kv = architecture.token_cache(**whole) if divided else parallelism.cache_copied(**whole, tp=64)
        return mqa.longest(B_fly=batch, kv=kv, cache_ranks=64 if divided else 1, p=1, Q_left=0.3 * memory)

    return column(f"pope_table1_max_context.max_context_batch{batch}").each(ours)


def longest_contexts() -> list[Check]:
    """Pope et al.'s Table 1: the longest context of PaLM on 64 chips, three ways to keep the cache."""
    return by_line(_longest(128), _longest(512))


def pope_models() -> list[Check]:
    """The two sizes of Pope et al.'s Table D.1 from their shapes."""
    palm, megatron = (column(f"pope_tableD1_models.{name}") for name in ("PaLM 540B", "Megatron 530B"))
    cells = {r["field"]: r["Megatron 530B"] for _, r in palm.rows}
    heads, hidden, layers = (int(cells[key]) for key in ("n_heads", "d_model", "n_layers"))
    shapes = published_model("PaLM 540B").shape, efficiency.gpt(heads=heads, hidden=hidden, layers=layers)
    (line,) = (i for i, r in palm.rows if r["field"] == "n_params")
    return [make.check(line, parameters(shape).total) for make, shape in zip((palm, megatron), shapes)]


def equal_parameters() -> list[Check]:
    """Shazeer's MLP widths from equal parameters: two MLPs and three attentions a pair of layers."""
    make, size = column("shazeer_mqa_table1.d_ff"), {"L": 1, "d": 1024}

    def attention(r):
        heads = int(r["h"])
        n_kv = 1 if r["attention"].startswith("multi-query") else heads
        return 1.5 * architecture.attention(d_h=int(r["dk_dv"]), n_h=heads, n_kv=n_kv, **size)

    first, wide = make.rows[0][1], architecture.mlp.solve("d_ff")
    whole = attention(first) + architecture.mlp(d_ff=int(first["d_ff"]), n_mat=2, **size)
    ours = lambda r: wide(N_exp=whole - attention(r), n_mat=2, **size)
    return make.each(ours, circular=lambda r: r is first)


def cache_entries() -> list[Check]:
    """DeepSeek-V2's formulas for the cache of a token, evaluated for its own shape, groups of eight."""
    x = {"n_h": 128, "n_g": 8, "d_h": 128, "l": 60, "d_c": 512, "d_r": 64}
    of, heads = {"L": x["l"], "kv_bytes": 1}, {"MHA": x["n_h"], "GQA": x["n_g"], "MQA": 1}
    name, found = "deepseek_v2_mla_kv.kv_elements_per_token", []
    for i, r in column(name).rows:
        who, text = r["mechanism"], r["kv_elements_per_token"].split("~")[0].replace("d_h^R", "d_r")
        if who in heads:
            make, ours = column(name), architecture.token_cache(n_kv=heads[who], d_h=x["d_h"], **of)
        else:
            make, ours = column(f"{name}:latent"), mqa.latent_cache(r_kv=x["d_c"], d_rope=x["d_r"], **of)
        found.append(make.check(i, ours, printed=float(sympy.sympify(text).subs(x))))
    return found


# ---- speculation ----------------------------------------------------------------------------
def leviathan_speed_ups() -> list[Check]:
    """Leviathan's expected and measured speed-ups from acceptance and draft cost."""
    names = ("expected", "empirical")
    return by_line(*(column(f"leviathan_table2_table4.{name}_speedup").each() for name in names))


def chen_speed_ups() -> list[Check]:
    """Chen's speed-ups from the times of a token, with drafts (SpS) and without (ArS)."""
    make = column("chen_speculative_sampling_table1.speedup")
    times = {(r["benchmark"], r["method"]): value(r["ms_per_token"]) for _, r in make.rows}

    ours = lambda r: share(times[r["benchmark"], f"ArS{r['method'][3:]}"], value(r["ms_per_token"]))
    label = lambda r: f"Chen, {r['benchmark']}, {r['method'][4:]}"
    return make.each(ours, label, where=lambda r: r["method"].startswith("SpS"))


def _spector(name: str) -> list[Check]:
    make = column(f"spector_staged_speculation.{name}")
    moved = {r["mode"]: r for _, r in make.rows if "bandwidth" in r["metric"]}
    ours = lambda r: share(value(r["baseline"]), value(moved[r["mode"]][name]))
    return make.each(ours, where=lambda r: "tokens/s" in r["metric"])


def spector_rates() -> list[Check]:
    """Spector's rates, which the share of the bytes that drafts leave bounds."""
    return by_line(_spector("speculative"), _spector("staged"))


def _text_model(layers, d: int, heads: int) -> float:
    """Parameters of a model counted as Chinchilla's."""
    sizes = {"d_model": d, "n_layers": layers, "ffw_size": 4 * d, "n_heads": heads, "kv_size": d // heads}
    return parameters(chinchilla_shape(sizes, tied_embeddings=True, positions="relative")).total


def chen_models() -> list[Check]:
    """The sizes of Chen et al.'s oracle and draft from their shapes, counted as Chinchilla's."""
    ours = lambda r: _text_model(*(int(r[key]) for key in ("layers", "d_model", "heads")))
    return column("chen_speculative_sampling_models.params").each(ours, where=lambda r: r["layers"])


# ---- vision ---------------------------------------------------------------------------------
def flamingo_sizes() -> list[Check]:
    """Flamingo's text models and cross-attention blocks, sizes of Table 1 from the shapes of Table 4."""
    of = {(r["model"], r["component"]): r for r in published("flamingo_table4_shapes")}
    size = lambda r: [int(of[r["model"], r["component"]][key]) for key in ("L", "D", "H")]

    def cross(r):
        L, d, heads = size(r)
        x = {"n_h": heads, "n_kv": heads, "d_h": d // heads, "n_mat": 2, "d_ff": 4 * d}
        return vision_io.cross(n_x=L, d=d, d_vis=d, **x)

    text, blocks = column("flamingo_table1_counts.params"), column("flamingo_table1_counts.params:blocks")
    return by_line(
        text.each(lambda r: _text_model(*size(r)), where=lambda r: r["component"] == "Frozen LM"),
        blocks.each(cross, where=lambda r: r["component"] == "GATED XATTN-DENSE"),
    )


def patch_tokens() -> list[Check]:
    """Tokens of an image from its side and that of a patch."""
    return column("visual_tokens.tokens").each(where=lambda r: r["patch_px"])


FAMILIES = (longest_contexts, pope_models, equal_parameters, cache_entries, leviathan_speed_ups)
FAMILIES += (chen_speed_ups, spector_rates, chen_models, flamingo_sizes, patch_tokens)
