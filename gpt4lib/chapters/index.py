"""Every law and every letter of the book by name.

find_law("architecture.compute"), symbols.mfu
"""

from types import SimpleNamespace

from ..spine.errors import pick
from ..spine.law import Law, Quantity
from . import (
    architecture,
    batching,
    dataset,
    dense_wall,
    inference_tradeoffs,
    moe_inference,
    mqa,
    notation,
    parallelism,
    speculative_decoding,
    training_cost,
    training_step,
    vision_io,
)

MODULES = (
    *(notation, dense_wall, architecture, dataset, parallelism, training_step, training_cost),
    *(inference_tradeoffs, moe_inference, mqa, batching, speculative_decoding, vision_io),
)  # in the order of the book


def _collect():
    """Laws by "chapter.name" where they are defined, and letters by name in the order of typesetting."""
    names, letters = {}, {}
    for module in MODULES:
        chapter = module.__name__.rpartition(".")[2]
        for name, found in vars(module).items():
            if isinstance(found, Law) and not name.startswith("_"):
                names.setdefault(found, f"{chapter}.{name}")  # a later chapter may import the law
            elif isinstance(found, Quantity) and found.name == name:
                letters[name] = found
    laws = {name: law for law, name in names.items()}
    return laws, dict(sorted(letters.items(), key=lambda item: item[1].place))


LAWS, LETTERS = _collect()
symbols = SimpleNamespace(**LETTERS)


def find_law(name: str) -> Law:
    """The law named "chapter.law". Raises BadInput that names the nearest known ones."""
    return LAWS[pick(name, LAWS, "law")]
