"""Grams that the graph computes itself are NumPy's, and what it cannot compute is said."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from build_onnx import Array, branch, model, normal, one_node, run, value
from onnx import ModelProto, TensorProto, helper

from onnx_lobs import ConfigError, PruneConfig, prune
from onnx_lobs.calibration.independent import calibrate_independent
from onnx_lobs.calibration.options import CalibrationOptions
from onnx_lobs.calibration.shared_inputs import find_shared_inputs
from onnx_lobs.errors import DataError, InferenceError
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.session import CUDA_OPTIONS, Session
from onnx_lobs.layers.find import LayerFilter, find_layers
from onnx_lobs.linalg.moments import Calibration
from onnx_lobs.run.modes import uses_graph

NODE = helper.make_node
CPU = "CPUExecutionProvider"
SUMS = 1e-5  # of the largest entry: float32 products in two orders
WEIGHTS = {
    "w1": normal(1, 8, 4, 3, 3), "w2": normal(2, 6, 4, 3, 2), "b2": normal(3, 6),
    "flat": np.array([0, -1]), "w3": normal(4, 48, 9), "b3": normal(5, 9), "w4": normal(6, 9, 9),
    "w5": normal(7, 9, 9), "w6": normal(8, 9, 5),
}  # fmt: skip


def network() -> ModelProto:
    """Conv, grouped and strided Conv, Gemm, MatMuls on one tap, one of them tied, and an If."""
    nodes = [
        NODE("Conv", ["x", "w1"], ["a"], name="conv", pads=[1, 0, 1, 2]),
        NODE("Relu", ["a"], ["ra"]),
        NODE("Conv", ["ra", "w2", "b2"], ["b"], name="grouped", group=2, strides=[2, 1]),
        NODE("Reshape", ["b", "flat"], ["f"]),
        NODE("Gemm", ["f", "w3", "b3"], ["c"], name="gemm", alpha=0.5),
        NODE("MatMul", ["c", "w4"], ["d"], name="left"),
        NODE("MatMul", ["c", "w5"], ["e"], name="right"),
        NODE("Mul", ["d", "e"], ["m"]),
        NODE("MatMul", ["m", "w4"], ["n"], name="again"),
        NODE(
            "If", ["yes"], ["y"], name="if",
            then_branch=branch([NODE("MatMul", ["n", "w6"], ["t"], name="inner")], "t"),
            else_branch=branch([NODE("Identity", ["n"], ["o"])], "o"),
        ),
    ]  # fmt: skip
    inputs = [value("x", [None, 4, 6, 5]), value("yes", [], TensorProto.BOOL)]
    return model(nodes, inputs, [value("y", [None, None])], WEIGHTS)


def batches_of(n: int = 4) -> list[dict[str, Array]]:
    return [{"x": normal(20 + i, 6, 4, 6, 5) + 0.5, "yes": np.array(True)} for i in range(n)]


def calibrated(
    proto: ModelProto,
    batches: list[dict[str, Array]],
    provider: str = CPU,
    *,
    in_graph: bool = False,
    **others: Any,
) -> list[Calibration]:
    index = Model(proto, None)
    layers = find_layers(index, LayerFilter(include=("*",), min_weights=0))[0]
    options = CalibrationOptions(len(batches), provider, len(batches), in_graph=in_graph)
    return calibrate_independent(index, find_shared_inputs(layers), batches, options, **others)


def test_the_graphs_grams_are_numpys(provider: str) -> None:
    notes: list[str] = []
    expected = calibrated(network(), batches_of())
    found = calibrated(network(), batches_of(), provider, in_graph=True, warn=notes.append)
    assert len(found) == 6
    for ours, theirs in zip(found, expected, strict=True):
        for mine, other in zip(ours.fit + ours.held, theirs.fit + theirs.held, strict=True):
            assert mine.inputs.count == other.inputs.count > 0
            for a, b in ((mine.inputs.matrix, other.inputs.matrix),
                         (mine.inputs.total, other.inputs.total)):  # fmt: skip
                assert np.abs(a - b).max() <= SUMS * np.abs(b).max()
    assert notes == ["NumPy computed Grams that the graph could not: inner (it is inside a branch)"]


def test_only_matrices_and_what_the_graph_cannot_compute_leave_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: dict[str, tuple[int, ...]] = {}
    plain = Session.run

    def spied(self: Session, *args: Any) -> dict[str, Array]:
        values = plain(self, *args)
        taken.update({name: array.shape for name, array in values.items()})
        return values

    monkeypatch.setattr(Session, "run", spied)
    calibrated(network(), batches_of(1), in_graph=True)
    large = {shape for name, shape in taken.items() if len(shape) > 1 and 1 not in shape[1:]}
    assert large == {(1, 36, 36), (2, 24, 24), (1, 48, 48), (1, 9, 9), (6, 9)}


def test_a_use_without_sums_has_its_reason_counted_once() -> None:
    notes: list[str] = []
    nodes = [NODE("MatMul", [f"x{i}", f"w{i}"], [f"y{i}"], name=f"n{i}") for i in range(7)]
    weights = {f"w{i}": normal(i, 9, 9) for i in range(7)}
    proto = model(
        nodes, [value(f"x{i}", [None, 9]) for i in range(7)], [f"y{i}" for i in range(7)],
        weights, opset=7, ir_version=3,
    )  # fmt: skip
    feeds = [{f"x{i}": normal(i, 5, 9) for i in range(7)}]
    calibrated(proto, feeds, in_graph=True, warn=notes.append)
    assert len(notes) == 1
    assert "n0, n1, n2, n3, n4 and 2 more (IR version 3 is below 4" in notes[0]


def test_a_failure_with_sums_in_the_graph_names_the_remedy() -> None:
    proto, wrong = one_node("MatMul", {"w": normal(1, 9, 9)}), [{"x": normal(1, 4, 3)}]
    with pytest.raises(InferenceError, match=r"graph also computed Grams: .* --gram numpy"):
        calibrated(proto, wrong, in_graph=True)
    with pytest.raises(InferenceError) as caught:
        calibrated(proto, wrong)
    assert "--gram" not in str(caught.value)


@pytest.mark.parametrize("wrong", [np.nan, 1e30])
def test_sums_that_are_not_finite_are_named(wrong: float) -> None:
    x = normal(1, 5, 9)
    x[2] = wrong
    with pytest.raises(DataError, match="the input of 'node' becomes NaN or infinite"):
        calibrated(one_node("MatMul", {"w": normal(1, 9, 9)}), [{"x": x}], in_graph=True)


@pytest.mark.slow
def test_prune_with_grams_from_the_graph(provider: str) -> None:
    data = {"x": np.concatenate([feeds["x"] for feeds in batches_of(14)])}  # so many: one fit
    nodes = [node for node in network().graph.node if node.op_type != "If"]
    outputs = [value("n", [None, 9])]
    proto = model(nodes, [value("x", [None, 4, 6, 5])], outputs, WEIGHTS)
    options: dict[str, Any] = {"sequential": False, "batch_size": 6, "min_weights": 0}
    results = {
        # uniform: a choice by trials may differ by their rounding
        gram: prune(proto, data, gram=gram, provider=where, allocation="uniform", **options)
        for gram, where in (("graph", provider), ("numpy", "cpu"))
    }
    for result in results.values():
        assert result.report.totals.zeros == result.report.totals.weights // 2
        assert np.isfinite(run(result.model, **data)["n"]).all()
    graph, numpy = (result.report.output for result in results.values())
    assert graph.error == pytest.approx(numpy.error, rel=SUMS)
    assert graph.fitted_error == pytest.approx(numpy.fitted_error, rel=SUMS)
    assert results["graph"].report.options["gram"] == "graph"


@pytest.mark.slow
def test_prune_warns_of_what_the_graph_cannot_compute() -> None:
    x = np.concatenate([feeds["x"] for feeds in batches_of(8)])
    then = branch([NODE("MatMul", ["f", "w6"], ["t"], name="inner")], "t")
    other = branch([NODE("MatMul", ["f", "w7"], ["o"], name="other")], "o")
    nodes = [
        NODE("Reshape", ["x", "flat"], ["f"]),
        NODE("ReduceSum", ["x"], ["sum"], keepdims=0),
        NODE("Greater", ["sum", "least"], ["yes"]),
        NODE("If", ["yes"], ["y"], then_branch=then, else_branch=other),
    ]
    weights = {
        "flat": np.array([0, -1]), "least": np.float32(-1e9).reshape(()),
        "w6": normal(1, 120, 4), "w7": normal(2, 120, 4),
    }  # fmt: skip
    proto = model(nodes, [value("x", [None, 4, 6, 5])], [value("y", [None, 4])], weights)
    options = {"sequential": False, "method": "magnitude", "batch_size": 6}
    found = prune(proto, {"x": x}, gram="graph", **options).report.warnings
    assert any("other, inner (it is inside a branch)" in text for text in found)
    assert not any("NumPy" in text for text in prune(proto, {"x": x}, **options).report.warnings)


@pytest.mark.slow
def test_staged_runs_say_that_numpy_computes() -> None:
    proto = one_node("MatMul", {"w": normal(1, 600, 600)})
    options = {"sequential": False, "method": "magnitude", "memory": 1 << 20, "gram": "graph"}
    report = prune(proto, {"x": normal(2, 40, 600)}, **options).report
    assert any("all Grams were computed by NumPy: the weights exceed" in w for w in report.warnings)


@pytest.mark.parametrize("options", [{"sequential": True}, {"method": "joint"}])
def test_sequential_mode_has_no_grams_in_the_graph(options: dict[str, Any]) -> None:
    proto = one_node("MatMul", {"w": normal(1, 9, 9)})
    with pytest.raises(ConfigError, match=r"add --independent .*or use --gram numpy or auto"):
        prune(proto, {"x": normal(1, 20, 9)}, gram="graph", **options)


@pytest.mark.parametrize(
    ("gram", "provider", "expected"),
    [
        ("auto", CPU, False),
        ("auto", "CUDAExecutionProvider", True),
        ("numpy", "CUDAExecutionProvider", False),
        ("graph", CPU, True),
    ],
)
def test_auto_takes_the_graph_unless_the_provider_is_the_cpu(
    gram: str, provider: str, expected: bool
) -> None:
    assert uses_graph(PruneConfig(gram=gram, sequential=False), provider) is expected
    if gram != "graph":
        assert not uses_graph(PruneConfig(gram=gram, sequential=True), provider)


def test_sessions_for_sums_keep_the_order_and_all_do_without_tf32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Any] = []

    class Recorder:
        def __init__(
            self, source: bytes, options: Any, providers: list[Any], **others: Any
        ) -> None:
            seen.append((options.execution_order, providers))

        def get_providers(self) -> list[str]:
            return ["CUDAExecutionProvider", CPU]

        def get_inputs(self) -> list[Any]:
            return []

        get_outputs = get_inputs

    monkeypatch.setattr(onnxruntime, "InferenceSession", Recorder)
    proto, cuda = one_node("MatMul", {"w": normal(1, 9, 9)}), "CUDAExecutionProvider"
    Session(proto, provider=cuda)
    Session(proto, provider=cuda, exact=True)
    Session(proto, exact=True)
    order = onnxruntime.ExecutionOrder
    assert CUDA_OPTIONS["use_tf32"] == "0"
    assert seen == [
        (order.DEFAULT, [(cuda, CUDA_OPTIONS), CPU]),
        (order.PRIORITY_BASED, [(cuda, CUDA_OPTIONS), CPU]),
        (order.PRIORITY_BASED, [CPU]),
    ]
