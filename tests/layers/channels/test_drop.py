"""Empty channels go without loss; those that something depends on stay."""

from __future__ import annotations

from collections.abc import Callable

import coupled_networks as nets
import numpy as np
import onnx
import pytest
from build_onnx import run
from coupled_networks import (
    CHANNELS,
    MIDDLES,
    WHOLE_NETWORKS,
    Chain,
    Middle,
    between,
    in_a_row,
    rows_of_middles,
    samples,
)
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto

from onnx_lobs.arrays import Array
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.channels.drop import ALL, DroppedChannels, drop_empty
from onnx_lobs.layers.find import find_layers
from onnx_lobs.layers.write import round_weight, write_weight

SAME = 4e-6  # of the largest output: constants are added in another order
BROKEN = 1e-3  # a bias that is forgotten, or border that is, shows by far more


def with_zero_filters(proto: ModelProto, share: float, seed: int) -> ModelProto:
    """Return a copy in which some rows of every layer are zero, but not the biases."""
    copy = ModelProto()
    copy.CopyFrom(proto)
    index, rng = Model(copy, None), np.random.default_rng(seed)
    layers, _ = find_layers(index, ALL)
    for layer in layers:
        tensor = index.constant(index.main, layer.weight)
        assert tensor is not None
        matrix = layer.matrix(index.value(tensor))
        matrix[rng.random(matrix.shape[:2]) < share] = 0.0
        write_weight(index, layer, round_weight(layer, matrix))
    return copy


def check_lossless(proto: ModelProto, rank: int = 4) -> DroppedChannels:
    dropped = drop_empty(Model(proto, None), samples(rank))
    after = dropped.after.observed.model.proto
    onnx.checker.check_model(after, full_check=True)
    feeds = samples(rank, n=3, seed=17)
    wanted, found = (run(each, **feeds)["y"] for each in (proto, after))
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= SAME * np.abs(wanted).max()
    return dropped


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("middle", MIDDLES, ids=lambda middle: middle.__name__)
def test_zero_filters_go_without_loss(middle: Middle, kernel: int) -> None:
    check_lossless(with_zero_filters(between(middle, kernel), 0.4, 3))


@pytest.mark.parametrize(("build", "rank"), WHOLE_NETWORKS)
def test_so_they_do_in_flattened_and_other_networks(
    build: Callable[[], ModelProto], rank: int
) -> None:
    check_lossless(with_zero_filters(build(), 0.4, 3), rank)


@given(rows_of_middles(), st.integers(0, 99))
def test_so_they_do_in_random_networks(middles: list[Middle], seed: int) -> None:
    check_lossless(with_zero_filters(in_a_row(middles, seed), 0.5, seed))


def chain_of(first: Array, second: Array, *ops: str, bias: bool = True) -> ModelProto:
    """Return two convolutions with some operators between them."""
    c = Chain()
    size = second.shape[-1] // 2
    x = c.add("Conv", "x", c.constant(first), c.normal(first.shape[0]))
    for op in ops:
        x = c.add(op, x)
    more = [c.normal(second.shape[0])] if bias else []
    return c.proto(c.add("Conv", x, c.constant(second), *more, pads=[size] * 4))


def weights(kernel: int = 1) -> tuple[Array, Array]:
    rng = np.random.default_rng(1)
    first = rng.standard_normal((CHANNELS, 3, 1, 1)).astype(np.float32)
    second = rng.standard_normal((4, CHANNELS, kernel, kernel)).astype(np.float32)
    return first, second


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("ops", [(), ("Relu",), ("Sigmoid",), ("Softplus", "Neg", "HardSwish")])
def test_what_a_filter_of_zeros_gives_goes_into_the_bias_of_its_reader(
    ops: tuple[str, ...], bias: bool
) -> None:
    first, second = weights()
    first[[1, 4, 5]] = 0.0
    dropped = check_lossless(chain_of(first, second, *ops, bias=bias))
    assert dict(dropped.counts) == {"c0": 3}


def test_a_column_of_zeros_lets_its_filter_go_whatever_that_gives() -> None:
    first, second = weights(kernel=3)
    second[:, [2, 7]] = 0.0
    assert dict(check_lossless(chain_of(first, second, "Relu")).counts) == {"c0": 2}


def test_at_a_border_of_zeros_only_what_gives_zero_can_go() -> None:
    first, second = weights(kernel=3)
    first[[1, 4, 5]] = 0.0
    proto = chain_of(first, second, "Relu")
    bias = next(t for t in proto.graph.initializer if t.name == "c1")
    values = np.ones(CHANNELS, np.float32)
    values[4] = -1.0  # Relu makes 0 of it
    bias.CopyFrom(onnx.numpy_helper.from_array(values, "c1"))
    assert dict(check_lossless(proto).counts) == {"c0": 1}


def test_a_folded_constant_is_no_small_thing() -> None:
    first, second = weights()
    first[[1, 4, 5]] = 0.0
    proto = chain_of(first, second, "Sigmoid")
    second[:, [1, 4, 5]] = 0.0
    without = chain_of(first, second, "Sigmoid")
    one, other = (run(each, **samples())["y"] for each in (proto, without))
    assert np.abs(one - other).max() > BROKEN * np.abs(one).max()


def test_a_gate_on_zeros_gives_zeros_and_one_on_others_does_not() -> None:
    c = Chain()
    first, _ = weights()
    first[[0, 3]] = 0.0
    values = np.ones(CHANNELS, np.float32)
    values[3] = 0.0
    x = c.add("Conv", "x", c.constant(first), c.constant(values))
    gate = c.add("Sigmoid", c.conv(c.add("GlobalAveragePool", x), CHANNELS, CHANNELS))
    proto = c.proto(c.conv(c.add("Mul", x, gate), 4, CHANNELS))
    assert sum(check_lossless(proto).counts.values()) == 1


def test_rounds_go_on_until_nobody_reads_what_is_left() -> None:
    c = Chain()
    rng = np.random.default_rng(2)
    one, two, three = (
        rng.standard_normal(shape).astype(np.float32)
        for shape in ((6, 3, 1, 1), (6, 6, 1, 1), (4, 6, 1, 1))
    )
    two[1:, 5] = 0.0  # the last channel is read by one filter only, whose output nobody reads
    three[:, 0] = 0.0
    x = c.add("Relu", c.add("Conv", "x", c.constant(one)))
    x = c.add("Relu", c.add("Conv", x, c.constant(two)))
    dropped = check_lossless(c.proto(c.add("Conv", x, c.constant(three))))
    assert dict(dropped.counts) == {"c0": 1, "c1": 1}


def test_one_channel_stays_where_all_are_empty() -> None:
    first, second = weights()
    first[:] = 0.0
    assert dict(check_lossless(chain_of(first, second, "Relu")).counts) == {"c0": CHANNELS - 1}


def test_a_dense_model_stays_as_it_is() -> None:
    dropped = drop_empty(Model(between(nets.residual), None), samples())
    assert not dropped.counts
    assert dropped.before is dropped.after
