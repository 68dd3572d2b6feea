"""Units, numbers as text, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt4lib.text import fmt, number
from gpt4lib.units import BadInput, base_unit, to_unit, unit_factor

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
    assert unit_factor("day", "second") == 24 * 60 * 60
    assert unit_factor("GiB", "byte") == 1024**3
    assert unit_factor("GB", "byte") == 10**9
    assert unit_factor("Gbit/second", "byte/second") == pytest.approx(1e9 / 8)
    assert unit_factor("cent", "USD") == pytest.approx(1 / 100)
    assert unit_factor("kW*hour", "joule") == pytest.approx(3.6e6)
    assert base_unit("USD/GPU/hour") == "USD/GPU/second"


@pytest.mark.parametrize(("value", "word"), [
    (-1, "negative"), (float("nan"), "NaN"), (float("inf"), "infinite"), ([1, -2], "negative"), ("3 GB", "dimension"),
    ("3 lightyear", "unknown unit"), ("many", "'many'"), (None, "None"), (True, "True"), (object(), "object"), ({}, "{}"),
])
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


@pytest.mark.parametrize(("value", "unit", "text"), [
    (554e9, "FLOP", "554 GFLOP"), (2.184e25, "FLOP", "2.18 × 10²⁵ FLOP"), (999.9e9, "parameter", "1.00 trillion parameters"),
    (1.1 / 3600, "USD/GPU/second", "$1.10 per GPU-hour"), (0.0049, "USD", "$0.00490"), (63e6, "USD", "$63.0 million"),
    (24960.0, "GPU", "24,960 GPUs"), (30.5e9, "byte", "30.5 GB"), (9e6, "second", "104 days"), (0.0005, "second", "500 µs"),
    (-0.03, "%", "−3.00%"), (16, "1", "16"), (0.0, "1", "0"),
])
def test_numbers_as_text(value, unit, text):
    assert fmt(value, unit) == text


@given(st.floats(1e-3, 1e30), st.integers(2, 6))
def test_a_number_reads_back_to_its_digits(value, digits):
    text = number(value, digits).replace(",", "").translate(str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-"))
    mantissa, _, power = text.partition(" × 10")
    assert float(mantissa) * 10.0 ** int(power or 0) == pytest.approx(value, rel=0.51 * 10 ** (1 - digits))
