"""Data files: CSV, TOML and the bibliography.

Every row names its source, a key of `data/references.bib`. Files are read when first asked for.
"""

from __future__ import annotations

import csv
import re
import tomllib
from functools import cache
from importlib.resources import files

from ..spine.errors import BadInput, pick


def data_file(name: str):
    """The data file `name` below `gpt4lib/data`, as a readable path. Raises BadInput when missing."""
    path = files("gpt4lib") / "data" / name
    if not path.is_file():
        raise BadInput(f"no data file {name!r}")
    return path


def read_toml(path) -> dict:
    """A TOML file as a dict. Raises BadInput with the file's name and the line of the mistake."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror or error})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path.name}: {error}") from None


def read_csv(name: str) -> list[dict]:
    """The rows of a CSV file of `gpt4lib/data` as dicts of text."""
    return list(csv.DictReader(data_file(name).read_text(encoding="utf-8").splitlines()))


def published(name: str) -> list[dict]:
    """The rows of a published table, as printed: `published("training_runs")`."""
    known = [
        p.name.removesuffix(".csv")
        for p in (files("gpt4lib") / "data" / "published").iterdir()
        if p.name.endswith(".csv")
    ]
    return read_csv(f"published/{pick(name, known, 'published table')}.csv")


@cache
def sources() -> frozenset[str]:
    """The keys of the bibliography."""
    return frozenset(
        re.findall(r"^@\w+\{([^,\s]+),", data_file("references.bib").read_text(encoding="utf-8"), re.M)
    )
