"""Counts of a model by the laws of chapter 2: parameters, FLOP and cache entries, exact from its shape.

parameters(published_model("GPT-3 175B").shape).total
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

from ..chapters import architecture
from ..chapters.architecture import attention, mlp
from ..chapters.mqa import latent_cache
from ..chapters.vision_io import cross
from ..facts.files import data_file, published
from ..facts.models import Model, model_of, published_model, read_model
from ..spine.errors import BadInput, pick
from ..spine.law import Law
from ..spine.stated import Stated, stated


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """What a pass needs to know of a model. A dense model has one expert, which every token uses.

    `N_fix` is read by every pass; `N_held` adds the embedding table. `entries` are the cache entries of one
    token, `kv_splits` the ranks that can share them by heads, `pair_flop` the score FLOP of a token per token
    of context.
    """

    name: str
    N_fix: float
    N_held: float
    N_exp: float
    E: int
    k: int
    C_tok: float
    pair_flop: float
    entries: float
    kv_splits: int
    L: int
    d: int
    n_h: int
    d_h: int

    @property
    def total(self) -> float:
        """Parameters stored."""
        return self.N_held + self.E * self.N_exp

    @property
    def active(self) -> float:
        """Parameters that work on a token."""
        return self.N_fix + self.k * self.N_exp


def serving_view(shape: Model) -> ServedModel:
    """The serving model's view of a shape: its counted parameters, FLOP and cache entries."""
    s, parts = shape, parameters(shape).parts
    flop = flop_per_token(s, 1.0)
    pair = flop.pop("scores")
    inside = parts["experts"] if s.n_experts else parts["mlp"]
    held = sum(parts.values()) - inside
    sizes = {"L": s.layers, "d": s.d_model, "n_h": s.n_heads, "E": s.n_experts or 1, "k": s.top_k or 1}
    sizes |= {"N_held": held, "N_exp": inside / sizes["E"], "C_tok": sum(flop.values()), "pair_flop": pair}
    return ServedModel(
        name=s.name,
        N_fix=held - (0 if s.tied_embeddings else parts["embedding"]),
        entries=_one(latent_cache if s.latent else architecture.token_cache, _letters(s), kv_bytes=1),
        kv_splits=1 if s.latent else s.n_kv_heads,
        d_h=s.mla_d_value if s.latent else s.d_head,
        **sizes,
    )


def served_model(name: str) -> ServedModel:
    """A model by name: a shape file of `data/shapes` ("gpt4_multi_query") or a row of `data/models.csv`.

    Raises BadInput that names the nearest known ones.
    """
    path = data_file("models.csv").parent / "shapes" / f"{name}.toml"
    return serving_view(read_model(path) if path.is_file() else published_model(name).shape)


PARTS = "embedding unembedding positions attention mlp experts shared_experts router norms biases".split()


@dataclass(frozen=True)
class Count:
    """Parameters: `total`, `active` (all but the experts that a token is not routed to), and both by part."""

    total: int
    active: int
    parts: dict
    active_parts: dict


_KEYS = dict(  # letters of the laws, keys of a model
    pair.split("=")
    for pair in """L=layers d=d_model n_h=n_heads n_kv=n_kv_heads d_h=d_head V=vocab n_pos=max_positions
    E=n_experts n_mat=mlp_matrices d_ff=d_ff r_q=mla_q_rank r_kv=mla_kv_rank d_nope=mla_d_nope
    d_rope=mla_d_rope d_v=mla_d_value""".split()
)


def _letters(s: Model) -> dict:
    """A model's sizes by the letters of the laws; experts' widths and layers are given where needed."""
    return {letter: getattr(s, key) for letter, key in _KEYS.items()} | {"n_norm": 2 if s.biases else 1}


def _one(law, sizes: dict, **own) -> int:
    return int(law.exact(**{letter.name: (sizes | own)[letter.name] for letter in law.symbols}))


def parameters(shape: Model) -> Count:
    """Parameters by part, exact. Both vocabulary tables count as active.

    >>> tiny = {"name": "tiny", "layers": 1, "d_model": 4, "n_heads": 2, "n_kv_heads": 1, "d_head": 2}
    >>> tiny |= {"d_ff": 8, "mlp_matrices": 2, "vocab": 10, "tied_embeddings": True, "positions": "rotary"}
    >>> parameters(model_of(tiny)).total
    164
    """
    s, sizes = shape, _letters(shape)
    parts = dict.fromkeys(PARTS, 0)
    parts["embedding"] = _one(architecture.vocabulary_table, sizes)
    parts["unembedding"] = 0 if s.tied_embeddings else parts["embedding"]
    parts["attention"] = sum(_one(law, sizes) for law in _attention(s))
    parts["norms"] = _one(architecture.norms, sizes)
    if s.latent:
        parts["norms"] += _one(architecture.latent_norms, sizes)
    if s.positions in ("learned", "relative"):
        parts["positions"] = _one(getattr(architecture, f"{s.positions}_positions"), sizes)
    expert, always = _inside(s, sizes, architecture.mlp, architecture.router)
    parts |= always | {"experts": s.n_experts * expert}
    active = parts | {"experts": s.top_k * expert}
    if s.biases:
        expert, always = _inside(s, sizes, architecture.mlp_bias, architecture.router_bias)
        always["attention"] = _one(
            architecture.latent_bias if s.latent else architecture.attention_bias, sizes
        )
        parts["biases"] = sum(always.values()) + s.n_experts * expert
        active["biases"] = sum(always.values()) + s.top_k * expert
    return Count(sum(parts.values()), sum(active.values()), parts, active)


def _attention(s: Model) -> tuple:
    if not s.latent:
        return (architecture.attention,)
    query = architecture.latent_query if s.mla_q_rank else architecture.direct_query
    return query, architecture.latent_rest


def _inside(s: Model, sizes: dict, mlp: Law, router: Law) -> tuple[int, dict]:
    """By these two laws: one expert, and all that a token always passes, by part."""
    always = {"mlp": _one(mlp, sizes, L=s.dense_layers)} if s.dense_layers else {}
    if not s.n_experts:
        return 0, always
    routed = {"L": s.layers - s.dense_layers, "n_mat": s.expert_matrices}
    shared = s.n_shared_experts * _one(mlp, sizes, **routed, d_ff=s.d_ff_shared)
    always |= {"router": _one(router, sizes, L=routed["L"]), "shared_experts": shared}
    return _one(mlp, sizes, **routed, d_ff=s.d_ff_expert), always


def printed(text: str) -> Stated:
    """A count as a table prints it, with its precision: "6.7B", "350M", "1.2T" or the whole number."""
    scale = {"M": "e6", "B": "e9", "T": "e12"}.get(text[-1], "")
    return stated(f"~{text.rstrip('MBT')}{scale} parameter")


def agrees(counted: int, text: str) -> bool:
    """Whether a count is within 0.1% of a printed one, or within its printed precision where that is coarser.

    >>> agrees(6_738_417_664, "6.7B"), agrees(355_871_744, "350M")
    (True, False)
    """
    value = printed(text)
    return value.interval.contains(counted) or abs(counted - value.value) <= 0.001 * value.value


def flop_per_token(shape: Model, context: float) -> dict:
    """2 FLOP per active matrix entry, plus the attention scores over `context` tokens: forward, by part.

    Embedding look-ups, norms and biases cost no matrix product; a position matrix counts as applied once per
    token. A mean context gives a mean. Raises BadInput for a context that is no number of tokens.
    """
    if isinstance(context, bool) or not isinstance(context, (int, float)) or not 0 <= context < math.inf:
        raise BadInput(f"context takes a number of tokens of at least 0, got {context!r}")
    s, active = shape, parameters(shape).active_parts
    matrices = {part: active[part] for part in ("attention", "mlp", "experts", "shared_experts", "router")}
    matrices["unembedding"] = active["embedding"]
    if s.positions == "relative":
        matrices["positions"] = active["positions"]
    flop = {part: int(architecture.forward.exact(N=n)) for part, n in matrices.items()}
    qk, value = (s.mla_d_nope + s.mla_d_rope, s.mla_d_value) if s.latent else (s.d_head, s.d_head)
    flop["scores"] = float(architecture.pairs(L=s.layers, n_h=s.n_heads, d_qk=qk, d_v=value, S=context))
    return flop


def fitting_shapes(
    attention_range, expert_range, *, layers, multi_head, widths, head_widths, mlp_shapes, divide_heads=8
):
    """Shapes whose attention and expert counts both fall into the given intervals, as a list of dicts.

    `mlp_shapes` are (matrices, d_ff / d) pairs, `widths` model widths, `head_widths` widths of one head.
    Every head has its own key and value if `multi_head`, else all share one. The number of heads is a
    multiple of `divide_heads` (8-way tensor parallelism) and free otherwise; d_ff must be whole.
    """
    found = []
    for width, (matrices, ratio) in product(widths, mlp_shapes):
        inner = ratio * width
        if inner % 1:
            continue
        one_expert = mlp(L=layers, n_mat=matrices, d=width, d_ff=int(inner))
        if not expert_range.contains(one_expert):
            continue
        for head in head_widths:
            for heads in range(divide_heads, 4 * width // head, divide_heads):
                shared = attention(L=layers, d=width, d_h=head, n_h=heads, n_kv=heads if multi_head else 1)
                if attention_range.contains(shared):
                    of_width = {"d": width, "n_h": heads, "d_h": head, "a_w": heads * head / width}
                    of_mlp = {"n_mat": matrices, "r_ff": float(ratio), "d_ff": int(inner)}
                    found.append(of_width | of_mlp | {"N_attn": shared, "N_exp": one_expert})
    return found


def flamingo(model: str, component: str) -> dict:
    """A row of Flamingo's Table 4: n_x layers or blocks, width d, n_h heads, width of a head d_h.

    Raises BadInput that names the nearest known ones.
    """
    rows = {f"{r['model']}: {r['component']}": r for r in published("flamingo_table4_shapes")}
    row = rows[pick(f"{model}: {component}", rows, "row of Table 4")]
    layers, width, heads = (int(row[key]) for key in "LDH")
    return {"n_x": layers, "d": width, "n_h": heads, "d_h": width // heads}


def flamingo_blocks(model: str, component: str = "GATED XATTN-DENSE", *, n_x=None, d_vis=None) -> float:
    """Parameters of a Flamingo's blocks by Table 4; other blocks or another visual width if given.

    Without `d_vis` visual tokens are as wide as the blocks, which makes it the count of the resampler too.

    >>> flamingo_blocks("Flamingo-80B") / 1e9
    9.663676416
    """
    row = flamingo(model, component)
    row |= {"n_x": n_x or row["n_x"], "n_kv": row["n_h"], "d_vis": d_vis or row["d"], "d_ff": 4 * row["d"]}
    return cross(n_mat=2, **row)


def flamingo_text(model: str, *, layers=None) -> int:
    """Parameters of a Flamingo's frozen text model by Table 4, counted as a Chinchilla, or of more layers."""
    row = flamingo(model, "Frozen LM")
    shape = {"name": model, "n_heads": row["n_h"], "n_kv_heads": row["n_h"], "d_head": row["d_h"]}
    shape |= {"layers": layers or row["n_x"], "d_model": row["d"], "d_ff": 4 * row["d"], "vocab": 32_000}
    shape |= {"mlp_matrices": 2, "tied_embeddings": True, "positions": "relative"}
    return parameters(model_of(shape)).total
