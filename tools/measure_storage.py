"""Measure what storage formats make of a ResNet-50 with 90 % zeros, and that they are exact.

    python tools/measure_storage.py --out /tmp/storage            some minutes and 1 GB of memory

Weights are random (tools/make_resnet50.py), zeros by magnitude in each tensor. Prints for each
format and kind of values the bytes over those of the dense file, whether onnxruntime gives the bits
that it gives for the dense twin, with and without optimisation, and whether expanding gives the
weights back.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, numpy_helper

from onnx_lobs.arrays import Array
from onnx_lobs.graph.files.load import load_model
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.find import LayerFilter, find_layers
from onnx_lobs.layers.layer import Layer
from onnx_lobs.layers.output_axis import output_axis
from onnx_lobs.solvers.rounding import round_rows
from onnx_lobs.storage.formats import FORMATS
from onnx_lobs.storage.int8 import Scales
from onnx_lobs.storage.values import VALUES, WeightValues, encode_values
from onnx_lobs.verbs.expand import expand_file

SPARSITY = 0.9


def main() -> None:
    """Make the model and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    make = Path(__file__).with_name("make_resnet50.py")
    subprocess.run([sys.executable, make, "--out", out, "--samples", "8"], check=True)
    for kind in VALUES:
        pruned, weights = prune(out / "resnet50.onnx", kind)
        twin, bits = None, None
        for form in FORMATS:
            proto = ModelProto()
            proto.CopyFrom(pruned)
            held = encode_values(proto, weights, VALUES[kind])
            FORMATS[form].encode(proto, held, None)
            path = out / f"{form}-{kind}.onnx"
            path.write_bytes(proto.SerializeToString())
            found = [run(path, level) for level in LEVELS]
            twin = twin or found
            same = [np.array_equal(a, b) for a, b in zip(twin, found, strict=True)]
            back = "-" if form == "dense" else expands(path, out / "back.onnx", bits)
            bits = bits or values_of(path)
            size = path.stat().st_size / (out / "resnet50.onnx").stat().st_size
            print(f"{form:7} {kind}  x {size:.4f}  same bits {same}  expands {back}", flush=True)


LEVELS = (
    onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
)


def run(path: Path, level: onnxruntime.GraphOptimizationLevel) -> Array:
    """Return the outputs for one image."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 3
    if level == LEVELS[1]:  # what is unpacked at every run cannot be packed for the kernels
        options.add_session_config_entry("session.disable_prepacking", "1")
    session = onnxruntime.InferenceSession(str(path), options)
    image = np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32)
    (found,) = session.run(None, {session.get_inputs()[0].name: image})
    return found


def values_of(path: Path) -> dict[str, bytes]:
    """Return the bytes of every initializer."""
    return {t.name: t.raw_data for t in onnx.load(path).graph.initializer}


def expands(path: Path, back: Path, wanted: dict[str, bytes] | None) -> bool:
    """Whether expanding gives the dense twin's initializers."""
    expand_file(path, back, overwrite=True)
    return values_of(back) == wanted


def prune(path: Path, kind: str) -> tuple[ModelProto, list[WeightValues]]:
    """Return the model with zeros by magnitude, rounded as the kind of values says."""
    proto = load_model(path).proto
    model = Model(proto, None)
    layers, _ = find_layers(model, LayerFilter(depthwise=True))
    weights = []
    for layer in layers:
        tensor = model.constant(model.main, layer.weight)
        assert tensor is not None
        array = numpy_helper.to_array(tensor).copy()
        least = np.quantile(np.abs(array), SPARSITY)
        array[np.abs(array) < least] = 0
        scales = None
        if kind == "fp16":
            array = array.astype(np.float16).astype(np.float32)
        if kind == "int8":
            array, scales = rounded(layer, array)
        model.write(tensor, array)
        weights.append(WeightValues(0, layer.weight, scales))
    return proto, weights


def rounded(layer: Layer, array: Array) -> tuple[Array, Scales]:
    """Return a tensor in int8 by plain rounding, as if inputs had nothing in common."""
    at = output_axis(layer, array.shape, 17)
    matrix = layer.matrix(array)
    identity = np.broadcast_to(np.eye(1), (len(matrix), 1, 1))
    flat = matrix.reshape(len(matrix), -1, 1)
    of_weight = np.repeat(at.of_row, matrix.shape[2], axis=1)
    found = round_rows(flat, identity, of_weight)
    back = layer.chain.invert(layer.layout.from_matrix(found.weight.reshape(matrix.shape)))
    return back.astype(np.float32), Scales(found.scales, at.axis)


if __name__ == "__main__":
    main()
