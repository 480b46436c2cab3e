"""Write a ResNet-50 with random weights, batch norms folded, and images of noise.

    python tools/make_resnet50.py --out /tmp/resnet50                     256 images
    python tools/make_resnet50.py --out /tmp/resnet50 --samples 2048      308 MB of images

Writes OUT/resnet50.onnx (102 MB) and OUT/resnet50_calibration.npz. The weights are He's, the
last convolution of every block scaled down as a trained network's are, so that values stay of
order one. Images are stored as bytes with a scale, smoothed so that neighbours are alike.
"""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

STEM = 64
STAGES = ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2))  # blocks, width, stride
WIDER = 4
CLASSES = 1000
SIZE = 224
LAST_GAIN = 0.3  # of the last convolution of a block
CELL = 8  # pixels of one cell of coarse noise
CHUNK = 64  # images made at once
OPSET = 17


class Builder:
    """Collects nodes and initializers, and makes a model of them."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[NodeProto] = []
        self.tensors: list[TensorProto] = []

    def node(self, op: str, inputs: list[str], name: str, **attributes: object) -> str:
        """Add a node whose only output has its name; return that."""
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def tensor(self, name: str, values: np.ndarray) -> str:
        """Add an initializer; return its name."""
        self.tensors.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def conv(
        self, x: str, name: str, rows: int, channels: int, kernel: int, stride: int, gain: float = 1
    ) -> str:
        """Add a convolution with a bias, as folding a batch norm leaves it."""
        shape = rows, channels, kernel, kernel
        scale = gain * np.sqrt(2 / (channels * kernel**2))
        weight = self.tensor(f"{name}.w", scale * self.rng.standard_normal(shape))
        bias = self.tensor(f"{name}.b", 0.1 * self.rng.standard_normal(rows))
        return self.node(
            "Conv", [x, weight, bias], name, kernel_shape=[kernel] * 2, strides=[stride] * 2,
            pads=[kernel // 2] * 4,
        )  # fmt: skip

    def block(self, x: str, name: str, channels: int, width: int, stride: int) -> str:
        """Add a bottleneck block; it gives WIDER * width channels."""
        wide = WIDER * width
        inner = self.node("Relu", [self.conv(x, f"{name}.a", width, channels, 1, 1)], f"{name}.ra")
        inner = self.conv(inner, f"{name}.b", width, width, 3, stride)
        inner = self.node("Relu", [inner], f"{name}.rb")
        inner = self.conv(inner, f"{name}.c", wide, width, 1, 1, LAST_GAIN)
        short = x
        if channels != wide or stride > 1:
            short = self.conv(x, f"{name}.short", wide, channels, 1, stride, np.sqrt(0.5))
        total = self.node("Add", [inner, short], f"{name}.sum")
        return self.node("Relu", [total], f"{name}.out")

    def model(self, name: str, shape: tuple[int, ...], output: str, classes: int) -> ModelProto:
        """Return the model of an input x (n, *shape) and an output (n, classes)."""
        make = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes, name, [make("x", TensorProto.FLOAT, ["n", *shape])],
            [make(output, TensorProto.FLOAT, ["n", classes])], self.tensors,
        )  # fmt: skip
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def make_model(path: Path, seed: int) -> None:
    """Write the network."""
    builder = Builder(seed)
    x = builder.node("Relu", [builder.conv("x", "stem", STEM, 3, 7, 2)], "stem.relu")
    x = builder.node("MaxPool", [x], "pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = STEM
    for stage, (blocks, width, stride) in enumerate(STAGES):
        for block in range(blocks):
            first = stride if block == 0 else 1
            x = builder.block(x, f"stage{stage}.{block}", channels, width, first)
            channels = WIDER * width
    x = builder.node("Flatten", [builder.node("GlobalAveragePool", [x], "mean")], "flat", axis=1)
    weight = builder.rng.standard_normal((CLASSES, channels)) / np.sqrt(channels)
    inputs = [x, builder.tensor("head.w", weight), builder.tensor("head.b", np.zeros(CLASSES))]
    builder.node("Gemm", inputs, "y", transB=1)
    model = builder.model("resnet50", (3, SIZE, SIZE), "y", CLASSES)
    path.write_bytes(model.SerializeToString())


def make_data(path: Path, samples: int, seed: int) -> None:
    """Write images, CHUNK at a time, into an npz file that is not compressed."""
    rng = np.random.default_rng([seed, 1])
    shape = samples, 3, SIZE, SIZE
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        with archive.open("x.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array_header_1_0(file, header)
            for begin in range(0, samples, CHUNK):
                file.write(_images(rng, min(CHUNK, samples - begin)).tobytes())
        for name, value in (("x.scale", 1 / 58), ("x.offset", -128 / 58)):
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.array(value))


def _images(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return bytes (count, 3, SIZE, SIZE): coarse noise and fine noise."""
    cells = SIZE // CELL
    coarse = rng.integers(0, 192, (count, 3, cells, cells), np.uint8)
    image = coarse.repeat(CELL, axis=2).repeat(CELL, axis=3)
    return image + rng.integers(0, 64, image.shape, np.uint8)


def main() -> None:
    """Read the options and write the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    make_model(options.out / "resnet50.onnx", options.seed)
    make_data(options.out / "resnet50_calibration.npz", options.samples, options.seed)
    print(f"{options.out}: resnet50.onnx and {options.samples} images")


if __name__ == "__main__":
    main()
