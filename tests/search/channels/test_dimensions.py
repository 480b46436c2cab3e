"""What logits lose is what onnxruntime shows, and slices give what zeros gave."""

from __future__ import annotations

from typing import Any

import coupled_networks as nets
import numpy as np
import onnx
import pytest
from build_onnx import run
from coupled_networks import batches_with_mean
from onnx import ModelProto

import onnx_lobs
from onnx_lobs.arrays import Array, FloatArray
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.session import Session
from onnx_lobs.layers.channels.query_key import find_query_keys
from onnx_lobs.layers.channels.removal import remove_channels
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.report.record import ChannelsRecord
from onnx_lobs.run.channels.choice import open_coupling
from onnx_lobs.run.log import Log
from onnx_lobs.run.setup import open_run
from onnx_lobs.search.channels.dimensions import measure_products

PREDICTED = 1e-5  # relative: float32 logits
POOLED = 1e-4  # relative: float32 outputs, whose errors are added up in another order
NOTHING = 1e-4  # of outputs of some units: float32, through bases of hardly any energy
SUMS = 1e-5  # of numbers near 1: float32, added up in another order
ONE = {"x": nets.samples(3, 1)["x"] + np.float32(0.5)}  # all queries meet all keys


def shown(proto: ModelProto, name: str) -> FloatArray:
    values = Session(proto, shown=[name]).run(ONE)
    found: Array = values[name]
    return found.astype(np.float64)


def by_row(logits: FloatArray) -> FloatArray:
    """Logits without what all keys of a query have in common."""
    return logits - logits.mean(axis=-1, keepdims=True)


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("kept", [1, 2, 3])
def test_the_loss_of_logits_is_that_which_onnxruntime_shows(kept: int, has_bias: bool) -> None:
    config, log = PruneConfig(pattern="channels", sparsity=0.3, positions=None), Log()
    setup, networks = open_run(nets.query_key(has_bias=has_bias), [ONE], None, config, log)
    coupling = open_coupling(setup, networks, log)
    (product,), _ = find_query_keys(coupling, setup.layers)
    (measured,) = measure_products(setup, networks, [product], Scratch())
    logits = next(n.output[0] for n in networks.dense.main.graph.node if n.name == product.name)
    reduced = measured.without(product.depth - kept)
    reduced.write(networks.result)
    before, after = (by_row(shown(m.proto, logits)) for m in (networks.dense, networks.result))
    lost = np.square(after - before).sum() / np.square(before).sum()
    assert lost > PREDICTED
    assert measured.loss[product.depth - kept] == pytest.approx(lost, rel=PREDICTED)
    smaller = remove_channels(coupling, [], {product: kept})
    onnx.checker.check_model(smaller, full_check=True)
    sliced = by_row(shown(smaller, logits))
    np.testing.assert_allclose(sliced, after, rtol=0, atol=SUMS * np.abs(after).max())
    assert Model(smaller, None).weight_bytes < Model(networks.result.proto, None).weight_bytes


def pruned(proto: ModelProto, sparsity: float, **options: Any) -> tuple[ModelProto, ChannelsRecord]:
    """Remove any number of channels; return the smaller network, and what is told of it."""
    given: dict[str, Any] = {"align": 1, "positions": None, **options}
    result = onnx_lobs.prune(
        proto, batches_with_mean(3), pattern="channels", sparsity=sparsity, **given
    )
    assert result.report.channels is not None
    return result.model, result.report.channels


def check_same(proto: ModelProto, smaller: ModelProto) -> None:
    """Check that what went was nothing."""
    for feeds in batches_with_mean(3, 2):
        expected = run(proto, **feeds)["y"]
        np.testing.assert_allclose(run(smaller, **feeds)["y"], expected, rtol=0, atol=NOTHING)


@pytest.mark.slow
@pytest.mark.parametrize("budget", ["macs", "bytes", "channels"])
def test_dimensions_beyond_what_inputs_have_go_first_and_lose_nothing(budget: str) -> None:
    # 8 inputs and a bias make no more than 8 dimensions of centred keys
    proto = nets.query_key(heads=2, depth=16)
    smaller, record = pruned(proto, 0.1, budget=budget)
    (product,) = record.products
    assert (product.heads, product.dimensions) == (2, 16)
    assert 8 <= product.kept < 16
    assert product.loss < SUMS
    assert record.removed >= 0.1
    assert all(group.kept == group.channels for group in record.groups)
    assert record.multiplications[1] < record.multiplications[0]
    check_same(proto, smaller)


@pytest.mark.slow
def test_heads_and_dimensions_go_together() -> None:
    proto = nets.query_key(heads=4, depth=8)
    smaller, record = pruned(proto, 0.6, allocation="uniform")
    (product,), (heads,) = record.products, record.groups
    assert product.kept < 8
    assert heads.kept < 4
    assert product.sensitivity is None
    shapes = {tuple(each.dims) for each in smaller.graph.initializer}
    assert (8, heads.kept * product.kept) in shapes  # of queries and keys
    assert (8, heads.kept * 8) in shapes  # of values
    onnx.checker.check_model(smaller, full_check=True)
    feeds = batches_with_mean(3, 1)[0]
    assert np.abs(run(smaller, **feeds)["y"] - run(proto, **feeds)["y"]).max() > NOTHING


@pytest.mark.slow
@nets.WITH_ATTENTION
def test_the_scale_of_the_operator_attention_stays() -> None:
    proto = nets.fused_attention(heads=2, depth=16)
    smaller, record = pruned(proto, 0.1, budget="bytes")
    assert record.products[0].kept < 16
    check_same(proto, smaller)


@pytest.mark.slow
def test_the_output_error_is_that_of_the_smaller_network() -> None:
    proto, data = nets.query_key(heads=4, depth=16), batches_with_mean(3)
    result = onnx_lobs.prune(proto, data, pattern="channels", sparsity=0.3, positions=None)
    output = result.report.output
    assert output.error is not None
    assert output.n_fits == len(data)  # each judged on a batch of its own
    before, after = (
        np.concatenate([run(each, **feeds)["y"].astype(np.float64) for feeds in data])
        for each in (proto, result.model)
    )
    error = np.square(after - before).sum() / np.square(before).sum()
    assert output.error == pytest.approx(error, rel=POOLED)


@pytest.mark.slow
def test_dimensions_go_alone_where_nothing_else_can() -> None:
    c = nets.Chain()
    q, k = (c.dense("x", 24, 8) for _ in range(2))
    logits = c.add("MatMul", q, c.add("Transpose", k, perm=[0, 2, 1]))
    proto = c.proto(c.add("MatMul", c.add("Softmax", logits, axis=-1), "x"), rank=3)
    smaller, record = pruned(proto, 0.5)
    assert not record.groups
    assert record.products[0].kept == 12
    check_same(proto, smaller)
