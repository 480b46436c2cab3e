"""Banded work on large symmetric matrices equals the work on all of it."""

from __future__ import annotations

import numpy as np
import pytest
from build_onnx import Array, normal

from onnx_lobs.linalg.triangles import BAND, add_lower, is_symmetric, mirror_lower, symmetrise

SIZES = [1, BAND, 2 * BAND + 17]


def square(size: int, seed: int = 1) -> Array:
    return normal(seed, size, size, dtype=np.float64)


@pytest.mark.parametrize("size", SIZES)
def test_the_lower_triangle_is_mirrored(size: int) -> None:
    matrix = square(size)
    expected = np.tril(matrix) + np.tril(matrix, -1).T
    mirror_lower(matrix)
    assert np.array_equal(matrix, expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("is_first", [False, True])
def test_lower_triangles_add_up(size: int, is_first: bool) -> None:
    sums, part = square(size), square(size, 2)
    expected = np.tril(part if is_first else sums + part)
    add_lower(sums, part, is_first=is_first)
    assert np.array_equal(np.tril(sums), expected)


@pytest.mark.parametrize("size", [3, BAND + 5])
@pytest.mark.parametrize("is_first", [False, True])
def test_a_stack_is_worked_on_as_its_matrices_one_by_one(size: int, is_first: bool) -> None:
    stack, part = normal(1, 3, size, size, dtype=np.float64), normal(2, 3, size, size)
    apart = stack.copy()
    add_lower(stack, part, is_first=is_first)
    mirror_lower(stack)
    for one, own in zip(apart, part, strict=True):
        add_lower(one, own, is_first=is_first)
        mirror_lower(one)
    assert np.array_equal(stack, apart)


@pytest.mark.parametrize("size", SIZES)
def test_the_symmetric_part_is_left(size: int) -> None:
    matrix = square(size)
    expected = 0.5 * (matrix + matrix.T)
    symmetrise(matrix)
    assert np.array_equal(matrix, expected)


@pytest.mark.parametrize("size", SIZES[1:])
def test_an_asymmetry_is_found_wherever_it_is(size: int) -> None:
    for place in ((0, size - 1), (size - 1, 0), (size - 1, size - 2)):
        matrix = np.ones((size, size))
        assert is_symmetric(matrix, 0.0) == (True, 0.0)
        matrix[place] = 1.5
        assert is_symmetric(matrix, 0.25) == (False, 0.5)
