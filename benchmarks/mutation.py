"""Mutation check: does a test go red when a law, a stated value, an input or a line of code is wrong?

One mutant at a time (`mutants.py` says what is changed). Every mutant is a forked process that runs the tests which
reach the changed place, until the first one fails. Which those are a first run of the unchanged library finds out,
one test file at a time; it is kept in _build/reach.json. The tests of the built site are left out.

    python benchmarks/mutation.py [--only REGEX] [--list] [--jobs N] [--sample N] [--seed N]
"""

import argparse
import builtins
import gc
import hashlib
import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
os.chdir(ROOT)
sys.path.insert(0, str(ROOT))

import altair  # noqa: E402, F401  loaded once
import pytest
from hypothesis.internal.conjecture import engine  # noqa: E402
from mutants import all_mutants, load_as, marked, sources  # noqa: E402

SITE = ("test_build", "test_site")  # need the built site
REACH = Path("_build/reach.json")
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


def first_red(path):
    """Run one file's tests, or a module's doctests: the first that fails, or "" where all pass."""
    plugin, plain = (
        FirstFailure(),
        ["--assert=plain", "-o", "addopts=", "-p", "no:cacheprovider", "-p", "no:nbval"],
    )
    status = pytest.main(["-x", "-q", "--tb=no", *plain, "--doctest-modules", path], [plugin])
    return "" if status in (0, 5) else plugin.name or f"{path}: pytest ended with {status!r}"


def survey(path):
    """Run one test file on the unchanged library: (path, its first red test, seconds, the functions it reaches)."""
    quiet()
    reached = set()
    builtins.__reached__ = lambda *function: reached.add(function)
    load_as({module: partial(marked, module) for module in sources()})
    return path, first_red(path), time.process_time(), sorted(reached)


def checksum(*paths):
    """One number for the contents of files."""
    return hashlib.sha256(b"".join(Path(path).read_bytes() for path in paths)).hexdigest()


def reach(pool):
    """Each test file's seconds and the functions it reaches; anew where the library or the file has changed."""
    library = [path for path in sorted(Path("gpt4lib").rglob("*")) if path.suffix in (".py", ".toml", ".csv")]
    known = json.loads(REACH.read_text()) if REACH.exists() else {}
    paths = [str(path) for path in sorted(Path("tests").glob("test_*.py")) if not path.stem.startswith(SITE)]
    sums = {path: checksum(path, *library) for path in paths}
    old = [path for path in paths if known.get(path, [""])[0] != sums[path]]
    for path, red, seconds, reached in pool.imap_unordered(survey, old):
        if red:
            sys.exit(f"the unchanged library already fails: {red}")
        known[path] = sums[path], seconds, reached
        REACH.parent.mkdir(exist_ok=True)
        REACH.write_text(json.dumps(known))
    return {path: (known[path][1], set(map(tuple, known[path][2]))) for path in paths}


def attempt(task):
    """Make one mutant in this process, run test files, each in its time: (label, the first red test, seconds)."""
    (label, module, _, make, how), files = task
    quiet()
    signal.signal(signal.SIGPROF, signal.default_int_handler)  # as if somebody had pressed Ctrl-C
    start, red = time.process_time(), ""
    make(*how)
    for path, seconds in files:
        signal.setitimer(signal.ITIMER_PROF, 3 * seconds + 10)
        red = first_red(path)
        red = "timeout" if "INTERRUPTED" in red else red
        if red:
            break
    return label, red, time.process_time() - start


def near(mutant, tests):
    """The test files that reach a mutant's function, with their seconds: its module's own first, then by time."""
    label, module, function, *_ = mutant
    name = "test_" + {"__main__": "cli"}.get(module, module.removeprefix("mini."))
    own = {name, name.replace("test_", "test_mini_"), "test_ledger_double_entry"}
    files = [(seconds, path) for path, (seconds, reached) in tests.items() if (module, function) in reached]
    files.sort(key=lambda file: (Path(file[1]).stem not in own, file))
    doctests = [(5.0, str(sources()[module]))] if label.startswith("source") else []
    return [(path, seconds) for seconds, path in doctests + files]


def main():
    """List or run the mutants; print each one's first red test, then the share killed and the survivors."""
    parser = argparse.ArgumentParser(description="Which changes of the library does no test notice?")
    parser.add_argument("--only", default="", metavar="REGEX", help="mutants whose label matches")
    parser.add_argument(
        "--sample", type=int, metavar="N", help="N mutants drawn at random, the same each time"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another sample (0)")
    parser.add_argument("--list", action="store_true", help="print the labels and stop")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes at a time (2)")
    options = parser.parse_args()
    gc.freeze()
    with multiprocessing.get_context("fork").Pool(options.jobs, maxtasksperchild=1) as pool:
        mutants = [m for m in pool.apply(all_mutants) if re.search(options.only, m[0])]
        if options.sample is not None:
            mutants = random.Random(options.seed).sample(mutants, min(options.sample, len(mutants)))
        if options.list:
            print(*(m[0] for m in mutants), f"{len(mutants)} mutants", sep="\n")
            return
        tests, results = reach(pool), []
        tasks = [(mutant, near(mutant, tests)) for mutant in mutants]
        for label, red, spent in pool.imap_unordered(attempt, tasks):
            results.append((label, {"": "survived", "timeout": "never ended"}.get(red, "killed")))
            by = f"<- {red}" if red else "SURVIVED"
            print(f"{len(results)}/{len(mutants)} {spent:5.1f} s  {label}  {by}", flush=True)
    for label, end in sorted(results):
        if end != "killed":
            print(f"{end}: {label}")
    for kind in sorted({label.split()[0] for label, _ in results}):
        ends = Counter(end for label, end in results if label.startswith(kind))
        print(f"{kind}: {ends.total()} mutants, {', '.join(f'{n} {end}' for end, n in sorted(ends.items()))}")


if __name__ == "__main__":
    main()
