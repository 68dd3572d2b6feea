"""Mutation check: does a test go red when a law, a stated value or an input is wrong?

One mutant at a time: a law's right side or one of its terms times 1.3, one symbol's or power's exponent
plus one; a checkable claim's stated value, or one of its inputs, times 1.3. Every mutant is a forked
process that runs the tests of tests/ but those of the built site until the first one fails.

    python benchmarks/mutation.py [--only REGEX] [--list] [--jobs N] [--sample N]
"""

import argparse
import gc
import multiprocessing
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
os.chdir(ROOT)
sys.path.insert(0, str(ROOT))

import numpy, pint, pytest, sympy  # noqa: E401, E402, F401  loaded once here, not once per mutant
from hypothesis.internal.conjecture import engine  # noqa: E402

from gpt4lib import ledger, symbols  # noqa: E402, F401
from gpt4lib.interval import _STATED, stated  # noqa: E402
from gpt4lib.law import Law  # noqa: E402

FIRST = {  # each module with laws, and the tests that know it best: they run first
    "architecture": ["architecture", "shapes"], "training_cost": ["training_cost"], "dataset": ["dataset"],
    "dense_wall": ["dense_wall"], "batching": ["batching"], "kv_cache": ["mini_model"], "mqa": ["mqa"],
    "moe_inference": ["moe_inference", "mini_model"], "speculative_decoding": ["speculative_decoding"],
    "inference_tradeoffs": ["inference_tradeoffs", "serving_model", "torus", "roofline"], "vision_io": ["vision_io"],
    "parallelism": ["mini_parallel", "planner", "parallelism", "mini_model"],
}
SLOW = ("test_build", "test_site", "test_cli")  # the built site, and other processes that no mutant reaches
FACTOR = sympy.Rational(13, 10)
TIMEOUT = 180
engine.MAX_SHRINKS = 0  # a failing example is enough


def places(expr, path=()):
    """Every node of an expression with its path; the base of a power x**n counts as part of the power."""
    yield path, expr
    for i, arg in enumerate(expr.args):
        if not (expr.is_Pow and i == 0 and arg.is_Symbol):
            yield from places(arg, (*path, i))


def put(expr, path, node):
    """The expression with another node at `path`."""
    if not path:
        return node
    args = list(expr.args)
    args[path[0]] = put(args[path[0]], path[1:], node)
    return expr.func(*args)


def changes(rhs):
    """Every mutant of a right side, as (what was done, the new right side)."""
    done = {rhs}
    tried = [("whole x 1.3", FACTOR * rhs)]
    for path, node in places(rhs):
        if node.is_Add:
            tried += [(f"term {arg} x 1.3", put(rhs, path, node + (FACTOR - 1) * arg)) for arg in node.args]
        if node.is_Pow:
            tried.append((f"{node}: exponent + 1", put(rhs, path, node.base ** (node.exp + 1))))
        if node.is_Symbol:
            tried.append((f"{node}: exponent + 1", put(rhs, path, node**2)))
    return [(what, new) for what, new in tried if not (new in done or done.add(new))]


def watch_laws(seen):
    """Call `seen(module, number, lhs, rhs)` for each law that a chapter's module makes; it returns the right side to use."""
    made, original = Counter(), Law.__init__

    def init(self, lhs, rhs, title="", *, source=None):
        module = sys._getframe(1).f_globals["__name__"].removeprefix("gpt4lib.")
        if module in FIRST:
            made[module] += 1
            rhs = seen(module, made[module], lhs, sympy.sympify(rhs))
        original(self, lhs, rhs, title, source=source)

    Law.__init__ = init


def scaled(text):
    """A stated value with its numbers times 1.3; None where that changes nothing."""
    match = _STATED.fullmatch(text)
    number = lambda x: format(float(x.replace(",", "").replace("_", "")) * 1.3, ".12g")  # noqa: E731
    new = (match["mark"] or "") + number(match["a"]) + (f"-{number(match['b'])}" if match["b"] else "") + (f" {match['unit']}" if match["unit"] else "")
    return new if stated(new).interval != stated(text).interval else None


def change_ledger(claim_id, name):
    """Make the ledger load with one claim's stated value (name is None) or one of its inputs times 1.3."""
    build, one = ledger.build, ledger._claim

    def build_changed(entries, **tables):
        return build([(w, {**e, "stated": scaled(e["stated"])} if name is None and e.get("id") == claim_id else e) for w, e in entries], **tables)

    def one_changed(entry, *tables):
        claim = one(entry, *tables)
        if claim.id != claim_id or name not in claim.inputs:
            return claim
        wrong = replace(claim.inputs[name], stated=stated(scaled(claim.inputs[name].stated.text)))
        return replace(claim, inputs={**claim.inputs, name: wrong})

    ledger.build, ledger._claim = build_changed, one_changed


def all_mutants():
    """Every mutant as (label, chapter's module, the arguments that make it)."""
    found = []

    def seen(module, number, lhs, rhs):
        found.extend((f"law {module} {number} {lhs}: {what}", module, number, i) for i, (what, _) in enumerate(changes(rhs)))
        return rhs

    watch_laws(seen)
    for claim in ledger.load().claims:
        if claim.law:
            texts = {None: claim.stated.text} | {name: given.stated.text for name, given in claim.inputs.items()}
            found += [(f"claim {claim.id}: {n or 'stated'}", claim.chapter[3:], claim.id, n) for n, text in texts.items() if scaled(text)]
    return found


class FirstFailure:
    """A pytest plugin that remembers the first test, or file, that failed."""

    name = ""

    def pytest_runtest_logreport(self, report):
        self.name = self.name or (report.nodeid if report.failed else "")

    pytest_collectreport = pytest_runtest_logreport


def first_red(first):
    """Run the tests, those of the files `first` before the others: the name of the first that fails, or "" where all pass."""
    rest = sorted(p.stem for p in Path("tests").glob("test_*.py") if p.stem not in (*SLOW, *first))
    for batch in (first, rest):
        plugin = FirstFailure()
        status = pytest.main(["-x", "-q", "--tb=no", "-o", "addopts=", "-p", "no:cacheprovider", "-p", "no:nbval", *(f"tests/{f}.py" for f in batch)], [plugin])
        if status:
            return plugin.name or f"pytest ended with {status!r}"
    return ""


def attempt(mutant):
    """Make one mutant in this process and run the tests: (label, the first red test, seconds)."""
    label, module, *how = mutant
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    signal.signal(signal.SIGALRM, signal.default_int_handler)  # as if somebody had pressed Ctrl-C
    signal.alarm(TIMEOUT)
    start = time.monotonic()
    if label.startswith("claim"):
        change_ledger(*how)
    elif label.startswith("law"):
        watch_laws(lambda *law: changes(law[3])[how[1]][1] if law[:2] == (module, how[0]) else law[3])
    near = ["ledger_double_entry"] if label.startswith("claim") else [*FIRST[module], "ledger_double_entry"]
    red = first_red([f"test_{name}" for name in near if Path(f"tests/test_{name}.py").exists()])
    spent = time.monotonic() - start
    return label, "timeout" if spent > TIMEOUT else red, spent


def main():
    """List or run the mutants; print each one's first red test, then the share killed and the survivors."""
    parser = argparse.ArgumentParser(description="Which changes of a law, a stated value or an input does no test notice?")
    parser.add_argument("--only", default="", metavar="REGEX", help="mutants whose label matches")
    parser.add_argument("--sample", type=int, metavar="N", help="N mutants drawn at random, the same each time")
    parser.add_argument("--list", action="store_true", help="print the labels and stop")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes at a time (2)")
    options = parser.parse_args()
    gc.freeze()
    with multiprocessing.get_context("fork").Pool(options.jobs, maxtasksperchild=1) as pool:
        mutants = [m for m in pool.apply(all_mutants) if re.search(options.only, m[0])]
        if options.sample is not None:
            mutants = random.Random(0).sample(mutants, min(options.sample, len(mutants)))
        if options.list:
            print(*(m[0] for m in mutants), f"{len(mutants)} mutants", sep="\n")
            return
        if red := pool.apply(attempt, [("unchanged", "architecture")])[1]:
            sys.exit(f"the unchanged library already fails: {red}")
        results = {}
        for label, red, spent in pool.imap_unordered(attempt, mutants):
            results[label] = red
            print(f"{len(results)}/{len(mutants)}  {spent:5.1f} s  {label}  {'<- ' + red if red else 'SURVIVED'}", flush=True)
    for label in sorted(label for label, red in results.items() if red in ("", "timeout")):
        print(f"{'ran out of time, no test red' if results[label] else 'survived'}: {label}")
    killed = sum(red not in ("", "timeout") for red in results.values())
    print(f"{killed} of {len(results)} mutants killed: {killed / max(len(results), 1):.1%}")


if __name__ == "__main__":
    main()
