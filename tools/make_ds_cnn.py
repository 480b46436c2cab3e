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
from make_resnet50 import Builder

CHANNELS, BLOCKS, CLASSES = 64, 4, 12
FRAMES, FEATURES = 49, 10


def make_model(seed: int) -> onnx.ModelProto:
    """Return the network; weights are He's, so values stay of order one."""
    builder = Builder(seed)

    def conv(x: str, name: str, shape: tuple[int, ...], **about: object) -> str:
        weight = builder.rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
        bias = 0.1 * builder.rng.standard_normal(shape[0])
        inputs = [x, builder.tensor(f"{name}.w", weight), builder.tensor(f"{name}.b", bias)]
        out = builder.node("Conv", inputs, name, kernel_shape=list(shape[2:]), **about)
        return builder.node("Relu", [out], f"{name}.relu")

    x = conv("x", "first", (CHANNELS, 1, 10, 4), strides=[2, 2], pads=[4, 1, 5, 1])
    for block in range(BLOCKS):
        x = conv(x, f"depth{block}", (CHANNELS, 1, 3, 3), group=CHANNELS, pads=[1, 1, 1, 1])
        x = conv(x, f"point{block}", (CHANNELS, CHANNELS, 1, 1))
    x = builder.node("Flatten", [builder.node("GlobalAveragePool", [x], "mean")], "flat", axis=1)
    weight = builder.rng.standard_normal((CLASSES, CHANNELS)) / np.sqrt(CHANNELS)
    inputs = [x, builder.tensor("w", weight), builder.tensor("b", np.zeros(CLASSES))]
    builder.node("Gemm", inputs, "y", transB=1)
    return builder.model("ds-cnn", (1, FRAMES, FEATURES), "y", CLASSES)


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
