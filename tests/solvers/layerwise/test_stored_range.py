"""Rows whose solved values the stored type cannot hold keep their zeros and their dense values."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from build_onnx import Array, normal, one_node
from onnx import TensorProto
from onnx import numpy_helper as nh

import onnx_lobs
from onnx_lobs.linalg.gram import Gram
from onnx_lobs.linalg.moments import Calibration, Moments
from onnx_lobs.solvers import Status
from onnx_lobs.solvers.layerwise import ErrorMeter, LayerTask, solve_layer, within_range
from onnx_lobs.solvers.layerwise.task import bias_changes

LARGEST = 3.0


def task_of(largest: float = np.inf, *, centred: bool = True) -> LayerTask:
    """Eight outputs of twelve inputs, of which two are always alike."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((1, 300, 12)) + 0.5
    x[:, :, 1] = x[:, :, 0]
    gram = Gram(1, 12)
    gram.update(x)
    weight = rng.standard_normal((1, 8, 12))
    weight[:, 2, :2] = 2.0, 1.9  # one of both takes over what the other was
    calibration = Calibration((Moments(gram),), (Moments(Gram(1, 12)),))
    return LayerTask(weight, calibration, (centred,), 48, damp=1e-6, largest=largest)


@pytest.mark.parametrize("centred", [False, True])
def test_a_row_beyond_the_range_has_its_zeros_and_dense_values(centred: bool) -> None:
    task = task_of(LARGEST, centred=centred)
    solved = solve_layer(task)
    over = (np.abs(solved.weight) > LARGEST).any(axis=2)
    assert 0 < over.sum() < 8
    found = within_range(task, solved)
    assert np.array_equal(found.weight == 0, solved.weight == 0)
    assert np.array_equal(found.weight[~over], solved.weight[~over])
    kept = found.weight[over] != 0
    assert np.array_equal(found.weight[over][kept], task.weight[over][kept])
    assert found.status is Status.OUT_OF_RANGE
    assert found.info["rows_out_of_range"] == over.sum()
    assert "float32" in found.status.remedy


def test_the_bias_goes_with_the_dense_values() -> None:
    task = task_of(LARGEST)
    solved = solve_layer(task)
    found = within_range(task, solved)
    over = (np.abs(solved.weight) > LARGEST).any(axis=2)
    (new,), (old,) = found.bias_change, solved.bias_change
    (expected,) = bias_changes(task, task.calibration.fit, found.weight)
    assert new is not None
    assert old is not None
    assert expected is not None
    assert np.array_equal(new[over], expected[over])
    assert np.array_equal(new[~over], old[~over])
    errors = ErrorMeter(task)
    kept_bias = errors.relative_error(found.weight, solved.bias_change)
    assert errors.relative_error(found.weight, found.bias_change) < kept_bias


def test_what_fits_is_left_alone() -> None:
    task = task_of(1e3)
    solved = solve_layer(task)
    assert within_range(task, solved) is solved


def test_an_endless_value_is_out_of_any_range() -> None:
    task = dataclasses.replace(task_of(), largest=1e300)
    solved = solve_layer(task)
    weight = solved.weight.copy()
    weight[0, 3, 5] = np.inf
    found = within_range(task, dataclasses.replace(solved, weight=weight))
    assert np.isfinite(found.weight).all()


def large_weights(dtype: type) -> Array:
    weight = 0.6 * np.sign(normal(3, 16, 8))  # of the largest number
    weight[1::2] = weight[::2]
    return np.asarray(weight * np.finfo(dtype).max).astype(dtype)


@pytest.mark.parametrize("allocation", ["uniform", "auto"])
def test_a_run_in_half_precision_ends_and_says_so(allocation: str) -> None:
    proto = one_node("MatMul", {"w": large_weights(np.float16)}, elem_type=TensorProto.FLOAT16)
    x = np.repeat(normal(4, 200, 8), 2, axis=1).astype(np.float16) * np.float16(1e-3)
    result = onnx_lobs.prune(
        proto, {"x": x}, sparsity=0.5, min_weights=0, allocation=allocation, damp=1e-4
    )
    (record,) = result.report.layers
    assert record.status == "out of range"
    assert int(record.info["rows_out_of_range"]) >= 1
    (tensor,) = result.model.graph.initializer
    stored = nh.to_array(tensor)
    assert np.isfinite(stored).all()
    assert (stored == 0).sum() == 64
