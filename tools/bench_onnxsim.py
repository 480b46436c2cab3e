"""Compare ``onnx_lobs.prune`` with the SparseGPT of onnxsim 0.8.1 on models of a single layer.

``python tools/bench_onnxsim.py --set DIR [--layers GLOB,GLOB] [--sparsity F,F]``, DIR from
tools/bench_layers.py; the interpreter needs onnxsim 0.8.1 besides onnx-lobs.

Each layer becomes an ONNX model: a Conv that sees one window per sample, a Gemm, or a MatMul, with
a bias. Its calibration inputs are Gaussian samples that have exactly the layer's real mean and
covariance on the calibration part, its test inputs those of the held-out part. Both tools get
the same calibration arrays. The error is ||y' - y||² over ||y - mean y||², of the outputs of the
dense and of the pruned model in onnxruntime. onnxsim reaches about the sparsity it is asked for,
onnx-lobs exactly; both shares of zeros are in the table, ``OUT/onnxsim_layers.md``. onnx-lobs also
corrects the bias; ``--zero-mean`` takes the mean from all inputs, which leaves the zeros and the
weights alone to compare, and writes ``OUT/onnxsim_layers_zero_mean.md``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import onnxsim
from bench_layers import BenchLayer, load_layer, select_files
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from threadpoolctl import threadpool_limits

import onnx_lobs
from onnx_lobs.arrays import FloatArray

Array = NDArray[np.float32]
Pruner = Callable[[onnx.ModelProto, Array, float], onnx.ModelProto]
OPSET, IR_VERSION = 17, 8
BATCHES = 20
LIMITS = {0.5: 0.55, 0.9: 0.4}
"""sparsity: largest ratio of onnx-lobs's error to onnxsim's that is promised"""


@dataclass(frozen=True)
class Row:
    """One layer at one sparsity: per tool calibration error, held-out error, zeros, seconds."""

    layer: str
    shape: tuple[int, ...]
    sparsity: float
    samples: int
    onnxsim: tuple[float, float, float, float]
    lobs: tuple[float, float, float, float]

    @property
    def ratio(self) -> tuple[float, float]:
        """onnx-lobs's error over onnxsim's, on calibration and on held-out inputs."""
        return self.lobs[0] / self.onnxsim[0], self.lobs[1] / self.onnxsim[1]


def build_model(layer: BenchLayer) -> onnx.ModelProto:
    """Return the model of one layer with input ``x`` and output ``y``."""
    groups, rows, columns = layer.weight.shape
    bias = np.zeros(groups * rows, dtype=np.float32)
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="layer", transB=1)]
    weight, shape = layer.weight.reshape(groups * rows, columns), _input_shape(layer)
    if layer.kernel:
        weight = weight.reshape(groups * rows, columns // layer.kernel_size, *layer.kernel)
        nodes = [helper.make_node("Conv", ["x", "w", "b"], ["y"], name="layer", group=groups)]
    elif layer.op == "MatMul":
        weight = np.ascontiguousarray(weight.T)
        nodes = [
            helper.make_node("MatMul", ["x", "w"], ["product"], name="layer"),
            helper.make_node("Add", ["product", "b"], ["y"], name="bias"),
        ]
    out = ["n", groups * rows, *([1] * len(layer.kernel))]
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "b")],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model


def _input_shape(layer: BenchLayer) -> tuple[int, ...]:
    groups, _, columns = layer.weight.shape
    return (groups * (columns // layer.kernel_size), *layer.kernel)


def draw_inputs(
    layer: BenchLayer, held: bool, samples: int, seed: int, zero_mean: bool = False
) -> Array:
    """Return inputs (samples, ...) with the layer's mean and covariance, up to float32 exactly.

    Parameters
    ----------
    layer
        Its `hessian` is twice the covariance. Not modified.
    held
        Whether the moments are those of the held-out part.
    samples
        At least columns + 1, for the covariance to have full rank.
    zero_mean
        Whether to leave the mean out.
    """
    rng = np.random.default_rng([seed, held])
    hessian, mean = (layer.held, layer.held_mean) if held else (layer.hessian, layer.mean)
    groups, _, columns = layer.weight.shape
    mean = np.zeros_like(mean) if zero_mean else mean
    parts = []
    for group in range(groups):
        values, basis = np.linalg.eigh(hessian[group] / 2)
        root = basis * np.sqrt(np.maximum(values, 0.0))  # L of x = L z
        white = rng.standard_normal((samples, columns))
        white -= white.mean(axis=0)
        lower = np.linalg.cholesky(white.T @ white / samples)
        mixing = np.linalg.solve(lower, root.T)  # z = lower^-1 white has unit covariance
        parts.append((white @ mixing + mean[group]).astype(np.float32))
    return np.concatenate(parts, axis=1).reshape(samples, *_input_shape(layer))


def prune_onnxsim(model: onnx.ModelProto, inputs: Array, sparsity: float) -> onnx.ModelProto:
    """Return the model pruned by onnxsim's SparseGPT with its own defaults."""
    batches = [{"x": batch} for batch in np.array_split(inputs, BATCHES)]
    return onnxsim.apply_sparsegpt_pruning(model, calibration_data=batches, sparsity=sparsity)


def prune_lobs(model: onnx.ModelProto, inputs: Array, sparsity: float) -> onnx.ModelProto:
    """Return the model pruned by onnx-lobs with its own defaults."""
    batch_size = -(-len(inputs) // BATCHES)
    options = {"include": ("*",), "min_weights": 0, "batch_size": batch_size}
    return onnx_lobs.prune(model, {"x": inputs}, sparsity=sparsity, **options).model


def run_model(model: onnx.ModelProto, inputs: Array, threads: int) -> FloatArray:
    """Return the outputs (samples, outputs) in onnxruntime."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    batches = np.array_split(inputs, BATCHES)
    found = np.concatenate([session.run(["y"], {"x": batch})[0] for batch in batches])
    return found.reshape(len(inputs), -1).astype(np.float64)


def share_of_zeros(model: onnx.ModelProto) -> float:
    """Return the fraction of zeros in what the layer multiplies by."""
    names = {name for node in model.graph.node if node.op_type != "Add" for name in node.input[1:2]}
    tensors = [t for t in model.graph.initializer if t.name in names]
    return float(np.mean(numpy_helper.to_array(tensors[0]) == 0))


def compare(layer: BenchLayer, options: argparse.Namespace) -> Iterator[Row]:
    """Yield one row per sparsity."""
    model = build_model(layer)
    samples = max(options.samples, 4 * layer.weight.shape[2])
    parts = [
        draw_inputs(layer, held, samples, options.seed, options.zero_mean) for held in (False, True)
    ]
    dense = [run_model(model, inputs, options.threads) for inputs in parts]
    energy = [((y - y.mean(axis=0)) ** 2).sum() for y in dense]

    def measure(prune: Pruner, sparsity: float) -> tuple[float, float, float, float]:
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        start = time.perf_counter()
        pruned = prune(copy, parts[0], sparsity)
        seconds = time.perf_counter() - start
        errors = [
            float(((run_model(pruned, x, options.threads) - y) ** 2).sum() / total)
            for x, y, total in zip(parts, dense, energy, strict=True)
        ]
        return errors[0], errors[1], share_of_zeros(pruned), seconds

    for sparsity in options.sparsity:
        figures = [measure(prune, sparsity) for prune in (prune_onnxsim, prune_lobs)]
        yield Row(layer.name, layer.weight.shape, sparsity, samples, *figures)


def report(rows: list[Row]) -> str:
    """Return the markdown of all rows, and of the promise on their geometric means."""
    lines = [
        "# onnxsim's SparseGPT and onnx-lobs on single layers",
        "",
        f"onnxsim {version('onnxsim')}, onnx-lobs {onnx_lobs.__version__}, made by "
        "`tools/bench_onnxsim.py`; errors on calibration / held-out inputs.",
        "",
        "| layer | zeros asked | samples | onnxsim error | zeros | s | onnx-lobs error | zeros | s "
        "| ratio |",
        "|---" * 10 + "|",
    ]
    for row in rows:
        cells = [f"{row.layer} {'x'.join(map(str, row.shape))}", f"{row.sparsity:.0%}"]
        cells.append(str(row.samples))
        for fit, held, zeros, seconds in (row.onnxsim, row.lobs):
            cells += [f"{fit:.3g} / {held:.3g}", f"{zeros:.2%}", f"{seconds:.1f}"]
        cells.append("{:.3f} / {:.3f}".format(*row.ratio))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *_promises(rows)]) + "\n"


def _promises(rows: list[Row]) -> Iterator[str]:
    for sparsity in sorted({row.sparsity for row in rows}):
        found = np.array([row.ratio for row in rows if row.sparsity == sparsity])
        mean, worst = np.exp(np.log(found).mean(axis=0)), found.max(axis=0)
        limit = LIMITS.get(sparsity)
        verdict = "" if limit is None else "PASS " if worst.max() <= limit else "FAIL "
        promise = "" if limit is None else f", promised <= {limit}"
        yield (
            f"* {verdict}{sparsity:.0%}: geometric mean {mean[0]:.3f} / {mean[1]:.3f}, worst "
            f"{worst[0]:.3f} / {worst[1]:.3f} of {len(found)} layers{promise} on every layer"
        )


def main() -> None:
    """Read the command line, compare on every layer and write the table."""
    parser = argparse.ArgumentParser(description="Compare with onnxsim on single layers.")
    parser.add_argument("--set", type=Path, required=True, help="folder of tools/bench_layers.py")
    parser.add_argument("--out", type=Path, default=Path("tools/results"))
    parser.add_argument("--layers", default="*", metavar="GLOB,GLOB")
    parser.add_argument("--largest", type=int, default=700_000, help="skip layers of more weights")
    parser.add_argument("--sparsity", default="0.5,0.9", metavar="F,F")
    parser.add_argument("--samples", type=int, default=4096, help="at least, or 4 per input")
    parser.add_argument("--zero-mean", action="store_true", help="inputs without their mean")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.sparsity = [float(value) for value in options.sparsity.split(",")]
    options.out.mkdir(parents=True, exist_ok=True)
    target = options.out / f"onnxsim_layers{'_zero_mean' * options.zero_mean}.md"
    rows: list[Row] = []
    with threadpool_limits(options.threads):
        for path in select_files(options.set, options.layers.split(","), options.largest):
            for row in compare(load_layer(path), options):
                rows.append(row)
                print(f"{row.layer:38} {row.sparsity:.0%}  ratio {row.ratio}", flush=True)
            target.write_text(report(rows))
    print(report(rows))


if __name__ == "__main__":
    main()
