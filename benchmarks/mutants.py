"""What the mutation check changes: laws, claims and source. Each change is made in a process of its own.

A law: its right side or one of its terms times 1.3, one symbol's or power's exponent plus one. A claim: its stated
value, or one of its inputs, times 1.3. Source: in a function or a table of the library one operator, comparison,
number, min or max, and or or, not, or the sign of a returned sum or product.
"""

import ast
import re
import sys
from collections import Counter
from dataclasses import replace
from functools import partial
from importlib.machinery import SourceFileLoader
from pathlib import Path

import sympy

ROOT = Path(__file__).resolve().parent.parent
LOOKS = ("figures", "symbols", "__init__")  # colours and sizes; names, units and texts; where a name lives
FACTOR = sympy.Rational(13, 10)
SWAPS = {
    ast.Add: ast.Sub,
    ast.Mult: ast.Div,
    ast.Lt: ast.LtE,
    ast.Gt: ast.GtE,
    ast.Eq: ast.NotEq,
    ast.And: ast.Or,
    "min": "max",
    "minimum": "maximum",
    "Min": "Max",
    "argmin": "argmax",
    "floor": "ceil",
}
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
            tried += [(f"term {arg} x 1.3", put(rhs, path, node + (FACTOR - 1) * arg)) for arg in node.args]
        if node.is_Pow:
            tried.append((f"{node}: exponent + 1", put(rhs, path, node.base ** (node.exp + 1))))
        if node.is_Symbol:
            tried.append((f"{node}: exponent + 1", put(rhs, path, node**2)))
    return [(what, new) for what, new in tried if not (new in done or done.add(new))]


def watch_laws(seen):
    """Call `seen(module, number, lhs, rhs)` for each law that a chapter's module makes; it returns the right side."""
    from gpt4lib.spine.law import Law

    made, original = Counter(), Law.__init__

    def init(self, lhs, rhs, title="", *, source=None):
        package, _, module = sys._getframe(1).f_globals["__name__"].partition(".")
        if package == "gpt4lib" and module != "law":
            made[module] += 1
            rhs = seen(module, made[module], lhs, sympy.sympify(rhs))
        original(self, lhs, rhs, title, source=source)

    Law.__init__ = init


def change_law(module, number, change):
    """Make the `number`-th law of a module with another right side."""
    watch_laws(lambda *law: changes(law[3])[change][1] if law[:2] == (module, number) else law[3])


def scaled(text):
    """A stated value with its numbers times 1.3; None where that changes nothing."""
    from gpt4lib.spine.stated import _STATED, stated

    match = _STATED.fullmatch(text)
    a, b = (x and format(float(re.sub("[,_]", "", x)) * 1.3, ".12g") for x in match.group("a", "b"))
    new = (match["mark"] or "") + a + (f"-{b}" if b else "") + (f" {match['unit']}" if match["unit"] else "")
    return new if stated(new).interval != stated(text).interval else None


def change_ledger(claim_id, name):
    """Make the ledger load with one claim's stated value (name is None) or one of its inputs times 1.3."""
    from gpt4lib import ledger
    from gpt4lib.spine.stated import stated

    build, one = ledger.build, ledger._claim

    def build_changed(entries, **tables):
        wrong = {"stated": scaled} if name is None else {}
        return build(
            [
                (where, entry | {key: f(entry[key]) for key, f in wrong.items() if entry["id"] == claim_id})
                for where, entry in entries
            ],
            **tables,
        )

    def one_changed(entry, *tables):
        claim = one(entry, *tables)
        if claim.id != claim_id or name not in claim.inputs:
            return claim
        wrong = replace(claim.inputs[name], stated=stated(scaled(claim.inputs[name].stated.text)))
        return replace(claim, inputs={**claim.inputs, name: wrong})

    ledger.build, ledger._claim = build_changed, one_changed


def sources():
    """Every module of the library but for looks: {name below gpt4lib: path}."""
    paths = sorted((ROOT / "gpt4lib").rglob("*.py"))
    names = {".".join(path.relative_to(ROOT / "gpt4lib").with_suffix("").parts): path for path in paths}
    return {name: path for name, path in names.items() if path.stem not in LOOKS}


def tree_of(module):
    """A module's source as a tree."""
    return ast.parse(sources()[module].read_text(encoding="utf-8"))


def functions(tree):
    """(name, node) of every function of a module and method of its classes."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{name}", inner) for name, inner in functions(node))
        elif isinstance(node, ast.FunctionDef):
            yield node.name, node


def edits(tree):
    """Every change of a module as (function, node, what is done, a call that does it in the tree)."""
    inner = [node for part in tree.body if isinstance(part, ast.ClassDef) for node in part.body]
    tables = [node for node in (*tree.body, *inner) if isinstance(node, (ast.Assign, ast.AnnAssign))]
    tables = [node for node in tables if not any(isinstance(below, ast.Call) for below in ast.walk(node))]
    for name, body in [*functions(tree), *(("", table) for table in tables)]:
        for node in plain(body):
            for field, new in slots(node):
                old, before, change = (
                    getattr(node, field),
                    ast.unparse(node),
                    partial(setattr, node, field, new),
                )
                change()
                after = ast.unparse(node)
                setattr(node, field, old)
                yield name, node, f"{before[:70]} -> {after[:70]}", change


def plain(node):
    """The node and those below it, but for errors' texts, annotations, formats and the looks of charts."""
    yield node
    drawn = isinstance(node, ast.Call) and re.match(
        "mark_|properties|configure_", getattr(node.func, "attr", "")
    )
    for field, value in ast.iter_fields(node):
        if field not in (
            "annotation",
            "returns",
            "decorator_list",
            "format_spec",
            "exc",
            "keywords" if drawn else "",
        ):
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
    product = (
        isinstance(node, ast.Return) and isinstance(node.value, ast.BinOp) and type(node.value.op) in SWAPS
    )
    if product and not is_text(node.value):
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
        list(edits(tree))[number][3]()
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
            found.append(
                (f"law {module} {number} {lhs}: {what}", module, "", change_law, (module, number, i))
            )
        return rhs

    watch_laws(seen)
    from gpt4lib import ledger

    for claim in ledger.load().claims:
        values = {None: claim.stated, **{name: given.stated for name, given in claim.inputs.items()}}
        for name, value in values.items():
            if claim.law and scaled(value.text):
                label = f"claim {claim.id}: {name or 'stated'}"
                found.append((label, "ledger", "build", change_ledger, (claim.id, name)))
    for module in sources():
        for i, (name, node, what, _) in enumerate(edits(tree_of(module))):
            where = f"{module} {name or 'table'} {node.lineno}:{node.col_offset}"
            found.append((f"source {where} {what}", module, name, change_source, (module, i)))
    return found
