"""The ledger: claims as data, verdicts computed.

An entry names the stated value with its precision, the law that checks it and where each input comes
from: another claim, a figure of the article, a sourced constant, an outside fact or an assumption.
The verdict follows from whether the law's interval meets the stated one, and from those origins.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.resources import files

from .chapters.index import find_law
from .facts.files import data_file, read_toml, sources
from .facts.given import Input, resolve
from .spine.errors import BadInput
from .spine.interval import Interval
from .spine.law import Law
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
_KEYS = {
    "id",
    "chapter",
    "kind",
    "claim",
    "stated",
    "law",
    "solve",
    "inputs",
    "inverse",
    "expect",
    "note",
    "reason",
    "corrected_unit",
    "show",
}


@dataclass(frozen=True)
class Claim:
    """One claim of the article and its check. Everything computed is a property."""

    id: str
    chapter: str
    kind: str
    claim: str
    stated: Stated
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

    @cached_property
    def derived(self) -> float | None:
        """What the law gives at the inputs' central values, in the base unit."""
        return self.law(**{name: i.stated.value for name, i in self.inputs.items()}) if self.law else None

    def show(self, value) -> str:
        """A value or interval of the claim's law as a reader would write it."""
        return display(value, self.law.lhs)

    @property
    def ours(self) -> str:
        """What the law gives, with its range over the inputs' precision, as a reader would write it."""
        if self.law is None:
            return "–"
        if self.interval.hi == float("inf"):
            return f"at least {self.show(self.interval.lo)}"
        middle, ends = self.show(self.derived), self.show(self.interval)
        return middle if middle == ends else f"{middle} ({ends})"

    @cached_property
    def interval(self) -> Interval | None:
        """What the law gives over the inputs' intervals."""
        return self.law(**{name: i.stated.interval for name, i in self.inputs.items()}) if self.law else None

    @property
    def target(self) -> Stated | None:
        """The stated value that the check is held against: in the corrected unit, if there is one."""
        if not self.corrected_unit:
            return self.stated
        return stated(f"{self.stated.text.removesuffix(self.stated.written_unit)} {self.corrected_unit}")

    @cached_property
    def verdict(self) -> str:
        """The verdict, computed; see VERDICTS."""
        if self.law is None:
            return "not checkable"
        origins = {i.origin for i in self.inputs.values()}
        same_dimension = base_unit(self.stated.unit) == self.unit
        if same_dimension and self.interval.meets(self.stated.interval):
            return "holds if" if "assume" in origins else "holds"
        if self.corrected_unit and self.interval.meets(self.target.interval):
            return "wrong unit"
        if origins & {"assume", "fact"} or not origins & {"claim", "article"}:
            return "off"
        return "contradicts"

    @property
    def factor(self) -> float | None:
        """How many times apart the derived and the stated value are (at least 1)."""
        if (
            self.law is None
            or not self.stated.value
            or not self.derived
            or base_unit(self.stated.unit) != self.unit
        ):
            return None
        return max(self.derived / self.stated.value, self.stated.value / self.derived)

    def must_be(self, name: str) -> float:
        """The inverse reading: the value of the input `name` at which the stated value comes out exactly."""
        others = {n: i.stated.value for n, i in self.inputs.items() if n != name}
        inverse = self.law.solve(name)
        return inverse(
            **{s.name: others[s.name] for s in inverse.symbols if s.name in others},
            **{self.law.lhs.name: self.target.value},
        )

    @cached_property
    def why(self) -> str:
        """The reason for the verdict in a few sentences, with its numbers filled in."""
        if self.law is None:
            return self.note
        show = self.show
        parts = [
            self.note.format(
                derived=show(self.derived),
                low=show(self.interval.lo),
                high=show(self.interval.hi),
                stated=self.stated_text,
                factor=f"{self.factor:.3g}" if self.factor else "–",
                corrected=self.corrected_unit,
            )
        ]
        if self.verdict == "holds if":
            parts.append(
                "Assumes: "
                + "; ".join(
                    f"{i.meaning} ({written(i.stated)})" for i in self.inputs.values() if i.origin == "assume"
                )
                + "."
            )
        if self.verdict == "contradicts":
            against = (i for i in self.inputs.values() if i.origin in ("claim", "article"))
            parts.append(
                "Collides with: " + "; ".join(f"{i.meaning} ({written(i.stated)})" for i in against) + "."
            )
        if self.verdict != "holds" and self.inverse:
            known = {s.name: s for s in (*self.law.symbols, *self.law.constants)}
            ways = (f"{known[n].meaning} = {display(self.must_be(n), known[n])}" for n in self.inverse)
            reached = "The limit is reached" if self.stated.text[0] in "<>" else "The stated value comes out"
            parts.append(f"{reached} at: {'; or '.join(ways)}.")
        return " ".join(part.strip() for part in parts if part.strip())

    def record(self) -> dict:
        """The claim as a flat record: id, chapter, claim, stated, unit, derived, verdict, why."""
        return {
            "id": self.id,
            "chapter": self.chapter,
            "claim": self.claim,
            "stated": self.stated_text,
            "unit": self.unit,
            "derived": self.derived,
            "verdict": self.verdict,
            "why": self.why,
        }


@dataclass(frozen=True)
class Ledger:
    """All claims, in the order of the chapters' files."""

    claims: tuple[Claim, ...]

    def __getitem__(self, claim_id: str) -> Claim:
        from .spine.errors import pick

        return {c.id: c for c in self.claims}[pick(claim_id, [c.id for c in self.claims], "claim")]

    def chapter(self, name: str) -> tuple[Claim, ...]:
        """The claims of one chapter."""
        return tuple(c for c in self.claims if c.chapter == name)

    def counts(self) -> dict[str, int]:
        """How many claims have each verdict, in the order of VERDICTS."""
        return {v: sum(c.verdict == v for c in self.claims) for v in VERDICTS}

    def unexpected(self) -> list[Claim]:
        """The claims whose computed verdict is not the expected one."""
        return [c for c in self.claims if c.verdict != c.expect]


def claim(claim_id: str) -> Claim:
    """The claim of that id. Raises BadInput that names the nearest known ones."""
    return load()[claim_id]


@cache
def load() -> Ledger:
    """The ledger shipped with the library. Raises BadInput naming the entry and the reason."""
    folder = files("gpt4lib") / "data" / "ledger"
    entries = [
        (path.name, entry)
        for path in sorted(folder.iterdir(), key=lambda p: p.name)
        if path.name.endswith(".toml")
        for entry in read_toml(path).get("claim", [])
    ]
    return build(
        entries,
        article=read_toml(data_file("article.toml")),
        constants=read_toml(data_file("constants.toml")),
    )


def build(entries, *, article: dict, constants: dict) -> Ledger:
    """A ledger from (file name, entry) pairs; each fault is refused with the file, the id and the reason."""
    ids, claims = {}, []
    for where, entry in entries:
        if not isinstance(entry.get("id"), str):
            raise BadInput(f"{where}: a claim without id ({str(entry)[:80]})")
        if entry["id"] in ids:
            raise BadInput(f"{where}: {entry['id']}: the id stands twice")
        ids[entry["id"]] = entry
    for name, table, kinds in (
        ("article.toml", article, None),
        ("constants.toml", constants, ("constant", "fact", "assume")),
    ):
        for key, row in table.items():
            _guard(f"{name}: {key}", _check_row, row, kinds)
    for where, entry in entries:
        claims.append(_guard(f"{where}: {entry['id']}", _claim, entry, ids, article, constants))
    return Ledger(tuple(claims))


def _guard(label, function, *args):
    try:
        return function(*args)
    except BadInput as error:
        raise BadInput(f"{label}: {error}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{label}: {type(error).__name__}: {error}") from None


def _check_row(row, kinds):
    stated(_text(row, "value"))
    _text(row, "meaning")
    if kinds and row.get("kind") not in kinds:
        raise BadInput(f"kind takes one of {', '.join(kinds)}, got {row.get('kind')!r}")
    if (kinds or "source" in row) and row.get("source") not in sources():
        raise BadInput(f"unknown source {row.get('source')!r}: it takes a key of references.bib")


def _text(entry, key, default=None):
    value = entry.get(key, default)
    if not isinstance(value, str) or (not value and default is None):
        raise BadInput(f"{key} takes a text, got {value!r}")
    return value


def _claim(entry, ids, article, constants) -> Claim:
    unknown = set(entry) - _KEYS
    if unknown:
        raise BadInput(f"unknown keys {sorted(unknown)}; it takes {', '.join(sorted(_KEYS))}")
    if entry.get("expect") not in VERDICTS:
        raise BadInput(f"expect takes one of {', '.join(VERDICTS)}, got {entry.get('expect')!r}")
    if entry.get("kind") not in ("stated", "implicit"):
        raise BadInput(f"kind takes 'stated' or 'implicit', got {entry.get('kind')!r}")
    common = {
        "id": entry["id"],
        "chapter": _text(entry, "chapter"),
        "kind": entry["kind"],
        "claim": _text(entry, "claim"),
        "expect": entry["expect"],
        "shown": _text(entry, "show", ""),
    }
    if "law" not in entry:
        if stray := {"inputs", "inverse", "solve", "corrected_unit"} & set(entry):
            raise BadInput(f"without a law there is no {', '.join(sorted(stray))}")
        return Claim(
            **common,
            stated=stated(entry["stated"]) if "stated" in entry else None,
            note=_text(entry, "reason"),
        )
    law = find_law(_text(entry, "law"))
    if "solve" in entry:
        law = law.solve(_text(entry, "solve"))
    value = stated(_text(entry, "stated"))
    corrected = _text(entry, "corrected_unit", "")
    unit_factor(corrected or value.written_unit, law.lhs.unit)
    inputs = {name: resolve(ref, ids, article, constants) for name, ref in entry.get("inputs", {}).items()}
    known = {s.name: s for s in (*law.symbols, *law.constants)}
    for name, given in inputs.items():
        if name not in known:
            raise BadInput(
                f"unknown symbol {name!r}: {law.lhs} takes {', '.join(s.name for s in law.symbols)}"
            )
        try:
            unit_factor(given.stated.written_unit, known[name].unit)
        except BadInput as error:
            raise BadInput(f"input {name} ({given.origin}:{given.ref}): {error}") from None
    if missing := [s.name for s in law.symbols if s.name not in inputs]:
        raise BadInput(f"no input for {', '.join(missing)}")
    inverse = tuple(entry.get("inverse", ()))
    if strange := [n for n in inverse if n not in known]:
        raise BadInput(f"unknown symbol in inverse: {', '.join(map(repr, strange))}")
    if entry["expect"] != "holds" and not inverse:
        raise BadInput(
            f"a claim expected to be {entry['expect']!r} takes an inverse: what would have to be true"
        )
    return Claim(
        **common,
        stated=value,
        law=law,
        law_name=entry["law"],
        inputs=inputs,
        inverse=inverse,
        note=_text(entry, "note"),
        corrected_unit=corrected,
    )
