"""Derivatives of convolutions, over pads, strides, dilations, groups and dimensions."""

from __future__ import annotations

from typing import Any

import pytest
from build_onnx import normal, one_node
from finite_differences import check_node, extended

WHOLE = 1.0  # the step in what is linear: differences are exact but for rounding
CONVS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 2, 7, 6), (3, 2, 3, 3), {}),
    ((1, 2, 7, 6), (4, 2, 3, 2), {"pads": [1, 0, 1, 1]}),
    ((1, 2, 7, 7), (3, 2, 3, 3), {"pads": [0, 0, 1, 1], "strides": [2, 2]}),
    ((1, 2, 8, 9), (3, 2, 3, 3), {"pads": [2, 0, 1, 1], "strides": [3, 2]}),
    ((1, 2, 9, 8), (3, 2, 2, 2), {"strides": [3, 3]}),
    ((1, 4, 7, 7), (4, 1, 3, 3), {"group": 4, "pads": [1, 1, 1, 1]}),
    ((1, 4, 7, 8), (6, 2, 3, 3), {"group": 2, "strides": [2, 3], "pads": [1, 1, 0, 2]}),
    ((1, 4, 9, 9), (4, 2, 3, 3), {"group": 2, "dilations": [2, 3], "pads": [2, 3, 1, 3]}),
    ((1, 2, 9, 9), (3, 2, 3, 2), {"dilations": [2, 1], "strides": [2, 2]}),
    ((1, 3, 5, 5), (4, 3, 1, 1), {}),
    ((1, 3, 5, 6), (4, 3, 1, 1), {"strides": [2, 2]}),
    ((1, 3, 6, 6), (2, 3, 1, 1), {"pads": [1, 1, 0, 0]}),
    ((1, 2, 3, 3), (2, 2, 3, 3), {"pads": [4, 3, 3, 4]}),
    ((1, 2, 7, 6), (3, 2, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ((1, 2, 7, 6), (3, 2, 4, 4), {"auto_pad": "SAME_LOWER"}),
    ((1, 2, 7, 6), (3, 2, 3, 3), {"auto_pad": "VALID", "strides": [2, 2]}),
    ((2, 3, 9), (4, 3, 3), {"strides": [2], "pads": [0, 1]}),
    ((2, 3, 9), (4, 3, 3), {"pads": [1, 1]}),
    ((1, 2, 4, 5, 4), (3, 2, 2, 3, 2), {"strides": [2, 1, 2], "pads": [1, 0, 0, 0, 1, 1]}),
    ((1, 2, 4, 5, 4), (3, 2, 2, 3, 2), {}),
]
TRANSPOSED: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((1, 3, 4, 4), (3, 2, 3, 3), {}),
    ((1, 3, 4, 4), (3, 2, 3, 3), {"strides": [2, 2], "pads": [1, 0, 1, 1]}),
    ((1, 3, 4, 4), (3, 2, 3, 3), {"strides": [2, 3], "output_padding": [1, 2]}),
    ((1, 3, 4, 4), (3, 2, 2, 2), {"strides": [2, 2], "pads": [1, 1, 0, 0]}),
    ((1, 3, 4, 4), (3, 2, 3, 3), {"strides": [2, 2], "output_shape": [8, 8]}),
    ((1, 4, 4, 3), (4, 2, 3, 3), {"group": 2, "dilations": [2, 1], "strides": [1, 2]}),
    ((1, 3, 4, 4), (3, 2, 3, 3), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    ((1, 3, 4, 4), (3, 2, 3, 3), {"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    ((2, 3, 5), (3, 2, 3), {"strides": [2]}),
    ((1, 2, 3, 3, 2), (2, 2, 2, 2, 2), {"strides": [2, 1, 2]}),
]


@pytest.mark.parametrize(("x", "w", "attributes"), CONVS)
def test_conv(x: tuple[int, ...], w: tuple[int, ...], attributes: dict[str, Any]) -> None:
    inputs = [normal(1, *x), normal(2, *w), normal(3, w[0])]
    check_node("Conv", inputs, (0, 2), step=WHOLE, **attributes)


@pytest.mark.parametrize(("x", "w", "attributes"), TRANSPOSED)
def test_conv_transpose(x: tuple[int, ...], w: tuple[int, ...], attributes: dict[str, Any]) -> None:
    inputs = [normal(1, *x), normal(2, *w), normal(3, w[1] * attributes.get("group", 1))]
    check_node("ConvTranspose", inputs, (0, 2), step=WHOLE, **attributes)


@pytest.mark.parametrize(
    ("kernel", "stride", "op"), [(3, 1, "Conv"), (3, 2, "ConvTranspose"), (1, 1, "Conv")]
)
def test_stride_one_is_a_convolution_again(kernel: int, stride: int, op: str) -> None:
    weight = normal(2, 3, 2, kernel, kernel)
    proto = one_node("Conv", {"w": weight}, rank=4, strides=[stride] * 2)
    made, _, _ = extended(proto, {"x": normal(1, 1, 2, 5, 5)}, ["x"])
    assert [n.op_type for n in made.proto.graph.node if "Conv" in n.op_type] == ["Conv", op]
