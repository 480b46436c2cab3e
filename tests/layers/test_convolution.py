"""The attributes of a Conv, and of a ConvTranspose, are read as its geometry."""

from __future__ import annotations

from typing import Any

import pytest
from build_onnx import normal, one_node
from onnx import ModelProto

from onnx_lobs.graph.model import Model
from onnx_lobs.layers.find import find_layers
from onnx_lobs.linalg.convolution.geometry import Unfold


def geometry_of(proto: ModelProto) -> Unfold:
    ((layer,), _) = find_layers(Model(proto, None))
    (use,) = layer.uses
    assert use.unfold is not None
    return use.unfold


def test_conv_reads_every_attribute() -> None:
    attributes: dict[str, Any] = {"strides": [2, 1], "dilations": [1, 3], "pads": [1, 0, 2, 4]}
    proto = one_node("Conv", {"w": normal(1, 6, 2, 3, 2)}, rank=4, group=2, **attributes)
    assert geometry_of(proto) == Unfold((3, 2), (2, 1), (1, 3), (1, 0, 2, 4), (1, 1))


@pytest.mark.parametrize(("auto_pad", "kept"), [("VALID", "NOTSET"), ("SAME_LOWER", "SAME_LOWER")])
def test_auto_pad_overrides_pads(auto_pad: str, kept: str) -> None:
    weights = {"w": normal(1, 6, 2, 3)}
    found = geometry_of(one_node("Conv", weights, rank=3, auto_pad=auto_pad, pads=[5, 5]))
    assert found.pads == (0, 0)
    assert found.auto_pad == kept


def test_transposed_conv_reads_every_attribute() -> None:
    attributes: dict[str, Any] = {"strides": [2, 1], "dilations": [1, 3], "pads": [1, 0, 2, 4]}
    shapes = {"output_padding": [1, 0], "output_shape": [9, 8]}
    proto = one_node(
        "ConvTranspose", {"w": normal(1, 6, 2, 3, 2)}, rank=4, group=2, **attributes, **shapes
    )
    pads = (3 - 1 - 1, 4 - 1 - 0, 3 - 1 - 2 + 1, 4 - 1 - 4)  # extents 3 and 4
    assert geometry_of(proto) == Unfold(
        (3, 2), (1, 1), (1, 3), pads, (2, 1), True, "NOTSET", (1, 0), (9, 8)
    )
