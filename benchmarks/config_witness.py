"""Counts the models of `tests/facts/configs_witness.jsonl` anew with the modelling code of transformers.

Needs `pip install torch transformers`, which the book does not. Each line holds a small configuration, the
parameters that the modelling code makes of it (a tied table once, offsets of routers too) and its kinds of
layers. Prints the lines that differ; with --write the file is written anew.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

FILE = Path(__file__).resolve().parents[1] / "tests" / "facts" / "configs_witness.jsonl"


def counted(config: dict) -> dict:
    """The configuration with what the modelling code makes of it, nothing being allocated."""
    known = AutoConfig.for_model(**config)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(known)
    model.tie_weights()
    own = {id(weights): weights.numel() for weights in model.parameters()}
    named = dict(model.named_parameters())
    offsets = [name for name in model.state_dict() if "bias" in name and name not in named]
    total = sum(own.values()) + sum(model.state_dict()[name].numel() for name in offsets)
    kinds = list(getattr(known, "layer_types", None) or [])
    return {"config": config, "parameters": total, "layer_types": kinds}


def main() -> None:
    """Compare, or write."""
    stored = [json.loads(line) for line in FILE.read_text("utf-8").splitlines()]
    anew = [counted(line["config"]) for line in stored]
    if "--write" in sys.argv:
        FILE.write_text("".join(f"{json.dumps(line)}\n" for line in anew), "utf-8")
    for line, new in zip(stored, anew, strict=True):
        if line != new:
            print(line, new, sep="\n", end="\n\n")


if __name__ == "__main__":
    main()
