"""Write a ResNet-20 and a SqueezeNet with random weights, and images of noise.

    python tools/make_small_networks.py --out FOLDER

Writes NAME.onnx and NAME_calibration.npz for each of NETWORKS. Weights and images are those of
``tools/make_resnet50.py``, smaller: they are for sizes and times, and say nothing of accuracy.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from make_resnet50 import LAST_GAIN, Builder

SAMPLES = 128
CELL = 4  # pixels of one cell of coarse noise
WIDTHS = (16, 32, 64)  # of the three stages of a ResNet for images of 32 x 32
BLOCKS = 3  # of a stage
FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
POOLED = (2, 4)  # fire modules behind which the image is halved


def resnet20(builder: Builder) -> str:
    """Add the layers of He et al. 2016 for small images; return the last output."""
    x = builder.node("Relu", [builder.conv("x", "stem", WIDTHS[0], 3, 3, 1)], "stem.relu")
    channels = WIDTHS[0]
    for stage, width in enumerate(WIDTHS):
        for block in range(BLOCKS):
            name, stride = f"stage{stage}.{block}", 2 if stage and block == 0 else 1
            inner = builder.conv(x, f"{name}.a", width, channels, 3, stride)
            inner = builder.node("Relu", [inner], f"{name}.ra")
            inner = builder.conv(inner, f"{name}.b", width, width, 3, 1, LAST_GAIN)
            short = x
            if channels != width:
                short = builder.conv(x, f"{name}.short", width, channels, 1, stride, 0.7)
            total = builder.node("Add", [inner, short], f"{name}.sum")
            x, channels = builder.node("Relu", [total], f"{name}.out"), width
    return _head(builder, x, channels, 10)


def squeezenet(builder: Builder) -> str:
    """Add the layers of SqueezeNet 1.1 (Iandola et al. 2016); return the last output."""
    x = builder.node("Relu", [builder.conv("x", "stem", 64, 3, 3, 2)], "stem.relu")
    x, channels = _pool(builder, x, "pool0"), 64
    for place, (narrow, wide) in enumerate(FIRES, 1):
        name = f"fire{place}"
        squeezed = builder.conv(x, f"{name}.squeeze", narrow, channels, 1, 1)
        squeezed = builder.node("Relu", [squeezed], f"{name}.rs")
        parts = [
            builder.node("Relu", [builder.conv(squeezed, f"{name}.e{k}", wide, narrow, k, 1)],
                         f"{name}.r{k}")
            for k in (1, 3)
        ]  # fmt: skip
        x, channels = builder.node("Concat", parts, f"{name}.out", axis=1), 2 * wide
        if place in POOLED:
            x = _pool(builder, x, f"pool{place}")
    return _head(builder, x, channels, 1000)


NETWORKS: dict[str, tuple[Callable[[Builder], str], int]] = {
    "resnet20": (resnet20, 32),
    "squeezenet": (squeezenet, 128),
}
"""by name: what adds the layers, and the size of an image"""


def _pool(builder: Builder, x: str, name: str) -> str:
    return builder.node("MaxPool", [x], name, kernel_shape=[3, 3], strides=[2, 2])


def _head(builder: Builder, x: str, channels: int, classes: int) -> str:
    x = builder.node("Flatten", [builder.node("GlobalAveragePool", [x], "mean")], "flat", axis=1)
    weight = builder.rng.standard_normal((classes, channels)) / np.sqrt(channels)
    inputs = [x, builder.tensor("head.w", weight), builder.tensor("head.b", np.zeros(classes))]
    return builder.node("Gemm", inputs, "y", transB=1)


def make(name: str, folder: Path, seed: int = 0) -> None:
    """Write a network and its images."""
    add, size = NETWORKS[name]
    builder = Builder(seed)
    output = add(builder)
    model = builder.model(name, (3, size, size), output, builder.tensors[-1].dims[0])
    (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
    rng = np.random.default_rng([seed, 1])
    coarse = rng.uniform(-1, 1, (SAMPLES, 3, size // CELL, size // CELL))
    images = coarse.repeat(CELL, axis=2).repeat(CELL, axis=3)
    images = (images + rng.uniform(-0.5, 0.5, images.shape)).astype(np.float32)
    np.savez_compressed(folder / f"{name}_calibration.npz", x=images)


def main() -> None:
    """Read the options and write the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    for name in NETWORKS:
        make(name, folder)
        print(folder / f"{name}.onnx")


if __name__ == "__main__":
    main()
