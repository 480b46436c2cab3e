"""Axes of plots hold what they show, and name few values that are easy to read."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from onnx_lobs.report.axis import Axis, even_axis, log_axis


def ranges(seed: int) -> list[float]:
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.uniform(-6, 6)
    return list((rng.uniform(0.1, 3) * scale * rng.uniform(0.1, 1, 5)).tolist())


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("make", [even_axis, log_axis])
def test_values_lie_between_the_ends_and_ticks_are_few(
    make: Callable[[list[float]], Axis], seed: int
) -> None:
    values = ranges(seed)
    axis = make(values)
    assert all(0 <= axis.at(value) <= 1 for value in values)
    assert 2 <= len(axis.ticks) <= 8
    assert (axis.at(axis.low), axis.at(axis.high)) == (0, 1)


def test_one_value_has_room_on_both_sides() -> None:
    assert 0 < even_axis([3.0]).at(3.0) < 1
    assert 0 < even_axis([0.0]).at(0.0) < 1


def test_bars_begin_at_zero() -> None:
    assert even_axis([0.8, 0.9], from_zero=True).low == 0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_has_no_place(value: float) -> None:
    assert even_axis([value, 1.0, 2.0]) == even_axis([1.0, 2.0])
    assert not even_axis([1.0]).can_show(value)


def test_a_logarithmic_axis_has_no_place_for_zero() -> None:
    axis = log_axis([0.0, 0.01, 1.0])
    assert axis.ticks == (0.01, 0.1, 1.0)
    assert not axis.can_show(0.0)


def test_many_powers_of_ten_are_named_in_strides() -> None:
    axis = log_axis([1e-12, 1.0])
    assert len(axis.ticks) <= 8
    assert np.allclose(np.diff(np.log10(axis.ticks)), np.log10(axis.ticks[1] / axis.ticks[0]))
