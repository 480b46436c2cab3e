"""Spans lie between places where one value leads on, and compute what the whole does there."""

from __future__ import annotations

import numpy as np
import pytest
from build_onnx import model, normal, run, value
from onnx import ModelProto, helper

from onnx_lobs.graph.model import Model
from onnx_lobs.graph.normalise import to_executable
from onnx_lobs.layers.find import LayerFilter, find_layers
from onnx_lobs.run.blocks import spans
from onnx_lobs.run.blocks.spans import Span, find_spans, part_of

NODE = helper.make_node
FLOAT = 1


def residual(*, bent: str = "Relu", mask: bool = False) -> ModelProto:
    """Return two residual blocks behind a product; with `mask`, one value enters everywhere."""
    nodes = [NODE("MatMul", ["x", "w0"], ["a"])]
    last = "a"
    for block in "bc":
        nodes += [
            NODE("MatMul", [last, f"w{block}1"], [f"{block}1"]),
            NODE(bent, [f"{block}1"], [f"{block}2"]),
            NODE("MatMul", [f"{block}2", f"w{block}2"], [f"{block}3"]),
            NODE("Add", [f"{block}3", last], [f"{block}4"]),
            *([NODE("Mul", [f"{block}4", "scaled"], [f"{block}5"])] if mask else []),
        ]
        last = f"{block}5" if mask else f"{block}4"
    nodes.append(NODE("Identity", [last], ["y"]))
    weights = {f"w{n}": normal(i, 6, 6) for i, n in enumerate(("0", "b1", "b2", "c1", "c2"))}
    inputs = [value("x", ["n", 6])]
    if mask:
        nodes.insert(0, NODE("Exp", ["m"], ["scaled"]))
        inputs.append(value("m", ["n", 6]))
    return model(nodes, inputs, ["y"], weights)


def found(proto: ModelProto, last: str = "y") -> tuple[Model, tuple[Span, ...]]:
    """Return the execution copy and its spans."""
    executable = Model(to_executable(proto, None, "CPUExecutionProvider")[0], None)
    layers, _ = find_layers(executable, LayerFilter(min_weights=1))
    return executable, find_spans(executable, layers, last)


def test_spans_are_residual_blocks() -> None:
    _, some = found(residual())
    assert [(w.output, w.n_layers) for w in some] == [("b4", 3), ("c4", 2)]


def test_a_layer_that_is_left_at_the_end_belongs_to_the_last_span() -> None:
    proto = residual()
    proto.graph.node[-1].CopyFrom(NODE("MatMul", ["c4", "w0"], ["y"]))
    _, some = found(proto)
    assert [(w.output, w.n_layers) for w in some] == [("b4", 3), ("y", 3)]


def test_what_pruning_cannot_change_may_enter_a_span_too() -> None:
    _, some = found(residual(mask=True))
    assert [w.output for w in some] == ["b4", "c4"]
    assert "scaled" in some[1].inputs


def test_what_is_linear_has_no_span() -> None:
    assert found(residual(bent="Identity"))[1] == ()


def test_a_product_of_two_values_that_move_is_not_linear() -> None:
    nodes = [
        NODE("MatMul", ["x", "w0"], ["a"]),
        NODE("Mul", ["a", "a"], ["b"]),
        NODE("MatMul", ["b", "w1"], ["y"]),
    ]
    weights = {"w0": normal(0, 6, 6), "w1": normal(1, 6, 6)}
    _, some = found(model(nodes, [value("x", ["n", 6])], ["y"], weights))
    assert [w.output for w in some] == ["y"]


def test_a_part_with_too_many_layers_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "MOST_LAYERS", 2)
    _, some = found(residual())
    assert [w.n_layers for w in some] == [2]


def test_no_span_reaches_behind_the_judged_value() -> None:
    _, some = found(residual(), last="b4")
    assert [w.output for w in some] == ["b4"]


@pytest.mark.parametrize("mask", [False, True])
def test_a_part_computes_what_the_whole_does_there(mask: bool) -> None:
    executable, some = found(residual(mask=mask))
    feeds = {"x": normal(7, 3, 6), **({"m": normal(8, 3, 6)} if mask else {})}
    whole = ModelProto()
    whole.CopyFrom(executable.proto)
    names = [*dict.fromkeys(n for w in some for n in (*w.inputs, w.output)).keys()]
    whole.graph.output.extend(value(n, None) for n in names if n not in ("x", "m", "y"))
    seen = {**feeds, **run(whole, **feeds)}
    for span in some:
        part = part_of(executable, span, dict.fromkeys(span.inputs, FLOAT))
        made = run(part.proto, **{name: seen[name] for name in span.inputs})
        np.testing.assert_allclose(made[span.output], seen[span.output], rtol=1e-5, atol=1e-6)
