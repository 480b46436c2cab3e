"""Measure what zeros and int8 are worth in onnxruntime and OpenVINO, on real models.

    python tools/bench_deploy.py --zoo ZOO --out OUT lenet-300-100 lenet-5 ppocr-cls magika

For each model four files: dense; int8 alone, by onnxruntime.quantization as people use it (QDQ,
a scale for each output); zeros alone, packed; zeros and int8 together, packed. Of each: bytes raw
and gzipped, milliseconds and memory to load, milliseconds of CPU time for one sample on one thread
(the least of interleaved rounds), and the score. Columns of OpenVINO are empty where it is not
installed. Microcontrollers: tools/bench_deploy_c.py; MNN: tools/bench_deploy_mnn.py.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from onnx_lobs.data.inputs import input_specs
from onnx_lobs.data.reader import open_data
from onnx_lobs.graph.files.load import load_model

MODELS = Path(__file__).parents[1] / "models" / "mnist"
SPARSITY = {"lenet-300-100": "0.93", "lenet-5": "0.93"}  # of the others OTHERS
OTHERS = "0.5"
KINDS = ("dense", "int8 alone", "zeros alone", "zeros and int8")
ROUNDS, SAMPLES = 40, 256
LOADER = """
import re, sys, time
from pathlib import Path
import onnxruntime as ort
def peak():
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
options = ort.SessionOptions()
options.intra_op_num_threads = 1
before, start = peak(), time.process_time()
ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
print(1000 * (time.process_time() - start), peak() - before)
"""


def main() -> None:
    """Measure every model that is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zoo", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("models", nargs="+")
    options = parser.parse_args()
    options.out.mkdir(exist_ok=True)
    print("| model | file | bytes | gzipped | load ms | load MB | ort ms | openvino ms | score |")
    for name in options.models:
        dense, data, test = files_of(options.zoo, name)
        made = make(options.out, name, dense, data)
        feeds = first_sample(dense, data)
        times = [cpu_times(made, feeds, opener) for opener in (open_ort, open_openvino)]
        for at, (kind, path) in enumerate(zip(KINDS, made, strict=True)):
            raw = path.read_bytes()
            sizes = f"{len(raw):,} | {len(gzip.compress(raw, 9)):,}"
            ms, kib = load_cost(path)
            speed = " | ".join("" if t is None else f"{t[at]:.3f}" for t in times)
            score = score_of(path, test)
            line = f"| {name} | {kind} | {sizes} | {ms:.0f} | {kib / 1024:.1f} | {speed}"
            print(f"{line} | {score:.4f} |", flush=True)


def files_of(zoo: Path, name: str) -> tuple[Path, Path, Path]:
    """Return a model, its calibration samples, and its test samples."""
    if name.startswith("lenet"):
        return MODELS / f"{name}.onnx", MODELS / "calibration.npz", MODELS / "test.npz"
    return tuple(zoo / f"{name}{end}" for end in (".onnx", "_calibration.npz", "_test.npz"))


def make(out: Path, name: str, dense: Path, data: Path) -> list[Path]:
    """Return the four files; those that stand already are taken."""
    alone, zeros, both = (out / f"{name}-{word}.onnx" for word in ("int8", "zeros", "both"))
    if not alone.exists():
        quantize_static(
            dense, alone, Samples(dense, data), quant_format=QuantFormat.QDQ, per_channel=True,
            weight_type=QuantType.QInt8, activation_type=QuantType.QUInt8,
        )  # fmt: skip
    shared = [dense, "-d", data, "-s", SPARSITY.get(name, OTHERS), "--target", "onnxruntime"]
    shared += ["--effort", "fast"]
    if not zeros.exists():
        lobs(*shared, "-o", zeros)
    if not both.exists():
        lobs(*shared, "--values", "int8", "--activations", "int8", "-o", both)
    return [dense, alone, zeros, both]


class Samples(CalibrationDataReader):
    """Hands over calibration samples one by one."""

    def __init__(self, model: Path, data: Path) -> None:
        specs = input_specs(load_model(model).proto)
        self.batches = iter(open_data(str(data), specs, samples=SAMPLES, batch_size=1))

    def get_next(self) -> Any:
        """Return the next sample, or None."""
        return next(self.batches, None)


def lobs(*arguments: object) -> None:
    """Run the program."""
    command = [sys.executable, "-m", "onnx_lobs", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)


def first_sample(model: Path, data: Path) -> dict[str, np.ndarray]:
    """Return a batch of one."""
    specs = input_specs(load_model(model).proto)
    return dict(next(iter(open_data(str(data), specs, samples=1, batch_size=1))))


def open_ort(path: Path) -> Callable[[dict[str, np.ndarray]], object]:
    """Return what runs a model in onnxruntime on one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda feeds: session.run(None, feeds)


def open_openvino(path: Path) -> Callable[[dict[str, np.ndarray]], object]:
    """Return what runs a model in OpenVINO on one thread."""
    import openvino

    settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(str(path), "CPU", settings).create_infer_request()
    return request.infer


def cpu_times(
    paths: list[Path],
    feeds: dict[str, np.ndarray],
    opener: Callable[[Path], Callable[[dict[str, np.ndarray]], object]],
) -> list[float] | None:
    """Return milliseconds of CPU time for each file; None where the runtime is not installed."""
    if opener is open_openvino and importlib.util.find_spec("openvino") is None:
        return None
    runs = [opener(path) for path in paths]
    best = [float("inf")] * len(runs)
    for _ in range(ROUNDS):
        for at, run in enumerate(runs):
            start = time.process_time()
            run(feeds)
            best[at] = min(best[at], 1000 * (time.process_time() - start))
    return best


def load_cost(path: Path) -> tuple[float, float]:
    """Return milliseconds of CPU time and KiB of memory to load a file, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", LOADER, str(path)], capture_output=True, text=True, check=True
    )
    ms, kib = map(float, done.stdout.split())
    return ms, kib


def score_of(path: Path, test: Path) -> float:
    """Return the share of test samples whose largest output is the label, as evaluate has it."""
    command = [sys.executable, "-m", "onnx_lobs", "evaluate", path, path, "-d", test, "--json"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return float(json.loads(done.stdout)["scores"][0]["after"])


if __name__ == "__main__":
    main()
