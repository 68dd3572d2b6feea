"""Layouts of a workbench file: what training and serving cannot divide, with the values that would do."""

from __future__ import annotations

import numpy as np

from .serving_model import Server
from .units import BadInput


def choice(allowed, near=None) -> str:
    """Values as a message lists them: all of a few, of many those nearest to `near`.

    >>> choice([1, 2, 4, 8]), choice(range(1, 99), 40)
    ('1, 2, 4, 8', 'such as 37, 38, 39, 40, 41, 42, 43')
    """
    allowed = sorted(allowed)
    if len(allowed) <= 16:
        return ", ".join(map(str, allowed))
    far = (lambda x: abs(x - near)) if isinstance(near, int) else allowed.index
    return "such as " + ", ".join(map(str, sorted(sorted(allowed, key=far)[:7])))


def serving_layout(shape, serving: dict) -> list[str]:
    """Mistakes in how [serving] divides a model: ranks that heads, widths or experts do not divide by, empty stages."""

    def size(name):
        value = serving.get(name, getattr(Server, name, 0))
        return value if type(value) is int and value >= (name != "redundant_experts") else None

    def fail(name, takes, value):
        found.append(
            f"[serving] {name} takes {takes}, got {value}" + ("" if name in serving else ", the default")
        )

    found, tensor, stages, ranks = [], size("tensor"), size("pipeline"), size("expert")
    widths = {"d_ff": shape.d_ff if shape.dense_layers else 0, "d_ff_expert": shape.d_ff_expert}
    for name, width in {"n_heads": shape.n_heads, **widths}.items():
        if tensor and width % tensor:
            fail("tensor", f"a divisor of {name} = {width}", tensor)
            break
    if stages and stages > shape.layers:
        fail("pipeline", f"at most layers = {shape.layers}", stages)
    experts, copies = shape.n_experts, size("redundant_experts") or 0
    if not experts:
        found += [
            f"[serving] {name} takes no value above {least} without experts in [model], got {serving[name]}"
            for name, least in (("expert", 1), ("redundant_experts", 0))
            if (size(name) or 0) > least
        ]
    elif ranks and (held := experts + copies) % ranks:
        words = f"n_experts + redundant_experts = {held}" if copies else f"n_experts = {experts}"
        allowed = choice([i for i in range(1, held + 1) if held % i == 0], ranks)
        fail("expert", f"a divisor of {words} ({allowed})", ranks)
    return found


def training_limits(every, only):
    """Raise BadInput at the first key of [training.layout] that leaves no layout, with the values that would."""
    left, before = np.ones(len(every), dtype=bool), []
    for key, asked in only.items():
        wanted = np.logical_or.reduce(
            [every.where(**{key: value}) for value in np.atleast_1d(asked).tolist()]
        )
        if not (left & wanted).any():
            rows = np.flatnonzero(left)[np.unique(every.columns[key][left], return_index=True)[1]]
            allowed = choice([getattr(every.layout(int(row)), key) for row in rows], asked)
            beside = f" beside {', '.join(before)}" if before else ""
            raise BadInput(
                f"layout.{key} takes {allowed}{beside}, so that model, batch and n_gpus = "
                f"{every.cluster.n_gpus:,} divide, got {asked}"
            )
        left, before = left & wanted, [*before, f"{key} = {asked}"]
