"""Measure which programs read pruned files, in each format of storage.

    python tools/measure_readers.py --out DIR --make                     writes the files
    PYTHON tools/measure_readers.py --out DIR --json tools/results/readers.json

The first command needs onnx_lobs. The second needs onnx and onnxruntime, and tries those of the
programs below that its interpreter has; it adds what it found to the JSON file, and writes the
table of it beside it. So it can be repeated with interpreters that have others; what the file has
of the same version is not measured again. A program that returns or writes a model must return one
that gives onnxruntime's outputs of the dense file.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

FORMS = ("dense", "sparse", "packed", "packed int8")
CLOSE = 1e-4  # of the largest output: other kernels sum in another order
CLOSE_INT8 = 0.05  # int8 activations change outputs by more; wrong weights by all of them
CLOSE_HALF = 0.01  # float16 keeps 11 bits
GROWN = 1.5  # times the file's bytes, from which on a rewritten one counts as dense again


def main() -> None:
    """Make the files, or read them with all that there is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--make", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=2, metavar=("PROGRAM", "FORM"))
    options = parser.parse_args()
    if options.make:
        make(options.out)
    elif options.one:
        print(verdict(options.out, *options.one))
    else:
        measure(options.out, options.json)


def make(out: Path) -> None:
    """Write a small network of a Conv, a Gemm and a MatMul with 90 % zeros in every form."""
    import onnx_lobs

    out.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    node, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    shapes = {"conv": (64, 16, 3, 3), "gemm": (128, 64), "matmul": (128, 256)}
    weights = {
        name: (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        for name, shape in shapes.items()
    }
    nodes = [
        node("Conv", ["x", "conv"], ["a"], pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["b"]),
        node("GlobalAveragePool", ["b"], ["c"]),
        node("Flatten", ["c"], ["d"]),
        node("Gemm", ["d", "gemm"], ["e"], transB=1),
        node("Relu", ["e"], ["f"]),
        node("MatMul", ["f", "matmul"], ["y"]),
    ]
    held = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = onnx.helper.make_graph(
        nodes, "g", [info("x", 1, [4, 16, 12, 12])], [info("y", 1, [4, 256])], held
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    )
    x = rng.standard_normal((64, 16, 12, 12)).astype(np.float32)
    np.save(out / "x.npy", x[:4])
    for form in FORMS:
        storage, _, values = form.partition(" ")
        onnx_lobs.prune(
            model, {"x": x}, sparsity=0.9, allocation="uniform", storage=storage,
            values=values or "fp32", min_weights=0,
        ).save(out / f"{form.replace(' ', '-')}.onnx", overwrite=True)  # fmt: skip


def outputs(path: Path | str, x: np.ndarray) -> np.ndarray:
    """Return what onnxruntime makes of a file."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def verdict(out: Path, program: str, form: str) -> str:
    """Return in a few words what a program makes of a file."""
    path, x = out / f"{form.replace(' ', '-')}.onnx", np.load(out / "x.npy")
    wanted = outputs(path, x)
    made = READERS[program][1](path, out / "read.onnx", x)
    if isinstance(made, str):
        return made
    tolerance = TOLERANCES.get(program, CLOSE)
    if isinstance(made, Path):
        grown = ", dense again" if made.stat().st_size > GROWN * path.stat().st_size else ""
        try:
            found = outputs(made, x)
        except Exception as error:  # noqa: BLE001  # whatever another program wrote
            return f"no: writes a model that onnxruntime refuses ({type(error).__name__})"
    else:
        found, grown = made, ""
    change = float(np.abs(found - wanted).max() / np.abs(wanted).max())
    return f"yes{grown}" if change <= tolerance else f"no: other outputs, by {change:.2g}"


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


def measure(out: Path, path: Path) -> None:
    """Try all programs that there are, each in a process of its own, and write the table."""
    found = json.loads(path.read_text()) if path.is_file() else {}
    for program, (package, _) in READERS.items():
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
        if found.get(program, {}).get("version") == version:
            continue
        row = {form: in_a_process(out, program, form) for form in FORMS}
        found[program] = {"version": version} | row
        print(program, found[program], flush=True)
        found = {name: found[name] for name in READERS if name in found}
        path.write_text(json.dumps(found, indent=1) + "\n")
        path.with_suffix(".md").write_text(table(found))


def in_a_process(out: Path, program: str, form: str) -> str:
    """Return the verdict, or why there is none."""
    command = [sys.executable, __file__, "--out", out, "--one", program, form]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode < 0:
        return "no: it crashes"
    if done.returncode:
        kinds = re.findall(r"^([A-Za-z_.]*(?:Error|Exception|Fail|Invalid\w+)):", done.stderr, re.M)
        return f"no: {kinds[-1].rpartition('.')[2] if kinds else 'it ends with an error'}"
    return done.stdout.strip().splitlines()[-1]


def table(found: dict[str, dict[str, str]]) -> str:
    """Return the table of all that was measured."""
    lines = [
        "# Which programs read which form",
        "",
        "Made by `tools/measure_readers.py`; see its head. A network of a Conv, a Gemm and a",
        "MatMul with 90 % zeros.",
        "",
        f"| program | version | {' | '.join(FORMS)} |",
        "|---|---|" + "---|" * len(FORMS),
    ]
    for program, row in found.items():
        lines.append(f"| {program} | {row['version']} | {' | '.join(row[f] for f in FORMS)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
