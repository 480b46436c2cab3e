"""Sums that are taken over are gone."""

from __future__ import annotations

import numpy as np
import pytest
from layer_tasks import COLUMNS, ROWS, inputs, split, task_of


def test_sums_whose_scatter_was_taken_have_it_no_longer() -> None:
    weight = np.random.default_rng(7).standard_normal((1, ROWS, COLUMNS))
    task = task_of([split(inputs(8))], weight, False)
    sums, again = (task.sums_of(task.calibration.fit) for _ in range(2))
    scatter = sums.scatter
    hessian = sums.take_hessian()
    np.testing.assert_array_equal(hessian, again.scatter * (2 / again.count))
    assert hessian is scatter
    np.testing.assert_array_equal(sums.cross, again.cross)
    with pytest.raises(AssertionError, match="was taken to be a Hessian"):
        _ = sums.scatter
