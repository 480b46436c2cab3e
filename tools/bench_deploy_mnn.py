"""Measure what zeros are worth in MNN: a ResNet-50 of random weights, zeros by magnitude.

    python tools/bench_deploy_mnn.py --out /tmp/mnn --python PYTHON_WITH_MNN

Times are process CPU time of one thread, the least of interleaved rounds. The program that
converts is ``mnnconvert`` beside PYTHON, with the parameters that ``--target mnn`` writes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx

from onnx_lobs.graph.files.load import load_model
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.find import LayerFilter, find_layers
from onnx_lobs.patterns import parse_pattern
from onnx_lobs.targets.mnn import block_channels, compression_params

CASES = (("dense", 0.0), ("unstructured", 0.8), ("unstructured", 0.9), ("4x1", 0.8), ("4x1", 0.9))
TIMER = """
import sys, time
import MNN.nn as nn, MNN.expr as expr, MNN.numpy as mnp
files = sys.argv[2:]
nets = []
for file in files:
    manager = nn.create_runtime_manager(({"backend": 0, "numThread": 1, "precision": "high"},))
    nets.append(nn.load_module_from_file(file, [], [], runtime_manager=manager))
x = expr.convert(mnp.random.random((1, 3, 224, 224)), expr.NC4HW4)
best = [9e9] * len(files)
for _ in range(int(sys.argv[1])):
    for at, net in enumerate(nets):
        start = time.process_time()
        out = net.forward([x])
        out[0].read()
        best[at] = min(best[at], time.process_time() - start)
print(*(f"{1000 * b:.1f}" for b in best))
"""


def main() -> None:
    """Make the models, convert them and time them together."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("more", type=Path, nargs="*", help="models pruned by --target mnn, 4x1")
    options = parser.parse_args()
    dense = options.out / "resnet50.onnx"
    if not dense.exists():
        make = Path(__file__).with_name("make_resnet50.py")
        subprocess.run([sys.executable, make, "--out", options.out, "--samples", "4"], check=True)
    made = []
    for pattern, sparsity in CASES:
        path = options.out / f"{pattern}-{sparsity}.onnx"
        if not path.exists():
            prune(dense, pattern, sparsity, path)
        made.append(convert(options, path, pattern))
    made += [convert(options, path, "4x1") for path in options.more]
    command = [options.python, "-c", TIMER, str(options.rounds), *made]
    times = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = [float(word) for word in times.splitlines()[-1].split()]
    for path, ms in zip(made, found, strict=True):
        size = path.stat().st_size / 1e6
        print(f"{path.stem:24} {ms:7.1f} ms  {found[0] / ms:.2f}x  {size:.1f} MB")


def prune(dense: Path, pattern: str, sparsity: float, path: Path) -> None:
    """Write the model with the blocks of the smallest magnitudes set to zero."""
    proto = load_model(dense).proto
    model = Model(proto, None)
    layers, _ = find_layers(model, LayerFilter())
    for layer in layers if sparsity else ():
        tensor = model.constant(model.main, layer.weight)
        assert tensor is not None
        matrix = layer.layout.to_matrix(layer.chain.apply(model.value(tensor)))
        asked = parse_pattern(pattern)
        n = asked.closest(matrix.shape, sparsity, layer.kernel_size)
        kept = asked.select(matrix**2, n, layer.kernel_size)
        pruned = layer.layout.from_matrix(np.where(kept, matrix, 0))  # no negative zeros
        model.write(tensor, layer.chain.invert(pruned).astype("float32"))
    onnx.save(proto, path)


def convert(options: argparse.Namespace, path: Path, pattern: str) -> Path:
    """Return the model as MNN's converter writes it."""
    made = options.out / f"{path.stem}.mnn"
    words = ["-f", "ONNX", "--modelFile", str(path), "--MNNModel", str(made), "--bizCode", "MNN"]
    channels = block_channels(pattern)
    words += [] if pattern == "dense" else ["--detectSparseSpeedUp"]
    if channels is not None:
        params = options.out / "params.bin"
        params.write_bytes(compression_params(channels))
        words += ["--compressionParamsFile", str(params)]
    program = options.python.with_name("mnnconvert")
    subprocess.run([options.python, program, *words], check=True, capture_output=True)
    return made


if __name__ == "__main__":
    main()
