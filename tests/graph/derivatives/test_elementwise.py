"""Derivatives of functions of one value are the differences of their outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from build_onnx import normal
from finite_differences import check_node

from onnx_lobs.graph.derivatives.elementwise import ELEMENTWISE

X = normal(0, 3, 7) * 2
POSITIVE = np.abs(X) + 0.3
CORNERS = np.array([-3, -2.5, -1, 0, 1, 2.5, 3])
DISTANCE = X[..., None] - CORNERS
# no element is nearer to a corner of any of these functions than some of the largest steps
X += (0.05 * np.sign(DISTANCE) * (np.abs(DISTANCE) < 0.05)).sum(-1)
CASES: list[tuple[str, dict[str, Any], int]] = [
    ("Abs", {}, 17),
    ("Cos", {}, 17),
    ("Dropout", {}, 17),
    ("Elu", {"alpha": 0.7}, 17),
    ("Erf", {}, 17),
    ("Exp", {}, 17),
    ("Gelu", {}, 20),
    ("Gelu", {"approximate": "tanh"}, 20),
    ("HardSigmoid", {}, 17),
    ("HardSigmoid", {"alpha": 0.3, "beta": 0.1}, 17),
    ("HardSwish", {}, 17),
    ("Identity", {}, 17),
    ("LeakyRelu", {"alpha": 0.2}, 17),
    ("Log", {}, 17),
    ("Neg", {}, 17),
    ("Reciprocal", {}, 17),
    ("Relu", {}, 17),
    ("Sigmoid", {}, 17),
    ("Sin", {}, 17),
    ("Softplus", {}, 17),
    ("Sqrt", {}, 17),
    ("Tanh", {}, 17),
]


@pytest.mark.parametrize(("op", "attributes", "opset"), CASES)
def test_slope_is_the_difference(op: str, attributes: dict[str, Any], opset: int) -> None:
    x = POSITIVE if op in ("Log", "Reciprocal", "Sqrt") else X
    check_node(op, [x], opset=opset, **attributes)


def test_every_function_has_a_case() -> None:
    assert {op for op, *_ in CASES} | {"Cast", "Clip"} == set(ELEMENTWISE)


@pytest.mark.parametrize(
    "limits",
    [
        (np.float32(-1), np.float32(2.5)),
        (np.float32(0),),
        (np.zeros(0), np.float32(1)),
        (),
    ],
    ids=["both", "lower", "upper", "none"],
)
def test_clip_passes_gradients_between_its_limits(limits: tuple[Any, ...]) -> None:
    arrays = [np.asarray(limit, np.float32) for limit in limits]
    check_node("Clip", [X, *arrays], opset=13)
