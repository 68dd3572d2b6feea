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
from gpt4lib.spine.stated import half_unit, parts, stated

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


WIDE = [  # (law of x and y, box, its least and largest value by hand)
    (x / (400 + x**2), {x: (10, math.inf)}, (0, 1 / 40)),  # a peak at 20, beyond the finite end
    (x / (400 + x**2), {x: (1e-3, 1e6)}, (1e6 / (400 + 1e12), 1 / 40)),
    (x / (9e-6 + x**2), {x: (1e-6, 1e3)}, (1e-3, 1 / 6e-3)),  # a peak at 0.003: a box of nine powers of ten
    ((x - 3) ** 2 + (y - 5) ** 2, {x: (1, 100), y: (4, 6)}, (0, 97**2 + 1)),
    ((x - 30) ** 2 * (y - 50) ** 2, {x: (0, 90), y: (-20, 60)}, (0, 60**2 * 70**2)),
    (x**3 - 12 * x, {x: (-3, 3)}, (-16, 16)),
    (x * (8 - x), {x: (0, 100)}, (-9200, 16)),
    (x**2 * sympy.exp(-x / 50), {x: (0, math.inf)}, (0, 2500 * 4 / math.e**2)),
    (sympy.Heaviside(x - 2) * (x - 5) ** 2, {x: (0, 6)}, (0, 9)),
    (sympy.Heaviside(x - 2) * (x - 5) ** 2, {x: (2.5, 3)}, (4, 6.25)),  # past the step
    (sympy.Heaviside(x - 2) * (x - 5) ** 2, {x: (0.5, 1.5)}, (0, 0)),  # before it
    (sympy.Abs(x - 2), {x: (0, 5)}, (0, 3)),
    (5 + 0 * x, {x: (1, 2)}, (5, 5)),
]


@pytest.mark.parametrize(("law", "box", "want"), WIDE, ids=[str(law) for law, *_ in WIDE])
def test_wide_boxes_and_half_lines_by_hand(law, box, want):
    found = image(sympy.sympify(law), {symbol: Interval(*ends) for symbol, ends in box.items()})
    scale = max(map(abs, want))
    assert found.lo <= want[0] + 1e-12 * scale and found.hi >= want[1] - 1e-12 * scale, "it must enclose"
    assert [found.lo, found.hi] == pytest.approx(want, abs=2e-5 * scale)


@pytest.mark.parametrize(
    ("law", "box", "boxes"),
    [
        (x * y, {x: (1, 2), y: (3, 4)}, 2),  # rises in both: the corners are enough
        (x / (400 + x**2), {x: (1e-3, 1e6)}, 60),  # halves of the exponent, not of the length
        (x / (9e-6 + x**2), {x: (1e-6, 1e3)}, 60),
        (x / (400 + x**2), {x: (10, math.inf)}, 60),
        ((x - 3000) ** 2 + (y - 5) ** 2, {x: (1, 1e6), y: (4.9, 5.2)}, 300),
    ],
)
def test_few_boxes_are_enough(law, box, boxes):
    box = {symbol: Interval(*ends) for symbol, ends in box.items()}
    assert image(law, box, max_boxes=boxes) == image(law, box)


def test_a_range_that_needs_more_boxes_is_refused_with_its_symbols():
    with pytest.raises(BadInput) as caught:
        image((x - y) ** 2 * sympy.sin(5 * x), {x: Interval(0.1, 9), y: Interval(0.1, 9)}, max_boxes=7)
    assert str(caught.value) == "the range over x, y could not be bounded in 7 boxes"


def test_a_looser_tolerance_is_a_wider_range_and_no_wider_than_asked():
    law, box = x / (1 + x**2) * (3 - y) * y, {x: Interval(0.1, 4), y: Interval(0.5, 2.7)}
    top, low = 0.5 * 2.25, min(a / (1 + a * a) for a in (0.1, 4)) * min(b * (3 - b) for b in (0.5, 2.7))
    for tolerance in (1e-2, 1e-4):
        found = image(law, box, tolerance=tolerance)
        assert top <= found.hi <= top * (1 + tolerance) and found.lo <= low * (1 + 1e-12)
        assert found.lo >= low - tolerance * top


def test_what_an_author_states_in_every_form():
    """Half a unit of the last digit; zeros count among the first two digits; a tilde is no mark
    of its own.
    """
    assert [half_unit(t) for t in ("7", "70", "700", "7000", "0.7", "7.0e3", "1_000", "100e2")] == [
        *(0.5, 0.5, 5, 50, 0.05, 50, 50, 500)
    ]
    assert stated("12").interval == Interval(11.5, 12.5) == stated("~12").interval
    assert stated("> 2").interval.lo == math.nextafter(2, 3) and stated("> 2").interval.hi == math.inf
    assert stated("< 2").interval == Interval(0, math.nextafter(2, 0)) and stated("<= 2").interval.hi == 2
    assert stated("3-8 day").value == 5.5 * 86400 and stated("3-8 day").written_unit == "day"
    assert parts(">= 3 day") == (">=", "3", "") and parts(" 3 - 4") == ("", "3", "4")
    assert Interval(1, 1).contains(1) and not Interval(1, 2).contains(2.5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("> 1-2", "a stated range takes no '>', got '> 1-2'"),
        ("ten", "a stated value takes a form such as .*, got 'ten'"),
        ("5-3", "an interval takes lo <= hi, got lo=5.0, hi=3.0"),
    ],
)
def test_what_is_refused_is_named(text, words):
    with pytest.raises(BadInput, match=words):
        stated(text)


def test_what_interval_arithmetic_cannot_bound_is_refused_and_not_guessed():
    for law in (sympy.floor(x) * x, sympy.Piecewise((x, x < 1), (3, True))):
        with pytest.raises(BadInput, match="the range over x could not be bounded in 9 boxes"):
            image(law, {x: Interval(0.5, 1.75)}, max_boxes=9)
    assert image(sympy.floor(x) * x, {x: Interval(1.5, 1.5)}) == Interval(1.5, 1.5)


def test_no_value_anywhere_is_refused():
    with pytest.raises(BadInput, match="no value at"):
        image(sympy.log(x - 3), {x: Interval(1, 2)})
