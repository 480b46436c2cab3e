"""Numbers and names as people read them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_lobs.report.numbers import (
    format_bytes,
    format_change,
    format_error,
    format_gain,
    format_percent,
    format_score,
    format_score_change,
    shorten,
)


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (12_345_678, "12.3 MB"),
        (5_000_000_000, "5.00 GB"),
        (4 * 10**15, "4.00e+03 TB"),
    ],
)
def test_sizes_have_three_digits_and_a_decimal_unit(n_bytes: int, text: str) -> None:
    assert format_bytes(n_bytes) == text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (0.0, "0"),
        (0.5, "0.500"),
        (0.001, "0.00100"),
        (0.0009994, "9.99e-4"),
        (123.4, "123"),
        (999.6, "1.00e3"),
        (1e-12, "1.00e-12"),
        (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)
def test_errors_have_three_digits(error: float, text: str) -> None:
    assert format_error(error) == text


@given(st.floats(1e-30, 1e30))
def test_a_formatted_error_is_right_to_three_digits_and_short(error: float) -> None:
    text = format_error(error)
    assert float(text) == pytest.approx(error, rel=5.001e-3)
    assert len(text) <= 8


@pytest.mark.parametrize(
    ("error", "magnitude_error", "text"),
    [
        (0.1, 0.1, "1.0x"),
        (0.1, 0.999, "10x"),
        (0.1, 0.994, "9.9x"),
        (1.0, 999.4, "999x"),
        (1.0, 1000.0, ">999x"),
        (0.0, 1.0, ">999x"),
        (1.0, 0.0, "0.0x"),
        (0.0, 0.0, ""),
    ],
)
def test_gain_over_magnitude(error: float, magnitude_error: float, text: str) -> None:
    assert format_gain(error, magnitude_error) == text


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (1000, 1004, "same size"),
        (1000, 100, "10.0x smaller"),
        (100, 1000, "10.0x larger"),
        (10, 0, "10.0x smaller"),
        (0, 0, "same size"),
    ],
)
def test_changes_of_size_are_in_words(before: int, after: int, text: str) -> None:
    assert format_change(before, after) == text


@pytest.mark.parametrize(
    ("score", "error", "is_fraction", "text"),
    [
        (0.5, 0.05, True, "50.00 ± 5.00 %"),
        (1.0, 0.0, True, "100.00 ± 0.00 %"),
        (0.5, None, True, "50.00 %"),
        (12.5, 0.25, False, "12.5000 ± 0.2500"),
        (-0.5, None, False, "-0.5000"),
    ],
)
def test_a_score_has_its_standard_error_where_that_is_known(
    score: float, error: float | None, is_fraction: bool, text: str
) -> None:
    assert format_score(score, error, is_fraction=is_fraction) == text


def test_a_change_of_score_has_a_sign_and_shares_change_by_points() -> None:
    assert format_score_change(0.0, 0.01, is_fraction=True) == "+0.00 ± 1.00 points"
    assert format_score_change(-0.25, None, is_fraction=False) == "-0.2500"


def test_only_all_zeros_are_100_percent() -> None:
    assert format_percent(10**6, 10**6) == "100.0 %"
    assert format_percent(10**6 - 1, 10**6) == "99.9 %"
    assert format_percent(0, 0) == "0.0 %"


@given(st.text(max_size=30), st.integers(0, 40))
def test_a_shortened_name_fits_and_keeps_both_ends(name: str, width: int) -> None:
    text = shorten(name, width)
    assert len(text) == min(len(name), width)
    head, cut, tail = text.partition("…") if text != name else (name, "", "")
    assert name.startswith(head)
    assert name.endswith(tail)
    assert not cut or abs(len(head) - len(tail)) <= 1
