"""Weights that sessions read in place: the same outputs, the same model, nothing else copied."""

from __future__ import annotations

import gc

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from build_onnx import model, normal, value
from onnx import ModelProto, TensorProto, helper, numpy_helper

from onnx_lobs.errors import ModelError
from onnx_lobs.graph.run import lending
from onnx_lobs.graph.run.lending import lend_weights
from onnx_lobs.graph.run.session import Session

NODE = helper.make_node
WIDE = 160  # 160 x 160 float32 numbers are more than LEAST bytes


def network() -> ModelProto:
    nodes = [
        NODE("MatMul", ["x", "w1"], ["a"]),
        NODE("Add", ["a", "b1"], ["c"]),
        NODE("Relu", ["c"], ["d"]),
        NODE("MatMul", ["d", "w2"], ["y"]),
    ]
    weights = {"w1": normal(1, WIDE, WIDE), "b1": normal(2, WIDE), "w2": normal(3, WIDE, WIDE)}
    return model(nodes, [value("x", [None, WIDE])], ["y"], weights)


def plain_run(proto: ModelProto, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def test_a_session_gives_what_one_on_the_whole_message_gives() -> None:
    proto, x = network(), normal(9, 7, WIDE)
    before = proto.SerializeToString()
    session = Session(proto)
    assert list(session._lent) == ["w1", "w2"]
    expected = plain_run(proto, x)
    assert proto.SerializeToString() == before
    del proto
    gc.collect()  # the session keeps what it reads
    assert np.array_equal(session.run({"x": x})["y"], expected)


def test_a_session_keeps_its_weights_when_the_model_changes() -> None:
    proto, x = network(), normal(9, 7, WIDE)
    session, expected = Session(proto), plain_run(proto, x)
    proto.graph.initializer[0].raw_data = bytes(len(proto.graph.initializer[0].raw_data))
    assert np.array_equal(session.run({"x": x})["y"], expected)


def test_a_weight_that_is_an_input_too_has_its_value() -> None:
    proto, x = network(), normal(9, 7, WIDE)
    proto.graph.input.append(value("w1", [WIDE, WIDE]))
    session, expected = Session(proto), plain_run(proto, x)
    assert "w1" in session._lent
    assert np.array_equal(session.run({"x": x})["y"], expected)


def test_a_weight_of_the_wrong_size_is_one_line_of_onnxruntime() -> None:
    proto = network()
    proto.graph.initializer[0].raw_data = proto.graph.initializer[0].raw_data[:-4]
    with pytest.raises(ModelError, match="onnxruntime cannot load the model"):
        Session(proto)


def test_everything_but_the_large_weights_is_copied() -> None:
    proto = network()
    proto.producer_name, proto.model_version = "someone", 7
    proto.metadata_props.add(key="a", value="b")
    proto.graph.doc_string = "text"
    proto.functions.append(
        helper.make_function("own", "F", ["x"], ["y"], [NODE("Relu", ["x"], ["y"])], [])
    )
    rest, lent = lend_weights(proto)
    for tensor in rest.graph.initializer:
        if tensor.name in lent:
            del tensor.external_data[:]
            tensor.ClearField("data_location")
            tensor.raw_data = lent[tensor.name].tobytes()
    assert rest == proto


@pytest.mark.parametrize("kind", ["float16", "typed field", "small", "external"])
def test_what_cannot_be_read_in_place_stays(kind: str) -> None:
    array = normal(1, WIDE, WIDE)
    tensor = numpy_helper.from_array(array, "w")
    if kind == "float16":
        tensor = numpy_helper.from_array(array.astype(np.float16), "w")
    elif kind == "typed field":
        tensor = helper.make_tensor("w", TensorProto.FLOAT, array.shape, array.ravel())
    elif kind == "small":
        tensor = numpy_helper.from_array(array[:1], "w")
    else:
        tensor.data_location = TensorProto.EXTERNAL
    proto = onnx.ModelProto(graph=onnx.GraphProto(initializer=[tensor]))
    proto.graph.node.append(NODE("Relu", ["w"], ["y"]))
    rest, lent = lend_weights(proto)
    assert not lent
    assert rest == proto


@pytest.mark.parametrize("place", ["nowhere", "dead node", "branch", "input", "output"])
def test_weights_that_little_reads_are_no_obstacle(place: str) -> None:
    """onnxruntime refuses to be lent what nothing at all reads."""
    proto, x = network(), normal(9, 7, WIDE)
    proto.graph.initializer.append(numpy_helper.from_array(normal(4, WIDE, WIDE), "extra"))
    if place == "dead node":
        proto.graph.node.append(NODE("Relu", ["extra"], ["z"]))
    elif place == "branch":
        then, other = (
            helper.make_graph([NODE(op, ["extra"], ["t"])], op, [], [value("t", None)])
            for op in ("Relu", "Neg")
        )
        proto.graph.initializer.append(numpy_helper.from_array(np.array(True), "choice"))
        proto.graph.node.append(NODE("If", ["choice"], ["z"], then_branch=then, else_branch=other))
        proto.graph.output.append(value("z", None))
    elif place == "input":
        proto.graph.input.append(value("extra", [WIDE, WIDE]))
    elif place == "output":
        proto.graph.output.append(value("extra", [WIDE, WIDE]))
    session = Session(proto)
    assert ("extra" in session._lent) == (place != "nowhere")
    assert np.array_equal(session.run({"x": x})["y"], plain_run(proto, x))


def test_a_model_of_more_than_a_message_holds_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    proto, x = network(), normal(9, 7, WIDE)
    expected = plain_run(proto, x)
    monkeypatch.setattr("onnx_lobs.graph.run.session.MAX_PROTO_BYTES", lending.LEAST)
    assert proto.ByteSize() > lending.LEAST
    assert np.array_equal(Session(proto).run({"x": x})["y"], expected)
