"""What the mutation check changes: laws, claims and source. Each change is made in a process of its own.

A law: its right side or one of its terms times 1.3, one symbol's or power's exponent plus one. A claim: its
stated value, or one of its inputs, times 1.3. Source: in a function or a table of the library one operator,
comparison, number, min or max, and or or, not, or the sign of a returned sum or product. A line that no test
could notice is left out by a comment that says why: `# not mutated: block size, changes no result`.

Modules are found by walking the library's folder and known by their dotted names below `gpt4lib`.
"""

import ast
import re
import sys
from collections import Counter
from dataclasses import replace
from functools import cache, partial
from importlib import import_module
from importlib.machinery import SourceFileLoader
from pathlib import Path

import sympy

ROOT = Path(__file__).resolve().parent.parent
LOOKS = ("figures", "symbols", "__init__")  # colours and sizes; names, units and texts; where a name lives
SPARED = re.compile(r"#\s*not mutated\b(?P<why>.*)")
FACTOR = sympy.Rational(13, 10)
SWAPS = {ast.Add: ast.Sub, ast.Mult: ast.Div, ast.Lt: ast.LtE, ast.Gt: ast.GtE, ast.Eq: ast.NotEq}
SWAPS |= {ast.And: ast.Or, "min": "max", "minimum": "maximum", "Min": "Max", "argmin": "argmax"}
SWAPS |= {"floor": "ceil"}
SWAPS |= {b: a for a, b in SWAPS.items()}


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
            terms = [(f"term {arg} x 1.3", node + (FACTOR - 1) * arg) for arg in node.args]
            tried += [(what, put(rhs, path, new)) for what, new in terms]
        if node.is_Pow:
            tried.append((f"{node}: exponent + 1", put(rhs, path, node.base ** (node.exp + 1))))
        if node.is_Symbol:
            tried.append((f"{node}: exponent + 1", put(rhs, path, node**2)))
    return [(what, new) for what, new in tried if not (new in done or done.add(new))]


def watch_laws(seen):
    """Call `seen(module, number, lhs, rhs)` for each law that a module makes; it returns the right side."""
    Law = home("Law").Law
    made, original = Counter(), Law.__init__

    def init(self, lhs, rhs, title="", *, source=None):
        name = sys._getframe(1).f_globals["__name__"]
        package, _, module = name.partition(".")
        if package == "gpt4lib" and name != Law.__module__:
            made[module] += 1
            number = made[module]
            rhs = rhs.rhs if isinstance(rhs, Law) else rhs() if callable(rhs) else rhs
            rhs = seen(module, number, lhs, sympy.sympify(rhs))
        original(self, lhs, rhs, title, source=source)

    Law.__init__ = init


def change_law(module, number, change):
    """Make the `number`-th law of a module with another right side."""
    watch_laws(lambda *law: changes(law[3])[change][1] if law[:2] == (module, number) else law[3])


def scaled(text):
    """A stated value with its numbers times 1.3; None where that changes nothing."""
    written = home("Stated")
    mark, a, b = written.parts(text)
    a, b = (x and format(float(re.sub("[,_]", "", x)) * 1.3, ".12g") for x in (a, b))
    new = mark + a + (f"-{b}" if b else "") + f" {written.stated(text).written_unit}"
    return new if written.stated(new).interval != written.stated(text).interval else None


def change_ledger(claim_id, name):
    """Make the ledger load with one claim's stated value (name is None) or one of its inputs times 1.3."""
    ledger, stated = home("Ledger"), home("Stated").stated
    build = ledger.build

    def wrong_entry(entry):
        return entry | {"stated": scaled(entry["stated"])} if entry["id"] == claim_id else entry

    def wrong_claim(claim):
        if claim.id != claim_id or name not in claim.inputs:
            return claim
        wrong = replace(claim.inputs[name], stated=stated(scaled(claim.inputs[name].stated.text)))
        return replace(claim, inputs={**claim.inputs, name: wrong})

    def changed(entries, **tables):
        if name is None:
            return build([(where, wrong_entry(entry)) for where, entry in entries], **tables)
        made = build(entries, **tables)
        return replace(made, claims=tuple(map(wrong_claim, made.claims)))

    ledger.build = changed


def sources():
    """Every module of the library but for looks: {name below gpt4lib: path}."""
    paths = sorted((ROOT / "gpt4lib").rglob("*.py"))
    names = {".".join(path.relative_to(ROOT / "gpt4lib").with_suffix("").parts): path for path in paths}
    return {name: path for name, path in names.items() if path.stem not in LOOKS}


def named(definition):
    """The dotted name below gpt4lib of the one module that defines this class, in whatever folder."""
    defines = re.compile(rf"^class {definition}\b", re.MULTILINE)
    found = [name for name in sources() if defines.search(text_of(name))]
    if len(found) != 1:
        raise LookupError(f"one module defines {definition}, found {found}")
    return found[0]


@cache
def home(definition):
    """The module that defines this class."""
    return import_module(f"gpt4lib.{named(definition)}")


def text_of(module):
    """A module's source."""
    return sources()[module].read_text(encoding="utf-8")


def tree_of(module):
    """A module's source as a tree."""
    return ast.parse(text_of(module))


def spared(text):
    """Numbers of the lines that a comment takes out of the draw; ValueError where it gives no reason."""
    lines = enumerate(text.split("\n"), 1)
    found = {i: match["why"] for i, line in lines if (match := SPARED.search(line))}
    for line, why in found.items():
        if not re.match(r": \S", why):
            raise ValueError(f"line {line}: `not mutated` takes a reason, as in `# not mutated: block size`")
    return set(found)


def functions(tree):
    """(name, node) of every function of a module and method of its classes."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{name}", inner) for name, inner in functions(node))
        elif isinstance(node, ast.FunctionDef):
            yield node.name, node


def edits(tree, out=()):
    """Every change of a module but for some lines: (function, node, what is done, a call that does it)."""
    inner = [node for part in tree.body if isinstance(part, ast.ClassDef) for node in part.body]
    tables = [node for node in (*tree.body, *inner) if isinstance(node, (ast.Assign, ast.AnnAssign))]
    tables = [node for node in tables if not any(isinstance(part, ast.Call) for part in ast.walk(node))]
    for name, body in [*functions(tree), *(("", table) for table in tables)]:
        for node in plain(body):
            for field, new in slots(node) if getattr(node, "lineno", 0) not in out else ():
                old, before = getattr(node, field), ast.unparse(node)
                change = partial(setattr, node, field, new)
                change()
                after = ast.unparse(node)
                setattr(node, field, old)
                yield name, node, f"{before[:70]} -> {after[:70]}", change


def plain(node):
    """The node and those below it, but for errors' texts, annotations, formats and the looks of charts."""
    yield node
    looks = "mark_|properties|configure_"
    drawn = isinstance(node, ast.Call) and re.match(looks, getattr(node.func, "attr", ""))
    no_code = ("annotation", "returns", "decorator_list", "format_spec", "exc", "keywords" if drawn else "")
    for field, value in ast.iter_fields(node):
        if field not in no_code:
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and getattr(child, "arg", "") != "indent":
                    yield from plain(child)


def slots(node):
    """What may be changed in one node: (its field, another value of it)."""
    sides = [getattr(node, "left", None), getattr(node, "right", getattr(node, "value", None))]
    if type(getattr(node, "op", None)) in SWAPS and not any(map(is_text, sides)):
        yield "op", SWAPS[type(node.op)]()
    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            if type(op) in SWAPS:
                yield "ops", [*node.ops[:i], SWAPS[type(op)](), *node.ops[i + 1 :]]
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield "value", node.value + 1 if type(node.value) is int else node.value * 1.3 or 1.0
    for field in ("id", "attr"):
        if getattr(node, field, None) in SWAPS:
            yield field, SWAPS[getattr(node, field)]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "operand", ast.UnaryOp(ast.Not(), node.operand)
    returned = isinstance(node, ast.Return) and isinstance(node.value, ast.BinOp)
    if returned and type(node.value.op) in SWAPS and not is_text(node.value):
        yield "value", ast.UnaryOp(ast.USub(), node.value)


def is_text(node):
    """Whether a text or a list, whose + and * are no arithmetic."""
    if isinstance(node, ast.BinOp):
        return is_text(node.left) or is_text(node.right)
    return isinstance(node, (ast.JoinedStr, ast.List, ast.Tuple, ast.ListComp)) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def load_as(trees):
    """Modules load from these trees: {name below gpt4lib: a function that makes the tree}."""
    original = SourceFileLoader.get_code

    def get_code(self, name):
        package, _, module = name.partition(".")
        if package != "gpt4lib" or module not in trees:
            return original(self, name)
        return compile(ast.fix_missing_locations(trees[module]()), self.path, "exec")

    SourceFileLoader.get_code = get_code


def change_source(module, number):
    """Load a module with its `number`-th change."""

    def changed():
        tree = tree_of(module)
        list(edits(tree, spared(text_of(module))))[number][3]()
        return tree

    load_as({module: changed})


def marked(module):
    """The tree of a module whose functions say when they are reached."""
    tree = tree_of(module)
    for name, node in [("", tree), *functions(tree)]:
        at = 1 + (name == "") if ast.get_docstring(node) else 0
        node.body.insert(at, ast.parse(f"__reached__({module!r}, {name!r})").body[0])
    return tree


def all_mutants():
    """Every mutant as (label, module, function or "", what makes it, its arguments)."""
    found = []

    def seen(module, number, lhs, rhs):
        for i, (what, _) in enumerate(changes(rhs)):
            label = f"law {module} {number} {lhs}: {what}"
            found.append((label, module, "", change_law, (module, number, i)))
        return rhs

    watch_laws(seen)
    for claim in home("Ledger").load().claims:
        values = {None: claim.stated, **{name: given.stated for name, given in claim.inputs.items()}}
        for name, value in values.items():
            if claim.law and scaled(value.text):
                label = f"claim {claim.id}: {name or 'stated'}"
                found.append((label, named("Ledger"), "build", change_ledger, (claim.id, name)))
    for module in sources():
        for i, (name, node, what, _) in enumerate(edits(tree_of(module), spared(text_of(module)))):
            where = f"{module} {name or 'table'} {node.lineno}:{node.col_offset}"
            found.append((f"source {where} {what}", module, name, change_source, (module, i)))
    return found
