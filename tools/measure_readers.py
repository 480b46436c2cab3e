"""Measure which programs read pruned files, in each format of storage.

    python tools/measure_readers.py --out DIR --make                     writes the files
    PYTHON tools/measure_readers.py --out DIR --json tools/results/readers.json

The first command needs onnx_lobs. The second needs onnx and onnxruntime, and tries those of the
programs of tools/readers.py that its interpreter has. It adds what it found to the JSON file, and
writes the table of it beside it. So it can be repeated with interpreters that have others; what the
file has of the same version is not measured again. A program that returns or writes a model must
return one that gives onnxruntime's outputs of the dense file.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
from readers import READERS, TOLERANCES, outputs

FORMS = ("dense", "sparse", "packed", "packed int8")
CLOSE = 1e-4  # of the largest output: other kernels sum in another order
NOT_THERE = ("no: ImportError", "no: ModuleNotFoundError")  # the program, or what it needs
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
    elif options.json is None:
        parser.error("name --make, or the --json file of results")
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
        if row["dense"] in NOT_THERE:
            continue
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
