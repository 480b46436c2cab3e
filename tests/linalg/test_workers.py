"""Row batches on threads give what one thread gives, in order."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_lobs.linalg import workers
from onnx_lobs.linalg.workers import ThreadBuffers, map_batches, multiply, one_blas_thread


@pytest.mark.parametrize("cores", [1, 3])
def test_results_come_in_the_order_of_the_batches(monkeypatch, cores):
    monkeypatch.setattr(workers, "count_workers", lambda: cores)
    assert map_batches(lambda n: n * n, range(20)) == [n * n for n in range(20)]
    assert map_batches(lambda n: n, []) == []


@pytest.mark.parametrize("cores", [1, 3])
def test_the_first_exception_is_raised(monkeypatch, cores):
    monkeypatch.setattr(workers, "count_workers", lambda: cores)

    def fail(n: int) -> int:
        raise ValueError(f"batch {n}")

    with pytest.raises(ValueError, match="batch 0"):
        map_batches(fail, range(4))


@pytest.mark.parametrize("cores", [1, 3])
def test_shared_product_is_the_product(monkeypatch, cores):
    monkeypatch.setattr(workers, "count_workers", lambda: cores)
    monkeypatch.setattr(workers, "WORTH_SHARING", 0)
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((2, 7, 5)), rng.standard_normal((2, 5, 5))
    assert np.allclose(multiply(left, right), left @ right)


def test_blas_threads_are_limited_inside_only():
    with one_blas_thread():
        assert {lib["num_threads"] for lib in workers._controller().info()} == {1}
    with one_blas_thread(False) as nothing:
        assert nothing is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 200])
@pytest.mark.parametrize(("few", "order"), [(768, "C"), (768, "F"), (100, "C")])
def test_principal_submatrices_are_those_that_are_asked_for(
    size: int, dtype: type, few: int, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "FEW", few)
    rng = np.random.default_rng(size)
    matrix = np.asarray(rng.standard_normal((300, 300)), dtype=dtype, order=order)
    scratch = ThreadBuffers()
    for _ in range(2):  # also in memory that was used before
        columns = np.sort(rng.choice(300, size, replace=False))
        expected = matrix[np.ix_(columns, columns)]
        upper = scratch.upper(matrix, columns)
        assert np.array_equal(np.triu(upper), np.triu(expected))
        assert np.array_equal(scratch.principal(matrix, columns), expected)
