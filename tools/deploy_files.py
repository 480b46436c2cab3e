"""Makes the files that tools/bench_deploy.py measures: dense, int8, zeros, and both together."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
from bench_deploy_mnn import prune as prune_random
from onnx import version_converter
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from onnx_lobs.data.inputs import input_specs
from onnx_lobs.data.reader import open_data
from onnx_lobs.graph.files.load import load_model
from onnx_lobs.storage.formats import FORMATS
from onnx_lobs.targets.mnn import compression_params

MNIST = Path(__file__).parents[1] / "models" / "mnist"
FORMS = ("dense", "int8 alone", "zeros alone", "zeros and int8")
RANDOM = "resnet50"  # weights are random: zeros by magnitude, and no score
SAMPLES = 256
LEAST_OPSET = 13
BLOCKS = "4x1"
_UNIFORM = ("--effort", "fast", "--allocation", "uniform")
_FEW = (*_UNIFORM, "--samples", 64)


@dataclass(frozen=True)
class Case:
    """One network.

    Parameters
    ----------
    name
        Of the zoo (tools/zoo.py), of models/mnist, or ``resnet50``, whose weights are random.
    sparsity
        Share of zeros.
    options
        Further options of the runs that prune it.
    samples
        From which onnxruntime.quantization takes ranges.
    """

    name: str
    sparsity: float
    options: tuple[object, ...] = field(default=("--effort", "fast"))
    samples: int = SAMPLES

    def dense(self, zoo: Path) -> Path:
        """Return the model."""
        return (MNIST if self.name.startswith("lenet") else zoo) / f"{self.name}.onnx"

    def start(self, zoo: Path, out: Path) -> Path:
        """Return the model in an operator set in which int8 weights have a scale per output."""
        model = onnx.load(self.dense(zoo))
        if max(each.version for each in model.opset_import if not each.domain) >= LEAST_OPSET:
            return self.dense(zoo)
        path = out / f"{self.name}-{LEAST_OPSET}.onnx"
        onnx.save(version_converter.convert_version(model, LEAST_OPSET), path)
        return path

    def data(self, zoo: Path) -> Path:
        """Return the calibration samples."""
        if self.name.startswith("lenet"):
            return MNIST / "calibration.npz"
        return zoo / f"{self.name}_calibration.npz"


CASES = {
    case.name: case
    for case in (
        Case("lenet-300-100", 0.93),
        Case("lenet-5", 0.93),
        Case("ppocr-cls", 0.5),
        Case("magika", 0.7, _UNIFORM),
        Case("ppocr-rec", 0.7, _FEW, 64),
        Case("efficientnet-lite0", 0.5, _FEW, 64),
        Case("resnet50", 0.9, (), 16),
    )
}


def onnx_files(case: Case, zoo: Path, out: Path) -> dict[str, Path]:
    """Return the four files for onnxruntime and OpenVINO by form; those that stand are taken."""
    dense, data = case.start(zoo, out), case.data(zoo)
    alone, zeros, both = (out / f"{case.name}-{word}.onnx" for word in ("int8", "zeros", "both"))
    if not alone.exists():
        quantise(case, dense, data, alone)
    if case.name == RANDOM:
        pruned = out / f"{case.name}-pruned.onnx"
        if not both.exists():
            prune_random(dense, "unstructured", case.sparsity, pruned)
            pack(pruned, zeros)
            quantise(case, pruned, data, both)
            pack(both, both)
        return dict(zip(FORMS, (dense, alone, zeros, both), strict=True))
    shared = [dense, "-d", data, "-s", case.sparsity, "--target", "onnxruntime", *case.options]
    if not zeros.exists():
        lobs(*shared, "-o", zeros)
    if not both.exists():
        lobs(*shared, "--values", "int8", "--activations", "int8", "-o", both)
    return dict(zip(FORMS, (dense, alone, zeros, both), strict=True))


def quantise(case: Case, model: Path, data: Path, made: Path) -> None:
    """Write a model in int8, as people make it with onnxruntime.quantization."""
    quantize_static(
        model, made, Samples(model, data, case.samples), quant_format=QuantFormat.QDQ,
        per_channel=True, weight_type=QuantType.QInt8, activation_type=QuantType.QUInt8,
    )  # fmt: skip


def pack(path: Path, made: Path) -> None:
    """Write a model packed: all its weights of more than one axis."""
    proto = load_model(path).proto
    names = [tensor.name for tensor in proto.graph.initializer if len(tensor.dims) > 1]
    FORMATS["packed"].encode(proto, names, None)
    made.write_bytes(proto.SerializeToString())


def mnn_files(case: Case, zoo: Path, out: Path) -> dict[str, Path]:
    """Return the four files for MNN by form.

    Zeros are in blocks, as ``--target mnn`` makes them; int8 is MNN's own, of weights alone.
    """
    dense, data = case.dense(zoo), case.data(zoo)
    blocks = out / f"{case.name}-blocks.onnx"
    if not blocks.exists() and case.name == RANDOM:
        prune_random(dense, BLOCKS, case.sparsity, blocks)
    elif not blocks.exists():
        lobs(dense, "-d", data, "-s", case.sparsity, "--target", "mnn", *case.options, "-o", blocks)
    int8 = ("--weightQuantBits", "8")
    made = {
        "dense": _converted(dense, out / f"{case.name}-dense.mnn", ()),
        "int8 alone": _converted(dense, out / f"{case.name}-int8.mnn", int8),
        "zeros alone": _converted(blocks, out / f"{case.name}-zeros.mnn", _skipping(out)),
        "zeros and int8": _converted(
            blocks, out / f"{case.name}-both.mnn", (*_skipping(out), *int8)
        ),
    }
    return made


def _skipping(out: Path) -> tuple[object, ...]:
    """Return what tells the converter to skip zeros in blocks."""
    params = out / "params.bin"
    params.write_bytes(compression_params(4))
    return ("--detectSparseSpeedUp", "--compressionParamsFile", params)


def _converted(model: Path, made: Path, options: tuple[object, ...]) -> Path:
    if not made.exists():
        words = ["-f", "ONNX", "--modelFile", model, "--MNNModel", made, "--bizCode", "MNN"]
        program = Path(sys.executable).with_name("mnnconvert")
        command = [sys.executable, program, *words, *options]
        subprocess.run([*map(str, command)], check=True, capture_output=True)
    return made


class Samples(CalibrationDataReader):
    """Hands over calibration samples one by one."""

    def __init__(self, model: Path, data: Path, samples: int) -> None:
        specs = input_specs(load_model(model).proto)
        self.batches = iter(open_data(str(data), specs, samples=samples, batch_size=1))

    def get_next(self) -> Any:
        """Return the next sample, or None."""
        return next(self.batches, None)


def lobs(*arguments: object) -> None:
    """Run the program."""
    command = [sys.executable, "-m", "onnx_lobs", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
