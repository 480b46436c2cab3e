"""Derivatives of what moves values and computes nothing: forms, parts, enlarged images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from build_onnx import normal
from finite_differences import check_node

X = normal(1, 2, 3, 4)
IMAGE = normal(2, 1, 8, 2, 3)


def whole(*values: int) -> Any:
    """Return an array of int64."""
    return np.array(values, np.int64)


@pytest.mark.parametrize(
    ("op", "inputs", "attributes"),
    [
        ("Reshape", [X, whole(4, -1)], {}),
        ("Flatten", [X], {"axis": 2}),
        ("Squeeze", [normal(1, 2, 1, 3), whole(1)], {}),
        ("Unsqueeze", [X, whole(0, 3)], {}),
        ("Transpose", [X], {}),
        ("Transpose", [X], {"perm": [1, 2, 0]}),
        ("Expand", [normal(1, 3, 1), whole(2, 3, 4)], {}),
        ("Tile", [X, whole(2, 1, 3)], {}),
        ("DepthToSpace", [IMAGE], {"blocksize": 2}),
        ("DepthToSpace", [IMAGE], {"blocksize": 2, "mode": "CRD"}),
        ("SpaceToDepth", [normal(3, 1, 2, 4, 6)], {"blocksize": 2}),
        ("Pad", [X, whole(1, 0, 2, 0, 1, 0)], {}),
        ("Pad", [X, whole(1, -1, 0, 0, 1, -2)], {}),
        ("Slice", [X, whole(1), whole(3), whole(1)], {}),
        ("Slice", [X, whole(0, 1), whole(2, 100)], {}),
        ("Slice", [X, whole(-1), whole(-100), whole(2), whole(-2)], {}),
        ("Slice", [X, whole(0, 0), whole(9, 9), whole(1, 2), whole(2, 3)], {}),
        ("Slice", [X, whole(-2), whole(2**62), whole(-1)], {}),
        ("Gather", [X, whole(2, 0, 2)], {"axis": 1}),
        ("Gather", [X, np.array(-1)], {"axis": 2}),
        ("Gather", [X, np.array([[0, 1], [1, 1]])], {}),
    ],
)
def test_forms_and_parts(op: str, inputs: list[Any], attributes: dict[str, Any]) -> None:
    check_node(op, inputs, **attributes)


def test_concat_gives_every_input_its_part() -> None:
    check_node("Concat", [X, normal(2, 2, 1, 4), normal(3, 2, 2, 4)], (0, 2), axis=-2)


@pytest.mark.parametrize("axis", [1, -1])
def test_split_joins_what_its_outputs_get(axis: int) -> None:
    check_node("Split", [normal(1, 2, 6, 6), whole(1, 3, 2)], n_outputs=3, axis=axis)


@pytest.mark.parametrize("sizes", [(1, 2, 7, 4), (1, 2, 3, 9)], ids=["up", "both"])
@pytest.mark.parametrize(
    "coordinates", ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]
)
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_resize_to_sizes(mode: str, coordinates: str, sizes: tuple[int, ...]) -> None:
    inputs = [normal(1, 1, 2, 4, 3), np.zeros(0, np.float32), np.zeros(0, np.float32)]
    attributes = {"mode": mode, "coordinate_transformation_mode": coordinates}
    check_node("Resize", [*inputs, whole(*sizes)], step=1.0, **attributes)


@pytest.mark.parametrize("nearest", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
def test_resize_by_scales(nearest: str) -> None:
    scales = np.array([1, 1, 2.5, 0.7], np.float32)
    inputs = [normal(1, 1, 2, 4, 5), np.zeros(0, np.float32), scales]
    check_node("Resize", inputs, step=1.0, as_given=(2,), nearest_mode=nearest)
