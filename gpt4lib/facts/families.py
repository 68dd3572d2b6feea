"""Families of models: how each spells a model, and how its keys become those of a model file.

They stand in `data/configs/families.toml`; what a rule there may say is written at its head.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from ..spine.schema import COUNT, FLAG, TEXT, WHOLE, Kind, Mistakes
from .models import BIASED, DEFAULTS, EXPERT_KEYS, MODEL_KEYS, STATE_KEYS, TYPES, config_table

_LIST = Kind(words="a list", rule={"type": "array"})
_PLACES = Kind(words="a list of places of layers, from 0", rule={"type": "array", "items": WHOLE.rule})
_LAYERS = Kind(words="a whole number from 1 to 10,000", rule=COUNT.rule | {"maximum": 10_000})
_LARGEST = 10**12  # of any number that is read


@cache
def families() -> dict[str, dict]:
    """The families by model_type, each with what it takes over from others."""
    whole, by_type = {}, {}
    for name, own in config_table()["families"].items():  # a family stands below the one that it is like
        base = whole.get(own.get("like"), {})
        merged = {key: base.get(key, {}) | own.get(key, {}) for key in ("model", "default", "values", "bias")}
        empty = {key: [] for key in ("unused", "needs", "none", "when")}
        empty |= {"without": {}, "mlps": {"never": True}}
        family = empty | base | {"short": {}} | own | merged
        whole[name] = family | {"name": name, "reads": _reads(family)}
        by_type |= dict.fromkeys(own["types"], whole[name])
    return by_type


def _reads(family: dict) -> set:
    """The keys that a family knows."""
    told = [*family["model"].values(), *family["default"].values(), *family["unused"]]
    told += [text for rule in (family["mixing"], family["mlps"]) for text in rule.values()]
    told += [text for rule in family["when"] for text in (*rule["if"], *rule["set"].values())]
    words = {word for text in told if isinstance(text, str) for word in text.split()}
    limit = {config_table()["limits"].get(family["mixing"].get("other"), "dtype")}
    named = {*family["default"], *family["values"], *family["bias"]}
    return words | limit | named | {"layer_types", "mlp_layer_types", "dtype"}


def _canonical() -> dict[str, str]:
    """One spelling for each other one."""
    return {other: key for key, others in config_table()["alias"].items() for other in others}


def reader_of(text: dict, family: dict, found: Mistakes, inner: bool = False) -> "Reader":
    """A reader of a text model by its family, with every key under one spelling.

    The text model `inner` to a larger one leaves out what its class takes anyway.
    """
    flat, canon = dict(text), _canonical()
    if inner and family["short"]:
        needs = [key for key in family["needs"] if key not in family["short"]]
        family = family | {"needs": needs, "default": family["default"] | family["short"]}
    for part in family.get("inside", ()):
        inner = flat.pop(part, None) or {}
        if not isinstance(inner, Mapping):
            found.append(f"{part} takes a mapping, got {in_short(inner)}")
            continue
        clash = [key for key in inner.keys() & flat.keys() if inner[key] != flat[key]]
        clash = [key for key in clash if canon.get(key, key) in family["reads"]]
        found += [f"{key} takes one value, got {flat[key]!r} and {inner[key]!r} in {part}" for key in clash]
        flat = {**inner, **flat}
    given, spelled = {}, {}
    for key, value in flat.items():
        one = canon.get(key, key)
        if value is None:
            spelled.setdefault(one, key)
        elif one in given and given[one] != value:
            found.append(f"{key} takes the value of {spelled[one]} = {given[one]!r}, got {value!r}")
        else:
            given[one], spelled[one] = value, key
    return Reader(family=family, flat=flat, given=given, spelled=spelled, found=found)


@dataclass
class Reader:
    """Reads keys, keeps which key of a model each went `into`, and goes on with 1 where a value is wrong."""

    family: dict
    flat: dict
    given: dict
    spelled: dict
    found: Mistakes
    taken: dict = field(default_factory=dict)
    assumed: dict = field(default_factory=dict)
    told: set = field(default_factory=set)
    into: str = ""

    def value(self, key: str, kind: Kind = WHOLE, default=None):
        """A key's value, or what the family takes where the file leaves it out."""
        ours = self.taken.setdefault(key, [])
        ours += [self.into] if self.into not in ours else []
        known = {} if key in self.family["needs"] else self.family["default"]
        default = known.get(key, default)
        stand_in = [] if kind in (_LIST, _PLACES) else 1
        got = self.given.get(key)
        if got is not None and got != "auto":
            line = kind.mistake(self.spelled[key], got)
            if type(got) is int and got > _LARGEST:
                line = f"{self.spelled[key]} takes at most {_LARGEST:.0e}, got {got}"
            return stand_in if self.wrong(line, key) else got
        if isinstance(default, str):
            default = self.formula(default)
        if default is None and key in self.spelled and key in self.family["none"]:
            return 0
        if default is None:
            got = "None" if key in self.spelled else "nothing"
            self.wrong(f"{self.spelled.get(key, key)} takes {kind.words}, got {got}", key)
            return stand_in
        if default or key == "tie_word_embeddings":
            self.assumed[key] = default
        return default

    def wrong(self, line, key=None) -> bool:
        """Keeps a mistake, one for a key; whether there is one."""
        if line and (key or line) not in self.told:
            self.told.add(key or line)
            self.found.append(line)
        return bool(line)

    def formula(self, text: str, kind: Kind = WHOLE):
        """`hidden_size / num_attention_heads`, worked out from left to right."""
        words = text.split()
        total, *rest = (int(word) if word.isdigit() else self.value(word, kind) for word in words[::2])
        for sign, other in zip(words[1::2], rest, strict=True):
            if sign == "/" and (not other or total % other):
                if not self.found:
                    self.wrong(f"{text} takes numbers that divide, got {total} / {other}")
                return 1
            total = {"*": total * other, "+": total + other, "/": total // (other or 1)}[sign]
        return total

    def holds(self, conditions: dict) -> bool:
        """Whether each key has its value; a flag that nobody gives is off."""
        kinds = {key: FLAG if isinstance(value, bool) else WHOLE for key, value in conditions.items()}
        default = {key: False if kind is FLAG else None for key, kind in kinds.items()}
        got = {key: self.value(key, kind, default[key]) for key, kind in kinds.items()}
        return got == conditions


# ---- the keys of a model file -----------------------------------------------------------------------
def model_keys(r: Reader) -> dict:
    """The keys of a model file that a configuration stands for."""
    family, plan = r.family, dict(r.family["model"])
    _check_without(r)
    for rule in family["when"]:
        r.into = next(iter(rule["set"]))
        plan |= rule["set"] if r.holds(rule["if"]) else {}
    r.into = "layers"
    layers = r.formula(plan["layers"], _LAYERS)
    kinds, mlps = _layers(r, layers) if not r.found else (["full"], ["dense"])
    drop = set(family.get("drop", ()))
    drop |= set() if "experts" in mlps else {"n_experts", *EXPERT_KEYS}
    drop |= set() if "dense" in mlps else {"d_ff"}
    drop |= set() if family.get("state") in kinds else set(STATE_KEYS)
    keys = {"layer_kinds": _shortest(kinds)} | _mlp_keys(mlps)
    keys |= {kind: _limit(r, kind) for kind in config_table()["limits"] if kind in kinds}
    for r.into, told in plan.items():
        formula = isinstance(told, str) and TYPES[r.into] is not str
        if r.into not in drop:
            keys[r.into] = r.formula(told, MODEL_KEYS[r.into]) if formula else told
        elif formula:  # a key that no layer of this model uses holds a number all the same
            kind = FLAG if TYPES[r.into] is bool else WHOLE
            for word in r.given.keys() & {*told.split()} - r.taken.keys():
                r.wrong(r.given[word] != "auto" and kind.mistake(r.spelled[word], r.given[word]), word)
    r.into = "biases"
    flags = [flag for flag in family["bias"] if flag == "always" or r.value(flag, FLAG, False) is True]
    biased = {matrix for flag in flags for matrix in family["bias"][flag]}
    keys["biases"] = [matrix for matrix in BIASED if matrix in biased] or False
    if keys.get("d_embedding") == keys["d_model"]:
        del keys["d_embedding"]
    return keys


def _check_without(r: Reader) -> None:
    """Keeps as a mistake a value that a key has only beside another one, which the file leaves out."""
    for other, rules in r.family["without"].items():
        for key, allowed in rules.items() if other not in r.given else ():
            fits = [None, *(r.given.get(each) if isinstance(each, str) else each for each in allowed)]
            if not _among(r.given.get(key), fits):
                takes = f"{' or '.join(map(str, allowed))} without {other} ({r.family['name']})"
                r.wrong(f"{r.spelled[key]} takes {takes}, got {in_short(r.given[key])}", key)


_KINDS = {"full_attention": "full", "attention": "full", "sliding_attention": "window"}
_KINDS |= {"chunked_attention": "chunk", "linear_attention": "state", "mamba": "state"}
# letters of a pattern of layers that do one thing each
_LETTERS = {"M": "mamba", "*": "attention", "-": "mlp", "E": "moe"}
_BLOCKS = {word: (kind, "none") for word, kind in _KINDS.items() if kind in ("full", "state")}
_BLOCKS |= {"mlp": ("none", "dense"), "moe": ("none", "experts")}


def _layers(r: Reader, layers: int) -> tuple[list, list]:
    """What mixes the tokens in each layer, and what follows."""
    rule, every = r.family["mixing"], range(layers)
    other, r.into = rule.get("other", "full"), "layer_kinds"
    if "pattern" in rule:
        if rule["pattern"] in r.given:
            r.given["layer_types"] = [_LETTERS.get(x, x) for x in str(r.value(rule["pattern"], TEXT))]
            r.spelled["layer_types"] = rule["pattern"]
        kinds, mlps = zip(*(_BLOCKS[word] for word in _list(r, "layer_types", layers, _BLOCKS)), strict=True)
    else:
        if "layer_types" in r.given:
            known = [word for word, kind in _KINDS.items() if kind in ("full", other)]
            kinds = [_KINDS[word] for word in _list(r, "layer_types", layers, known)]
        elif other == "full" or (other in config_table()["limits"] and not _limit(r, other)):
            kinds = ["full"] * layers
        else:
            r.into = "layer_kinds"
            kinds = ["full" if each else other for each in _chosen(r, rule, layers)]
        r.into = "mlp_kinds"
        rule = r.family["mlps"]
        routed = "never" not in rule and r.value("num_experts") > rule.get("alone", 0)
        if routed and "mlp_layer_types" in r.given:
            chosen = [word == "sparse" for word in _list(r, "mlp_layer_types", layers, ("dense", "sparse"))]
        else:
            chosen = _chosen(r, rule, layers) if routed else [False for _ in every]
        mlps = ["experts" if each else "dense" for each in chosen]
    return [r.family.get("state") if kind == "state" else kind for kind in kinds], list(mlps)


def _chosen(r: Reader, rule: dict, layers: int) -> list[bool]:
    """Which layers a rule chooses: by a list, by their places, or every so many, with a first and a last."""
    told = lambda name, default: rule.get(name, default)
    whole = lambda name, default: r.value(rule[name]) if type(told(name, 0)) is str else told(name, default)
    if "list" in rule and (r.given.get(rule["list"]) or "every" not in rule):
        words = rule.get("words", {})
        return [words[str(x)] for x in _list(r, rule["list"], layers, words)]
    if "places" in rule and (rule["places"] in r.given or "every" not in rule):
        places = _places(r, rule["places"], layers)
        return [i in places for i in range(layers)]
    n = max(1, whole("every", 1))
    offset, last = whole("offset", n - 1), layers - 1
    if rule.get("last") in r.given:
        last = r.value(rule["last"])
    but = _places(r, rule["but"], layers) if "but" in rule else ()
    if offset >= n:
        r.wrong(f"{rule['offset']} takes less than {rule['every']} = {n}, got {offset}", rule["offset"])
    chosen = range(whole("first", 0), min(last + 1, whole("before", layers)))
    return [i in chosen and i % n == offset and i not in but for i in range(layers)]


def _places(r: Reader, key: str, layers: int) -> list:
    """A list of places of layers, empty where the file has none."""
    got = r.value(key, _PLACES, [])
    if any(i >= layers for i in got):
        r.wrong(f"{r.spelled[key]} takes places below {layers}, got {in_short(got)}", key)
    return got


def _list(r: Reader, key: str, layers: int, known) -> list:
    """A list with an entry a layer, each one of the known."""
    got, known = r.value(key, _LIST), list(known)
    fine = isinstance(got, list) and len(got) == layers
    if fine and all(type(x) in (str, int) and str(x) in known for x in got):
        return got
    takes = f"a list of {layers} entries of {', '.join(known)}"
    r.wrong(f"{r.spelled.get(key, key)} takes {takes}, got {in_short(got)}", key)
    return known[:1] * layers


def _limit(r: Reader, kind: str) -> int:
    """Tokens of a window or chunk, 0 for none; null means none whatever the family has."""
    r.into = kind
    asked = kind == "window" and "use_sliding_window" in r.family["default"]
    if asked and not r.value("use_sliding_window", FLAG):
        return 0
    key = config_table()["limits"][kind]
    if key not in r.spelled and key not in r.family["default"]:
        r.assumed[key] = "none"
    if key in r.spelled and key not in r.given:
        r.taken[key] = [kind]
        return 0
    return r.value(key, COUNT, 0)


def _mlp_keys(mlps: list[str]) -> dict:
    """`n_dense_layers` where the first layers are dense and the rest have experts, else a pattern."""
    dense = mlps.count("dense")
    if mlps == ["dense"] * dense + ["experts"] * (len(mlps) - dense):
        return {"n_dense_layers": dense} if 0 < dense < len(mlps) else {}
    return {"mlp_kinds": _shortest(mlps)}


def _shortest(kinds: list[str]) -> list[str]:
    """The shortest pattern that repeats to these kinds."""
    fits = (n for n in range(1, len(kinds) + 1) if all(x == kinds[i % n] for i, x in enumerate(kinds)))
    return kinds[: next(fits)]


# ---- what was not read ------------------------------------------------------------------------------
def not_read(r: Reader, keys: dict) -> tuple[str, ...]:
    """Keys that nothing took: what may change a count or the cache is a mistake, the rest is returned.

    `keys` are those of the model file: what a key says of them in other words is passed over.
    """
    table, canon = config_table()["files"], _canonical()
    family, unknown = r.family, []
    neutral = "|".join([*table["neutral"], table["towers"], "quantization(_config)?"])
    for key, value in r.flat.items():
        names = {key, canon.get(key, key)}
        allowed = next((family["values"][name] for name in names if name in family["values"]), None)
        if allowed is not None and value is not None and not _among(value, allowed):
            takes = " or ".join(map(repr, allowed)) or "null"
            said = f"{key} takes {takes} ({family['name']}), got {in_short(value)}"
            r.wrong(f"{said}: the count would differ", key)
        active = re.fullmatch(table["activation"], key) and allowed is None and value is not None
        activations = family.get("activations", table["activations"])
        if active and not _among(value, activations):
            r.wrong(f"{key} takes one of {', '.join(activations)}, got {in_short(value)}", key)
        known = names & {*r.taken, *family["reads"]} or any(re.fullmatch(neutral, name) for name in names)
        said = None if known or value is None else _says(key, value, DEFAULTS | keys)
        if said is False or (value and not known and said is None):
            wrong = r.wrong(structural(key, value, f"the family {family['name']}"), key)
            unknown += [] if wrong else [key]
    return tuple(unknown)


def _says(key: str, value, keys: dict) -> bool | None:
    """Whether what a key says in other words is what the model has; None for a key that says nothing."""
    for pattern, said in config_table()["files"]["means"].items():
        if re.fullmatch(pattern, key):
            if isinstance(said, str):
                return value == keys[said]
            said = said.get(str(value).lower())
            return said is not None and all(_among(keys[name], fit) for name, fit in said.items())
    return None


def _among(value, allowed) -> bool:
    return any(type(value) is type(each) and value == each for each in allowed)


def structural(key: str, value, place: str) -> str | None:
    """What is said of a key that may change a count or the cache, by its name in any case or CamelCase."""
    words = _in_snake_case(key)
    if not re.search(config_table()["files"]["structure"], words):
        return None
    cached = re.search("kv|window|cache|state|chunk|share|index|sparse", words)
    wrong = "the cache and the count" if cached else "the count"
    return f"{key} takes no value in {place}, got {in_short(value)}: passed over, {wrong} could be wrong"


def _in_snake_case(name: str) -> str:
    """The words of a name, `DeepseekV32` as deepseek_v32."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).replace("-", "_").lower()


def uncounted(kind: str) -> list[str]:
    """Why a type or class has no count here."""
    spelled, table = {_in_snake_case(kind), kind.lower()}, config_table()["refused"].items()
    return [why for pattern, why in table if any(re.fullmatch(pattern, each) for each in spelled)]


def other_class(name: str, kind) -> list[str]:
    """Why a class is none of a type: it has no count here, or is that of a family of another structure."""
    stem = re.sub(r"(For[A-Z]\w+|LMHeadModel|Model)$", "", name)
    plain = lambda text: re.sub("[_-]", "", text).lower()
    theirs = next((each for each in families() if plain(each) == plain(stem)), "")
    ours = kind if kind in families() else "llama"
    rules = lambda each: [families()[each][key] for key in ("model", "mlps")]
    return [f"it is that of {theirs}"] if theirs and rules(theirs) != rules(ours) else uncounted(stem)


def in_short(value) -> str:
    """A value as a message shows it, in 40 characters at most."""
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
