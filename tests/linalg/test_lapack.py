"""LAPACK in place against NumPy, in both precisions, on parts of wider arrays and on threads."""

import threading
import time

import numpy as np
import pytest

from onnx_lobs.linalg import lapack

SIZES = [1, 2, 7, 48, 130]
DTYPES = [np.float32, np.float64]


def positive(n, dtype, seed=0):
    """Return a symmetric matrix of condition < 10, in a wider array whose rest is NaN."""
    x = np.random.default_rng(seed).normal(size=(n, n)) / np.sqrt(n)
    room = np.full((n, n + 3), np.nan, dtype)
    room[:, :n] = x @ x.T + np.eye(n)
    return room[:, :n]


def tolerance(n, dtype):
    """n eps of the largest entry (< 6), the usual bound of a factorisation's backward error."""
    return 10 * n * np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_factor_solve_and_inverses_equal_numpy(n, dtype):
    matrix = positive(n, dtype)
    before = matrix.copy()
    sides = np.random.default_rng(1).normal(size=(3, n)).astype(dtype)
    upper = np.linalg.cholesky(before.astype(np.float64)).T
    close = {"rtol": 0, "atol": tolerance(n, dtype)}
    assert lapack.potrf(matrix) == 0
    np.testing.assert_allclose(np.triu(matrix), upper, **close)
    np.testing.assert_array_equal(np.tril(matrix, -1), np.tril(before, -1))
    factor = matrix.copy()
    lapack.potrs(matrix, sides)
    right = np.random.default_rng(1).normal(size=(3, n)).astype(dtype)
    np.testing.assert_allclose(sides @ before, right, **close)
    assert lapack.trtri(factor) == 0
    np.testing.assert_allclose(np.triu(factor) @ upper, np.eye(n), **close)
    np.testing.assert_array_equal(np.tril(factor, -1), np.tril(before, -1))
    assert lapack.potri(matrix) == 0
    np.testing.assert_allclose(np.triu(matrix), np.triu(np.linalg.inv(before)), **close)
    assert np.isnan(matrix.base[:, n:]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(1, 1), (5, 1), (1, 6), (40, 33), (20, 50)])
def test_syrk_adds_to_the_lower_triangle(shape, order, dtype):
    generator = np.random.default_rng(2)
    rows = np.asarray(generator.normal(size=shape).astype(dtype), order=order)
    total = positive(shape[1], dtype)
    before, data = total.copy(), rows.copy()
    lapack.syrk(total, rows, -0.5)
    expected = before - 0.5 * (rows.astype(np.float64).T @ rows)
    # k products of normal numbers, each rounded once
    atol = 10 * shape[0] * np.finfo(dtype).eps
    np.testing.assert_allclose(np.tril(total), np.tril(expected), rtol=0, atol=atol)
    np.testing.assert_array_equal(np.triu(total, 1), np.triu(before, 1))
    np.testing.assert_array_equal(rows, data)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_pivot_that_is_not_positive_is_named(dtype):
    matrix = np.eye(60, dtype=dtype)
    matrix[41, 41] = -1
    assert lapack.potrf(matrix) == 42
    triangle = np.eye(60, dtype=dtype)
    triangle[6, 6] = 0
    assert lapack.trtri(triangle) == 7
    assert lapack.potri(triangle) == 7


def test_empty_arrays_are_left_alone():
    empty = np.empty((0, 0))
    assert (lapack.potrf(empty), lapack.trtri(empty), lapack.potri(empty)) == (0, 0, 0)
    total = np.eye(3)
    lapack.syrk(total, np.empty((0, 3)))
    lapack.potrs(total, np.empty((0, 3)))
    np.testing.assert_array_equal(total, np.eye(3))


def test_arrays_that_lapack_cannot_work_in_are_refused():
    with pytest.raises(TypeError, match="float16"):
        lapack.potrf(np.eye(3, dtype=np.float16))
    with pytest.raises(ValueError, match="square"):
        lapack.potrf(np.ones((2, 3)))
    with pytest.raises(ValueError, match="contiguous"):
        lapack.potrf(np.eye(6)[::2, ::2])
    with pytest.raises(ValueError, match="contiguous"):
        lapack.potrf(np.eye(6)[::-1])
    fixed = np.eye(3)
    fixed.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        lapack.potrf(fixed)
    with pytest.raises(ValueError, match="right sides"):
        lapack.potrs(np.eye(3), np.ones((1, 3), np.float32))
    with pytest.raises(ValueError, match="data"):
        lapack.syrk(np.eye(3), np.ones((2, 4)))
    with pytest.raises(ValueError, match="contiguous"):
        lapack.syrk(np.eye(3), np.ones((4, 6))[::2, ::2])


def longest_pause(call):
    """Return the longest time that another thread stood still in a call, over the call's time."""
    times, stop = [], threading.Event()

    def tick():
        while not stop.is_set():
            times.append(time.perf_counter())

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        begin = time.perf_counter()
        call()
        end = time.perf_counter()
    finally:
        stop.set()
        thread.join()
    inside = [begin, *(t for t in times if begin < t < end), end]
    return float(np.diff(inside).max()) / (end - begin)


@pytest.mark.slow
def test_the_interpreter_goes_on_while_lapack_computes():
    """A thread that holds the lock makes another stand still for the whole call."""
    matrix = np.eye(1500)
    lapack.potrf(matrix)  # loads the library
    pauses = [longest_pause(lambda: lapack.potrf(matrix)) for _ in range(8)]
    assert min(pauses) < 0.5  # a busy machine may interrupt some calls, not all of them
