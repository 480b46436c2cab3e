"""Derivatives of reductions, over axes, dropped or kept."""

from __future__ import annotations

import numpy as np
import pytest
from build_onnx import normal
from finite_differences import check_node

X = normal(4, 2, 3, 4)


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axes", [None, [1], [0, -1]])
@pytest.mark.parametrize("op", ["ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2"])
def test_reductions_by_attribute(op: str, axes: list[int] | None, keepdims: int) -> None:
    attributes = {} if axes is None else {"axes": axes}
    check_node(op, [X], opset=13, keepdims=keepdims, **attributes)


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMean", "ReduceMax"])
def test_reductions_by_input(op: str, keepdims: int) -> None:
    check_node(op, [X, np.array([0, -1])], opset=18, keepdims=keepdims)


def test_no_axes_can_mean_none() -> None:
    check_node("ReduceSum", [X], opset=18, noop_with_empty_axes=1)


def test_sum_of_all_before_opset_13() -> None:
    check_node("ReduceSum", [X], opset=11, axes=[1], keepdims=0)
