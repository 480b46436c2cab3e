"""Makes the files that tools/bench_deploy.py measures: dense, int8, zeros, and both together."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
from bench_deploy_mnn import prune as prune_random
from onnx import version_converter
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from onnx_lobs.data.inputs import input_specs
from onnx_lobs.data.reader import open_data
from onnx_lobs.graph.files.load import load_model
from onnx_lobs.storage.formats import FORMATS
from onnx_lobs.targets.mnn import compression_params

MNIST = Path(__file__).parents[1] / "models" / "mnist"
FORMS = ("dense", "int8 alone", "zeros alone", "zeros and int8")
RANDOM = "resnet50"  # weights are random: zeros by magnitude, and no score
SAMPLES = 256
LEAST_OPSET = 13  # from which on int8 weights have a scale for each output
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
    is_whole
        Whether int8 is chosen with the zeros, and blocks for MNN are made. Else, to save two long
        runs, int8 is put on the zeros by onnxruntime.quantization, and MNN gets no zeros.
    per_channel
        Whether onnxruntime.quantization gives each output a scale; it fails on Magika then.
    """

    name: str
    sparsity: float
    options: tuple[object, ...] = field(default=("--effort", "fast"))
    samples: int = SAMPLES
    is_whole: bool = True
    per_channel: bool = True

    def dense(self, zoo: Path) -> Path:
        """Return the model."""
        return (MNIST if self.name.startswith("lenet") else zoo) / f"{self.name}.onnx"

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
        Case("ppocr-cls", 0.5, _UNIFORM, is_whole=False),
        Case("magika", 0.7, _UNIFORM, is_whole=False, per_channel=False),
        Case("ppocr-rec", 0.7, _FEW, 64, False),
        Case("efficientnet-lite0", 0.5, _FEW, 64, False),
        Case("resnet50", 0.9, (), 16),
    )
}


def onnx_files(case: Case, zoo: Path, out: Path) -> dict[str, Path]:
    """Return the four files for onnxruntime and OpenVINO by form; those that stand are taken."""
    dense, data = case.dense(zoo), case.data(zoo)
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
    if not both.exists() and not case.is_whole:
        pruned = out / f"{case.name}-pruned.onnx"
        lobs("expand", zeros, "-o", pruned, "--overwrite")
        quantise(case, pruned, data, both)
        pack(both, both)
    elif not both.exists():
        lobs(*shared, "--values", "int8", "--activations", "int8", "-o", both)
    return dict(zip(FORMS, (dense, alone, zeros, both), strict=True))


def quantise(case: Case, model: Path, data: Path, made: Path) -> None:
    """Write a model in int8, as onnxruntime's documentation has it: prepared, then QDQ."""
    proto = onnx.load(model)
    if max(each.version for each in proto.opset_import if not each.domain) < LEAST_OPSET:
        proto = version_converter.convert_version(proto, LEAST_OPSET)
    with tempfile.TemporaryDirectory() as folder:
        converted, ready = (Path(folder) / name for name in ("converted.onnx", "ready.onnx"))
        onnx.save(proto, converted)
        quant_pre_process(str(converted), str(ready), skip_symbolic_shape=True)
        quantize_static(
            ready, made, Samples(model, data, case.samples), quant_format=QuantFormat.QDQ,
            per_channel=case.per_channel, weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
        )  # fmt: skip


def pack(path: Path, made: Path) -> None:
    """Write a model packed: all its weights, also those in Constant nodes."""
    proto = load_model(path).proto
    names = [tensor.name for tensor in proto.graph.initializer if len(tensor.dims) > 1]
    names += [node.output[0] for node in proto.graph.node if node.op_type == "Constant"]
    FORMATS["packed"].encode(proto, names, None)
    made.write_bytes(proto.SerializeToString())


def mnn_files(case: Case, zoo: Path, out: Path) -> dict[str, Path]:
    """Return the four files for MNN by form.

    Zeros are in blocks, as ``--target mnn`` makes them; int8 is MNN's own, of weights alone.
    """
    dense, data = case.dense(zoo), case.data(zoo)
    int8 = ("--weightQuantBits", "8")
    made = {
        "dense": _converted(dense, out / f"{case.name}-dense.mnn", ()),
        "int8 alone": _converted(dense, out / f"{case.name}-int8.mnn", int8),
    }
    if not case.is_whole:
        return made
    blocks = out / f"{case.name}-blocks.onnx"
    if not blocks.exists() and case.name == RANDOM:
        prune_random(dense, BLOCKS, case.sparsity, blocks)
    elif not blocks.exists():
        lobs(dense, "-d", data, "-s", case.sparsity, "--target", "mnn", *case.options, "-o", blocks)
    skipping = _skipping(out)
    zeros, both = (out / f"{case.name}-{word}.mnn" for word in ("zeros", "both"))
    made["zeros alone"] = _converted(blocks, zeros, skipping)
    made["zeros and int8"] = _converted(blocks, both, (*skipping, *int8))
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
