"""Command line: `python -m gpt4lib` with `claims`, `params`, `report` and `schema`; each has --help."""

from __future__ import annotations

import argparse
import json
import os
import sys
from functools import partial

SCHEMAS = ("model", "workbench", "claim", "article", "constants")  # the files that people write


class Parser(argparse.ArgumentParser):
    """argparse with mistakes answered in one line and exit status 2."""

    def error(self, message):
        self.exit(2, f"{self.prog}: {message}\n")


def claims(options) -> int:
    """Print the ledger; with --check exit 1 where a computed verdict is not the expected one."""
    from .ledger import load
    from .show.claims import Claims

    book = load()
    if options.check:
        wrong = book.unexpected()
        for claim in wrong:
            print(f"{claim.id}: expected {claim.expect!r}, computed {claim.verdict!r}")
        print(f"{len(book.claims)} claims, {len(wrong)} unexpected verdicts")
        return 1 if wrong else 0
    print(
        json.dumps([c.record() for c in book.claims], indent=1, ensure_ascii=False)
        if options.json
        else Claims(book.claims)
    )
    return 0


def params(options) -> int:
    """Print a model's parameters by part, and its cache."""
    from .workbench.counts import counts, counts_in_text
    from .workbench.file import load_case

    case = load_case(options.file)
    if options.json:
        found = counts(case.shape, options.context) | {"notes": [*case.notes]}
        print(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        notes = [f"Note: {note}." for note in case.notes]
        print("\n".join([counts_in_text(case.shape, options.context), *notes]))
    return 0


def _tokens(text: str) -> int:
    """A positive whole number of tokens; a text otherwise raises what argparse reports."""
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"takes a positive whole number, got {text!r}")
    return int(text)


def full_report(options) -> int:
    """Print the full report on a model, a cluster, a training run and a serving target."""
    from .workbench.file import load_case
    from .workbench.report import report
    from .workbench.text import to_text

    found = report(load_case(options.file))
    print(json.dumps(found.record(), indent=1, ensure_ascii=False) if options.json else to_text(found))
    return 0


def schema(options) -> int:
    """Print the JSON Schema of a file."""
    if options.kind == "model":
        from .facts.models import model_schema as made
    elif options.kind == "workbench":
        from .workbench.keys import workbench_schema as made
    elif options.kind == "claim":
        from .ledger import claim_schema as made
    else:
        from .facts.given import fact_schema

        made = partial(fact_schema, options.kind)
    print(json.dumps(made(), indent=1, ensure_ascii=False))
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="python -m gpt4lib",
        description="The claims of the book, a model's parameter counts, and reports on whole runs.",
    )
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)
    command = commands.add_parser("claims", help="every claim with its verdict")
    how = command.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="an array of objects")
    how.add_argument("--check", action="store_true", help="exit 1 where a verdict is not the expected one")
    command.set_defaults(run=claims)
    command = commands.add_parser("params", help="parameters and cache of a model")
    model = "a model file, a config.json or its folder, a workbench file, or the name of a model"
    command.add_argument("file", metavar="FILE", help=model)
    command.add_argument("--json", action="store_true", help="total, active, parts, cache")
    tokens = "count the cache of a sequence of so many tokens"
    command.add_argument("--context", type=_tokens, metavar="N", help=tokens)
    command.set_defaults(run=params)
    about = "the full report on a model, a cluster, a training run and a serving target"
    command = commands.add_parser("report", help=about)
    file = "a file of the workbench or the name of an example such as gpt-4; or a model alone, as for params"
    command.add_argument("file", metavar="FILE", help=file)
    command.add_argument("--json", action="store_true", help="everything, with units in the keys")
    command.set_defaults(run=full_report)
    about = "the JSON Schema of a file, for editors that complete keys and mark mistakes"
    first = "A file names its own in the first line, '#:schema model.json' for example; Taplo reads that."
    command = commands.add_parser("schema", help=about, description=f"Print {about}. {first}")
    command.add_argument("kind", choices=SCHEMAS, help="which file it describes")
    command.set_defaults(run=schema)
    return parser


def main(arguments=None) -> int:
    """Run one command; 0 done, 1 a check failed, 2 a mistake in the call or its file."""
    from .spine.errors import BadInput

    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        status = options.run(options)
        sys.stdout.flush()
        return status
    except BadInput as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever reads, `head` for example, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
