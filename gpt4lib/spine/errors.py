"""Bad input: the one exception of the library, and the checks that most arguments need."""

import difflib

import numpy as np


class BadInput(ValueError):
    """An argument that cannot be used; the message names it, what it got and what it takes."""


def nearest(name, known) -> str:
    """The known names that look most like `name`; where none does all, or the first thirty.

    >>> nearest("gpt4", ["gpt-4", "gpt-3-175b", "mixtral-8x7b"])
    'nearest known: gpt-4, gpt-3-175b'
    """
    lowered = {}
    for each in known:
        lowered.setdefault(each.lower(), each)
    near = [lowered[k] for k in difflib.get_close_matches(str(name).lower(), lowered, n=3, cutoff=0.3)]
    every = [*lowered.values()]
    shown = every if len(every) <= 30 else [*every[:30], f"{len(every) - 30} more"]
    return f"nearest known: {', '.join(near)}" if near else f"known: {', '.join(shown)}"


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


def pick(name: str, known, kind: str, hint=nearest) -> str:
    """`name` if it is known. Raises BadInput that says by `hint(name, known)` what there is."""
    known = list(known)
    if name in known:
        return name
    raise BadInput(f"unknown {kind} {name!r}; {hint(name, known)}")


def positive(name: str, value) -> None:
    """Raise BadInput unless `value` is a positive whole number."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise BadInput(f"{name} takes a positive whole number, got {value!r}")


def refuse(where: str, mistakes: list[str]) -> None:
    """Raise BadInput that lists the mistakes of a file, one a line; nothing where there are none."""
    if mistakes:
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        raise BadInput("\n".join([f"{where}: {count}", *(f"  {line}" for line in mistakes)]))
