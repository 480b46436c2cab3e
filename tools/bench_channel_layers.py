"""Measure what removing input channels costs single layers, by several choices, held out.

    python tools/bench_channel_layers.py --zoo ZOO --out FOLDER

ZOO is the folder that ``tools/zoo.py`` prepared. The layers are 1x1 convolutions of 240 channels of
the PP-OCR recogniser, on its calibration lines, and of EfficientNet-Lite0, and 3x3 convolutions of
96 channels of the PP-OCR detector, on pages that are put together of such lines. Each choice
takes 25, 50 and 75 % of a layer's input channels, on the Gram of the calibration part; what is told
is the relative error tr(D H Dᵀ) / tr(W H Wᵀ) on the part that is held out. Prints a table.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from bench_layers import BenchLayer, make_real
from numpy.typing import NDArray
from zoo_packages import RAPIDOCR, members, wheel

from onnx_lobs.arrays import FloatArray, IntArray
from onnx_lobs.solvers.channels.greedy import eliminate_channels
from onnx_lobs.solvers.channels.reader import ChannelReader, without_columns
from onnx_lobs.solvers.channels.swaps import swap_channels

SHARES = (0.25, 0.5, 0.75)
RECOGNISER = {f"recogniser.{n}": f"p2o.Conv.{n}" for n in (14, 16, 18, 20)}
DETECTOR = {f"detector.{n}": f"p2o.Conv.{n}" for n in (49, 52, 55, 58, 61)}
EFFICIENTNET = {f"efficientnet.{n}": f"/_blocks.{n}/_project_conv/Conv" for n in (4, 5)}
DOWN, ACROSS = 12, 2  # lines of a page
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of what the detector takes
PAGES = 12


def pages(lines: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return pages of lines (n, 3, 48, 320) in -1 .. 1, normalised as the detector wants them."""
    count = min(PAGES, len(lines) // (DOWN * ACROSS))
    taken = lines[: count * DOWN * ACROSS].reshape(count, DOWN, ACROSS, *lines.shape[1:])
    joined = taken.transpose(0, 3, 1, 4, 2, 5).reshape(count, 3, DOWN * 48, -1)
    mean, std = (np.reshape(each, (1, 3, 1, 1)) for each in (MEAN, STD))
    return np.asarray(((joined * 0.5 + 0.5) - mean) / std, np.float32)


def layers(zoo: Path, out: Path) -> Iterator[BenchLayer]:
    """Calibrate the networks and yield their layers."""
    images = zoo / "efficientnet-lite0_calibration.npz"
    yield from make_real(zoo / "efficientnet-lite0.onnx", images, EFFICIENTNET)
    data = zoo / "ppocr-rec_calibration.npz"
    yield from make_real(zoo / "ppocr-rec.onnx", data, RECOGNISER)
    files = members(wheel(RAPIDOCR, zoo / "packages"), ".onnx")
    model = out / "detector.onnx"
    model.write_bytes(next(content for name, content in files.items() if "det" in name))
    with np.load(data) as stored:
        lines = next(stored[key] for key in stored.files if stored[key].ndim == 4)
    np.savez(out / "detector.npz", x=pages(lines))
    yield from make_real(model, out / "detector.npz", DETECTOR)


def errors(layer: BenchLayer) -> dict[str, list[float]]:
    """Return the held-out errors of every choice, at SHARES."""
    weight, hessian = layer.weight[0].astype(np.float64), layer.hessian[0]
    size = layer.kernel_size
    n = weight.shape[1] // size
    channels = np.repeat(np.arange(n), size)
    damped = hessian + layer.damp * np.mean(np.diag(hessian)) * np.eye(len(hessian))
    inverse = np.linalg.inv(damped)
    reader = ChannelReader(weight, inverse, 1.0, channels)
    norms = np.sqrt(np.diag(hessian))
    l1 = np.bincount(channels, np.abs(weight).sum(axis=0))
    moved = np.bincount(channels, np.square(weight * norms).sum(axis=0))
    greedy = eliminate_channels([reader], n).order
    found: dict[str, list[float]] = {}
    for share in SHARES:
        count = round(share * n)
        by_l1, by_norm = (np.argsort(score)[:count] for score in (l1, moved))
        chosen = {
            "L1 + refit": by_l1, "norm + refit": by_norm, "OBS": greedy[:count],
            "OBS + swaps": swap_channels([reader], greedy[:count], n),
        }  # fmt: skip
        bare = np.where(np.isin(channels, by_l1), 0.0, weight)
        found.setdefault("L1", []).append(_held(layer, bare))
        for name, gone in chosen.items():
            new = without_columns(weight, inverse, _columns(channels, gone))
            found.setdefault(name, []).append(_held(layer, new))
    return found


def _columns(channels: IntArray, gone: IntArray) -> IntArray:
    return np.flatnonzero(np.isin(channels, gone))


def _held(layer: BenchLayer, weight: FloatArray) -> float:
    return layer.relative_error(weight[None], held=True)


def main() -> None:
    """Read the command line and print one row per layer, and the mean of each kind."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zoo", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for the detector")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    titles: list[str] = []
    for layer in layers(arguments.zoo, arguments.out):
        found = errors(layer)
        if not titles:
            titles = list(found)
            print("| layer | " + " | ".join(titles) + " |")
            print("|---" * (len(titles) + 1) + "|")
        cells = [" / ".join(f"{error:.3g}" for error in found[title]) for title in titles]
        shape = "x".join(map(str, layer.weight.shape[1:]))
        print(f"| {layer.name.partition('.')[2]} {shape} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
