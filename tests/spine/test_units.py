"""Units, numbers as text, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt4lib.spine.errors import BadInput
from gpt4lib.spine.text import fmt, number
from gpt4lib.spine.units import base_unit, to_unit, unit_factor

DIMENSIONS = ["FLOP", "byte", "token", "parameter", "USD", "GPU", "second"]


@pytest.mark.parametrize("one", DIMENSIONS)
@pytest.mark.parametrize("other", DIMENSIONS)
def test_dimensions_are_independent(one, other):
    if one == other:
        assert unit_factor(one, other) == 1
    else:
        with pytest.raises(BadInput):
            unit_factor(one, other)


def test_factors_against_hand_counts():
    assert unit_factor("day", "second") == 24 * 60 * 60 and unit_factor("hour", "second") == 3600
    assert unit_factor("GiB", "byte") == 1024**3
    assert unit_factor("GB", "byte") == 10**9
    assert unit_factor("Gbit/second", "byte/second") == pytest.approx(1e9 / 8)
    assert unit_factor("cent", "USD") == pytest.approx(1 / 100)
    assert unit_factor("kW*hour", "joule") == pytest.approx(3.6e6)
    assert base_unit("USD/GPU/hour") == "USD/GPU/second"
    assert base_unit("GB") == "byte" and base_unit("percent") == "1"


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (-1, "negative"),
        (float("nan"), "NaN"),
        (float("inf"), "infinite"),
        ([1, -2], "negative"),
        ("3 GB", "dimension"),
        ("3 lightyear", "unknown unit"),
        ("many", "'many'"),
        (None, "None"),
        (True, "True"),
        (object(), "object"),
        ({}, "{}"),
    ],
)
def test_bad_values_name_symbol_value_and_unit(value, word):
    with pytest.raises(BadInput) as error:
        to_unit(value, "second", "t")
    assert "t takes second" in str(error.value) and word in str(error.value)


def test_values_are_converted():
    assert to_unit("90 day", "second", "t") == 90 * 86400
    assert to_unit("25,000 GPU", "GPU", "n") == 25000
    assert to_unit(np.int64(3), "GPU", "n") == 3
    assert (to_unit([1, 2], "token", "D") == np.array([1.0, 2.0])).all()
    with pytest.raises(BadInput, match="at most 1, got 34"):
        to_unit(34, "1", "mfu", at_most=1)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (554e9, "FLOP", "554 GFLOP"),
        (2.184e25, "FLOP", "2.18 × 10²⁵ FLOP"),
        (999.9e9, "parameter", "1.00 trillion parameters"),
        (1.1 / 3600, "USD/GPU/second", "$1.10 per GPU-hour"),
        (0.0049, "USD", "$0.00490"),
        (63e6, "USD", "$63.0 million"),
        (24960.0, "GPU", "24,960 GPUs"),
        (30.5e9, "byte", "30.5 GB"),
        (9e6, "second", "104 days"),
        (0.0005, "second", "500 µs"),
        (-0.03, "%", "−3.00%"),
        (16, "1", "16"),
        (0.0, "1", "0"),
    ],
)
def test_numbers_as_text(value, unit, text):
    assert fmt(value, unit) == text


@given(st.floats(1e-3, 1e30), st.integers(2, 6))
def test_a_number_reads_back_to_its_digits(value, digits):
    text = number(value, digits).replace(",", "").translate(str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-"))
    mantissa, _, power = text.partition(" × 10")
    assert float(mantissa) * 10.0 ** int(power or 0) == pytest.approx(value, rel=0.51 * 10 ** (1 - digits))


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1e-4, "1", "0.000100"),
        (9.994e-5, "1", "9.99 × 10⁻⁵"),
        (999_499.0, "1", "999,499"),
        (999_500.0, "1", "1.00 × 10⁶"),
        (999_999, "1", "999,999"),
        (1_000_000, "1", "1.00 × 10⁶"),
        (-5.0, "1", "−5.00"),
        (float("inf"), "byte", "∞ byte"),
        (0.1, "USD", "$0.10"),
        (0.0999, "USD", "$0.0999"),
        (999.99, "USD", "$999.99"),
        (1000.0, "USD", "$1,000"),
        (1.0, "USD", "$1.00"),
        (999_500.0, "USD", "$1.00 million"),
        (1e9, "USD", "$1.00 billion"),
        (25e3, "USD/GPU", "$25,000 per GPU"),
        (120.0, "second", "2.00 min"),
        (119.0, "second", "119 s"),
        (7200.0, "second", "2.00 hours"),
        (7140.0, "second", "119 min"),
        (2 * 86400.0, "second", "2.00 days"),
        (47 * 3600.0, "second", "47.0 hours"),
        (2 * 365.25 * 86400, "second", "2.00 years"),
        (730.0 * 86400, "second", "730 days"),
        (1.0, "second", "1.00 s"),
        (0.999, "second", "999 ms"),
        (1e-3, "second", "1.00 ms"),
        (2e-6, "second", "2.00 µs"),
        (999e18, "FLOP", "999 EFLOP"),
        (1e21, "FLOP", "1.00 × 10²¹ FLOP"),
        (0.0, "FLOP", "0 FLOP"),
        (999.4, "byte", "999 B"),
        (999.6, "byte", "1.00 kB"),
        (999_999.0, "token", "1.00 million tokens"),
        (999_999, "token", "999,999 tokens"),
        (1e6, "token", "1.00 million tokens"),
        (3600 * 999.0, "GPU*second", "999 GPU-hours"),
        (3.6e9, "GPU*second", "1.00 million GPU-hours"),
        (1 / 3.6e6, "USD/joule", "$1.00 per kWh"),
        (2.5e-7, "byte", "0.250 µB"),
    ],
)
def test_where_one_way_of_writing_ends_and_the_next_begins(value, unit, text):
    assert fmt(value, unit) == text
