"""A model run in stages gives the outputs that it gives as a whole."""

from __future__ import annotations

import numpy as np
import pytest
from build_onnx import branch, model, normal, run, value
from onnx import ModelProto, TensorProto, helper

from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.session import Session
from onnx_lobs.graph.run.staged import StagedSession, open_session

NODE = helper.make_node
CPU = "CPUExecutionProvider"
SAME = 1e-5  # float32, rounded in another order


def network() -> ModelProto:
    """Layers, a residual sum, an If, a turned weight, and a graph input that is an output too."""
    then = branch([NODE("MatMul", ["s", "w3"], ["t"])], "t", w3=normal(3, 8, 8))
    other = branch([NODE("Neg", ["s"], ["e"])], "e")
    nodes = [
        NODE("MatMul", ["x", "w1"], ["a"]),
        NODE("Relu", ["a"], ["b"]),
        NODE("Transpose", ["w2"], ["turned"], perm=[1, 0]),
        NODE("MatMul", ["b", "turned"], ["c"]),
        NODE("Add", ["c", "x"], ["s"]),
        NODE("If", ["flag"], ["i"], then_branch=then, else_branch=other),
        NODE("MatMul", ["i", "w1"], ["y"]),
    ]
    inputs = [value("x", [None, 8]), value("flag", [], TensorProto.BOOL)]
    outputs = [value("y", [None, 8]), value("b", [None, 8])]
    return model(nodes, inputs, outputs, {"w1": normal(1, 8, 8), "w2": normal(2, 8, 8)})


@pytest.mark.parametrize("limit", [0, 300, 600, 10_000])
def test_stages_compute_what_the_whole_does(limit: int) -> None:
    proto = network()
    session = StagedSession(Model(proto, None), provider=CPU, limit=limit)
    for flag in (True, False):
        feeds = {"x": normal(5, 3, 8), "flag": np.array(flag)}
        expected, found = run(proto, **feeds), session.run(feeds)
        assert list(found) == list(expected)
        for name, array in expected.items():
            np.testing.assert_allclose(found[name], array, rtol=SAME, atol=SAME)
        assert list(session.run(feeds, ["b"])) == ["b"]


def test_a_stage_holds_no_more_than_its_limit() -> None:
    index = Model(network(), None)
    n_stages = [
        len(StagedSession(index, provider=CPU, limit=limit).stages) for limit in (0, 600, 10_000)
    ]
    assert n_stages == [3, 2, 1]


def test_only_large_models_run_in_stages() -> None:
    index = Model(network(), None)
    assert isinstance(open_session(index, provider=CPU, limit=10_000), Session)
    assert isinstance(open_session(index, provider=CPU, limit=100), StagedSession)


def test_a_model_that_shows_a_constant_runs_as_a_whole() -> None:
    nodes = [NODE("MatMul", ["x", "w"], ["y"]), NODE("Neg", ["w"], ["n"])]
    proto = model(nodes, [value("x", [None, 8])], ["y", "n"], {"w": normal(1, 8, 8)})
    assert isinstance(open_session(Model(proto, None), provider=CPU, limit=1), Session)


def test_weights_behind_constant_nodes_count_where_they_are_read() -> None:
    turned = [NODE("Transpose", [f"w{i}"], [f"t{i}"], perm=[1, 0]) for i in range(6)]
    layers = [NODE("MatMul", [f"h{i}", f"t{i}"], [f"h{i + 1}"]) for i in range(6)]
    weights = {f"w{i}": normal(i, 16, 16) for i in range(6)}
    proto = model([*turned, *layers], [value("h0", [None, 16])], ["h6"], weights)
    session = StagedSession(Model(proto, None), provider=CPU, limit=1100)  # one is 1024 bytes
    held = [[name for name in stage.nodes if name >= 6] for stage in session.stages]
    assert held == [[6], [7], [8], [9], [10], [11]]
    feeds = {"h0": normal(9, 3, 16)}
    scale = np.abs(run(proto, **feeds)["h6"]).max()
    assert np.abs(session.run(feeds)["h6"] - run(proto, **feeds)["h6"]).max() <= SAME * scale
