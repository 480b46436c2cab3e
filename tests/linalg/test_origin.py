"""An origin is taken off where the mean is large, and only there."""

from __future__ import annotations

import numpy as np
import pytest
from build_onnx import normal

from onnx_lobs.linalg.origin import Origin


@pytest.mark.parametrize(
    ("mean", "is_taken"), [(0.0, False), (1.0, False), (3.0, True), (1e4, True), (1e15, True)]
)
def test_an_origin_is_taken_where_the_mean_is_large(mean: float, is_taken: bool) -> None:
    origin = Origin()
    origin.see((mean + normal(5, 2, 200, 3)).astype(np.float32))
    assert (origin.value != 0).all() == is_taken
    assert (origin.value != 0).any() == is_taken


def test_observations_without_an_origin_are_not_copied() -> None:
    x, origin = normal(1, 2, 50, 3), Origin()
    origin.see(x)
    assert origin.take_off(x) is x


def test_the_first_observations_choose_the_origin_of_all() -> None:
    x, origin = normal(1, 2, 50, 3) + 100, Origin()
    origin.see(x)
    origin.see(x + 100)
    mean = x.mean(axis=1, dtype=np.float64, keepdims=True).astype(np.float32)
    np.testing.assert_array_equal(origin.take_off(x), x - mean)
