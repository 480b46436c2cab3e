"""Write a DS-CNN for keyword spotting with random weights, and spectrograms of noise.

    python tools/make_ds_cnn.py --out /tmp/ds-cnn

The sizes are those of MLPerf Tiny's network: 49 x 10 features, a convolution of 10 x 4 with stride
2, four blocks of a depthwise and a 1x1 convolution of 64 channels, a mean, and 12 words; 22,016
weights beside biases. Writes OUT/ds-cnn.onnx and OUT/ds-cnn_calibration.npz.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

CHANNELS, BLOCKS, CLASSES = 64, 4, 12
FRAMES, FEATURES = 49, 10


def make_model(seed: int) -> onnx.ModelProto:
    """Return the network; weights are He's, so values stay of order one."""
    rng = np.random.default_rng(seed)
    nodes: list[NodeProto] = []
    tensors: list[TensorProto] = []

    def conv(x: str, name: str, shape: tuple[int, ...], **about: object) -> str:
        weight = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
        bias = 0.1 * rng.standard_normal(shape[0])
        for end, values in (("w", weight), ("b", bias)):
            tensors.append(numpy_helper.from_array(values.astype(np.float32), f"{name}.{end}"))
        kernel = list(shape[2:])
        inputs = [x, f"{name}.w", f"{name}.b"]
        nodes.append(
            helper.make_node("Conv", inputs, [name], name=name, kernel_shape=kernel, **about)
        )
        nodes.append(helper.make_node("Relu", [name], [f"{name}.relu"]))
        return f"{name}.relu"

    x = conv("x", "first", (CHANNELS, 1, 10, 4), strides=[2, 2], pads=[4, 1, 5, 1])
    for block in range(BLOCKS):
        x = conv(x, f"depth{block}", (CHANNELS, 1, 3, 3), group=CHANNELS, pads=[1, 1, 1, 1])
        x = conv(x, f"point{block}", (CHANNELS, CHANNELS, 1, 1))
    nodes.append(helper.make_node("GlobalAveragePool", [x], ["mean"]))
    nodes.append(helper.make_node("Flatten", ["mean"], ["flat"], axis=1))
    nodes.append(helper.make_node("Gemm", ["flat", "w", "b"], ["y"], name="words", transB=1))
    weight = rng.standard_normal((CLASSES, CHANNELS)) / np.sqrt(CHANNELS)
    for name, values in (("w", weight), ("b", np.zeros(CLASSES))):
        tensors.append(numpy_helper.from_array(values.astype(np.float32), name))
    make = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "ds-cnn", [make("x", TensorProto.FLOAT, ["n", 1, FRAMES, FEATURES])],
        [make("y", TensorProto.FLOAT, ["n", CLASSES])], tensors,
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def main() -> None:
    """Read the options and write the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    onnx.save(make_model(options.seed), options.out / "ds-cnn.onnx")
    rng = np.random.default_rng([options.seed, 1])
    x = rng.standard_normal((options.samples, 1, FRAMES, FEATURES)).astype(np.float32)
    np.savez(options.out / "ds-cnn_calibration.npz", x=x)


if __name__ == "__main__":
    main()
