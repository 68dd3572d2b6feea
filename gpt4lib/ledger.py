"""The ledger: claims as data, verdicts computed.

An entry names the stated value with its precision, the law that checks it and where each input comes
from: another claim, a figure of the article, a sourced constant, an outside fact or an assumption.
The verdict follows from whether the law's interval meets the stated one, and from those origins.
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cache, cached_property

from .chapters.index import LAWS, find_law
from .facts.given import ARTICLE_KEYS, CONSTANT_KEYS, ORIGINS, STATED, Input, resolve, row_mistakes, shipped
from .spine.errors import BadInput, pick
from .spine.interval import Interval
from .spine.law import Law
from .spine.schema import TEXT, Kind, Mistakes, Reference, document, entries, one_of, section, wrong
from .spine.stated import Stated, stated
from .spine.text import display, written
from .spine.units import base_unit, unit_factor

VERDICTS = {
    "holds": ("✓", "follows from the article's own numbers and published facts"),
    "holds if": ("◐", "true under a named outside assumption"),
    "off": ("≠", "outside facts put it elsewhere, by the factor shown"),
    "contradicts": ("✗", "disjoint from what the article's own other numbers give"),
    "wrong unit": ("⇄", "the number is right in another unit"),
    "not checkable": ("–", "an opinion, a forecast, or nothing to compute with"),
}
SYMBOLS = {verdict: symbol for verdict, (symbol, _) in VERDICTS.items()}
_OF_LAWS = ("inputs", "inverse", "solve", "corrected_unit")  # what a claim without a law cannot have
_REFERENCE = {"type": "string", "pattern": f"^({'|'.join(ORIGINS)}):."}
_INPUTS = Kind(
    words=f"a table in which an input takes one of {', '.join(origin + ':…' for origin in ORIGINS)}",
    rule={"type": "object", "additionalProperties": _REFERENCE},
)
_LETTERS = Kind(words="a list of letters", rule={"type": "array", "items": {"type": "string"}})
CLAIM_KEYS = {
    "id": TEXT.of("name of the claim", "training-cost-days", needed=True),
    "chapter": TEXT.of("page of the chapter", "05_training_cost", needed=True),
    "kind": one_of("stated", "implicit").of("whether the article says it or only implies it", needed=True),
    "claim": TEXT.of("the claim in a sentence", needed=True),
    "stated": STATED,
    "law": Reference(kind="law", names=lambda: LAWS).of("law that checks the claim"),
    "solve": TEXT.of("letter that the law is solved for"),
    "inputs": _INPUTS.of("letters of the law, each with where its value stands"),
    "inverse": _LETTERS.of("letters to solve for: what would have to be true"),
    "expect": one_of(*VERDICTS).of("the verdict that a test holds the claim to", needed=True),
    "note": TEXT.of("the reason for the verdict; {derived} and such are filled in"),
    "reason": TEXT.of("why there is nothing to compute"),
    "corrected_unit": TEXT.of("unit in which the stated number is right", "TFLOP"),
    "show": TEXT.of("the stated value as the ledger shows it, where it is not written out from `stated`"),
}


@dataclass(frozen=True)
class Claim:
    """One claim of the article and its check. Everything computed is a property."""

    id: str
    chapter: str
    kind: str
    claim: str
    stated: Stated | None
    expect: str
    law: Law | None = None
    law_name: str = ""
    inputs: dict[str, Input] = field(default_factory=dict)
    inverse: tuple[str, ...] = ()
    note: str = ""
    corrected_unit: str = ""
    shown: str = ""

    @property
    def stated_text(self) -> str:
        """The stated value as the ledger shows it."""
        return self.shown or (written(self.stated) if self.stated else "–")

    @property
    def unit(self) -> str:
        """The base unit of the derived value ("1" for plain ratios), or "" where nothing is derived."""
        return base_unit(self.law.lhs.unit) if self.law else ""

    def show(self, value) -> str:
        """A value or interval of the claim's law as a reader would write it."""
        return display(value, self.law.lhs)

    # ---- what the law gives ----------------------------------------------------------------
    @cached_property
    def derived(self) -> float | None:
        """What the law gives at the inputs' central values, in the base unit."""
        return self.law(**{name: i.stated.value for name, i in self.inputs.items()}) if self.law else None

    @cached_property
    def interval(self) -> Interval | None:
        """What the law gives over the inputs' intervals."""
        return self.law(**{name: i.stated.interval for name, i in self.inputs.items()}) if self.law else None

    @property
    def ours(self) -> str:
        """What the law gives, with its range over the inputs' precision, as a reader would write it."""
        if self.law is None:
            return "–"
        if self.interval.hi == float("inf"):
            return f"at least {self.show(self.interval.lo)}"
        middle, ends = self.show(self.derived), self.show(self.interval)
        return middle if middle == ends else f"{middle} ({ends})"

    # ---- against what is stated ------------------------------------------------------------
    @property
    def target(self) -> Stated | None:
        """The stated value that the check is held against: in the corrected unit, if there is one."""
        number = self.corrected_unit and self.stated.text.removesuffix(self.stated.written_unit)
        return stated(f"{number} {self.corrected_unit}") if number else self.stated

    @property
    def _comparable(self):
        return self.law is not None and base_unit(self.stated.unit) == self.unit

    def _meets(self, told: Stated):
        """Whether the law's range meets a stated value: at once where the derived value lies in it."""
        return told.interval.contains(self.derived) or self.interval.meets(told.interval)

    @cached_property
    def verdict(self) -> str:
        """The verdict, computed; see VERDICTS."""
        if self.law is None:
            return "not checkable"
        origins = {i.origin for i in self.inputs.values()}
        if self._comparable and self._meets(self.stated):
            return "holds if" if "assume" in origins else "holds"
        if self.corrected_unit and self._meets(self.target):
            return "wrong unit"
        outside = origins & {"assume", "fact"} or not origins & {"claim", "article"}
        return "off" if outside else "contradicts"

    @property
    def factor(self) -> float | None:
        """How many times apart the derived and the stated value are (at least 1)."""
        if not (self._comparable and self.stated.value and self.derived):
            return None
        return max(self.derived / self.stated.value, self.stated.value / self.derived)

    def must_be(self, name: str) -> float:
        """The inverse reading: the value of the input `name` at which the stated value comes out exactly."""
        values = {n: i.stated.value for n, i in self.inputs.items()} | {self.law.lhs.name: self.target.value}
        inverse = self.law.solve(name)
        return inverse(**{s.name: values[s.name] for s in inverse.symbols if s.name in values})

    # ---- in words --------------------------------------------------------------------------
    @cached_property
    def why(self) -> str:
        """The reason for the verdict in a few sentences, with its numbers filled in."""
        if self.law is None:
            return self.note
        parts = [_FIELD.sub(lambda match: _FILL[match[1]](self), self.note)]
        if self.verdict == "holds if":
            parts.append(f"Assumes: {self._named('assume')}.")
        if self.verdict == "contradicts":
            parts.append(f"Collides with: {self._named('claim', 'article')}.")
        if self.verdict != "holds" and self.inverse:
            known = self.law.quantities
            ways = [f"{known[n].meaning} = {display(self.must_be(n), known[n])}" for n in self.inverse]
            reached = "The limit is reached" if self.stated.text[0] in "<>" else "The stated value comes out"
            parts.append(f"{reached} at: {'; or '.join(ways)}.")
        return " ".join(part.strip() for part in parts if part.strip())

    def _named(self, *origins):
        """The inputs of some origins, with their values."""
        found = (i for i in self.inputs.values() if i.origin in origins)
        return "; ".join(f"{i.meaning} ({written(i.stated)})" for i in found)

    def record(self) -> dict:
        """The claim as a flat record: id, chapter, claim, stated, unit, derived, verdict, why."""
        keys = "id chapter claim stated unit derived verdict why".split()
        return {key: self.stated_text if key == "stated" else getattr(self, key) for key in keys}


_FIELD = re.compile(r"\{(\w+)\}")
_FILL = {  # what a note may have in braces, computed only where it has
    "derived": lambda claim: claim.show(claim.derived),
    "low": lambda claim: claim.show(claim.interval.lo),
    "high": lambda claim: claim.show(claim.interval.hi),
    "stated": lambda claim: claim.stated_text,
    "factor": lambda claim: f"{claim.factor:.3g}" if claim.factor else "–",
    "corrected": lambda claim: claim.corrected_unit,
}


@dataclass(frozen=True)
class Ledger:
    """All claims, in the order of the chapters' files."""

    claims: tuple[Claim, ...]

    @cached_property
    def _by_id(self):
        return {c.id: c for c in self.claims}

    def __getitem__(self, claim_id: str) -> Claim:
        return self._by_id[pick(claim_id, self._by_id, "claim")]

    def chapter(self, name: str) -> tuple[Claim, ...]:
        """The claims of one chapter."""
        return tuple(c for c in self.claims if c.chapter == name)

    def counts(self) -> dict[str, int]:
        """How many claims have each verdict, in the order of VERDICTS."""
        found = Counter(c.verdict for c in self.claims)
        return {verdict: found[verdict] for verdict in VERDICTS}

    def unexpected(self) -> list[Claim]:
        """The claims whose computed verdict is not the expected one."""
        return [c for c in self.claims if c.verdict != c.expect]


def claim(claim_id: str) -> Claim:
    """The claim of that id. Raises BadInput that names the nearest known ones."""
    return load()[claim_id]


# ---- from entries to claims -------------------------------------------------------------------
@cache
def load() -> Ledger:
    """The ledger shipped with the library. Raises BadInput that lists every mistake of its files."""
    claims, article, constants = shipped()
    return build(claims, article=article, constants=constants)


def build(rows, *, article: dict, constants: dict) -> Ledger:
    """A ledger from (file name, entry) pairs.

    Raises BadInput that lists every mistake of every entry, a line each, with the file and the id or key.
    """
    found, read = [], {}
    for where, entry in rows:
        if not isinstance(key := entry.get("id"), str):
            found.append(f"{where}: a claim without id ({str(entry)[:80]})")
        elif key in read:
            found.append(f"{where}: {key}: the id stands twice")
        else:
            read[key] = _Entry.read(where, entry)
    broken = {f"claim:{key}" for key, entry in read.items() if entry.broken}
    for where, table, keys in (("article", article, ARTICLE_KEYS), ("constants", constants, CONSTANT_KEYS)):
        for key, row in table.items():
            lines = row_mistakes(row, keys)
            found += [f"{where}.toml: {key}: {line}" for line in lines]
            broken |= {f"{origin}:{key}" for origin in ORIGINS[1:] if lines}
    ids = {key: entry.given for key, entry in read.items()}

    def look(ref):
        """The input behind a reference; None where its own entry has mistakes, which are told there."""
        return None if ref in broken else resolve(ref, ids, article, constants)

    claims = [entry.claim(look) for entry in read.values()]
    found += [f"{e.where}: {key}: {line}" for key, e in read.items() for line in e.found]
    if found:
        raise BadInput("\n".join(found))
    return Ledger(tuple(claims))


@dataclass(frozen=True)
class _Entry:
    """An entry as written, the part of it whose keys are sound, and what was found wrong so far."""

    where: str
    given: dict
    sound: dict
    stated: Stated | None
    found: Mistakes

    @classmethod
    def read(cls, where, given):
        """An entry with its keys and its stated value checked."""
        lines, law = wrong(given, CLAIM_KEYS), "law" in given
        found = Mistakes(lines.values())
        missing = [key for key in (("stated", "note") if law else ("reason",)) if key not in given]
        found += [f"{key} takes {CLAIM_KEYS[key].words}, got nothing" for key in missing]
        if stray := [key for key in _OF_LAWS if key in given and not law]:
            found.append(f"without a law there is no {', '.join(sorted(stray))}")
        sound = {key: value for key, value in given.items() if key not in lines}
        value = found.attempt(stated, sound["stated"]) if "stated" in sound else None
        return cls(where, given, sound, value, found)

    @property
    def broken(self):
        """Whether the claim's sentence or value cannot be read, so that it is no input for others."""
        return "claim" not in self.sound or (self.stated is None and "stated" in self.given)

    def claim(self, look) -> Claim | None:
        """The claim, or None where something is wrong; `look` gives the input behind a reference."""
        checked = self._checked(look) if "law" in self.given else {"note": self.sound.get("reason")}
        if self.found:
            return None
        keys = {key: self.sound[key] for key in ("id", "chapter", "kind", "claim", "expect")}
        return Claim(**keys, stated=self.stated, shown=self.sound.get("show", ""), **checked)

    def _checked(self, look):
        law = find_law(self.sound["law"]) if "law" in self.sound else None
        if law and "solve" in self.sound:
            law = self.found.attempt(law.solve, self.sound["solve"])
        corrected = self.sound.get("corrected_unit", "")
        if law and self.stated:
            self.found.attempt(unit_factor, corrected or self.stated.written_unit, law.lhs.unit)
        inputs = {name: self.found.attempt(look, ref) for name, ref in self.sound.get("inputs", {}).items()}
        inverse = tuple(self.sound.get("inverse", ()))
        if law:
            self._letters(law, inputs, inverse)
        expect = self.sound.get("expect", "holds")
        if expect != "holds" and not self.given.get("inverse"):
            takes = "an inverse: what would have to be true"
            self.found.append(f"a claim expected to be {expect!r} takes {takes}")
        note = self.sound.get("note", "")
        if strange := [name for name in _FIELD.findall(note) if name not in _FILL]:
            self.found.append(f"note takes {', '.join(_FILL)} in braces, got {', '.join(strange)}")
        names = {"law": law, "law_name": self.sound.get("law"), "corrected_unit": corrected}
        return names | {"inputs": inputs, "inverse": inverse, "note": note}

    def _letters(self, law, inputs, inverse):
        """Whether the inputs are those of the law, in its units."""
        for name, given in inputs.items():
            place = f"input {name} ({self.sound['inputs'][name]}): "
            if name not in law.quantities:
                takes = ", ".join(s.name for s in law.symbols)
                self.found.append(f"unknown symbol {name!r}: {law.lhs} takes {takes}")
            elif given:
                unit = law.quantities[name].unit
                self.found.attempt(unit_factor, given.stated.written_unit, unit, place=place)
        missing = [s.name for s in law.symbols if s.name not in inputs]
        if missing and ("inputs" in self.sound or "inputs" not in self.given):
            self.found.append(f"no input for {', '.join(missing)}")
        if strange := [name for name in inverse if name not in law.quantities]:
            self.found.append(f"unknown symbol in inverse: {', '.join(map(repr, strange))}")


def claim_schema() -> dict:
    """The JSON Schema of a file of claims."""
    none = {"required": ["reason"], "properties": dict.fromkeys(_OF_LAWS, False)}
    with_law = {"if": {"required": ["law"]}, "then": {"required": ["stated", "note"]}, "else": none}
    body = section({"claim": entries("claim")})
    body["properties"]["claim"]["items"] = section(CLAIM_KEYS) | with_law
    return document("Claims", "Claims of the article with the laws that check them.", body)
