"""Names that are not UTF-8 become names that are, everywhere the same; nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
from build_onnx import branch, model, normal, run, value
from onnx import ModelProto, helper

from onnx_lobs.errors import ModelError
from onnx_lobs.graph.files.load import load_model
from onnx_lobs.graph.files.utf8_names import make_names_text

NODE = helper.make_node
MARK, LATIN = "MARKMARK", b"gr\xf6\xdfe_ab"
X = normal(2, 5, 4)


def with_bytes(proto: ModelProto) -> ModelProto:
    """Return the model with MARK replaced, which no setter allows."""
    return ModelProto.FromString(proto.SerializeToString().replace(MARK.encode(), LATIN))


def marked() -> ModelProto:
    """The mark names a node, a value, a weight, a domain and a graph, in a branch too."""
    taken = branch([NODE("MatMul", [MARK, "w"], ["t"], name=MARK)], "t")
    other = branch([NODE("Neg", [MARK], ["u"])], "u")
    nodes = [
        NODE("Relu", ["x"], [MARK]),
        NODE("If", ["c"], ["v"], then_branch=taken, else_branch=other, name=f"if {MARK}"),
        NODE("MatMul", ["v", f"w {MARK}"], ["y"]),
    ]
    weights = {"w": normal(1, 4, 4), f"w {MARK}": normal(3, 4, 4), "c": np.array(True)}
    proto = model(nodes, [value("x", [5, 4])], [value("y", [5, 4])], weights)
    proto.graph.name = MARK
    proto.graph.value_info.append(value(MARK, [5, 4]))
    proto.graph.doc_string = MARK
    proto.metadata_props.add(key="k", value=MARK)
    return proto


def test_names_become_text_and_the_model_computes_the_same() -> None:
    proto = with_bytes(marked())
    loaded = load_model(proto).proto
    assert loaded.graph.node[0].output[0] == loaded.graph.node[1].attribute[0].g.node[0].input[0]
    assert loaded.graph.node[0].output[0] == "gr\\xf6\\xdfe_ab"
    assert loaded.graph.doc_string == LATIN == loaded.metadata_props[0].value
    expected = run(marked(), x=X)["y"]
    assert np.array_equal(run(loaded, x=X)["y"], expected)


def test_new_names_keep_clear_of_those_there_are() -> None:
    proto = marked()
    proto.graph.node.append(NODE("Neg", ["x"], ["gr\\xf6\\xdfe_ab"]))
    found = with_bytes(proto)
    make_names_text(found)
    assert found.graph.node[0].output[0] == "gr\\xf6\\xdfe_ab_"
    assert np.array_equal(run(found, x=X)["y"], run(proto, x=X)["y"])


def test_model_in_utf8_stays_as_it_is() -> None:
    proto = marked()
    before = proto.SerializeToString()
    make_names_text(proto)
    assert proto.SerializeToString() == before


@pytest.mark.parametrize("kind", ["input", "output"])
def test_inputs_and_outputs_have_names_that_programs_know(kind: str) -> None:
    names = {"x": MARK if kind == "input" else "x", "y": MARK if kind == "output" else "y"}
    node = NODE("Relu", [names["x"]], [names["y"]])
    proto = with_bytes(model([node], [value(names["x"], [5, 4])], [value(names["y"], [5, 4])]))
    with pytest.raises(ModelError, match=r"name b'gr\\xf6\\xdfe_ab', which is not UTF-8, .*rename"):
        load_model(proto)
