"""A chain of laws: each link takes what is known by then and adds its result under a name.

One program with three uses: `run` calls every law with its checks, `on_arrays` leaves the checks out for
millions of points, `browser` prints every law as an expression.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter, signature

import numpy as np

from .browser import browser_name
from .errors import BadInput
from .law import Law


@dataclass(frozen=True)
class Link:
    """name = law(inputs): `names` pairs inputs with names of what is known, `numbers` gives the others."""

    name: str
    law: Law | Callable
    names: tuple
    numbers: dict

    def inputs(self, known: dict) -> dict:
        """The law's inputs by its own letters. Raises BadInput that names link, law and what is not known."""
        try:
            return self.numbers | {name: known[of] for name, of in self.names}
        except KeyError:
            missing = [of for _, of in self.names if of not in known]
            law = repr(self.law) if isinstance(self.law, Law) else self.law.__name__
            raise BadInput(f"{self.name} by {law} lacks {', '.join(missing)}") from None


def link(name: str, law: Law | Callable, **other) -> Link:
    """A step of a chain: its result's name, a law or plain function, and inputs that have `other` sources.

    A source is a known name or a number. Raises BadInput where the law has no such input.
    """
    if isinstance(law, Law):
        own, strange = [s.name for s in law.symbols], set(other)
    else:
        found = signature(law).parameters.values()
        own = [p.name for p in found if p.kind != Parameter.VAR_KEYWORD]
        strange = set(other) if len(own) == len(found) else set()
    if strange := sorted(strange - set(own)):
        raise BadInput(f"{name} has no input {', '.join(strange)}; it takes {', '.join(own)}")
    sources = {name: name for name in own} | other
    numbers = {i: of for i, of in sources.items() if not isinstance(of, str)}
    return Link(name, law, tuple((i, of) for i, of in sources.items() if i not in numbers), numbers)


class Chain:
    """Laws in the order in which they are taken; a bare law is a link under the letter of its left side.

    A later link of the same name replaces an earlier result.

    >>> from .law import symbol
    >>> a, b, c = (symbol(name, "1", name) for name in "abc")
    >>> twice = Chain(Law(b, 2 * a), link("d", Law(c, a + b), a="b"))
    >>> twice.run({"a": 1.0})
    {'a': 1.0, 'b': 2.0, 'd': 4.0}
    >>> twice.browser({"a": "slider"})
    [('b', '2*slider'), ('d', '2*b')]
    """

    def __init__(self, *steps: Law | Link | Chain):
        each = [step.links if isinstance(step, Chain) else (step,) for step in steps]
        self.links = tuple(link(s.lhs.name, s) if isinstance(s, Law) else s for some in each for s in some)

    def __add__(self, other: Chain) -> Chain:
        return Chain(self, other)

    def but(self, *links: Link, without=()) -> Chain:
        """The same chain with `links` in the place of those of the same name, and `without` some."""
        new = {step.name: step for step in links}
        return Chain(*(new.get(step.name, step) for step in self.links if step.name not in without))

    def run(self, known: dict) -> dict:
        """`known` and every result, each law called with its checks. Raises BadInput as they do."""
        known = dict(known)
        for step in self.links:
            found = step.law(**step.inputs(known))
            known[step.name] = found if np.ndim(found) else float(found)
        return known

    def on_arrays(self, known: dict) -> dict:
        """The same without the checks of a call: for millions of values that are known to be right."""
        known = dict(known)
        for step in self.links:
            given = step.inputs(known)
            known[step.name] = step.law.on_arrays(given) if isinstance(step.law, Law) else step.law(**given)
        return known

    def browser(self, terms: dict) -> list[tuple[str, str]]:
        """(name, expression) of each link; `terms` are the browser's texts for what is known at first.

        Raises BadInput for a link that is a plain function, which no browser can take.
        """
        names, found = dict(terms), []
        for step in self.links:
            if not isinstance(step.law, Law):
                raise BadInput(f"{step.name} is by {step.law.__name__}, and a browser takes laws only")
            given = {name: str(of) for name, of in step.inputs(names).items()}
            names[step.name] = browser_name(step.name)
            found.append((names[step.name], step.law.browser(given)))
        return found
