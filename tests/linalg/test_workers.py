"""Row batches on threads give what one thread gives, in order."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_lobs.linalg import workers
from onnx_lobs.linalg.workers import map_batches, multiply, one_blas_thread


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
