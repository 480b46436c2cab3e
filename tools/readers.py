"""Holds how each program reads a file of tools/measure_readers.py, and what it is called.

A reader takes the file, a place to write to, and samples. It returns the outputs that the program
gives, the file that it wrote, or a verdict in words. No program is imported before it is tried.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

CLOSE_INT8 = 0.05  # int8 activations change outputs by more; wrong weights by all of them
CLOSE_HALF = 0.01  # float16 keeps 11 bits


def outputs(path: Path | str, x: np.ndarray) -> np.ndarray:
    """Return what onnxruntime makes of a file."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def full_check(path: Path, out: Path, x: np.ndarray) -> str:
    onnx.checker.check_model(str(path), full_check=True)
    return "yes"


def check(path: Path, out: Path, x: np.ndarray) -> str:
    onnx.checker.check_model(str(path))
    return "yes"


def infer(path: Path, out: Path, x: np.ndarray) -> str:
    """Look whether there is a shape for each value between the layers."""
    proto = onnx.load(path)
    del proto.graph.value_info[:]
    known = {each.name for each in onnx.shape_inference.infer_shapes(proto).graph.value_info}
    missing = sorted(set("abcdef") - known)
    return "yes" if not missing else f"no: without a word no shapes of {', '.join(missing)}"


def infer_strict(path: Path, out: Path, x: np.ndarray) -> str:
    onnx.shape_inference.infer_shapes(onnx.load(path), strict_mode=True, data_prop=True)
    return "yes"


def infer_symbolic(path: Path, out: Path, x: np.ndarray) -> str:
    from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference

    SymbolicShapeInference.infer_shapes(onnx.load(path), auto_merge=True)
    return "yes"


def reference(path: Path, out: Path, x: np.ndarray) -> np.ndarray:
    from onnx.reference import ReferenceEvaluator

    return np.asarray(ReferenceEvaluator(str(path)).run(None, {"x": x})[0])


def convert(path: Path, out: Path, x: np.ndarray) -> Path:
    onnx.save(onnx.version_converter.convert_version(onnx.load(path), 18), out)
    return out


def extract(path: Path, out: Path, x: np.ndarray) -> Path:
    import onnx.utils

    onnx.utils.extract_model(str(path), str(out), ["x"], ["y"])
    return out


def surgeon(path: Path, out: Path, x: np.ndarray) -> Path:
    import onnx_graphsurgeon

    onnx.save(onnx_graphsurgeon.export_onnx(onnx_graphsurgeon.import_onnx(onnx.load(path))), out)
    return out


def surgeon_values(path: Path, out: Path, x: np.ndarray) -> str:
    import onnx_graphsurgeon

    tensors = onnx_graphsurgeon.import_onnx(onnx.load(path)).tensors()
    found = [tensors[name] for name in ("conv", "gemm", "matmul")]
    if not all(isinstance(each, onnx_graphsurgeon.Constant) for each in found):
        return "no values: they are computed"
    return "yes" if all(each.values.any() for each in found) else "no: zeros without a word"


def surgeon_fold(path: Path, out: Path, x: np.ndarray) -> Path:
    import onnx_graphsurgeon

    graph = onnx_graphsurgeon.import_onnx(onnx.load(path)).fold_constants().cleanup()
    onnx.save(onnx_graphsurgeon.export_onnx(graph), out)
    return out


def onnx_ir(path: Path, out: Path, x: np.ndarray) -> Path:
    import onnx_ir as ir

    ir.save(ir.load(path), out)
    return out


def onnxsim(path: Path, out: Path, x: np.ndarray) -> Path:
    import onnxsim as simplifier

    onnx.save(simplifier.simplify(onnx.load(path))[0], out)
    return out


def onnxslim(path: Path, out: Path, x: np.ndarray) -> Path:
    import onnxslim as slimmer

    onnx.save(slimmer.slim(onnx.load(path)), out)
    return out


def onnxoptimizer(path: Path, out: Path, x: np.ndarray) -> Path:
    import onnxoptimizer as optimizer

    onnx.save(optimizer.optimize(onnx.load(path)), out)
    return out


def static(path: Path, out: Path, x: np.ndarray) -> Path:
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Once(CalibrationDataReader):  # type: ignore[misc]
        batches = iter([{"x": x}])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.batches, None)

    quantize_static(
        str(path), str(out), Once(), per_channel=True, weight_type=QuantType.QInt8,
        activation_type=QuantType.QInt8,
    )  # fmt: skip
    return out


def dynamic(path: Path, out: Path, x: np.ndarray) -> Path:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(str(path), str(out), weight_type=QuantType.QInt8)
    return out


def float16(path: Path, out: Path, x: np.ndarray) -> Path:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(path), keep_io_types=True), out)
    return out


def ort_saves(path: Path, out: Path, x: np.ndarray) -> Path | str:
    """Let onnxruntime write the model at its basic level of optimisation, and check it."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(out)
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    onnx.checker.check_model(str(out))
    return out


def run(path: Path, out: Path, x: np.ndarray) -> np.ndarray:
    return outputs(path, x)


def openvino(path: Path, out: Path, x: np.ndarray) -> np.ndarray:
    import openvino as ov

    core = ov.Core()
    compiled = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.asarray(next(iter(compiled([x]).values())))


def mnn(path: Path, out: Path, x: np.ndarray) -> np.ndarray:
    """Convert with MNN's converter and run what it wrote."""
    import MNN

    made = out.with_suffix(".mnn")
    made.unlink(missing_ok=True)
    words = ["-f", "ONNX", "--modelFile", str(path), "--MNNModel", str(made)]
    command = f"import sys; sys.argv[1:] = {words!r}; from MNN.tools.mnnconvert import main; main()"
    subprocess.run(
        [sys.executable, "-c", command], capture_output=True, check=False, timeout=120,
        env={**os.environ, "PIP_NO_INDEX": "1"},  # it calls pip
    )  # fmt: skip
    module = MNN.nn.load_module_from_file(str(made), ["x"], ["y"])
    given = MNN.expr.placeholder(list(x.shape), MNN.expr.NCHW)
    given.write(x.reshape(-1).tolist())
    made_of = module.forward([given])[0]
    return np.array(MNN.expr.convert(made_of, MNN.expr.NCHW).read())


# what a person sees, the package that has it, and how it reads
READERS: dict[str, tuple[str, Callable[..., object]]] = {
    "onnxruntime": ("onnxruntime", run),
    "onnxruntime, model saved again and checked": ("onnxruntime", ort_saves),
    "onnxruntime `quantize_static`": ("onnxruntime", static),
    "onnxruntime `quantize_dynamic`": ("onnxruntime", dynamic),
    "onnxruntime float16 converter": ("onnxruntime", float16),
    "onnxruntime symbolic shape inference": ("onnxruntime", infer_symbolic),
    "onnx.checker": ("onnx", check),
    "onnx.checker, `full_check`": ("onnx", full_check),
    "onnx shape inference": ("onnx", infer),
    "onnx shape inference, strict": ("onnx", infer_strict),
    "onnx reference evaluator": ("onnx", reference),
    "onnx version converter": ("onnx", convert),
    "onnx `extract_model`": ("onnx", extract),
    "onnx-graphsurgeon, in and out": ("onnx_graphsurgeon", surgeon),
    "onnx-graphsurgeon `.values`": ("onnx_graphsurgeon", surgeon_values),
    "onnx-graphsurgeon, folding": ("onnx_graphsurgeon", surgeon_fold),
    "onnx_ir, in and out": ("onnx_ir", onnx_ir),
    "onnxsim": ("onnxsim", onnxsim),
    "onnxslim": ("onnxslim", onnxslim),
    "onnxoptimizer": ("onnxoptimizer", onnxoptimizer),
    "OpenVINO": ("openvino", openvino),
    "MNN": ("MNN", mnn),
}
TOLERANCES = {
    "onnxruntime `quantize_static`": CLOSE_INT8,
    "onnxruntime `quantize_dynamic`": CLOSE_INT8,
    "onnxruntime float16 converter": CLOSE_HALF,
}
