"""Small networks for tests of the C code, and a C compiler where there is one."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from build_onnx import model, normal, value
from onnx import helper

from onnx_lobs.arrays import Array
from onnx_lobs.graph.files.load import load_model
from onnx_lobs.targets.c.emit import CFiles, write_files
from onnx_lobs.targets.c.export import CExport, export_c
from onnx_lobs.targets.c.network import Network, read_network

# of outputs, squared: float32 keeps 6e-8 of a value, sums of some hundred terms 1e-6
FLOAT_ERROR = 1e-12
# a rounding to 1/127 of the largest of normal numbers costs 6e-5 of their square: inputs, weights,
# outputs, and what lies between; states that begin at an input are rounded coarser
BYTE_ERROR = 1e-3
COMPILER = shutil.which("gcc") or shutil.which("clang") or shutil.which("cc")
FLAGS = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1"]
FLAGS += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def node(op: str, inputs: Sequence[str], output: str = "y", **about: Any) -> onnx.NodeProto:
    return helper.make_node(op, list(inputs), [output], name=f"the {op}", **about)


def network(
    nodes: Sequence[onnx.NodeProto],
    shape: Sequence[int],
    weights: dict[str, Array] | None = None,
    *,
    opset: int = 17,
    outputs: Sequence[str] = ("y",),
) -> Network:
    """A network with the input x of one shape."""
    proto = model(list(nodes), [value("x", shape)], list(outputs), weights, opset=opset)
    return read_network(load_model(proto), {})


def conv(x: tuple[int, ...], w: tuple[int, ...], op: str = "Conv", **about: Any) -> Network:
    """A convolution of sparse weights, with a bias."""
    weight = sparse(normal(3, *w))
    n_rows = w[1] * about.get("group", 1) if op == "ConvTranspose" else w[0]
    weights = {"w": weight, "b": normal(4, n_rows)}
    return network([node(op, ["x", "w", "b"], **about)], x, weights)


def one(op: str, shape: tuple[int, ...] = (1, 4, 5, 6), opset: int = 17, **about: Any) -> Network:
    """An operator of one input."""
    return network([node(op, ["x"], **about)], shape, opset=opset)


def shaped(
    op: str, shape: tuple[int, ...], *constants: Any, opset: int = 17, **about: Any
) -> Network:
    """An operator of an input and constants; None leaves one out."""
    names = [f"c{i}" if c is not None else "" for i, c in enumerate(constants)]
    weights = {n: np.asarray(c) for n, c in zip(names, constants, strict=True) if n}
    return network([node(op, ["x", *names], **about)], shape, weights, opset=opset)


def branches(op: str, shape: tuple[int, ...] = (1, 4, 5, 6), **about: Any) -> Network:
    """An operator of two computed values."""
    nodes = [node("MaxPool", ["x"], "a", kernel_shape=[3, 3], pads=[1, 1, 1, 1])]
    nodes += [node(op, ["x", "a"], **about)]
    return network(nodes, shape)


def samples(made: Network, n: int = 12, seed: int = 5) -> list[dict[str, Array]]:
    """Normal numbers, the same for the same seed."""
    return [{name: normal(seed + i, *made.shapes[name]) for name in made.inputs} for i in range(n)]


def exported(made: Network, values: str, optimise: str = "size", **about: Any) -> CExport:
    return export_c(
        made,
        about.pop("data") if "data" in about else samples(made),
        name="net",
        title="a test",
        version="0",
        values=values,
        optimise=optimise,
        **about,
    )


def run_check(files: CFiles, folder: Path) -> subprocess.CompletedProcess[str]:
    """Compile the files with all warnings as errors, and run the check."""
    write_files(files, folder)
    assert COMPILER is not None
    sources = [name for name in files.texts if name.endswith(".c")]
    built = subprocess.run(
        [COMPILER, *FLAGS, *sources, "-o", "check", "-lm"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return subprocess.run(["./check"], cwd=folder, capture_output=True, text=True, check=False)


def sparse(array: Array, share: float = 0.7, seed: int = 1) -> Array:
    """The array with a share of zeros."""
    keep = np.random.default_rng(seed).random(array.shape) >= share
    return np.asarray(array * keep, array.dtype)
