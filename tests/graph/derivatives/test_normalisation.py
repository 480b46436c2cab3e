"""Derivatives of normalisations in inputs, scales and biases; and of softmaxes."""

from __future__ import annotations

import numpy as np
import pytest
from build_onnx import normal
from finite_differences import check_node

POSITIVE = np.abs(normal(9, 3)) + 0.5


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 2, 2)])
def test_batch_normalization(shape: tuple[int, ...]) -> None:
    inputs = [normal(1, *shape), normal(2, 3), normal(3, 3), normal(4, 3), POSITIVE]
    check_node("BatchNormalization", inputs, (0, 1, 2), epsilon=1e-3)


@pytest.mark.parametrize(("axis", "shape"), [(-1, (4,)), (1, (3, 4)), (2, (4,))])
def test_layer_normalization(axis: int, shape: tuple[int, ...]) -> None:
    inputs = [normal(1, 2, 3, 4), normal(2, *shape), normal(3, *shape)]
    check_node("LayerNormalization", inputs, (0, 1, 2), axis=axis, epsilon=1e-3)


def test_instance_normalization() -> None:
    inputs = [normal(1, 2, 3, 4, 2), normal(2, 3), normal(3, 3)]
    check_node("InstanceNormalization", inputs, (0, 1, 2))


@pytest.mark.parametrize("opset", [11, 13])
@pytest.mark.parametrize("axis", [None, 1, -1])
@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_softmax_along_one_axis_or_all_from_it_on(op: str, axis: int | None, opset: int) -> None:
    attributes = {} if axis is None else {"axis": axis}
    check_node(op, [normal(1, 2, 3, 4)], opset=opset, **attributes)
