"""Compare zeros and int8 found together with int8 put on the zeros afterwards.

    nice -n 19 python tools/bench_int8.py --zoo ZOO --out OUT ppocr-cls minilm-l3 magika

For each model of the zoo (tools/zoo.py) and 50 and 70 % zeros in every layer: the score of the
dense model, of the zeros alone, of ``--values int8``, and of the zeros alone with the weights of
the same layers rounded by onnxruntime.quantization, symmetric with a scale for each output; behind
the score the output error on the test samples, which is less a matter of chance; and the bytes of
the packed int8 file over those of the dense one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import zoo
from onnx import TensorProto
from onnxruntime.quantization.quant_utils import quantize_data
from zoo_model import open_session

from onnx_lobs.graph.files.load import load_model
from onnx_lobs.graph.files.save import save_model
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.find import LayerFilter, find_layers
from onnx_lobs.layers.output_axis import output_axis

SPARSITIES = (0.7, 0.5)


def main() -> None:
    """Measure every model that is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zoo", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("models", nargs="+")
    options = parser.parse_args()
    options.out.mkdir(exist_ok=True)
    for name in options.models:
        for sparsity in SPARSITIES:
            print(measure(options, name, sparsity), flush=True)


def measure(options: argparse.Namespace, name: str, sparsity: float) -> str:
    """Return the line of one model at one sparsity."""
    folder, out = options.zoo, options.out
    model = zoo.load(name, folder)
    dense = model.path
    shared = ["-s", sparsity, "--allocation", "uniform", "--samples", options.samples]
    shared += ["-d", folder / f"{name}_calibration.npz"]
    zeros, joint, after = (out / f"{name}-{word}.onnx" for word in ("zeros", "joint", "after"))
    lobs("prune", dense, *shared, "-o", zeros)
    lobs("prune", dense, *shared, "--values", "int8", "--format", "packed", "-o", joint)
    round_afterwards(zeros, after)
    samples = test_inputs(model, out / f"{name}-inputs.npz")
    figures = [f"dense {model.score(open_session(dense)):.4f}"]
    for word, path in zip(WORDS, (zeros, joint, after), strict=True):
        error = lobs("evaluate", dense, path, "-d", samples)["error"]
        figures.append(f"{word} {model.score(open_session(path)):.4f} ({error:.4f})")
    size = joint.stat().st_size / dense.stat().st_size
    return f"{name} {sparsity:.0%}: {'  '.join(figures)}  int8 packed x {size:.3f}"


WORDS = ("zeros", "joint int8", "int8 afterwards")


def test_inputs(model: zoo.ZooModel, path: Path) -> Path:
    """Write the test samples without what the score needs besides, and return the file."""
    names = [each.name for each in open_session(model.path).get_inputs()]
    np.savez(path, **{name: model.test[name] for name in names})  # type: ignore[arg-type]
    return path


def lobs(*arguments: object) -> Any:
    """Run the program and return its record."""
    command = [sys.executable, "-m", "onnx_lobs", *map(str, arguments), "--json"]
    command += ["--overwrite"] if arguments[0] == "prune" else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def round_afterwards(path: Path, output: Path) -> None:
    """Write a pruned model with weights rounded as onnxruntime does it, a scale for each output."""
    loaded = load_model(path)
    model = Model(loaded.proto, loaded.folder)
    layers, _ = find_layers(model, LayerFilter(depthwise=True))
    for layer in layers:
        tensor = model.constant(model.scopes[layer.scope], layer.weight)
        assert tensor is not None
        array = model.value(tensor)
        axis = output_axis(layer, array.shape, 13).axis
        parts = [array] if axis is None else np.split(array, array.shape[axis], axis)
        rounded = []
        for part in parts:
            *_, scale, codes = quantize_data(part, TensorProto.INT8, symmetric=True)
            rounded.append(codes.astype(np.float32) * np.float32(scale))
        joined = rounded[0] if axis is None else np.concatenate(rounded, axis)
        model.write(tensor, joined.astype(array.dtype).reshape(array.shape))
    save_model(loaded.proto, output, folder=loaded.folder, overwrite=True)


if __name__ == "__main__":
    main()
