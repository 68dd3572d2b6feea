"""The table of models: what each weighs, and what a long context costs it."""

from html import escape

from ..facts.models import STATE_KINDS, Model
from ..spine.errors import BadInput
from ..spine.text import fmt
from ..systems.count import SequenceCache, cache_of, parameters
from .tables import cell, long_table

_COLUMNS = ("model", "total", "active", "at 8k", "at 128k", "if all kept", "layers")
LESS = {"window": "windows", "chunk": "chunks"}


def kind_of(shape: Model) -> str:
    """What most sets a model's cache apart: "states", "windows", "chunks", "latent" or "all full"."""
    kinds = shape.mixing_layers
    if any(kind in STATE_KINDS for kind in kinds):
        return "states"
    less = [words for kind, words in LESS.items() if kind in kinds]
    return less[0] if less else "latent" if shape.latent else "all full"


def layers_in_words(shape: Model) -> str:
    """How the layers of a model mix tokens: "40 with a window of 1,024, 8 full".

    >>> from gpt4lib.facts.models import published_model
    >>> layers_in_words(published_model("Llama-2-7B").shape)
    '32 full'
    """
    latent = ", latent" if shape.latent else ""
    words = {"full": f"full{latent}", "window": f"with a window of {shape.window:,}"}
    words |= {"chunk": f"with chunks of {shape.chunk:,}", "none": "without mixing"}
    each = (
        f"{count} {words.get(kind, f'with a state ({kind})')}" for kind, count in shape.mixing_layers.items()
    )
    return ", ".join(each)


def cache_if_full(shape: Model, context: int) -> float:
    """Cache bytes of a sequence if every layer kept every token, with the heads of those that attend.

    A state counts as a layer that attends, and takes nothing beside. Raises BadInput where no layer attends.
    """
    if not shape.attention_layers:
        raise BadInput(f"shape takes a layer that attends, got {shape.name}")
    return cache_of(shape, context).token_bytes * context * shape.layers / shape.attention_layers


class Models:
    """Models with their counts and caches as an HTML table that a reader sorts; text elsewhere."""

    def __init__(self, models):
        self.rows = [(shape, parameters(shape), _caches(shape)) for shape in models]

    def _repr_html_(self):
        return long_table(map(_row, self.rows), _COLUMNS, kind="models", noun="models", filters="layers")

    def __repr__(self):
        return "\n".join(f"{s.name}: {count.total:,} parameters" for s, count, _ in self.rows)


def _caches(shape: Model) -> tuple[SequenceCache, SequenceCache]:
    return cache_of(shape, 8_192), cache_of(shape, 131_072)


def _short(size: float, unit: str) -> str:
    """A size in few letters: "176 B" parameters, "32.9 GB"."""
    words = {" parameters": "", " million": " M", " billion": " B", " trillion": " T"}
    text = fmt(size, unit)
    for word, letter in words.items():
        text = text.replace(word, letter)
    return text


def _row(row) -> str:
    shape, count, (short, long) = row
    sizes = {"total": (count.total, "parameter"), "active": (count.active, "parameter")}
    sizes |= {"at 8k": (short.sequence_bytes, "byte"), "at 128k": (long.sequence_bytes, "byte")}
    sizes |= {"if all kept": (cache_if_full(shape, 131_072), "byte")}
    cells = [
        cell(label, _short(size, unit), f' data-sort="{size:.6g}"') for label, (size, unit) in sizes.items()
    ]
    cells.append(cell("layers", escape(layers_in_words(shape)), f' data-filter="{kind_of(shape)}"'))
    name = escape(shape.name)
    return f'<tr id="{name}"><td>{name}</td>{"".join(cells)}</tr>'
