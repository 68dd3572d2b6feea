"""Bad input: the one exception of the library, and the checks that most arguments need."""

from __future__ import annotations

import difflib

import numpy as np


def pick(name: str, known, kind: str) -> str:
    """`name` if it is known. Raises BadInput that names the nearest known ones."""
    known = list(known)
    if name in known:
        return name
    lowered = {k.lower(): k for k in known}
    near = [lowered[k] for k in difflib.get_close_matches(str(name).lower(), lowered, n=3, cutoff=0.3)]
    raise BadInput(
        f"unknown {kind} {name!r}; "
        + (f"nearest known: {', '.join(near)}" if near else f"known: {', '.join(known)}")
    )


def positive(name: str, value) -> None:
    """Raise BadInput unless `value` is a positive whole number."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise BadInput(f"{name} takes a positive whole number, got {value!r}")


class BadInput(ValueError):
    """An argument that cannot be used; the message names it, what it got and what it takes."""
