"""What onnx's checker lets through and no runtime would run is a skip, and no crash."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from build_onnx import Array, model, normal, value
from onnx import helper

from onnx_lobs.graph.model import Model
from onnx_lobs.layers.find import find_layers
from onnx_lobs.layers.refusal import RefusalKind

KERNEL = normal(1, 4, 6, 3, 3)


@pytest.mark.parametrize(
    ("op", "weight", "attributes", "reason"),
    [
        ("Gemm", normal(1, 4), {}, r"\[4\] is no matrix"),
        ("Gemm", normal(1, 4, 4, 4), {}, "is no matrix"),
        ("MatMul", np.float32(1), {}, r"\[\] is no matrix"),
        ("Conv", np.float32(1), {}, "has no spatial axis"),
        ("Conv", normal(1, 64), {}, "has no spatial axis"),
        ("Conv", KERNEL, {"group": 3}, "into 3 groups"),
        ("Conv", KERNEL, {"group": 0}, "into 0 groups"),
        ("Conv", KERNEL, {"kernel_shape": [3]}, "another kernel_shape"),
        ("Conv", KERNEL, {"kernel_shape": [5, 5]}, "another kernel_shape"),
        ("Conv", KERNEL, {"strides": [1]}, r"does not go with strides \[1\]"),
        ("Conv", KERNEL, {"dilations": [0, 1]}, r"dilations \[0, 1\]"),
        ("Conv", KERNEL, {"pads": [1, 1, 1]}, r"pads \[1, 1, 1\]"),
        ("ConvTranspose", KERNEL, {"pads": [1, 1, 1]}, r"pads \[1, 1, 1\]"),
        ("ConvTranspose", KERNEL, {"output_padding": [1]}, r"output_padding \[1\]"),
        ("ConvTranspose", KERNEL, {"output_shape": [9]}, r"output_shape \[9\]"),
    ],
)
def test_weights_that_do_not_fit_are_skipped(
    op: str, weight: Array, attributes: dict[str, Any], reason: str
) -> None:
    node = helper.make_node(op, ["x", "w"], ["y"], **attributes)
    proto = model([node], [value("x", ["n"])], [value("y", ["m"])], {"w": np.asarray(weight)})
    layers, skips = find_layers(Model(proto, None))
    assert layers == ()
    assert [skip.refusal.kind for skip in skips] == [RefusalKind.MISFIT]
    assert re.search(reason, skips[0].reason)
