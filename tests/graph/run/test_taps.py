"""Every value of every scope can be shown as an output, and the model computes the same."""

from __future__ import annotations

import numpy as np
import pytest
from build_onnx import Array, branch, model, normal, run, value
from onnx import ModelProto, TensorProto, helper

from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.taps import expose, tap_name

NODE = helper.make_node
X = normal(2, 5, 4)
W = normal(1, 4, 4)


def with_outputs(
    index: Model, wanted: list[tuple[int, str]], types: dict[tuple[int, str], int]
) -> ModelProto:
    """A copy of the model whose outputs are just the wanted values."""
    copy = ModelProto()
    copy.CopyFrom(index.proto)
    del copy.graph.output[:]
    expose(copy.graph, index, wanted, types)
    return copy


def nested() -> ModelProto:
    """If c: (if d: y = relu(x w) v, else neg x), else abs x; with the same names in branches."""
    deep = branch(
        [
            NODE("MatMul", ["x", "w"], ["a"]),
            NODE("Relu", ["a"], ["b"]),
            NODE("MatMul", ["b", "w"], ["t"]),
        ],
        "t",
    )
    inner = NODE(
        "If", ["d"], ["i"], then_branch=deep,
        else_branch=branch([NODE("Neg", ["x"], ["b"]), NODE("Identity", ["b"], ["e"])], "e"),
    )  # fmt: skip
    outer = NODE(
        "If", ["c"], ["y"], then_branch=branch([inner], "i"),
        else_branch=branch([NODE("Abs", ["x"], ["b"]), NODE("Identity", ["b"], ["f"])], "f"),
    )  # fmt: skip
    flags = [value("c", [], TensorProto.BOOL), value("d", [], TensorProto.BOOL)]
    return model([outer], [value("x", [5, 4]), *flags], [value("y", [5, 4])], {"w": W})


def tapped(c: bool, d: bool) -> tuple[Model, dict[str, Array]]:
    index = Model(nested(), None)
    wanted = [(s.index, "b") for s in index.scopes if "b" in s.producers]
    proto = with_outputs(index, wanted, {})
    return index, run(proto, x=X, c=np.array(c), d=np.array(d))


@pytest.mark.parametrize(
    ("c", "d", "op"), [(True, True, "Relu"), (True, False, "Neg"), (False, True, "Abs")]
)
def test_branches_show_their_values_when_taken_and_nothing_else(c: bool, d: bool, op: str) -> None:
    index, found = tapped(c, d)
    expected = {"Relu": np.maximum(X @ W, 0), "Neg": -X, "Abs": np.abs(X)}
    assert len(found) == 3
    for scope in index.scopes:
        maker = scope.producers.get("b")
        if maker is None:
            continue
        shown = found[tap_name(scope.index, "b")]
        if maker.op_type == op:
            np.testing.assert_allclose(shown, expected[op], rtol=1e-5)  # float32 product
        else:
            assert shown.size == 0


def test_outer_values_read_in_a_branch_show_only_when_it_is_taken() -> None:
    index = Model(nested(), None)
    scope = next(s.index for s in index.scopes if "a" in s.producers)
    proto = with_outputs(index, [(scope, "x")], {})
    on, off = np.array(True), np.array(False)
    assert np.array_equal(run(proto, x=X, c=on, d=on)[tap_name(scope, "x")], X)
    assert run(proto, x=X, c=off, d=on)[tap_name(scope, "x")].size == 0


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_values_are_shown_from_any_depth(depth: int) -> None:
    inner = branch([NODE("MatMul", ["x", "w"], ["b"]), NODE("Neg", ["b"], ["o0"])], "o0")
    for i in range(1, depth + 1):
        other = branch([NODE("Abs", ["x"], [f"e{i}"])], f"e{i}")
        node = NODE("If", ["c"], [f"o{i}"], then_branch=inner, else_branch=other)
        inner = branch([node], f"o{i}")
    inputs = [value("x", [5, 4]), value("c", [], TensorProto.BOOL)]
    outputs = [value(f"o{depth}", [5, 4])]
    index = Model(model(list(inner.node), inputs, outputs, {"w": W}), None)
    wanted = [(s.index, "b") for s in index.scopes if "b" in s.producers]
    wanted += [(s.index, "x") for s in index.scopes if s.index]
    proto = with_outputs(index, wanted, {})
    found = run(proto, x=X, c=np.array(True))
    np.testing.assert_allclose(found[tap_name(*wanted[0])], X @ W, rtol=1e-5)  # float32 product
    assert sum(np.array_equal(shown, X) for shown in found.values()) == depth


@pytest.mark.parametrize("name", ["x", "h"])
def test_inputs_and_inner_values_of_the_main_graph_are_shown(name: str) -> None:
    nodes = [NODE("Neg", ["x"], ["h"]), NODE("Relu", ["h"], ["y"])]
    index = Model(model(nodes, [value("x", [5, 4])], ["y"]), None)
    found = run(with_outputs(index, [(0, name), (0, name)], {}), x=X)
    assert list(found) == [name]
    assert np.array_equal(found[name], X if name == "x" else -X)


@pytest.mark.parametrize("elem_type", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_taps_of_other_types_are_shown_in_their_type(elem_type: int) -> None:
    dtype = helper.tensor_dtype_to_np_dtype(elem_type)
    cast = NODE("Cast", ["x"], ["b"], to=elem_type)
    back = NODE("Cast", ["b"], ["t"], to=TensorProto.FLOAT)
    node = NODE(
        "If", ["c"], ["y"], then_branch=branch([cast, back], "t"),
        else_branch=branch([NODE("Identity", ["x"], ["e"])], "e"),
    )  # fmt: skip
    inputs = [value("x", [5, 4]), value("c", [], TensorProto.BOOL)]
    index = Model(model([node], inputs, [value("y", [5, 4])]), None)
    scope = next(s.index for s in index.scopes if "b" in s.producers)
    proto = with_outputs(index, [(scope, "b")], {(scope, "b"): elem_type})
    (shown,) = run(proto, x=X, c=np.array(True)).values()
    assert np.array_equal(shown, X.astype(dtype))


def test_the_model_itself_stays_as_it_is() -> None:
    proto = nested()
    before = proto.SerializeToString()
    index = Model(proto, None)
    with_outputs(index, [(s.index, "b") for s in index.scopes if "b" in s.producers], {})
    assert proto.SerializeToString() == before
