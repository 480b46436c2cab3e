"""Tests that a layer pruned alone gives, from that layer on, what the whole network gives."""

from __future__ import annotations

import numpy as np
import pytest
from build_onnx import branch, model, normal, value
from onnx import ModelProto, TensorProto, helper

from onnx_lobs.layers.layer import Layer
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.memory.store import Store
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.run.log import Log
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.setup import Setup, open_run
from onnx_lobs.search.alone import PrunedLayer, can_be_cut, each_alone

NODE = helper.make_node
WIDTH = 8
SUMS = 1e-5  # float32, fused differently in pieces than in the whole
N_SAMPLES = 64


def network() -> ModelProto:
    """Return a network with a residual, a tied weight, a branch, an early output and a softmax."""
    then = branch([NODE("MatMul", ["h", "inner"], ["t"])], "t", inner=normal(5, WIDTH, WIDTH))
    other = branch([NODE("Neg", ["h"], ["e"])], "e")
    nodes = [
        NODE("Gemm", ["x", "first", "bias"], ["a"]),
        NODE("Relu", ["a"], ["early"]),
        NODE("MatMul", ["early", "tied"], ["b"]),
        NODE("Add", ["b", "x"], ["r"]),
        NODE("MatMul", ["r", "tied"], ["h"]),
        NODE("If", ["yes"], ["i"], then_branch=then, else_branch=other),
        NODE("Add", ["i", "early"], ["j"]),
        NODE("Gemm", ["j", "last", "bias"], ["k"]),
        NODE("Softmax", ["k"], ["y"], axis=-1),
    ]
    weights = {name: normal(i, WIDTH, WIDTH) for i, name in enumerate(("first", "tied", "last"))}
    return model(
        nodes,
        [value("x", ["n", WIDTH])],
        [value("y", ["n", WIDTH]), value("early", ["n", WIDTH])],
        {**weights, "bias": normal(4, WIDTH), "yes": np.array(True)},
    )


def opened() -> tuple[Setup, Networks]:
    config = PruneConfig(sparsity=0.5, min_weights=8, batch_size=16)
    return open_run(network(), {"x": normal(9, N_SAMPLES, WIDTH)}, None, config, Log())


def halved(layer: Layer, networks: Networks) -> PrunedLayer:
    """Return a layer with every other column zero and, where it has a bias, that one raised."""
    scope = networks.dense.scopes[layer.scope]
    tensor = networks.dense.constant(scope, layer.weight)
    assert tensor is not None
    weight = networks.dense.value(tensor).copy()
    weight[..., ::2] = 0
    layout = layer.layout
    change = np.full((layout.groups, layout.rows), 0.3)
    return PrunedLayer(
        layer, weight, tuple(None if use.bias is None else change for use in layer.uses)
    )


@pytest.mark.parametrize("budget", [0, 1 << 20], ids=["in files", "in memory"])
def test_outputs_behind_a_layer_are_those_of_the_whole_network(budget: int) -> None:
    setup, networks = opened()
    assert len(setup.layers) == 4
    pruned = [halved(layer, networks) for layer in setup.layers][::-1]
    found = each_alone(networks, setup.batches, pruned, Store(budget, Scratch(None)))
    seen = []
    for each, behind in found:
        copy = networks.dense.copied()
        each.write(copy)
        whole = networks.open_judged(copy).in_front
        for feeds in setup.batches:
            expected, given = whole.run(feeds), behind.run(feeds)
            assert given.keys() == expected.keys()
            for name, one in expected.items():
                np.testing.assert_allclose(given[name], one, rtol=SUMS, atol=SUMS)
        seen.append(each.layer.name)
    assert sorted(seen) == sorted(layer.name for layer in setup.layers)
    dense = networks.open_judged(networks.dense).in_front.run(next(iter(setup.batches)))
    assert not np.allclose(dense["y"], expected["y"], atol=0.01)  # the last one changed something


def test_a_network_that_gives_a_constant_is_not_cut() -> None:
    proto = network()
    _, networks = opened()
    assert can_be_cut(networks)
    proto.graph.output.append(helper.make_tensor_value_info("bias", TensorProto.FLOAT, [WIDTH]))
    config = PruneConfig(sparsity=0.5, min_weights=8, batch_size=16)
    data = {"x": normal(9, N_SAMPLES, WIDTH)}
    assert not can_be_cut(open_run(proto, data, None, config, Log())[1])
