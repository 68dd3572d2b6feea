"""The law object: value, inverse, composition, dimensions, elasticities, typesetting."""

import copy
import pickle
from functools import cache

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from gpt4lib.spine.errors import BadInput
from gpt4lib.spine.interval import Interval
from gpt4lib.spine.law import Law, constant, symbol

N, D, C = symbol("N", "parameter", "size"), symbol("D", "token", "tokens"), symbol("C", "FLOP", "compute")
t, n, F = symbol("t", "second", "time"), symbol("n", "GPU", "cards"), symbol("F", "FLOP/second/GPU", "peak")
mfu, M = symbol("mfu", "1", "share of peak", latex=r"\eta", at_most=1), symbol("M", "USD", "cost")
price = symbol("price", "USD/GPU/second", "price")
k = constant("k", 6, "FLOP/parameter/token", "2 forward, 4 backward")
compute = Law(C, k * N * D, "compute")
duration = Law(t, C / (n * F * mfu), "duration")
cost = Law(M, price * n * t, "cost")
x, y, z = (symbol(c, "1", c) for c in "xyz")
positive = st.floats(1e-3, 1e3)


@given(positive, positive)
def test_value_scalar_array_exact_and_interval_agree(a, b):
    by_hand = 6 * a * b
    assert compute(N=a, D=b) == pytest.approx(by_hand)
    assert compute(N=np.array([a, 2 * a]), D=b) == pytest.approx([by_hand, 2 * by_hand])
    assert float(compute.exact(N=a, D=b)) == pytest.approx(by_hand)
    both = compute(N=Interval(a, 2 * a), D=b)
    assert (both.lo, both.hi) == pytest.approx((by_hand, 2 * by_hand))


def test_exact_is_exact():
    assert compute.exact(N=280 * 10**9, D="13e12") == 6 * 280 * 13 * 10**21
    assert duration.exact(C=1, n=3, F=1, mfu="0.1") == sympy.Rational(10, 3)


def test_constants_can_be_replaced_by_name():
    assert compute(N=1, D=1, k=8) == 8
    assert compute(N=Interval(1, 2), D=1, k=8) == Interval(8, 16)


def test_a_law_takes_what_it_needs_from_more_and_its_own_first():
    known = {"C": 6.0, "n": 2, "F": 1.0, "mfu": 0.5, "other": 1}
    assert duration.at(known) == 6.0 and duration.at(known, mfu=0.25) == 12.0
    with pytest.raises(BadInput, match="n is missing"):
        duration.at({"C": 6.0, "F": 1.0, "mfu": 0.5})


def test_a_law_may_be_made_later_and_is_made_once():
    made = []
    late = Law(C, lambda: made.append(1) or k * N * D, "later")
    same, half = Law(C, late), Law(C, lambda: late.rhs / 2)
    assert not made and late(N=1, D=2) == same(N=1, D=2) == 2 * half(N=1, D=2) == 12
    assert made == [1] and late.symbols == compute.symbols and repr(same) == repr(compute)
    faults = {"both sides": lambda: C * N, "made by symbol": lambda: sympy.Symbol("q") * N}
    for words, rhs in faults.items():
        fault = Law(C, rhs)
        for use in (repr, Law.latex, Law.check_dimensions, lambda law: law(N=1), lambda law: law.solve("N")):
            with pytest.raises(BadInput, match=words):
                use(fault)
    with pytest.raises(BadInput, match="has no input 'price'"):
        compute.solve(price)(C=1, N=1)


@cache
def solved(law, name):
    return law.solve(name)


@pytest.mark.parametrize(
    ("law", "name"),
    [
        (law, s.name)
        for law in (
            compute,
            duration,
            cost,
            cost.given(duration, compute),
            Law(y, 12 * x**2 + 3 * x * z),
            Law(y, z * x ** sympy.Rational(23, 50)),
            Law(y, x / (z + x)),
            Law(y, sympy.sqrt(2 * x * z)),
            Law(y, (x - 1) / (x + z)),
            Law(y, z**x),
            Law(y, 3 * sympy.log(1 + x) / z),
            Law(y, sympy.exp(-1 / (1 + z / x))),
            Law(y, z * (2 + 1 / (x + 1)) ** sympy.Rational(1, 3)),
        )
        for s in law.symbols
    ],
)
@given(data=st.data())
def test_solve_then_evaluate_returns_the_input(law, name, data):
    values = {
        s.name: data.draw(st.floats(0.05, 0.95) if s.at_most else st.floats(1.01, 50)) for s in law.symbols
    }
    inverse = solved(law, name)
    back = inverse(**{law.lhs.name: law(**values)}, **{s: v for s, v in values.items() if s != name})
    assert back == pytest.approx(values[name], rel=1e-6)
    assert inverse.lhs.unit == next(s.unit for s in law.symbols if s.name == name)


@pytest.mark.parametrize("rhs", [x * (2 - x), sympy.Max(x, 1), sympy.exp(x) * x**2 + sympy.sin(x)])
def test_no_single_closed_solution_is_said(rhs):
    with pytest.raises(BadInput, match="closed positive solution"):
        Law(y, rhs).solve("x")


def test_composition_keeps_everything():
    whole = cost.given(duration).given(compute)
    assert {s.name for s in whole.symbols} == {"N", "D", "F", "mfu", "price"} and whole.constants == (k,)
    whole.check_dimensions()
    values = {"N": 280e9, "D": 13e12, "F": 312e12, "mfu": 0.34, "price": "1 USD/GPU/hour"}
    steps = cost(
        price="1 USD/GPU/hour", n=7, t=duration(C=compute(N=280e9, D=13e12), n=7, F=312e12, mfu=0.34)
    )
    assert whole(**values) == pytest.approx(steps)
    assert whole.elasticities() == {"N": 1, "D": 1, "F": -1, "mfu": -1, "price": 1}
    assert whole.solve("mfu")(M=steps, **{s: v for s, v in values.items() if s != "mfu"}) == pytest.approx(
        0.34
    )


@given(positive, positive, st.floats(0.01, 0.99))
def test_elasticity_is_the_slope_that_differences_find(a, b, share):
    law = Law(y, x**2 / (z + x) * (1 - mfu))
    at = {"x": a, "z": b, "mfu": share}
    for name, slope in law.elasticities(**at).items():
        step = 1e-6
        up, down = (law(**{**at, name: at[name] * (1 + s)}) for s in (step, -step))
        assert (np.log(up) - np.log(down)) / (2 * step) == pytest.approx(slope, abs=1e-3 * max(1, abs(slope)))


def test_dimensions():
    for law in (compute, duration, cost):
        law.check_dimensions()
    hour = symbol("hour", "hour", "a unit that is no base unit")
    wrong = [
        Law(C, N * D),
        Law(C, k * N * D**2),
        Law(t, n + t * 0 + F),
        Law(y, sympy.exp(t)),
        Law(y, sympy.Max(N, D)),
        Law(t, hour * x),
    ]
    for law in wrong:
        with pytest.raises(BadInput):
            law.check_dimensions()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ({"N": 1}, "D is missing"),
        ({"N": 1, "D": 2, "X": 3}, "no input 'X' \\(got 3\\)"),
        ({"N": -1, "D": 2}, "N takes parameter, got a negative"),
        ({"N": float("nan"), "D": 1}, "N takes parameter, got NaN"),
        ({"N": "3 GB", "D": 1}, "N takes parameter, got 3.0 GB"),
        ({"N": Interval(-1, 1), "D": 1}, "N takes parameter, got a negative"),
        ({"N": Interval(1, 2), "D": [1, 2]}, "D takes a number or an Interval"),
    ],
)
def test_bad_input_names_symbol_value_and_unit(call, words):
    with pytest.raises(BadInput, match=words):
        compute(**call)


def test_more_bad_input():
    with pytest.raises(BadInput, match="at most 1, got 34"):
        duration(C=1, n=1, F=1, mfu=34)
    with pytest.raises(BadInput, match="no finite value"):
        duration(C=1, n=0, F=1, mfu=0.3)
    with pytest.raises(BadInput, match="does not occur"):
        compute.given(duration)()
    with pytest.raises(BadInput, match="both sides"):
        Law(C, C * N)
    with pytest.raises(BadInput, match="made by symbol"):
        Law(C, sympy.Symbol("q") * N)
    with pytest.raises(BadInput, match="has no input 'Q'"):
        compute.solve("Q")
    with pytest.raises(BadInput, match="constant k takes a number"):
        constant("k", "six", "1", "")
    with pytest.raises(BadInput, match="identifier"):
        symbol("two words", "1", "")


def test_typeset_in_the_order_of_definition_with_constants_as_numbers():
    assert compute.latex() == "C = 6 N D"
    assert duration.latex() == r"t = \frac{C}{n F \eta}"
    assert Law(C, constant("one", 1, "FLOP/parameter", "") * N).latex() == "C = N"


def test_symbols_of_one_name_but_another_unit_differ():
    other = symbol("N", "token", "size")
    assert other != N and symbol("N", "parameter", "size") == N
    assert pickle.loads(pickle.dumps(N)) == N and copy.deepcopy(compute.rhs) == compute.rhs
