"""Checks of attention's cache, speculation and vision: chapters 6, 8, 10 and 11 discuss these tables."""

from __future__ import annotations

import sympy

from ..chapters import architecture, mqa, parallelism, speculative_decoding, vision_io
from ..facts.files import published
from ..facts.models import published_model
from ..systems import efficiency
from ..systems.count import parameters
from .check import Check, column, rows_of, value
from .sizes import chinchilla_shape
from .training import share


# ---- the cache, and who shares heads --------------------------------------------------------
def longest_contexts() -> list[Check]:
    """Pope et al.'s Table 1: the longest context of PaLM on 64 chips, three ways to keep the cache."""
    found, palm, memory = [], published_model("PaLM 540B").shape, 32 * 2.0**30
    for i, r in rows_of("pope_table1_max_context"):
        whole = {"L": palm.layers, "d_h": value(r["d_head"]), "kv_bytes": 2}
        whole["n_kv"] = palm.n_heads if r["variant"] == "Multihead" else 1
        divided = r["variant"].startswith(
            "Optimized"
        )  # sequences over the chips, or heads as far as there are any
        kv = architecture.token_cache(**whole) if divided else parallelism.cache_copied(**whole, tp=64)
        for batch in (128, 512):
            make = column(
                "pope_table1_max_context",
                f"max_context_batch{batch}",
                "mqa.longest",
                kind="computed",
                unit="token",
                inputs="shape; 30% of 32 GiB a chip",
            )
            ours = mqa.longest(B_fly=batch, kv=kv, cache_ranks=64 if divided else 1, p=1, Q_left=0.3 * memory)
            found.append(make(i, ours, f"{r['variant']}, batch {batch}"))
    return found


def pope_models() -> list[Check]:
    """The two sizes of Pope et al.'s Table D.1 from their shapes."""
    rows = published("pope_tableD1_models")
    turing = {r["field"]: int(r["Megatron 530B"]) for r in rows if r["Megatron 530B"].isdigit()}
    gpt = efficiency.gpt(heads=turing["n_heads"], hidden=turing["d_model"], layers=turing["n_layers"])
    both = {"PaLM 540B": published_model("PaLM 540B").shape, "Megatron 530B": gpt}
    (line,) = (i for i, r in rows_of("pope_tableD1_models") if r["field"] == "n_params")
    return [
        column(
            "pope_tableD1_models", name, "count.parameters", kind="counted", unit="parameter", inputs="shape"
        )(line, parameters(shape).total, f"{name}, Pope's Table D.1")
        for name, shape in both.items()
    ]


def equal_parameters() -> list[Check]:
    """Shazeer's MLP widths from equal parameters: two MLPs and three attentions a pair of layers."""
    make = column(
        "shazeer_mqa_table1", "d_ff", "architecture.mlp", kind="computed", inputs="heads; as many parameters"
    )
    size = {"L": 1, "d": 1024}
    mlp = {"n_mat": 2, **size}

    def rest(r):
        heads = int(r["h"])
        n_kv = 1 if r["attention"].startswith("multi-query") else heads
        return 1.5 * architecture.attention(d_h=int(r["dk_dv"]), n_h=heads, n_kv=n_kv, **size)

    rows, wide = rows_of("shazeer_mqa_table1"), architecture.mlp.solve("d_ff")
    first = rows[0][1]
    whole = rest(first) + architecture.mlp(d_ff=int(first["d_ff"]), **mlp)
    return [
        make(
            i,
            wide(N_exp=whole - rest(r), **mlp),
            f"{r['attention']}, {r['h']} of {r['dk_dv']}",
            circular=i == 0,
            fitted="starts from the first row",
        )
        for i, r in rows
    ]


def cache_entries() -> list[Check]:
    """DeepSeek-V2's formulas for the cache of a token, evaluated for its own shape, groups of eight."""
    x = {"n_h": 128, "n_g": 8, "d_h": 128, "l": 60, "d_c": 512, "d_r": 64}
    of, found = {"L": x["l"], "kv_bytes": 1}, []
    heads = {"MHA": x["n_h"], "GQA": x["n_g"], "MQA": 1}
    ours = {name: architecture.token_cache(n_kv=n, d_h=x["d_h"], **of) for name, n in heads.items()}
    ours["MLA"] = mqa.latent_cache(r_kv=x["d_c"], d_rope=x["d_r"], **of)
    for i, r in rows_of("deepseek_v2_mla_kv"):
        name, text = r["mechanism"], r["kv_elements_per_token"].split("~")[0].replace("d_h^R", "d_r")
        law = "mqa.latent_cache" if name == "MLA" else "architecture.token_cache"
        printed = float(sympy.sympify(text).subs(x))
        found.append(
            Check(
                "deepseek_v2_mla_kv",
                i,
                "kv_elements_per_token",
                law,
                name,
                printed,
                0.0,
                float(ours[name]),
                "byte",
                "shape; entries of one byte",
                "computed",
            )
        )
    return found


# ---- speculation ----------------------------------------------------------------------------
def speculation() -> list[Check]:
    """Leviathan's expected and measured speed-ups from acceptance and draft cost."""
    found, law = [], "speculative_decoding.speed_up_free"
    expected, measured = (
        column(
            "leviathan_table2_table4",
            f"{name}_speedup",
            law,
            kind=kind,
            inputs="measured acceptance and draft cost, draft length",
        )
        for name, kind in (("expected", "computed"), ("empirical", "measured"))
    )
    for i, r in rows_of("leviathan_table2_table4"):
        x = {"accept": value(r["alpha"]), "c_draft": value(r["c"])}
        ours = speculative_decoding.speed_up_free(gamma=int(r["gamma"]), **x)
        row = f"{r['task']}, {r['draft']}, temperature {r['temperature']}"
        found += [make(i, ours, row) for make in (expected, measured)]
    chen = rows_of("chen_speculative_sampling_table1")
    alone = {
        r["benchmark"] + r["method"][3:]: value(r["ms_per_token"])
        for _, r in chen
        if r["method"][:3] == "ArS"
    }
    make = column(
        "chen_speculative_sampling_table1",
        "speedup",
        "training.share",
        kind="computed",
        inputs="measured times of a token",
    )
    for i, r in chen:
        if r["method"].startswith("SpS"):
            ours = share(alone[r["benchmark"] + r["method"][3:]], value(r["ms_per_token"]))
            found.append(make(i, ours, f"Chen, {r['benchmark']}, {r['method'][4:]}"))
    moved = {r["mode"]: r for r in published("spector_staged_speculation") if "bandwidth" in r["metric"]}
    for i, r in rows_of("spector_staged_speculation"):
        for name in ("speculative", "staged") if "tokens/s" in r["metric"] else ():
            make = column(
                "spector_staged_speculation",
                name,
                "training.share",
                kind="bound",
                unit="token/second",
                inputs="rate alone, share of the bytes that drafts leave",
            )
            most = share(value(r["baseline"]), value(moved[r["mode"]][name]))
            found.append(make(i, most, f"Spector, {r['mode']}, {name}"))
    return found


def chen_models() -> list[Check]:
    """The sizes of Chen et al.'s oracle and draft from their shapes, counted as Chinchilla's."""
    make, found = (
        column(
            "chen_speculative_sampling_models",
            "params",
            "count.parameters",
            kind="counted",
            unit="parameter",
            inputs="shape",
        ),
        [],
    )
    for i, r in rows_of("chen_speculative_sampling_models"):
        if r["layers"]:
            d, heads = int(r["d_model"]), int(r["heads"])
            row = {
                "d_model": d,
                "n_layers": r["layers"],
                "ffw_size": 4 * d,
                "n_heads": heads,
                "kv_size": d // heads,
            }
            count = parameters(chinchilla_shape(row, tied_embeddings=True, positions="relative"))
            found.append(make(i, count.total, f"Chen, {r['model']}"))
    return found


# ---- vision ---------------------------------------------------------------------------------
def flamingo_sizes() -> list[Check]:
    """Flamingo's text models and cross-attention blocks, sizes of Table 1 from the shapes of Table 4."""
    of = {(r["model"], r["component"]): r for r in published("flamingo_table4_shapes")}
    found, known = [], {"kind": "counted", "unit": "parameter", "inputs": "shape of Table 4"}
    laws = {"Frozen LM": "count.parameters", "GATED XATTN-DENSE": "vision_io.cross"}
    for i, r in rows_of("flamingo_table1_counts"):
        if r["component"] in laws:
            L, d, heads = (int(of[r["model"], r["component"]][k]) for k in ("L", "D", "H"))
            size = {"d_model": d, "ffw_size": 4 * d, "n_heads": heads, "kv_size": d // heads, "n_layers": L}
            if r["component"] == "Frozen LM":
                ours = parameters(chinchilla_shape(size, tied_embeddings=True, positions="relative")).total
            else:
                x = {"n_h": heads, "n_kv": heads, "d_h": d // heads, "n_mat": 2, "d_ff": 4 * d}
                ours = vision_io.cross(n_x=L, d=d, d_vis=d, **x)
            odd = "40 layers are printed; 32, and a block every four, give both sizes"
            wrong = odd if r["model"] == "Flamingo-9B" else ""
            make = column("flamingo_table1_counts", "params", laws[r["component"]], **known)
            found.append(make(i, ours, f"{r['model']}, {r['component']}", misprint=wrong))
    return found


def patch_tokens() -> list[Check]:
    """Tokens of an image from its side and that of a patch."""
    make, found = (
        column(
            "visual_tokens",
            "tokens",
            "vision_io.grid",
            kind="computed",
            unit="token",
            inputs="sides of image and patch",
        ),
        [],
    )
    for i, r in rows_of("visual_tokens"):
        if r["patch_px"]:
            side = value(r["image_px"])
            found.append(
                make(i, vision_io.grid(height=side, width=side, side=value(r["patch_px"])), r["name"])
            )
    return found


FAMILIES = (
    longest_contexts,
    pope_models,
    equal_parameters,
    cache_entries,
    speculation,
    chen_models,
    flamingo_sizes,
    patch_tokens,
)
