"""A network's time is told from that of its products, by the widths of its groups of channels."""

from __future__ import annotations

import coupled_networks as nets
import numpy as np
import pytest
from build_onnx import run
from coupled_networks import between, samples
from onnx import ModelProto, TensorProto

from onnx_lobs.errors import ConfigError
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.session import Session
from onnx_lobs.layers.channels.coupling import Coupling, find_coupling
from onnx_lobs.layers.channels.observed import observe
from onnx_lobs.report.progress import Silent
from onnx_lobs.search.channels.one_node import element_types, one_node
from onnx_lobs.search.channels.times import (
    MeasuredTimes,
    best_align,
    costs_from_times,
    measure_times,
    time_costs,
)
from onnx_lobs.search.channels.widths import (
    COARSE,
    FINE,
    SHARES,
    kept_at,
    narrower,
    narrower_shapes,
)

FIT = 1e-9  # of times that follow the model exactly
SPREAD = 0.5  # of a measured time: this machine has other work


def coupled(proto: ModelProto) -> Coupling:
    return find_coupling(observe(Model(proto, None), samples(n=2)))


def wide(width: int = 128) -> ModelProto:
    """Two convolutions in a row with `width` channels between them and the last."""
    chain = nets.Chain()
    x = chain.add("Relu", chain.conv("x", width, 3, 3))
    x = chain.add("Relu", chain.conv(x, width, width, 3))
    return chain.proto(chain.conv(x, 4, width))


def made_up(coupling: Coupling, constant: float, scale: float) -> MeasuredTimes:
    """Times of products whose time is that of their multiplications to the power 0.8."""
    own = [len(group.channels) for group in coupling.groups]
    kept = np.stack([own, *(kept_at(coupling, share) for share in SHARES)])
    shares = (kept / own).T  # (groups, widths)
    # the first convolution has one group, the second both, the last one
    ones = np.ones_like(shares[0])
    left = np.stack([shares[0], shares[0] * shares[1], shares[1]]) if len(own) == 2 else ones
    nodes = np.array([[1.0], [5.0], [0.5]]) * left**0.8
    return MeasuredTimes(kept, nodes, constant + scale * nodes.sum(axis=0), FINE)


def test_a_constant_and_the_products_are_told_apart() -> None:
    coupling = coupled(wide())
    times = made_up(coupling, constant=3.0, scale=2.0)
    costs = costs_from_times(coupling, times)
    assert costs.fixed == pytest.approx(3.0, rel=FIT)
    assert costs.total == pytest.approx(2.0 * 6.5, rel=FIT)
    for kept, whole in zip(times.kept, times.whole, strict=True):
        assert costs.left(times.kept[0] - kept) == pytest.approx(whole, rel=FIT)


def test_one_group_alone_saves_its_part_of_each_product() -> None:
    coupling = coupled(wide())
    costs = costs_from_times(coupling, made_up(coupling, 0.0, 1.0))
    half = np.array([64, 0])
    assert costs.left(half) == pytest.approx(0.5**0.8 * 6.0 + 0.5, rel=1e-6)


def test_a_product_that_is_slower_when_it_is_narrower_saves_nothing() -> None:
    coupling = coupled(wide())
    times = made_up(coupling, 0.0, 1.0)
    times.nodes[1] = np.linspace(5.0, 9.0, len(SHARES) + 1)
    costs = costs_from_times(coupling, times)
    counts = [times.kept[0] - kept for kept in times.kept]
    left = [costs.left(each) for each in counts]
    assert left == sorted(left, reverse=True)


@pytest.mark.parametrize(
    ("fine", "coarse", "align"), [(1.2, 1.2, COARSE), (1.16, 1.2, COARSE), (1.1, 1.2, FINE)]
)
def test_eight_channels_that_cost_what_sixteen_do_call_for_sixteen(
    fine: float, coarse: float, align: int
) -> None:
    assert best_align(1.0, fine, coarse) == align


def test_widths_are_multiples_of_sixteen_but_in_narrow_groups() -> None:
    coupling = coupled(wide(72))
    assert kept_at(coupling, 0.5).tolist() == [32, 32]
    assert kept_at(coupling, 0.5, FINE).tolist() == [40, 40]
    assert kept_at(coupled(wide(12)), 0.25).tolist() == [3, 3]


def test_a_narrower_network_has_the_shapes_that_it_is_said_to_have() -> None:
    coupling = coupled(between(nets.depthwise))
    kept = kept_at(coupling, 0.5)
    shapes = narrower_shapes(coupling, kept)
    seen = observe(Model(narrower(coupling, kept), None), samples(n=2)).shapes
    assert {name: shapes[name] for name in seen} == seen
    assert shapes != dict(coupling.observed.shapes)


def test_a_node_alone_computes_what_it_does_in_the_network() -> None:
    proto = wide(8)
    coupling = coupled(proto)
    model = coupling.observed.model
    node = next(n for n in proto.graph.node if n.op_type == "Conv" and n.input[0] != "x")
    alone = one_node(model, node, coupling.observed.shapes, element_types(proto))
    session = Session(proto, shown=[node.input[0], node.output[0]])
    values = session.run(samples(n=2))
    assert set(alone.feeds) == {node.input[0]}
    assert alone.feeds[node.input[0]].shape == values[node.input[0]].shape
    found = run(alone.proto, **{node.input[0]: values[node.input[0]]})
    np.testing.assert_allclose(found[node.output[0]], values[node.output[0]], rtol=1e-5)


@pytest.mark.slow
def test_products_of_one_shape_are_timed_once_and_the_network_as_a_whole() -> None:
    coupling = coupled(wide())
    times = measure_times(coupling, samples(n=2), Silent())
    costs = costs_from_times(coupling, times)
    none = np.zeros(2, np.int64)
    assert costs.left(none) == pytest.approx(times.whole[0], rel=SPREAD)
    assert costs.left(np.array([96, 96])) < costs.left(none)
    assert times.align in (FINE, COARSE)


def test_a_model_with_external_data_is_not_timed() -> None:
    proto = wide(8)
    coupling = coupled(proto)
    proto.graph.initializer[0].data_location = TensorProto.EXTERNAL
    with pytest.raises(ConfigError, match=r"one file of less than 2 GiB.*take --budget macs"):
        time_costs(coupling, samples(n=2), Silent())
