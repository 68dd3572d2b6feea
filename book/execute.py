"""Run notebooks and store their outputs, with what the site and the README take from them.

    python book/execute.py [--all] notebooks/*.ipynb

Those that hold the outputs of the present library already are passed over, unless `--all` is given.

The alt text of a figure is computed in its cell (`show_figure(alt=...)`, a chart's description); it is
copied into the cell's metadata, where MyST-NB looks for it. A cell with the metadata `save = "NAME"`
has its picture written to `book/_static/NAME.png`.
"""

import base64
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import nbformat
import outputs
from nbclient import NotebookClient

STATIC = Path(__file__).resolve().parent / "_static"
CHART = "application/vnd.vegalite.v5+json"


def alt_text(output):
    """The alt text that an output carries, or None."""
    data = output.get("data", {})
    return (
        data[CHART]["description"]
        if CHART in data
        else output.get("metadata", {}).get("image/png", {}).get("alt")
    )


def keep_alt_texts(notebook):
    """Copy each picture's alt text from its output into its cell's metadata."""
    for cell in notebook.cells:
        for text in filter(None, map(alt_text, cell.get("outputs", []))):
            cell.metadata.setdefault("mystnb", {}).setdefault("image", {})["alt"] = text


def saved_pictures(notebook):
    """(name, PNG bytes) of every cell that asks for its picture to be saved."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "save" in cell.metadata and "image/png" in output.get("data", {}):
                yield cell.metadata["save"], base64.b64decode(output["data"]["image/png"])


def run(path):
    """Run one notebook in its folder and write it back."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=120,
        record_timing=False,
        kernel_name="python3",
        resources={"metadata": {"path": str(Path(path).parent)}},
    )
    client.execute()
    keep_alt_texts(notebook)
    nbformat.write(notebook, path)
    for name, picture in saved_pictures(notebook):
        (STATIC / f"{name}.png").write_bytes(picture)


def execute(paths):
    """Run notebooks, two at a time; note each one's checksum when it has run; give their paths in order."""
    ours, one_writes = outputs.library(), Lock()

    def store(path):
        run(path)
        with one_writes:
            outputs.keep(path, ours)
        return path

    with ThreadPoolExecutor(2) as pool:
        yield from pool.map(store, paths)


def main(arguments):
    """Run what is asked for; say what was run."""
    paths = [path for path in arguments if path != "--all"]
    chosen = paths if "--all" in arguments else outputs.stale(paths)
    for path in execute(chosen):
        print(path)
    if not chosen:
        print("the outputs are those of the present library; make execute ALL=1 runs every notebook")


if __name__ == "__main__":
    main(sys.argv[1:])
