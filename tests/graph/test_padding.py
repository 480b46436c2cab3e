"""Pads of zeros are folded into the convolutions behind them, and nothing else is."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from build_onnx import branch, constant, model, normal, run, value
from onnx import helper

from onnx_lobs.graph.normalise import to_executable

NODE = helper.make_node
CPU = "CPUExecutionProvider"
X = normal(2, 2, 3, 7, 6)
SUMS = 1e-5  # float32 sums of 27 terms in another order
PADS = np.array([0, 0, 1, 0, 0, 0, 2, 3])


def padded(
    extra: dict[str, Any] | None = None, inputs: tuple[str, ...] = (), opset: int = 17, **conv: Any
) -> onnx.ModelProto:
    """Return Pad and Conv; `extra` are constants, `inputs` those of Pad behind the pads."""
    nodes = [
        NODE("Pad", ["x", "p", *inputs], ["a"]),
        NODE("Conv", ["a", "w"], ["y"], **conv),
    ]
    constants = {"w": normal(1, 4, 3, 3, 3), "p": PADS, **(extra or {})}
    return model(nodes, [value("x", ["n", 3, "h", "v"])], ["y"], constants, opset=opset)


def folded(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return the execution copy, which gives what the model gives."""
    before = proto.SerializeToString()
    found, _ = to_executable(proto, None, CPU)
    assert proto.SerializeToString() == before
    for name, expected in run(proto, x=X).items():
        got = run(found, x=X)[name]
        np.testing.assert_allclose(got, expected, rtol=0, atol=SUMS * np.abs(expected).max())
    return found


def ops(proto: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in proto.graph.node]


@pytest.mark.parametrize(
    ("given", "conv", "pads"),
    [
        ({}, {}, [1, 0, 2, 3]),
        ({}, {"pads": [1, 2, 3, 4]}, [2, 2, 5, 7]),
        ({}, {"auto_pad": "VALID"}, [1, 0, 2, 3]),
        ({"opset": 13}, {"strides": [2, 1], "dilations": [1, 2]}, [1, 0, 2, 3]),
        ({"extra": {"v": np.float32(0)}, "inputs": ("v",)}, {}, [1, 0, 2, 3]),
        (
            {"extra": {"p": np.array([2, 1, 0, 3]), "a": np.array([-1, 2])},
             "inputs": ("", "a"), "opset": 18},
            {}, [1, 2, 3, 0],
        ),
    ],
)  # fmt: skip
def test_zeros_around_images_become_pads_of_the_convolution(
    given: dict[str, Any], conv: dict[str, Any], pads: list[int]
) -> None:
    given = {**given}
    if "a" in given.get("extra", {}):
        given["extra"]["axes"] = given["extra"].pop("a")
        given["inputs"] = ("", "axes")
    found = folded(padded(**given, **conv))
    assert ops(found) == ["Conv"]
    attributes = {a.name: helper.get_attribute_value(a) for a in found.graph.node[0].attribute}
    assert attributes["pads"] == pads
    assert "auto_pad" not in attributes


def test_pads_of_old_opsets_are_attributes() -> None:
    nodes = [
        NODE("Pad", ["x"], ["a"], pads=PADS.tolist()),
        NODE("Conv", ["a", "w"], ["y"]),
    ]
    weights = {"w": normal(1, 4, 3, 3, 3)}
    proto = model(nodes, [value("x", ["n", 3, "h", "v"])], ["y"], weights, opset=9, ir_version=4)
    assert ops(folded(proto)) == ["Conv"]


def test_pads_that_are_computed_from_constants_are_known_too() -> None:
    nodes = [
        constant("half", np.array([0, 0, 1, 0])),
        constant("rest", np.array([[0, 0], [2, 3]])),
        constant("flat", np.array([-1])),
        NODE("Reshape", ["rest", "flat"], ["r"]),
        NODE("Concat", ["half", "r"], ["p"], axis=0),
        NODE("Pad", ["x", "p"], ["a"]),
        NODE("Conv", ["a", "w"], ["y"]),
    ]
    weights = {"w": normal(1, 4, 3, 3, 3)}
    found = folded(model(nodes, [value("x", ["n", 3, "h", "v"])], ["y"], weights))
    assert "Pad" not in ops(found)


def test_all_convolutions_of_one_pad_are_changed() -> None:
    nodes = [
        NODE("Pad", ["x", "p"], ["a"]),
        NODE("Conv", ["a", "w"], ["b"]),
        NODE("Conv", ["a", "v"], ["c"], pads=[0, 1, 0, 0], strides=[2, 2]),
    ]
    weights = {"w": normal(1, 4, 3, 3, 3), "v": normal(3, 2, 3, 2, 1), "p": PADS}
    found = folded(model(nodes, [value("x", ["n", 3, "h", "v"])], ["b", "c"], weights))
    assert ops(found) == ["Conv", "Conv"]


@pytest.mark.parametrize(
    "given",
    [
        {"extra": {"v": np.float32(1)}, "inputs": ("v",)},
        {"extra": {"p": np.array([0, 0, 1, 0, 0, 0, -1, 3])}},
        {"extra": {"p": np.array([1, 0, 1, 0, 0, 0, 0, 3])}},
        {"auto_pad": "SAME_UPPER"},
    ],
    ids=["ones", "cropped", "samples", "same"],
)
def test_what_a_convolution_cannot_say_stays(given: dict[str, Any]) -> None:
    assert ops(folded(padded(**given))) == ["Pad", "Conv"]


def test_other_modes_other_readers_and_outputs_stay() -> None:
    reflected = padded()
    reflected.graph.node[0].attribute.append(helper.make_attribute("mode", "reflect"))
    shown = padded()
    shown.graph.output.append(onnx.ValueInfoProto(name="a"))
    read = padded()
    read.graph.node.append(NODE("Relu", ["a"], ["z"]))
    read.graph.output.append(onnx.ValueInfoProto(name="z"))
    inside = padded()
    inside.graph.node.extend([
        constant("c", np.array(True)),
        NODE("If", ["c"], ["z"], then_branch=branch([NODE("Relu", ["a"], ["t"])], "t"),
             else_branch=branch([NODE("Abs", ["x"], ["e"])], "e")),
    ])  # fmt: skip
    inside.graph.output.append(onnx.ValueInfoProto(name="z"))
    for proto in (reflected, shown, read, inside):
        assert "Pad" in ops(folded(proto))


def test_sizes_that_have_to_be_fed_stay() -> None:
    proto = padded()
    sizes = next(tensor for tensor in proto.graph.initializer if tensor.name == "p")
    proto.graph.initializer.remove(sizes)
    proto.graph.input.append(helper.make_tensor_value_info("p", onnx.TensorProto.INT64, [8]))
    found, _ = to_executable(proto, None, CPU)
    assert ops(found) == ["Pad", "Conv"]
