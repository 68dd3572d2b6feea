"""Which notebooks hold the outputs of the present library: checksums, kept in `notebooks/outputs.sum`.

A line is a notebook's name, the checksum of what it ran on, and that of its code and outputs. The site is
built from the stored outputs where both are still true. Line endings, text between cells and compiled files
do not count.
"""

import json
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
SUMS = NOTEBOOKS / "outputs.sum"
HEAD = "# Written by `make execute`: notebook, what it ran on (library, data, pins), its code and outputs.\n"
RUNS_ON = ("gpt4lib", "requirements.txt", "book/chapters.toml")
SKIPPED = {"__pycache__", ".ipynb_checkpoints"}


def digest(content):
    """A short checksum of bytes, blind to the kind of line endings."""
    return sha256(content.replace(b"\r\n", b"\n")).hexdigest()[:16]


def files(root, places=RUNS_ON):
    """The files that a notebook runs on, sorted: the library, its data, the pins, the map of the chapters."""
    for place in (root / name for name in places):
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            parts = path.relative_to(root).parts
            hidden = SKIPPED & set(parts) or path.name.startswith(".") or path.suffix == ".pyc"
            if path.is_file() and not hidden:
                yield path


def library(root=ROOT):
    """The checksum of all that a notebook runs on: names and contents."""
    lines = (f"{path.relative_to(root).as_posix()} {digest(path.read_bytes())}\n" for path in files(root))
    return digest("".join(lines).encode())


def joined(value):
    """JSON with every text in one piece; a notebook may hold it as a list of lines."""
    if isinstance(value, dict):
        return {key: joined(part) for key, part in value.items()}
    if isinstance(value, list):
        text = value and all(isinstance(part, str) for part in value)
        return "".join(value) if text else [joined(part) for part in value]
    return value


def notebook(path):
    """The checksum of a notebook's code and outputs."""
    cells = json.loads(Path(path).read_text("utf-8"))["cells"]
    code = [[c["source"], c["outputs"]] for c in cells if c["cell_type"] == "code"]
    return digest(json.dumps(joined(code), sort_keys=True).encode())


def stored(sums=SUMS):
    """Notebook names and the pair of checksums that was true when their outputs were stored."""
    lines = sums.read_text("utf-8").splitlines() if sums.exists() else []
    return {name: tuple(pair) for name, *pair in map(str.split, lines) if name != "#"}


def stale(paths, sums=SUMS):
    """The notebooks whose outputs are not known to be those of the present library and code."""
    known, ours = stored(sums), library()
    return [path for path in paths if known.get(Path(path).stem) != (ours, notebook(path))]


def keep(path, ours, sums=SUMS):
    """Note that a notebook's outputs came from a library with the checksum `ours`."""
    there = {path.stem for path in sums.parent.glob("*.ipynb")}
    known = {name: pair for name, pair in stored(sums).items() if name in there}
    known[Path(path).stem] = ours, notebook(path)
    lines = (f"{name} {' '.join(pair)}\n" for name, pair in sorted(known.items()))
    sums.write_text(HEAD + "".join(lines), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    print(library())
