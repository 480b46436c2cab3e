"""Make the layer set of the solver benchmarks: weights and Grams of real and synthetic layers.

``python tools/bench_layers.py --out DIR [--zoo DIR] [--mnist DIR] [--layers GLOB]``

Writes ``DIR/NAME.npz`` per layer, about 0.9 GB in all, once; a file that is there is left alone
unless ``--overwrite`` is given. Real layers come from the models that ``tools/zoo.py`` prepared and
from ``models/mnist``, with the project's own calibration: ``hessian`` from the part of the batches
that methods fit on, ``held`` from the part held out, both (2/n) sum (x - mean)(x - mean)ᵀ.

The two synthetic layers have a known covariance, D (0.7 AR(1) + 0.3 factors) D: neighbouring
columns correlate by 0.95, d/8 common factors have energies decaying as 1/k, scales are lognormal.
Both Grams are exact draws of what n = 8 d Gaussian samples would give (Wishart, by Bartlett).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onnx_lobs.arrays import FloatArray
from onnx_lobs.calibration.held_out import held_every
from onnx_lobs.calibration.independent import calibrate_independent
from onnx_lobs.calibration.options import CalibrationOptions
from onnx_lobs.calibration.shared_inputs import find_shared_inputs
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.find import matcher
from onnx_lobs.layers.layer import Layer
from onnx_lobs.linalg.moments import Calibration
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.run.log import Log
from onnx_lobs.run.setup import open_run
from onnx_lobs.solvers.layerwise.pose import default_damp
from onnx_lobs.solvers.layerwise.sums import LayerSums, add_up

SAMPLES_PER_INPUT = 8
NEIGHBOURS = 0.95
FACTOR_SHARE = 0.3

REAL = {
    "lenet-300-100": {"fc1": "fc1", "fc2": "fc2"},
    "lenet-5": {"conv1": "conv1", "conv2": "conv2", "fc1": "fc1"},
    "ppocr-rec": {
        "conv18-1x1": "p2o.Conv.18",
        "conv30-1x1": "p2o.Conv.30",
        "conv25-depthwise5x5": "p2o.Conv.25",
        "conv36-1x3": "p2o.Conv.36",
        "qkv": "p2o.MatMul.0",
    },
    "efficientnet-lite0": {
        "stem-3x3": "/_conv_stem/Conv",
        "block6-expand1x1": "/_blocks.6/_expand_conv/Conv",
        "block13-project1x1": "/_blocks.13/_project_conv/Conv",
        "block15-depthwise3x3": "/_blocks.15/_depthwise_conv/Conv",
    },
    "minilm-l3": {
        "query": "*layer.1/attention/self/query/MatMul",
        "output": "*layer.1/output/dense/MatMul",
    },
    "magika": {"conv-5x1": "*/Conv_0/Conv2D", "dense": "*/Dense_1/MatMul"},
}
"""model: {name in the set: pattern of the layer's name}"""

SYNTHETIC = {"conv3x3-512x4608": (512, 512, (3, 3)), "dense-2048x2048": (2048, 2048, ())}
"""name: rows, channels, kernel"""


@dataclass(frozen=True)
class BenchLayer:
    """One layer of the set.

    Attributes
    ----------
    name, op, kernel
        ``model.layer``; ONNX operator; kernel sizes, () for Gemm and MatMul.
    weight
        (groups, rows, d) float32.
    hessian, held
        (groups, d, d) float64: (2/n) times the centred Gram of the calibration part and of the
        held-out part.
    mean, held_mean
        (groups, d) mean inputs.
    count, held_count
        Observations in each part.
    """

    name: str
    op: str
    kernel: tuple[int, ...]
    weight: NDArray[np.float32]
    hessian: FloatArray
    held: FloatArray
    mean: FloatArray
    held_mean: FloatArray
    count: int
    held_count: int

    @property
    def kernel_size(self) -> int:
        """Kernel positions per input channel."""
        return int(np.prod(self.kernel, dtype=int))

    @property
    def damp(self) -> float:
        """The damping that a run would take from the amount of data."""
        return default_damp(self.count, self.weight.shape[2])

    def relative_error(self, weight: NDArray[np.floating], held: bool) -> float:
        """Return tr(D H Dᵀ) / tr(W H Wᵀ) with D = `weight` - W, on one of the two parts."""
        hessian = self.held if held else self.hessian
        own = self.weight.astype(np.float64)
        change = weight - own
        return float(np.vdot(change @ hessian, change) / np.vdot(own @ hessian, own))


def save_layer(layer: BenchLayer, folder: Path) -> Path:
    """Write ``NAME.npz``; the held-out Gram, which only scores, as float32."""
    path = _path(folder, layer.name)
    values = dict(vars(layer)) | {"held": layer.held.astype(np.float32)}
    np.savez(path, **values)
    return path


def load_layer(path: Path) -> BenchLayer:
    """Read what :func:`save_layer` wrote."""
    with np.load(path) as data:
        arrays = {key: data[key] for key in data.files}
    texts = {key: str(arrays[key]) for key in ("name", "op")}
    counts = {key: int(arrays[key]) for key in ("count", "held_count")}
    kernel = tuple(int(size) for size in arrays["kernel"])
    held = arrays["held"].astype(np.float64)
    return BenchLayer(**{**arrays, **texts, **counts, "kernel": kernel, "held": held})


def select_files(folder: Path, globs: Sequence[str], largest: int | None = None) -> list[Path]:
    """Return the files of the set whose layer's name matches, by growing rows * d * d.

    `largest` leaves out layers with more weights. The arrays themselves are not read.
    """
    costs: dict[Path, float] = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as data:
            groups, rows, columns = data["weight"].shape
        size = groups * rows * columns
        if any(fnmatchcase(path.stem, glob) for glob in globs) and size <= (largest or size):
            costs[path] = size * columns
    return sorted(costs, key=lambda path: (costs[path], path))


def make_real(model: Path, data: Path, wanted: dict[str, str]) -> Iterator[BenchLayer]:
    """Calibrate a model on its dense inputs and yield the layers of `wanted`.

    Parameters
    ----------
    model, data
        ONNX file and its calibration npz.
    wanted
        {name in the set: pattern that one layer's name matches}.
    """
    config = PruneConfig(include=tuple(wanted.values()), min_weights=0)
    setup, networks = open_run(model, data, None, config, Log())
    shared_inputs, batches = find_shared_inputs(setup.layers), setup.batches
    found = calibrate_independent(
        networks.dense,
        shared_inputs,
        batches,
        CalibrationOptions(
            n_batches=len(batches), held_every=held_every(batches), provider=networks.provider
        ),
    )
    for shared, calibration in zip(shared_inputs, found, strict=True):
        for layer in shared.layers:
            names = [name for name, glob in wanted.items() if matcher(glob)(layer.name)]
            if names:
                yield _real(f"{model.stem}.{names[0]}", networks.dense, layer, calibration)


def _real(name: str, dense: Model, layer: Layer, calibration: Calibration) -> BenchLayer:
    tensor = dense.constant(dense.scopes[layer.scope], layer.weight)
    assert tensor is not None
    weight = layer.matrix(dense.value(tensor))
    centred = [True] * len(layer.uses)
    fit = add_up(calibration.fit, centred, weight)
    held = add_up(calibration.held, centred, weight)
    geometry = layer.uses[0].unfold
    return BenchLayer(
        name=name,
        op=layer.op,
        kernel=() if geometry is None else tuple(geometry.kernel),
        weight=weight.astype(np.float32),
        hessian=_hessian(fit),
        held=_hessian(held),
        mean=calibration.fit[0].inputs.mean,
        held_mean=calibration.held[0].inputs.mean,
        count=fit.count,
        held_count=held.count,
    )


def _hessian(sums: LayerSums) -> FloatArray:
    return sums.scatter * (2 / max(sums.count, 1))


def make_synthetic(name: str, rows: int, channels: int, kernel: tuple[int, ...]) -> BenchLayer:
    """Draw a layer with a known covariance, see the top of this file. Seeded by its size."""
    columns = channels * int(np.prod(kernel, dtype=int))
    rng = np.random.default_rng([rows, columns])
    root = np.linalg.cholesky(_covariance(rng, columns))
    weight = rng.standard_t(5, size=(1, rows, columns)) / np.sqrt(columns)
    count = SAMPLES_PER_INPUT * columns
    mean = rng.standard_normal((1, columns)) * np.linalg.norm(root, axis=1) / 2
    return BenchLayer(
        name=f"synthetic.{name}",
        op="Conv" if kernel else "Gemm",
        kernel=kernel,
        weight=weight.astype(np.float32),
        hessian=2 * _draw_gram(rng, root, count)[None],
        held=2 * _draw_gram(rng, root, count)[None],
        mean=mean,
        held_mean=mean,
        count=count,
        held_count=count,
    )


def _covariance(rng: np.random.Generator, columns: int) -> FloatArray:
    place = np.arange(columns)
    near = NEIGHBOURS ** np.abs(place[:, None] - place).astype(np.float64)
    factors = rng.standard_normal((columns, max(columns // 8, 1)))
    factors /= np.sqrt(np.arange(1, factors.shape[1] + 1))
    common = factors @ factors.T
    common *= columns / np.trace(common)
    scale = np.exp(0.5 * rng.standard_normal(columns))
    return ((1 - FACTOR_SHARE) * near + FACTOR_SHARE * common) * scale[:, None] * scale


def _draw_gram(rng: np.random.Generator, root: FloatArray, count: int) -> FloatArray:
    """Return (1/n) XᵀX of n samples x ~ N(0, root rootᵀ), without making them."""
    factor = np.tril(rng.standard_normal(root.shape), -1)
    np.fill_diagonal(factor, np.sqrt(rng.chisquare(count - np.arange(len(root)))))
    mixed = root @ factor
    return np.asarray(mixed @ mixed.T / count)


def make_set(
    folder: Path, zoo: Path, mnist: Path, glob: str, overwrite: bool
) -> Iterator[BenchLayer]:
    """Yield the layers whose names match `glob` and that `folder` does not hold yet."""

    def is_wanted(name: str) -> bool:
        return fnmatchcase(name, glob) and (overwrite or not _path(folder, name).exists())

    for model, names in REAL.items():
        wanted = {name: pattern for name, pattern in names.items() if is_wanted(f"{model}.{name}")}
        home = mnist if model.startswith("lenet") else zoo
        data = home / ("calibration.npz" if home is mnist else f"{model}_calibration.npz")
        if wanted:
            yield from make_real(home / f"{model}.onnx", data, wanted)
    for name, (rows, channels, kernel) in SYNTHETIC.items():
        if is_wanted(f"synthetic.{name}"):
            yield make_synthetic(name, rows, channels, kernel)


def main() -> None:
    """Read the command line, make the layers and print one line for each."""
    parser = argparse.ArgumentParser(description="Make the layer set of the solver benchmarks.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--zoo", type=Path, default=Path("zoo"), help="what tools/zoo.py wrote")
    parser.add_argument("--mnist", type=Path, default=Path("models/mnist"))
    parser.add_argument("--layers", default="*", metavar="GLOB", help="of MODEL.LAYER")
    parser.add_argument("--overwrite", action="store_true", help="make existing files anew")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    made = make_set(options.out, options.zoo, options.mnist, options.layers, options.overwrite)
    for layer in made:
        path = save_layer(layer, options.out)
        shape = "x".join(map(str, layer.weight.shape))
        print(
            f"{layer.name:38} {layer.op:8} {shape:14} kernel {layer.kernel_size:2}  observations "
            f"{layer.count} + {layer.held_count} held out  {path.stat().st_size / 1e6:.1f} MB",
            flush=True,
        )


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.npz"


if __name__ == "__main__":
    main()
