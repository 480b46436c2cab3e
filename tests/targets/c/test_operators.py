"""Every operator in C: float32 as onnxruntime, integers near it and as NumPy, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from build_onnx import model, normal, value
from onnx import TensorProto, helper
from onnx.defs import onnx_opset_version
from targets_c import (
    BYTE_ERROR,
    COMPILER,
    FLOAT_ERROR,
    branches,
    conv,
    exported,
    network,
    node,
    one,
    run_check,
    samples,
    shaped,
    sparse,
)

from onnx_lobs.graph.files.load import load_model
from onnx_lobs.graph.run.session import Session
from onnx_lobs.targets.c.agreement import compare
from onnx_lobs.targets.c.export import quantised
from onnx_lobs.targets.c.network import Network, read_network

FLOAT, INT32 = TensorProto.FLOAT, TensorProto.INT32
FUNCTIONS = ("Relu", "Sigmoid", "Tanh", "HardSwish", "Exp", "Neg", "Abs", "Erf", "Softplus")
FUNCTIONS += ("Softsign",)
W = normal(3, 6, 4, 3, 3)


def positive(op: str) -> Network:
    """A function of numbers from .5 on."""
    nodes = [node("Abs", ["x"], "a"), node("Add", ["a", "c"], "b"), node(op, ["b"])]
    return network(nodes, (1, 4, 5, 6), {"c": np.float32(0.5)})


def with_constant(op: str, constant: Any, *, is_first: bool = False) -> Network:
    names = ["c", "x"] if is_first else ["x", "c"]
    return network([node(op, names)], (1, 4, 5, 6), {"c": np.asarray(constant, np.float32)})


CASES = {
    "conv": conv((1, 4, 7, 9), (6, 4, 3, 3)),
    "conv padded": conv((1, 4, 7, 9), (6, 4, 3, 3), pads=[1, 2, 0, 1]),
    "conv strided": conv((1, 4, 8, 9), (6, 4, 3, 2), strides=[2, 3], pads=[1, 1, 1, 1]),
    "conv dilated": conv((1, 4, 9, 9), (6, 4, 3, 3), dilations=[2, 3], pads=[2, 3, 2, 3]),
    "conv same upper": conv((1, 4, 8, 9), (6, 4, 3, 2), strides=[2, 2], auto_pad="SAME_UPPER"),
    "conv same lower": conv((1, 4, 8, 9), (6, 4, 2, 4), strides=[2, 1], auto_pad="SAME_LOWER"),
    "conv valid": conv((1, 4, 8, 9), (6, 4, 3, 2), strides=[2, 3], auto_pad="VALID"),
    "conv grouped": conv((1, 4, 7, 9), (6, 2, 3, 3), group=2),
    "conv depthwise": conv((1, 4, 7, 9), (8, 1, 3, 3), group=4, pads=[1, 1, 1, 1]),
    "conv pointwise": conv((1, 4, 7, 9), (6, 4, 1, 1)),
    "conv 1-d": conv((1, 4, 19), (6, 4, 5), strides=[2], pads=[3, 2]),
    "transposed": conv((1, 4, 5, 6), (4, 3, 3, 3), "ConvTranspose"),
    "transposed strided": conv(
        (1, 4, 5, 6),
        (4, 3, 3, 2),
        "ConvTranspose",
        strides=[2, 3],
        pads=[1, 0, 1, 1],
        output_padding=[1, 2],
    ),
    "transposed grouped": conv(
        (1, 4, 5, 6), (4, 3, 3, 3), "ConvTranspose", group=2, dilations=[2, 1], strides=[2, 2]
    ),
    "transposed same": conv(
        (1, 4, 5, 6), (4, 3, 3, 3), "ConvTranspose", strides=[2, 2], auto_pad="SAME_UPPER"
    ),
    "transposed 1-d": conv((1, 4, 11), (4, 3, 4), "ConvTranspose", strides=[2], pads=[1, 1]),
    "gemm": shaped("Gemm", (1, 40), sparse(normal(1, 40, 7)), normal(2, 7)),
    "gemm transposed": shaped(
        "Gemm", (1, 40), sparse(normal(1, 7, 40)), normal(2, 7), transB=1, alpha=0.5, beta=2.0
    ),
    "gemm of several": shaped("Gemm", (3, 40), sparse(normal(1, 40, 7))),
    "gemm trans a": shaped("Gemm", (40, 3), sparse(normal(1, 40, 7)), transA=1),
    "matmul": shaped("MatMul", (1, 5, 40), sparse(normal(1, 40, 7))),
    "matmul of a vector": shaped("MatMul", (1, 5, 40), sparse(normal(1, 40))),
    "matmul, few zeros": shaped("MatMul", (1, 5, 40), sparse(normal(1, 40, 7), 0.1)),
    "matmul, gaps over 255": shaped("MatMul", (1, 900), sparse(normal(1, 900, 7), 0.998)),
    "matmul left": network(
        [node("MatMul", ["w", "x"])], (1, 40, 5), {"w": sparse(normal(1, 7, 40))}
    ),
    "normalisation": shaped(
        "BatchNormalization",
        (1, 4, 5, 6),
        normal(1, 4),
        normal(2, 4),
        normal(3, 4),
        np.abs(normal(4, 4)) + 0.1,
    ),
    "relu behind conv": network(
        [node("Conv", ["x", "w"], "a"), node("Relu", ["a"])], (1, 4, 7, 9), {"w": sparse(W)}
    ),
    "clip behind conv": network(
        [node("Conv", ["x", "w"], "a"), node("Clip", ["a", "lo", "hi"])],
        (1, 4, 7, 9),
        {"w": sparse(W), "lo": np.float32(0), "hi": np.float32(2)},
    ),
    **{op: one(op) for op in FUNCTIONS},
    **{op: positive(op) for op in ("Log", "Reciprocal", "Sqrt")},
    "mish": one("Mish", opset=18),
    "leaky": one("LeakyRelu", alpha=0.2),
    "elu": one("Elu", alpha=0.7),
    "hard sigmoid": one("HardSigmoid", alpha=0.3, beta=0.4),
    "clip": shaped("Clip", (1, 4, 5), np.float32(-0.5), np.float32(1.0)),
    "square": network([node("Mul", ["x", "x"])], (1, 4, 5)),
    "add constant": with_constant("Add", normal(1, 4, 1, 1)),
    "subtract from constant": with_constant("Sub", normal(1, 6), is_first=True),
    "multiply by constant": with_constant("Mul", normal(1, 1, 4, 5, 6)),
    "divide by constant": with_constant("Div", [0.5, 2, 3, -1, 1, 1]),
    "add": branches("Add"),
    "subtract": branches("Sub"),
    "multiply": branches("Mul"),
    "gate": network([node("GlobalAveragePool", ["x"], "a"), node("Mul", ["x", "a"])], (1, 4, 5, 6)),
    "max pool": one("MaxPool", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1]),
    "max pool ceil": one("MaxPool", kernel_shape=[2, 2], strides=[2, 4], ceil_mode=1),
    "max pool 1-d": one("MaxPool", (1, 4, 11), kernel_shape=[3], strides=[2], dilations=[2]),
    "average pool": one("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "average pool, pads count": one(
        "AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1
    ),
    "global average": one("GlobalAveragePool"),
    "global max": one("GlobalMaxPool"),
    "reduce mean": one("ReduceMean", axes=[1, 3], keepdims=0),
    "reduce mean 18": shaped("ReduceMean", (1, 4, 5, 6), np.array([2, 3]), opset=18),
    "softmax": one("Softmax", (1, 3, 9), axis=-1),
    "softmax of channels": one("Softmax", (1, 3, 4, 5), axis=1),
    "softmax of one plane": one("Softmax", (1, 9, 1, 1), axis=1),
    "softmax of all": one("Softmax", (2, 3, 4), opset=11, axis=0),
    "softmax 11": one("Softmax", (1, 3, 9), opset=11, axis=1),
    "reduce mean of all": one("ReduceMean", keepdims=0),
    "reduce mean of none": shaped(
        "ReduceMean", (1, 4, 5), np.array([], np.int64), opset=18, noop_with_empty_axes=1
    ),
    "transpose": one("Transpose", perm=[0, 2, 3, 1]),
    "flatten": one("Flatten"),
    "reshape": shaped("Reshape", (1, 4, 5, 6), np.array([1, 20, 6])),
    "slice": shaped(
        "Slice",
        (1, 4, 5, 6),
        np.array([3, 1]),
        np.array([-9, 5]),
        np.array([1, 3]),
        np.array([-2, 2]),
    ),
    "pad": shaped("Pad", (1, 4, 5, 6), np.array([0, 0, 1, 2, 0, 0, 0, 1]), np.float32(0.5)),
    "cut": shaped("Pad", (1, 4, 5, 6), np.array([0, 0, -1, 2, 0, 0, 1, -2])),
    "concat": branches("Concat", axis=1),
    "split": network(
        [
            helper.make_node("Split", ["x", "c"], ["a", "b"], axis=1, name="the Split"),
            node("Concat", ["b", "a"], axis=1),
        ],
        (1, 4, 5, 6),
        {"c": np.array([1, 3])},
    ),
    "gather": shaped("Gather", (1, 4, 5, 6), np.array([0, 2]), axis=1),
    "gather one": shaped("Gather", (1, 4, 5, 6), np.array(-1), axis=3),
    "expand": shaped("Expand", (1, 4, 1, 6), np.array([1, 4, 3, 6])),
    "depth to space": one("DepthToSpace", blocksize=2),
    "depth to space CRD": one("DepthToSpace", blocksize=2, mode="CRD"),
    "space to depth": one("SpaceToDepth", (1, 2, 4, 6), blocksize=2),
    **{
        f"resize {coordinates} {rounding}": shaped(
            "Resize",
            (1, 2, 3, 4),
            None,
            np.array([1, 1, 2, 2.5], np.float32),
            mode="nearest",
            coordinate_transformation_mode=coordinates,
            nearest_mode=rounding,
        )
        for coordinates, rounding in (
            ("align_corners", "floor"),
            ("asymmetric", "round_prefer_ceil"),
            ("half_pixel", "ceil"),
        )
    },
    "resize down": shaped(
        "Resize", (1, 2, 6, 9), None, None, np.array([1, 2, 3, 4]), mode="nearest"
    ),
    **{
        f"pad {mode}": shaped("Pad", (1, 3, 4, 5), np.array([0, 1, 2, 0, 0, 0, 1, 3]), mode=mode)
        for mode in ("edge", "reflect")
    },
    "gather at will": shaped("Gather", (1, 4, 5, 6), np.array([[0, 2], [3, 3]]), axis=1),
    "gather bytes at will": shaped("Gather", (1, 300), np.array([299, 0, 7, 256]), axis=1),
    "slice 9": one("Slice", opset=9, axes=[2, 3], starts=[1, -4], ends=[4, 100]),
    "concat of two grids": network(
        [node("Mul", ["x", "c"], "a"), node("Concat", ["x", "a"], axis=1)],
        (1, 4, 5),
        {"c": np.float32(3)},
    ),
    "concat of what is read twice": network(
        [
            node("Relu", ["x"], "a"),
            node("Mul", ["a", "c"], "b"),
            node("Concat", ["a", "b"], axis=1),
        ],
        (1, 4, 5),
        {"c": np.float32(-3)},
    ),
    "dropout": shaped("Dropout", (1, 4, 5), np.float32(0.5), np.array(False)),
    "resize": shaped(
        "Resize",
        (1, 2, 3, 4),
        None,
        np.array([1, 1, 2, 3], np.float32),
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    ),
}

if onnx_opset_version() >= 28:
    CASES["space to depth CRD"] = one(
        "SpaceToDepth", (1, 2, 4, 6), blocksize=2, mode="CRD", opset=28
    )
    CASES["swish"] = one("Swish", opset=24)  # a function with a constant of its own


@pytest.mark.parametrize("name", CASES)
def test_float_code_computes_what_onnxruntime_does(name: str) -> None:
    made = exported(CASES[name], "fp32")
    fresh = samples(CASES[name], seed=50)
    assert compare(CASES[name], made.program, fresh).error < FLOAT_ERROR


@pytest.mark.parametrize("name", CASES)
def test_integer_code_is_as_near_as_bytes_allow(name: str) -> None:
    made = exported(CASES[name], "int8")
    assert compare(CASES[name], made.program, samples(CASES[name])).error < BYTE_ERROR


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="no C compiler is installed")
@pytest.mark.parametrize(
    ("name", "values", "optimise"),
    [
        *((name, values, "size") for name in CASES for values in ("int8", "fp32")),
        *((name, "int8", "speed") for name in CASES if name.startswith(("conv", "gemm", "matmul"))),
    ],
)
def test_compiled_code_gives_what_numpy_does(
    name: str, values: str, optimise: str, tmp_path: Path
) -> None:
    found = run_check(exported(CASES[name], values, optimise).files, tmp_path)
    assert found.stdout == "0 of 8 samples differ\n", found.stderr


def test_whole_numbers_may_become_floats() -> None:
    nodes = [node("Cast", ["x"], "a", to=INT32), node("Cast", ["a"], "b", to=FLOAT)]
    nodes += [node("Neg", ["b"])]
    proto = model(nodes, [value("x", (1, 4), TensorProto.UINT8)], ["y"])
    made = read_network(load_model(proto), {})
    x = np.array([[0, 1, 200, 255]], np.uint8)
    program = exported(made, "fp32", data=[{"x": x}]).program
    (got,) = program.compute(quantised(program, {"x": x})).values()
    assert np.array_equal(got, [[0, -1, -200, -255]])


def test_every_output_of_a_network_is_written() -> None:
    nodes = [node("Relu", ["x"], "a"), node("Flatten", ["a"], "y"), node("Identity", ["x"], "z")]
    made = network(nodes, (1, 4, 5), outputs=["y", "a", "z"])
    program = exported(made, "fp32").program
    feeds = samples(made)[0]
    wanted = Session(made.proto).run(feeds)
    got = list(program.compute(feeds).values())
    assert [np.array_equal(g, wanted[n]) for g, n in zip(got, made.outputs, strict=True)] == [
        True
    ] * 3
