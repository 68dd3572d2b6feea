"""Stated precision, and the range of a law over intervals, against dense sampling."""

import itertools
import math

import numpy as np
import pytest
import sympy
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from gpt4lib.spine.errors import BadInput
from gpt4lib.spine.interval import Interval, image
from gpt4lib.spine.stated import half_unit, stated

x, y = sympy.symbols("x y", positive=True)


@pytest.mark.parametrize(
    ("text", "lo", "hi", "unit"),
    [
        ("~1.8e12 parameter", 1.75e12, 1.85e12, "parameter"),
        ("90-100 day", 90 * 86400, 100 * 86400, "second"),
        ("~280e9 parameter", 275e9, 285e9, "parameter"),
        ("~13e12 token", 12.5e12, 13.5e12, "token"),
        ("32-36 %", 0.32, 0.36, "1"),
        ("~25,000 GPU", 24500, 25500, "GPU"),
        ("~8,192 GPU", 8191.5, 8192.5, "GPU"),
        ("=16", 16, 16, "1"),
        (">= 10", 10, math.inf, "1"),
        ("63e6 USD", 62.5e6, 63.5e6, "USD"),
        ("~30 GB", 29.5e9, 30.5e9, "byte"),
        ("600 byte", 595, 605, "byte"),
        ("2.0", 1.95, 2.05, "1"),
        ("0", 0, 0.5, "1"),
    ],
)
def test_stated_precision(text, lo, hi, unit):
    value = stated(text)
    assert (value.interval.lo, value.interval.hi) == pytest.approx((lo, hi)) and value.unit == unit
    assert value.interval.contains(value.value)


def test_open_half_lines_leave_out_their_end():
    assert not stated("> 10").interval.contains(10) and stated("> 10").interval.contains(10.001)
    assert not stated("< 1").interval.contains(1) and stated("< 1").interval.contains(0)


@pytest.mark.parametrize("text", ["", "ten", "1-2-3", "~", "> 1-2", "5 parsec", "1,5 ½", "-3"])
def test_what_no_author_states_is_refused(text):
    with pytest.raises(BadInput):
        stated(text)


@given(st.integers(10, 99), st.integers(-3, 20))
def test_two_digits_are_always_significant(digits, power):
    assert half_unit(f"{digits}e{power}") == pytest.approx(0.5 * 10.0**power)


LAWS = [
    x * y,
    x / y,
    x * (3 - x),
    x * (3 - x) * y,
    x / (1 + x**2),
    (x - y) / (x + y),
    sympy.exp(-x) * x,
    sympy.sqrt(x * y) - x,
    x - x**2 / y + sympy.log(x) * y,
    sympy.Max(x, y) * (4 - x),
    (x - y) ** 2,
    x**y,
    sympy.sin(3 * x) + y,
]


@pytest.mark.parametrize("law", LAWS, ids=str)
@given(data=st.data())
@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.generate])
def test_the_range_is_what_dense_sampling_finds(law, data):
    sides = []
    for _ in range(2):
        a, b = sorted(data.draw(st.tuples(st.floats(0.1, 4), st.floats(0.1, 4))))
        sides.append(Interval(a, b))
    found = image(law, {x: sides[0], y: sides[1]})
    grids = [np.linspace(s.lo, s.hi, 161) for s in sides]
    values = np.asarray(
        [
            float(v)
            for v in np.broadcast_to(
                sympy.lambdify((x, y), law, "numpy")(*np.meshgrid(*grids)), (161, 161)
            ).flat
        ]
    )
    scale = max(1.0, abs(values).max())
    assert found.lo <= values.min() + 1e-9 * scale and found.hi >= values.max() - 1e-9 * scale, (
        "it must enclose"
    )
    assert found.lo >= values.min() - 5e-3 * scale and found.hi <= values.max() + 5e-3 * scale, (
        "it must be tight"
    )


def test_half_lines():
    assert image(x / y, {x: Interval(1, math.inf), y: Interval(2, 4)}) == Interval(0.25, math.inf)
    assert image(1 / x, {x: Interval(2, math.inf)}) == Interval(0, 0.5)
    peak = image(x / (1 + x**2), {x: Interval(0.5, math.inf)})
    assert (peak.lo, peak.hi) == pytest.approx((0, 0.5), abs=1e-5)
    assert image(sympy.exp(-x) * x, {x: Interval(0, math.inf)}).hi == pytest.approx(1 / math.e, rel=1e-5)


def test_intervals_meet_exactly_when_they_share_a_point():
    for a, b, c, d in itertools.product(range(4), repeat=4):
        if a <= b and c <= d:
            assert Interval(a, b).meets(Interval(c, d)) == bool(set(range(a, b + 1)) & set(range(c, d + 1)))
    with pytest.raises(BadInput):
        Interval(2, 1)
