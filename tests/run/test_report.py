"""The report of a run tells of every layer what is its own."""

from __future__ import annotations

from typing import Any

import pytest
from build_onnx import model, normal, value
from onnx import TensorProto, helper

import onnx_lobs


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"bound": True}], ids=["plain", "bound"])
def test_layers_of_one_name_have_figures_of_their_own(options: dict[str, Any]) -> None:
    def branch(name: str) -> Any:
        inner = helper.make_node("MatMul", ["r", "w2"], [f"{name}_y"], name="same")
        return helper.make_graph([inner], name, [], [value(f"{name}_y", [None, 4])])

    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"], name="same"),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("ReduceMax", ["r"], ["top"], keepdims=0),
        helper.make_node("Cast", ["top"], ["is_any"], to=TensorProto.BOOL),
        helper.make_node(
            "If", ["is_any"], ["y"], then_branch=branch("then"), else_branch=branch("else")
        ),
    ]
    weights = {"w1": normal(1, 16, 32), "w2": normal(2, 32, 4)}
    proto = model(nodes, [value("x", [None, 16])], [value("y", [None, 4])], weights)
    options = {"sparsity": 0.5, "allocation": "uniform", "min_weights": 1, **options}
    first, second = onnx_lobs.prune(proto, {"x": normal(0, 90, 16)}, **options).report.layers
    assert (first.name, second.name) == ("same", "same")
    assert first.multiplications == (512, 256)
    assert second.multiplications == (128, 64)
    assert (first.first_order != second.first_order) == ("bound" in options)
