"""Values in fewer bits are stored where weights have just such values; nothing else changes."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from build_onnx import branch, constant, model, normal, one_node, run, value
from onnx import ModelProto, TensorProto, helper, numpy_helper

from onnx_lobs.arrays import Array
from onnx_lobs.storage.formats import FORMATS
from onnx_lobs.storage.half import to_half
from onnx_lobs.storage.int8 import Scales, dequantised, to_codes
from onnx_lobs.storage.sizes import encoded_bytes, expected_bytes
from onnx_lobs.storage.values import VALUES, WeightValues, encode_values

RNG = np.random.default_rng(0)


def on_grid(
    shape: tuple[int, ...], axis: int | None, dtype: Any = np.float32
) -> tuple[Array, Scales]:
    """A weight with zeros that int8 holds."""
    count = 1 if axis is None else shape[axis]
    scales = Scales(RNG.uniform(1e-3, 1e-2, count).astype(np.float32), axis)
    codes = RNG.integers(-127, 128, shape).astype(np.int8)
    codes[RNG.random(shape) < 0.8] = 0
    return dequantised(codes, scales, np.dtype(dtype)), scales


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_codes_are_found_again(dtype: Any, axis: int | None) -> None:
    array, scales = on_grid((20, 30), axis, dtype)
    codes = to_codes(array, scales)
    assert codes is not None
    np.testing.assert_array_equal(dequantised(codes, scales, array.dtype), array)


def test_values_between_the_steps_have_no_codes() -> None:
    array, scales = on_grid((4, 5), 0)
    array[1, 2] = 0.4 * scales.values[1]
    assert to_codes(array, scales) is None


def test_values_beyond_half_precision_stay() -> None:
    exact = np.array([1.5, -0.25, 65504], np.float32)
    half = to_half(exact)
    assert half is not None
    np.testing.assert_array_equal(half, exact)
    assert to_half(np.array([1e5], np.float32)) is None
    assert to_half(np.array([1 + 2.0**-20], np.float32)) is None


CASES = [
    ("MatMul", (12, 8), 1, {}, (3, 12)),
    ("Gemm", (8, 12), 0, {"transB": 1}, (3, 12)),
    ("Conv", (8, 3, 2, 2), 0, {"group": 2}, (2, 6, 5, 5)),
    ("ConvTranspose", (6, 4, 2, 2), 1, {"group": 2}, (2, 6, 5, 5)),
    ("MatMul", (12, 8), None, {}, (3, 12)),
]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("op", "shape", "axis", "attributes", "x"), CASES)
def test_int8_restores_every_bit_in_every_format(
    op: str, shape: tuple[int, ...], axis: int | None, attributes: Any, x: Any, form: str
) -> None:
    array, scales = on_grid(shape, axis)
    proto = one_node(op, {"w": array}, rank=len(x), **attributes)
    shown = shows(proto, "w")
    held = encode_values(proto, [WeightValues(0, "w", scales)], VALUES["int8"])
    FORMATS[form].encode(proto, held, None)
    onnx.checker.check_model(proto)
    np.testing.assert_array_equal(shows(proto, "w"), array)
    np.testing.assert_array_equal(shown, array)
    codes = [t.data_type for t in proto.graph.initializer if t.name == held[0]]
    assert codes == [TensorProto.INT8] or form != "dense"


def shows(proto: ModelProto, name: str) -> Array:
    """What onnxruntime makes of a constant."""
    copy = ModelProto()
    copy.CopyFrom(proto)
    copy.graph.node.add(op_type="Identity", input=[name], output=["shown"])
    copy.graph.output.add(name="shown")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(copy.SerializeToString(), options)
    given = session.get_inputs()[0]
    sizes = {"Conv": (1, 6, 5, 5), "ConvTranspose": (1, 6, 5, 5)}
    shape = sizes.get(proto.graph.node[-1].op_type, (3, 12))
    x = np.zeros(shape, {"tensor(float16)": "f2", "tensor(double)": "f8"}.get(given.type, "f4"))
    (found,) = session.run(["shown"], {given.name: x})
    return found


@pytest.mark.parametrize(("kind", "dtype"), [
    ("int8", np.float16), ("int8", np.float64), ("fp16", np.float32), ("fp16", np.float64),
])  # fmt: skip
def test_other_types_come_back_by_a_cast(kind: str, dtype: Any) -> None:
    array, scales = on_grid((12, 8), 1, dtype)
    if kind == "fp16":
        array = array.astype(np.float16).astype(dtype)
    elem_type = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    proto = one_node("MatMul", {"w": array}, elem_type=elem_type)
    encode_values(proto, [WeightValues(0, "w", scales)], VALUES[kind])
    onnx.checker.check_model(proto)
    assert "Cast" in {node.op_type for node in proto.graph.node}
    np.testing.assert_array_equal(shows(proto, "w"), array)


def test_weights_without_scales_and_inputs_stay() -> None:
    array, scales = on_grid((12, 8), 1)
    proto = one_node("MatMul", {"w": array})
    before = proto.SerializeToString()
    assert encode_values(proto, [WeightValues(0, "w")], VALUES["int8"]) == ["w"]
    assert proto.SerializeToString() == before
    proto.graph.input.append(value("w", [12, 8]))
    assert encode_values(proto, [WeightValues(0, "w", scales)], VALUES["int8"]) == ["w"]


def test_branches_with_weights_of_one_name_keep_their_own_scales() -> None:
    (one, its), (other, others) = on_grid((12, 8), 1), on_grid((12, 8), 1)
    branches = {
        f"{word}_branch": branch([helper.make_node("MatMul", ["x", "w"], ["b"])], "b", w=array)
        for word, array in (("then", one), ("else", other))
    }
    node = helper.make_node("If", ["c"], ["y"], **branches)
    inputs = [value("x", [None, 12]), value("c", [], TensorProto.BOOL)]
    proto = model([node], inputs, ["y"], opset=13)
    x = normal(3, 3, 12)
    wanted = [run(proto, x=x, c=np.array(c))["y"] for c in (True, False)]
    first = next(a.name for a in proto.graph.node[0].attribute) == "else_branch"
    scopes = (2, 1) if first else (1, 2)
    weights = [WeightValues(scopes[0], "w", its), WeightValues(scopes[1], "w", others)]
    held = encode_values(proto, weights, VALUES["int8"])
    assert "w" not in held
    FORMATS["packed"].encode(proto, held, None)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    for c, before in zip((True, False), wanted, strict=True):
        np.testing.assert_array_equal(session.run(None, {"x": x, "c": np.array(c)})[0], before)


def test_constant_nodes_become_what_can_be_stored() -> None:
    array, scales = on_grid((12, 8), 1)
    nodes = [constant("w", array), helper.make_node("MatMul", ["x", "w"], ["y"])]
    proto = model(nodes, [value("x", [None, 12])], ["y"], opset=13)
    (name,) = encode_values(proto, [WeightValues(0, "w", scales)], VALUES["int8"])
    stored = next(t for t in proto.graph.initializer if t.name == name)
    assert numpy_helper.to_array(stored).dtype == np.int8
    np.testing.assert_array_equal(shows(proto, "w"), array)


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("form", FORMATS)
def test_sizes_of_all_kinds_are_foreseen(form: str, kind: str) -> None:
    array, scales = on_grid((512, 512), 1)
    if kind == "fp16":
        array = array.astype(np.float16).astype(np.float32)
    proto = one_node("MatMul", {"w": array})
    share = float((array == 0).mean())
    expected = expected_bytes(proto, ["w"], FORMATS[form], VALUES[kind])(share)
    held = encode_values(proto, [WeightValues(0, "w", scales)], VALUES[kind])
    found = encoded_bytes(proto, held, FORMATS[form])
    assert found == pytest.approx(expected, rel=0.03, abs=5000)  # scales, the table of bits
