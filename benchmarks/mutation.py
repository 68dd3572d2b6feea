"""Mutation check: does a test go red when a law, a stated value, an input or a line of code is wrong?

One mutant at a time (`mutants.py` says what is changed). Every mutant is a forked process that runs the tests
which reach the changed place, until the first one fails. Which those are a first run of the unchanged library
finds out, one test file at a time; it is kept in _build/reach.json. The tests of the built site are left out.

A mutant that runs forever is killed by the suite's own limit on a test's processor time. One that gets past
that is ended after a while and counts as alive: "never ended".

    python benchmarks/mutation.py [--only REGEX] [--list] [--jobs N] [--sample N] [--seed N]
"""

import argparse
import ast
import builtins
import gc
import hashlib
import json
import multiprocessing
import os
import random
import re
import resource
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
os.chdir(ROOT)
sys.path.insert(0, str(ROOT))

import altair  # noqa: E402, F401  loaded once
import pytest  # noqa: E402
from hypothesis.internal.conjecture import engine  # noqa: E402
from mutants import all_mutants, load_as, marked, sources  # noqa: E402

SITE = ("test_build", "test_site")  # need the built site
REACH = Path("_build/reach.json")
READ = (".py", ".toml", ".csv")  # what a result can depend on
MEMORY = 8 << 30  # bytes: a mutant that asks for more fails, and the machine goes on
engine.MAX_SHRINKS = 0  # a failing example is enough


class FirstFailure:
    """A pytest plugin that remembers the first test, or file, that failed."""

    name = ""

    def pytest_runtest_logreport(self, report):
        self.name = self.name or (report.nodeid if report.failed else "")

    pytest_collectreport = pytest_runtest_logreport


def quiet():
    """No output, and no other process, which no mutant would reach: a test that starts one is skipped."""
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    subprocess.Popen = lambda *_, **__: pytest.skip("another process", allow_module_level=True)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))


def first_red(path):
    """Run one file's tests, or a module's doctests: the first that fails, or "" where all pass."""
    plugin, here = FirstFailure(), ["--doctest-modules", "--rootdir", str(ROOT), path]
    plain = ["--assert=plain", "-o", "addopts=", "-p", "no:cacheprovider", "-p", "no:nbval"]
    status = pytest.main(["-x", "-q", "--tb=no", *plain, *here], [plugin])
    return "" if status in (0, 5) else plugin.name or f"{path}: pytest ended with {status!r}"


def answer(function, task, out):
    """Send what a task comes to."""
    out.send(function(task))


def each(function, tasks, jobs):
    """(task, what it comes to) as they end, each in a process of its own; None for one that died."""
    fork = multiprocessing.get_context("fork")
    running, tasks = {}, iter(tasks)
    while True:
        while len(running) < jobs and (task := next(tasks, None)) is not None:
            mine, theirs = fork.Pipe(duplex=False)
            process = fork.Process(target=answer, args=(function, task, theirs))
            process.start()
            theirs.close()
            running[mine] = task, process
        if not running:
            return
        for mine in wait(running):
            task, process = running.pop(mine)
            try:
                found = mine.recv()
            except EOFError:
                found = None
            process.join()
            yield task, found


def survey(path):
    """Run one test file on the unchanged library: (its first red test, seconds, the functions it reaches)."""
    quiet()
    reached = set()
    builtins.__reached__ = lambda *function: reached.add(function)
    load_as({module: partial(marked, module) for module in sources()})
    return first_red(path), time.process_time(), sorted(reached)


def checksum(*paths):
    """One number for the contents of files."""
    return hashlib.sha256(b"".join(Path(path).read_bytes() for path in paths)).hexdigest()


def reach(jobs):
    """Each test file's seconds and the functions it reaches; anew where the library or it has changed."""
    library = [path for path in sorted(Path("gpt4lib").rglob("*.*")) if path.suffix in READ]
    known = json.loads(REACH.read_text()) if REACH.exists() else {}
    files = sorted(Path("tests").rglob("test_*.py"))
    paths = [str(path) for path in files if not path.stem.startswith(SITE)]
    sums = {path: checksum(path, *library) for path in paths}
    old = [path for path in paths if known.get(path, [""])[0] != sums[path]]
    for path, found in each(survey, old, jobs):
        red, seconds, reached = found or (f"{path}: died", 0, [])
        if red:
            sys.exit(f"the unchanged library already fails: {red}")
        known[path] = sums[path], seconds, reached
        REACH.parent.mkdir(exist_ok=True)
        REACH.write_text(json.dumps(known))
    return {path: (known[path][1], set(map(tuple, known[path][2]))) for path in paths}


def attempt(task):
    """Make one mutant in this process and run test files: (the first red test, seconds)."""
    (_, _, _, make, how), files = task
    quiet()
    most = 300 + int(3 * sum(seconds for _, seconds in files))
    resource.setrlimit(resource.RLIMIT_CPU, (most, most))  # for what the suite's own limit does not end
    make(*how)
    red = next(filter(None, (first_red(path) for path, _ in files)), "")
    return red, time.process_time()


def imports(path):
    """Dotted names that a test file imports."""
    for node in ast.walk(ast.parse(Path(path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


def distance(module, path):
    """How far a test file is from a module: 0 bears its name, 1 part of it, 2 imports it, 3 neither."""
    parts, name = module.split("."), Path(path).stem.removeprefix("test_")
    names = ["_".join(parts[i:]) for i in range(len(parts))]
    if name in names or name.partition("mini_")[2] in names:
        return 0
    if any(name.startswith(f"{own}_") or own.startswith(f"{name}_") for own in names):
        return 1
    return 2 if f"gpt4lib.{module}" in imports(path) else 3


def near(mutant, tests):
    """Test files that reach a mutant's function, with their seconds: its module's own first, then by time."""
    label, module, function, *_ = mutant
    place = module, function
    files = [(path, seconds) for path, (seconds, reached) in tests.items() if place in reached]
    files.sort(key=lambda file: (distance(module, file[0]), file[1], file[0]))
    doctests = [(str(sources()[module]), 5.0)] if label.startswith("source") else []
    return doctests + files


def given():
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description="Which changes of the library does no test notice?")
    parser.add_argument("--only", default="", metavar="REGEX", help="mutants whose label matches")
    parser.add_argument("--sample", type=int, metavar="N", help="N drawn at random, the same each time")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another sample (0)")
    parser.add_argument("--list", action="store_true", help="print the labels and stop")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes at a time (2)")
    return parser.parse_args()


def drawn(_):
    """Every mutant, or the reason why there are none."""
    try:
        return all_mutants()
    except ValueError as error:
        return str(error)


def report(results):
    """Print the mutants that are alive, then how each kind ended."""
    for label, end in sorted(results):
        if end != "killed":
            print(f"{end}: {label}")
    for kind in sorted({label.split()[0] for label, _ in results}):
        ends = Counter(end for label, end in results if label.startswith(kind))
        share = ends["killed"] / ends.total()
        ended = ", ".join(f"{n} {end}" for end, n in sorted(ends.items()))
        print(f"{kind}: {ends.total()} mutants, {ended} ({share:.1%} killed)")


def main():
    """List or run the mutants; print each one's first red test, then the share killed and the survivors."""
    options = given()
    gc.freeze()
    ((_, mutants),) = each(drawn, [()], 1)
    if not isinstance(mutants, list):
        sys.exit(mutants or "the mutants cannot be made")
    mutants = [m for m in mutants if re.search(options.only, m[0])]
    if options.sample is not None:
        mutants = random.Random(options.seed).sample(mutants, min(options.sample, len(mutants)))
    if options.list:
        print(*(m[0] for m in mutants), f"{len(mutants)} mutants", sep="\n")
        return
    tests, results = reach(options.jobs), []
    tasks = [(mutant, near(mutant, tests)) for mutant in mutants]
    for ((label, *_), _), found in each(attempt, tasks, options.jobs):
        red, spent = found or ("never ended", float("nan"))
        results.append((label, {"": "survived", "never ended": red}.get(red, "killed")))
        print(f"{len(results)}/{len(mutants)} {spent:5.1f} s  {label}  <- {red or 'NOTHING'}", flush=True)
    report(results)


if __name__ == "__main__":
    main()
