"""Data files: CSV, TOML, JSON and the bibliography.

Every row names its source, a key of `data/references.bib`. Files are read when first asked for.
"""

import csv
import json
import re
import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path

from ..spine.errors import BadInput, pick

BINARY = (  # from which byte on, how, and what the file is
    (0, b"\x1f\x8b", "packed with gzip"),
    (0, b"PK\x03\x04", "a zip archive or a file of weights"),
    (0, b"GGUF", "a file of weights (GGUF)"),
    (6, b'\x00\x00{"', "a file of weights (safetensors)"),
)


def data_file(name: str):
    """The data file `name` below `gpt4lib/data`, as a readable path. Raises BadInput when missing."""
    path = files("gpt4lib") / "data" / name
    if not path.is_file():
        raise BadInput(f"no data file {name!r}")
    return path


def data_names(folder: str, suffix: str) -> list[str]:
    """The names of the data files in a folder, without their suffix, in order.

    >>> data_names("shapes", ".toml")
    ['gpt4_multi_head', 'gpt4_multi_query']
    """
    found = (path.name for path in (files("gpt4lib") / "data" / folder).iterdir())
    return sorted(name.removesuffix(suffix) for name in found if name.endswith(suffix))


def read_toml(path) -> dict:
    """A TOML file as a dict; a byte-order mark at its start is passed over.

    Raises BadInput in one line: no such file, a folder, not UTF-8, JSON, or not TOML and where.
    """
    text = _text(path, "TOML")
    if text.lstrip().startswith("{"):
        raise BadInput(f"{path} is JSON, and a TOML file is taken: key = value, a line each")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{path} is not valid TOML: {_place(str(error), text)}") from None
    except (RecursionError, ValueError):  # what Python's parser cannot hold
        raise BadInput(f"{path} is TOML that is nested too deeply or holds too long a number") from None


def read_json(path) -> dict:
    """A JSON file that holds an object, as a dict; a byte-order mark at its start is passed over.

    Raises BadInput in one line: no such file, a folder, packed or of weights, not UTF-8, not JSON and where,
    a key twice, or another value than an object.
    """
    text = _text(path, "JSON")
    try:
        found = json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise BadInput(f"{path} is not valid JSON: line {error.lineno}: {error.msg}") from None
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None
    except (RecursionError, ValueError):  # the same
        raise BadInput(f"{path} is JSON that is nested too deeply or holds too long a number") from None
    if not isinstance(found, dict):
        what = "an array" if isinstance(found, list) else "a bare value"
        raise BadInput(f"{path} is JSON that holds {what}; an object is taken: {{...}}")
    return found


def holds_json(path: Path) -> bool:
    """Whether a file is JSON: by its suffix in any case, and by its start where that is no suffix of ours."""
    if path.suffix.lower() in (".json", ".toml") or not path.is_file():
        return path.suffix.lower() == ".json"
    with path.open("rb") as file:
        return file.read(1000).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{"


def _once(pairs) -> dict:
    """The object of these pairs, unless a key is there twice."""
    keys = [key for key, _ in pairs]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise BadInput(f"{', '.join(twice)} is given twice; one value is taken")
    return dict(pairs)


def _text(path, what) -> str:
    path = Path(path) if isinstance(path, str) else path
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise BadInput(f"{path}: cannot be read, there is no such file") from None
    except IsADirectoryError:
        raise BadInput(f"{path}: cannot be read, it is a folder and not a {what} file") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror or error})") from None
    for at, mark, kind in BINARY:
        if raw[at:].startswith(mark):
            raise BadInput(f"{path} is {kind}, and a {what} file is taken")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        at = f"byte 0x{raw[error.start]:02x} in line {line}"
        raise BadInput(f"{path} is not UTF-8 text ({at}); save it as UTF-8") from None


def _place(said, text):
    """ "line 2, '[model': Expected ..." of what tomllib says, which names the place in words only."""
    reason, _, at = said.rstrip(")").rpartition(" (at ")  # "... (at line 2, column 7)" or "... of document)"
    lines = text.rstrip().splitlines() or [""]
    line = min(int(found[0]) if (found := re.findall(r"\d+", at)) else len(lines), len(lines))
    shown = repr(lines[line - 1].strip())
    return f"line {line}, {shown if len(shown) <= 40 else shown[:37] + '...'}: {reason}"


def read_csv(name: str) -> list[dict]:
    """The rows of a CSV file of `gpt4lib/data` as dicts of text."""
    return list(csv.DictReader(data_file(name).read_text(encoding="utf-8").splitlines()))


def published(name: str) -> list[dict]:
    """The rows of a published table, as printed: `published("training_runs")`."""
    return read_csv(f"published/{pick(name, data_names('published', '.csv'), 'published table')}.csv")


@cache
def sources() -> frozenset[str]:
    """The keys of the bibliography."""
    text = data_file("references.bib").read_text(encoding="utf-8")
    return frozenset(re.findall(r"^@\w+\{([^,\s]+),", text, re.M))
