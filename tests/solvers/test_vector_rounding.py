"""Looked-up vectors are rounded no worse than plainly, and nearly as well as any scale allows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnx_lobs.arrays import FloatArray
from onnx_lobs.solvers import vector_rounding
from onnx_lobs.solvers.vector_rounding import round_vectors

N_SCALES = 4000  # tried between half the plain scale and all of it
NEAR = 1.15  # of the least error that any of them has: 1.08 here in the mean over rows


def vectors(dtype: Any = np.float32) -> np.ndarray:
    found = np.random.default_rng(0).standard_normal((50, 24)) ** 3
    found[7] = 0
    found[9] *= 1e-30
    return found.astype(dtype)


def errors(wanted: np.ndarray, found: np.ndarray) -> FloatArray:
    return np.asarray(((wanted.astype(np.float64) - found.astype(np.float64)) ** 2).sum(axis=1))


def plain(wanted: np.ndarray, scale: FloatArray, most: int) -> FloatArray:
    return np.asarray(np.clip(np.rint(wanted / scale), -most, most) * scale)


@pytest.mark.parametrize("most", [127, 63])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_numbers_are_multiples_of_the_scales_of_their_rows(dtype: Any, most: int) -> None:
    wanted = vectors(dtype)
    rounded = round_vectors(wanted, most)
    assert rounded.vectors.dtype == dtype
    levels = np.rint(rounded.vectors.astype(np.float64) / rounded.scales[:, None])
    assert np.abs(levels).max() == most
    product = levels.astype(np.float32) * rounded.scales[:, None]
    np.testing.assert_array_equal(product.astype(dtype), rounded.vectors)
    assert not rounded.vectors[7].any()


@pytest.mark.parametrize("most", [127, 63])
def test_no_row_is_worse_than_by_plain_rounding_and_few_than_by_any_scale(most: int) -> None:
    wanted = vectors().astype(np.float64)
    found = errors(wanted, round_vectors(wanted, most).vectors)
    largest = np.abs(wanted).max(axis=1, keepdims=True) / most
    largest[7] = 1
    assert (found <= errors(wanted, plain(wanted, largest, most)) * (1 + 1e-6)).all()
    tried = [
        errors(wanted, plain(wanted, largest * part, most))
        for part in np.linspace(0.5, 1.0, N_SCALES)
    ]
    least = np.min(tried, axis=0)
    some = least > 0
    assert np.mean(found[some] / least[some]) < NEAR


def test_the_change_is_relative_to_the_squares() -> None:
    wanted = vectors()
    rounded = round_vectors(wanted)
    change = errors(wanted, rounded.vectors).sum() / (wanted.astype(np.float64) ** 2).sum()
    assert rounded.change == pytest.approx(change)
    assert round_vectors(np.zeros((3, 4), np.float32)).change == 0


def test_parts_give_what_the_whole_does(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = round_vectors(vectors())
    monkeypatch.setattr(vector_rounding, "ROWS_AT_ONCE", 7)
    parts = round_vectors(vectors())
    np.testing.assert_array_equal(parts.vectors, whole.vectors)
    np.testing.assert_array_equal(parts.scales, whole.scales)
