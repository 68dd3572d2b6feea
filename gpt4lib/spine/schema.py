"""One checker for every file that people write: a key is one `Kind`, its words and its rule in JSON Schema.

Editors and the checker read the same rules, so they cannot differ. A file's table of keys gives what `wrong`
says, such as "n_gpus takes a positive whole number, got 2.5", and the document for editors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from .errors import BadInput, nearest

DRAFT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What a key takes: in `words`, and as a `rule` in JSON Schema; `about` says what the key means.

    Called with a value it answers None, or what it takes instead. `extra` is for editors: examples, say.

    >>> COUNT(3), COUNT(2.5)
    (None, 'a positive whole number')
    """

    words: str
    rule: dict
    about: str = ""
    needed: bool = False
    extra: dict | None = None

    def limits(self) -> dict:
        """The rule; of names, read when first asked for."""
        return self.rule

    def __call__(self, value) -> str | None:
        return None if fits(value, self.limits()) else self.words

    def of(self, about: str, *examples, needed: bool = False, **extra) -> Kind:
        """This kind for one key: what the key means, examples, whether its section needs it."""
        extra = {"examples": list(examples)} | extra if examples else extra
        return replace(self, about=about, needed=needed, extra=extra)

    def schema(self) -> dict:
        """The key's JSON Schema with its description."""
        about = ": ".join(filter(None, (self.about, self(None))))
        return {"description": about} | self.limits() | (self.extra or {})

    def mistake(self, key: str, value) -> str | None:
        """What is wrong with a value of the key `key`, in one line; None where nothing is."""
        if (takes := self(value)) is None:
            return None
        whole = isinstance(value, float) and value.is_integer() and self(int(value)) is None
        hint = f" (write {int(value):_}, without point or exponent)" if whole else ""
        return f"{key} takes {takes}, got {value!r}{hint}"


@dataclass(frozen=True, kw_only=True)
class Name(Kind):
    """One of the names that `names` lists when asked; the answer to another one gives a `hint`, the nearest.

    >>> Name(kind="fruit", names=lambda: ["apple", "pear"])("aple")
    'a known fruit (nearest known: apple, pear)'
    """

    kind: str
    names: Callable[[], Iterable[str]]
    hint: Callable[[str, Iterable[str]], str] = nearest
    words: str = ""
    rule: dict | None = None

    def limits(self):
        """One of the names, in their order."""
        return {"type": "string", "enum": list(self.names())}

    def __call__(self, value):
        if value is None:
            return f"the name of a known {self.kind}"
        return (
            None if fits(value, self.limits()) else f"a known {self.kind} ({self.hint(value, self.names())})"
        )


class Reference(Name):
    """A name that stands for something kept elsewhere; an unknown one is told as `pick` does."""

    def mistake(self, key, value):
        """What is wrong with a reference: it is no text, or nothing is kept under it."""
        if not isinstance(value, str) or not value:
            return f"{key} takes {self(None)}, got {value!r}"
        return self(value) and f"unknown {self.kind} {value!r}; {self.hint(value, self.names())}"


# ---- rules: the part of JSON Schema that the tables use ---------------------------------------
_TYPES = {
    "integer": lambda x: type(x) is int,
    "number": lambda x: isinstance(x, (int, float)) and not isinstance(x, bool) and math.isfinite(x),
    "string": lambda x: isinstance(x, str),
    "boolean": lambda x: isinstance(x, bool),
    "array": lambda x: isinstance(x, list),
    "object": lambda x: isinstance(x, dict),
}
_RULES = {  # a rule opens with its type, and what follows may rely on it
    "type": lambda x, kind: _TYPES[kind](x),
    "enum": lambda x, known: x in known,
    "minimum": lambda x, low: x >= low,
    "exclusiveMinimum": lambda x, low: x > low,
    "maximum": lambda x, high: x <= high,
    "pattern": lambda x, pattern: re.search(pattern, x) is not None,
    "minItems": lambda x, least: len(x) >= least,
    "maxItems": lambda x, most: len(x) <= most,
    "items": lambda x, rule: all(fits(item, rule) for item in x),
    "propertyNames": lambda x, rule: all(fits(name, rule) for name in x),
    "additionalProperties": lambda x, rule: all(fits(item, rule) for item in x.values()),
    "anyOf": lambda x, rules: any(fits(x, rule) for rule in rules),
    "x-rising": lambda x, _: x == sorted(x),  # editors pass over it
}


def fits(value, rule: dict) -> bool:
    """Whether a value keeps a rule. Other than in JSON Schema, 2.0 is no whole number: in TOML it is none."""
    return all(_RULES[word](value, told) for word, told in rule.items())


def one_of(*names) -> Kind:
    """The kind of a key that takes one of a few names."""
    return Kind(words=f"one of {', '.join(names)}", rule={"type": "string", "enum": list(names)})


def or_list(kind: Kind, words: str) -> Kind:
    """A kind or a list of such."""
    several = {"type": "array", "items": kind.rule, "minItems": 1}
    return Kind(words=words, rule={"anyOf": [kind.rule, several]})


def or_range(kind: Kind, words: str) -> Kind:
    """A kind or [low, high] of such."""
    pair = {"type": "array", "items": kind.rule, "minItems": 2, "maxItems": 2, "x-rising": True}
    return Kind(words=words, rule={"anyOf": [kind.rule, pair]})


def entries(name: str) -> Kind:
    """The kind of a file's list of sections [[name]]."""
    rule = {"type": "array", "items": {"type": "object"}}
    return Kind(words=f"sections that open with [[{name}]]", rule=rule, needed=True)


_number = lambda words, **limits: Kind(words=words, rule={"type": "number", **limits})
TEXT = Kind(words="a text", rule={"type": "string", "pattern": r"\S"})
FLAG = Kind(words="true or false", rule={"type": "boolean"})
COUNT = Kind(words="a positive whole number", rule={"type": "integer", "minimum": 1})
WHOLE = Kind(words="a whole number of at least 0", rule={"type": "integer", "minimum": 0})
POSITIVE = _number("a positive number", exclusiveMinimum=0)
FROM_ZERO = _number("a number of at least 0", minimum=0)
FROM_ONE = _number("a number of at least 1", minimum=1)
SHARE = _number("a share from 0 to 1", minimum=0, maximum=1)
PART = _number("a share above 0 and up to 1", exclusiveMinimum=0, maximum=1)
COUNTS = or_list(COUNT, "a positive whole number or a list of them")
RANGE = or_range(POSITIVE, "a positive number or [low, high]")


# ---- sections of keys ------------------------------------------------------------------------
def wrong(
    given, keys: dict[str, Kind], place: str = "", *, beside=(), homes=None, others=None
) -> dict[str, str]:
    """What is wrong in one section, a line for each key: values, unknown keys, missing ones.

    `place` opens each line. `beside` are more names that the section knows, `homes` the keys of other places,
    `others` what is called otherwise elsewhere.

    >>> wrong({"n": 2.0, "m": 1}, {"n": COUNT.of("GPUs"), "k": COUNT.of("nodes", needed=True)})["k"]
    'k takes a positive whole number, got nothing'
    """
    opening = f"{place} " if place else ""
    if not isinstance(given, dict):
        return {"": f"{opening}takes a section of keys, got {given!r}"}
    found = {}
    for key, value in given.items():
        stray = key not in keys and _unknown(key, value, [*keys, *beside], homes or {}, others or {})
        found[key] = stray or keys[key].mistake(key, value)
    missing = {key: kind for key, kind in keys.items() if kind.needed and key not in given}
    found |= {key: f"{key} takes {kind(None)}, got nothing" for key, kind in missing.items()}
    return {key: opening + line for key, line in found.items() if line}


def _unknown(key, value, known, homes, others):
    at = [home for home, keys in homes.items() if key in keys]
    where = f"it belongs to {' or '.join(at)}" if at else nearest(key, known)
    where = f"it is {others[key]} here" if key in others else where
    text = repr(value)
    return f"unknown key {key!r}; {where}; its value is {text if len(text) <= 40 else text[:37] + '...'}"


class Mistakes(list):
    """What was found wrong so far, one line each."""

    def attempt(self, function, *arguments, place: str = ""):
        """What the function returns; None where it raises BadInput, whose reason joins the list."""
        try:
            return function(*arguments)
        except BadInput as error:
            self.append(f"{place}{error}")
            return None


def section(keys: dict[str, Kind]) -> dict:
    """The JSON Schema of a section of keys."""
    properties = {key: kind.schema() for key, kind in keys.items()}
    needed = [key for key, kind in keys.items() if kind.needed]
    required = {"required": needed} if needed else {}
    return {"type": "object", "properties": properties, **required, "additionalProperties": False}


def document(title: str, about: str, body: dict) -> dict:
    """A JSON Schema with its draft, a title and a description."""
    return {"$schema": DRAFT, "title": title, "description": about, **body}
