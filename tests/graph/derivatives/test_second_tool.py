"""Gradients of whole models are those that another tool makes.

onnx-ad (MIT) differentiates ONNX graphs by rules of its own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ad
import pytest
from finite_differences import extended

from onnx_lobs.arrays import Array
from onnx_lobs.graph.run.session import Session

MNIST = Path(__file__).parents[3] / "models" / "mnist"
# float32 sums in different orders, through up to five layers
TOLERANCE = 1e-5


def gradient_by_another(
    proto: onnx.ModelProto, feeds: dict[str, Array], name: str, shares: dict[str, Array]
) -> Array:
    for axis, size in zip(
        proto.graph.input[0].type.tensor_type.shape.dim, feeds[name].shape, strict=True
    ):
        axis.dim_value = size
    proto = onnx.shape_inference.infer_shapes(proto)
    reverse = onnx_ad.reverse(proto, inputs=[name], outputs=list(shares), layout="onnx")
    seeds = {f"adj_{output}": share[..., None] for output, share in shares.items()}
    return Session(reverse).run({**feeds, **seeds}, [f"adj_{name}"])[f"adj_{name}"][..., 0]


@pytest.mark.parametrize("name", ["lenet-300-100", "lenet-5"])
def test_gradients_of_networks_are_those_of_another_tool(name: str) -> None:
    proto = onnx.load(MNIST / f"{name}.onnx")
    with np.load(MNIST / "test.npz") as data:
        images = data[proto.graph.input[0].name][:5].astype(np.float32)
    feeds = {proto.graph.input[0].name: images}
    (key,) = feeds
    made, found, shares = extended(proto, feeds, [key])
    assert not found.stopped
    ours = Session(made.proto).run(feeds)[found.names[key]]
    other = gradient_by_another(proto, feeds, key, shares)
    assert np.abs(ours - other).max() <= TOLERANCE * np.abs(other).max()
