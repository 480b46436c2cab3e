"""What cannot go stays, with a reason; constants of every kind are sliced."""

from __future__ import annotations

import coupled_networks as nets
import numpy as np
import onnx
import pytest
from build_onnx import branch, constant, model, normal, run, value
from coupled_networks import Chain, samples
from onnx import ModelProto, TensorProto, helper

from onnx_lobs.graph.model import Model
from onnx_lobs.layers.channels.coupling import Coupling, find_coupling
from onnx_lobs.layers.channels.observed import observe
from onnx_lobs.layers.channels.removal import remove_channels


def coupling_of(proto: ModelProto) -> Coupling:
    return find_coupling(observe(Model(proto, None), samples()))


def reason_for(proto: ModelProto, weight: str = "c0") -> str:
    """Return why the outputs of a weight stay."""
    (reason,) = (
        group.reason
        for group in coupling_of(proto).pinned
        if ((weight, 0), 1) in group.spans or ((weight, 0), nets.CHANNELS) in group.spans
    )
    return reason


def behind_conv(op: str, *more: str, **attributes: object) -> ModelProto:
    chain = Chain()
    x = chain.conv("x", nets.CHANNELS, 3)
    x = chain.add(op, x, *more, **attributes)
    return chain.proto(chain.add("Relu", chain.add("GlobalAveragePool", x)))


@pytest.mark.parametrize(
    ("op", "attributes", "words"),
    [
        ("LRN", {"size": 3}, "LRN 'n1' has no rule"),
        ("Softmax", {"axis": 1}, "Softmax 'n1' sums over it"),
        ("ReduceSum", {}, "ReduceSum 'n1' reduces it"),
        ("Relu", {}, "'y' is an output of the graph"),
    ],
)
def test_a_channel_stays_for_a_reason(op: str, attributes: dict[str, int], words: str) -> None:
    if op == "ReduceSum":
        chain = Chain()
        x = chain.add("ReduceSum", chain.conv("x", nets.CHANNELS, 3), chain.ints(1))
        assert words in reason_for(chain.proto(x))
    else:
        assert words in reason_for(behind_conv(op, **attributes))


def test_what_a_branch_reads_stays() -> None:
    chain = Chain()
    x = chain.conv("x", nets.CHANNELS, 3)
    chain.weights["yes"] = np.array(True)
    node = helper.make_node("Relu", [x], ["inside"])
    kept, other = branch([node], "inside"), branch([helper.make_node("Abs", [x], ["out2"])], "out2")
    y = chain.add("If", "yes", then_branch=kept, else_branch=other)
    assert "If 'n1' has no rule" in reason_for(chain.proto(chain.conv(y, 4, nets.CHANNELS)))


def test_a_default_that_a_user_may_feed_stays() -> None:
    chain = Chain()
    x = chain.add("Add", chain.conv("x", nets.CHANNELS, 3), chain.normal(nets.CHANNELS, 1, 1))
    proto = chain.proto(chain.conv(x, 4, nets.CHANNELS))
    proto.graph.input.append(value("c2", [nets.CHANNELS, 1, 1]))
    assert "'c2' is an input of the graph" in reason_for(proto)


def test_below_version_4_initializers_are_listed_and_sliced() -> None:
    chain = Chain()
    proto = chain.proto(chain.conv(chain.conv("x", nets.CHANNELS, 3), 4, nets.CHANNELS), opset=8)
    old = model(proto.graph.node, [value("x", ["n", 3, 6, 6])], ["y"], chain.weights, ir_version=3,
                opset=8)  # fmt: skip
    coupling = coupling_of(old)
    (group,) = coupling.groups
    result = remove_channels(coupling, group.channels[:5])
    onnx.checker.check_model(result, full_check=True)
    sizes = {
        i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in result.graph.input
    }
    assert sizes["c0"] == [nets.CHANNELS - 5, 3, 1, 1]
    assert run(result, **samples())["y"].shape == (2, 4, 6, 6)


@pytest.mark.parametrize("opset", [8, 11, 12])
def test_old_forms_of_slice_and_split_are_edited(opset: int) -> None:
    chain = Chain()
    x = chain.conv("x", nets.CHANNELS, 3)
    one, other = chain.add("Split", x, n=2, axis=1, split=[5, 7])
    if opset < 10:
        cut = chain.add("Slice", other, axes=[1], starts=[1], ends=[6])
    else:
        cut = chain.add("Slice", other, chain.ints(1), chain.ints(6), chain.ints(1))
    x = chain.add("Concat", one, cut, axis=1)
    proto = chain.proto(chain.conv(x, 4, 10), opset=opset)
    coupling = coupling_of(proto)
    gone = [group.channels[0] for group in coupling.groups]
    result = remove_channels(coupling, gone)
    onnx.checker.check_model(result, full_check=True)
    assert run(result, **samples())["y"].shape == (2, 4, 6, 6)


def test_weights_in_constant_nodes_are_sliced() -> None:
    weights = {"w0": normal(1, nets.CHANNELS, 3, 1, 1), "w1": normal(2, 4, nets.CHANNELS, 1, 1)}
    nodes = [constant(name, array) for name, array in weights.items()]
    nodes += [
        helper.make_node("Conv", ["x", "w0"], ["h"]),
        helper.make_node("Conv", ["h", "w1"], ["y"]),
    ]
    proto = model(nodes, [value("x", ["n", 3, 6, 6])], ["y"])
    coupling = coupling_of(proto)
    (group,) = coupling.groups
    result = remove_channels(coupling, group.channels[3:])
    shapes = [list(n.attribute[0].t.dims) for n in result.graph.node if n.op_type == "Constant"]
    assert shapes == [[3, 3, 1, 1], [4, 3, 1, 1]]
    assert run(result, **samples())["y"].shape == (2, 4, 6, 6)


def test_a_tied_weight_ties_the_channels_of_all_its_uses() -> None:
    chain = Chain()
    weight = chain.normal(nets.CHANNELS, nets.CHANNELS, 1, 1)
    x = chain.conv("x", nets.CHANNELS, 3)
    for _ in range(2):
        x = chain.add("Relu", chain.add("Conv", x, weight))
    (group,) = coupling_of(chain.proto(chain.conv(x, 4, nets.CHANNELS))).groups
    assert len(group.channels) == nets.CHANNELS


def test_types_and_other_values_stay_to_the_last_bit() -> None:
    chain = Chain()
    proto = chain.proto(chain.conv(chain.conv("x", nets.CHANNELS, 3), 4, nets.CHANNELS))
    coupling = coupling_of(proto)
    (group,) = coupling.groups
    result = remove_channels(coupling, group.channels[1::2])
    found = {t.name: onnx.numpy_helper.to_array(t) for t in result.graph.initializer}
    assert np.array_equal(found["c0"], chain.weights["c0"][::2])
    assert np.array_equal(found["c2"], chain.weights["c2"][:, ::2])
    assert np.array_equal(found["c3"], chain.weights["c3"])
    assert {t.data_type for t in result.graph.initializer} == {TensorProto.FLOAT}


def test_what_is_quantised_in_blocks_stays() -> None:
    chain = Chain()
    weight = chain.constant(np.ones((nets.CHANNELS, 8), np.int8))
    scales = chain.positive(nets.CHANNELS // 4, 8)
    x = chain.add("Transpose", chain.conv("x", nets.CHANNELS, 3), perm=[0, 2, 3, 1])
    matrix = chain.add("DequantizeLinear", weight, scales, axis=0, block_size=4)
    y = chain.add("MatMul", x, matrix)
    assert "quantises it in blocks" in reason_for(chain.proto(y, opset=21))


def test_numbers_of_half_a_byte_are_sliced() -> None:
    chain = Chain()
    values = np.arange(-8, 8).reshape(1, 16, 1, 1).repeat(2, axis=0).reshape(16, 2, 1, 1)
    stored = chain.constant(values.astype(np.int8))
    weight = chain.add("DequantizeLinear", stored, chain.positive(16), axis=0)
    x = chain.add("Conv", chain.conv("x", 2, 3), weight)
    proto = chain.proto(chain.conv(x, 4, 16), opset=21)
    tensor = next(t for t in proto.graph.initializer if t.name == stored)
    tensor.CopyFrom(
        helper.make_tensor(stored, TensorProto.INT4, values.shape, values.ravel().tolist())
    )
    coupling = coupling_of(proto)
    group = next(g for g in coupling.groups if len(g.channels) == 16)
    result = remove_channels(coupling, group.channels[1::2])
    tensor = next(t for t in result.graph.initializer if t.name == stored)
    assert np.array_equal(onnx.numpy_helper.to_array(tensor).astype(int), values[::2])
    assert run(result, **samples())["y"].shape == (2, 4, 6, 6)
