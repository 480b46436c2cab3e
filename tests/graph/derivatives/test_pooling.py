"""Derivatives of poolings, over borders, strides with remainders, and ties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from build_onnx import normal, one_node
from finite_differences import check_node, extended

from onnx_lobs.graph.run.session import Session

POOLS: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((2, 2, 6, 6), {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ((1, 2, 7, 8), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ((1, 2, 7, 8), {"kernel_shape": [3, 2], "pads": [0, 1, 2, 0]}),
    ((1, 2, 7, 6), {"kernel_shape": [2, 3], "strides": [3, 2]}),
    ((1, 2, 6, 7), {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    ((1, 2, 7, 6), {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    ((1, 2, 7, 6), {"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    ((2, 3, 9), {"kernel_shape": [3], "strides": [2]}),
    ((1, 1, 4, 4, 5), {"kernel_shape": [2, 2, 3], "strides": [2, 1, 2]}),
]


@pytest.mark.parametrize(("shape", "attributes"), POOLS)
def test_max_pool(shape: tuple[int, ...], attributes: dict[str, Any]) -> None:
    # all values are apart by more than two steps
    x = np.random.default_rng(1).permutation(np.prod(shape)).reshape(shape) / 10
    check_node("MaxPool", [x.astype(np.float32)], **attributes)


def test_max_pool_with_dilations() -> None:
    x = np.random.default_rng(1).permutation(162).reshape(2, 1, 9, 9) / 10
    attributes = {"kernel_shape": [2, 3], "dilations": [2, 3], "pads": [1, 0, 0, 2]}
    check_node("MaxPool", [x.astype(np.float32)], **attributes)


@pytest.mark.parametrize("count_include_pad", [0, 1])
@pytest.mark.parametrize(("shape", "attributes"), POOLS)
def test_average_pool(
    shape: tuple[int, ...], attributes: dict[str, Any], count_include_pad: int
) -> None:
    x = normal(1, *shape)
    check_node("AveragePool", [x], count_include_pad=count_include_pad, step=1.0, **attributes)


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3, 4), (1, 2, 2, 3, 2)])
def test_global_pools(op: str, shape: tuple[int, ...]) -> None:
    check_node(op, [normal(1, *shape)])


@pytest.mark.parametrize(("op", "rank"), [("MaxPool", 4), ("GlobalMaxPool", 4), ("ReduceMax", 4)])
def test_equal_values_share_one_gradient(op: str, rank: int) -> None:
    attributes = {"kernel_shape": [2, 2], "strides": [2, 2]} if op == "MaxPool" else {}
    proto = one_node(op, {}, ("x",), rank=rank, **attributes)
    made, found, shares = extended(proto, {"x": np.zeros((1, 2, 4, 4), np.float32)}, ["x"])
    got = Session(made.proto).run({"x": np.zeros((1, 2, 4, 4), np.float32)})
    total = got[found.names["x"]].sum()
    np.testing.assert_allclose(total, shares["y"].sum(), rtol=1e-5)  # float32 sums
