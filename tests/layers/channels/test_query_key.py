"""Products of queries and keys are found by what stands between them and their weights."""

from __future__ import annotations

import re

import coupled_networks as nets
import pytest
from coupled_networks import Chain, Change
from onnx import ModelProto

from onnx_lobs.graph.model import Model
from onnx_lobs.layers.channels.coupling import find_coupling
from onnx_lobs.layers.channels.observed import observe
from onnx_lobs.layers.channels.query_key import QueryKey, WholeProduct, find_query_keys
from onnx_lobs.layers.find import find_layers


def found_in(proto: ModelProto) -> tuple[tuple[QueryKey, ...], tuple[WholeProduct, ...]]:
    model = Model(proto, None)
    layers = find_layers(model)[0]
    return find_query_keys(find_coupling(observe(model, nets.samples(3))), layers)


@pytest.mark.parametrize("has_bias", [True, False])
def test_heads_and_dimensions_are_told_with_all_axes_that_they_run_along(has_bias: bool) -> None:
    (each,), whole = found_in(nets.query_key(has_bias=has_bias))
    assert not whole
    assert (each.heads, each.depth) == (2, 6)
    # a weight and its product, a bias and its sum, heads apart, and turned; a scale on queries
    assert len(each.key.places) == (6 if has_bias else 4)
    assert len(each.query.places) == len(each.key.places) + 1
    assert each.stay(12, 2).tolist() == [0, 1, 6, 7]
    assert each.stay(6, 2).tolist() == [0, 1]


def test_sizes_that_are_read_of_other_axes_do_not_matter() -> None:
    (each,), whole = found_in(nets.attention())
    assert (each.heads, each.depth, whole) == (3, 4, ())


def turned(c: Chain, x: str, width: int) -> str:
    """A rotary embedding: numbers that vary along the axis."""
    return str(c.add("Mul", x, c.normal(width)))


def normed(c: Chain, x: str, width: int) -> str:
    return str(c.add("LayerNormalization", x, c.positive(width), c.positive(width)))


def read_twice(c: Chain, x: str, width: int) -> str:
    c.add("Relu", x)
    return x


def from_split(c: Chain, x: str, width: int) -> str:
    both = c.add("Concat", x, x, axis=-1)
    return str(c.add("Split", both, c.ints(width, width), axis=-1, n=2)[0])


def size_read(c: Chain, x: str, width: int) -> str:
    c.add("Cast", c.add("Gather", c.add("Shape", x), c.ints(2)), to=1)
    return x


def two_biases(c: Chain, x: str, width: int) -> str:
    return str(c.add("Add", x, c.normal(width)))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (turned, "Mul .* stands in between"),
        (normed, "LayerNormalization .* stands in between"),
        (read_twice, "Relu .* reads it too"),
        (from_split, "Split .* stands in between"),
        (size_read, "reads its size"),
        (two_biases, "Add .* stands in between"),
    ],
)
def test_what_stands_in_between_is_told(change: Change, why: str) -> None:
    found, (whole,) = found_in(nets.query_key(change))
    assert not found
    assert whole.depth == 6
    assert re.search(why, whole.reason)


def test_products_without_a_softmax_are_none_of_queries_and_keys() -> None:
    c = Chain()
    q, k = (c.dense("x", 6, 8) for _ in range(2))
    logits = c.add("MatMul", q, c.add("Transpose", k, perm=[0, 2, 1]))
    assert found_in(c.proto(c.add("Relu", logits), rank=3)) == ((), ())


@nets.WITH_ATTENTION
def test_the_operator_attention_multiplies_queries_and_keys() -> None:
    (each,), whole = found_in(nets.fused_attention())
    assert (each.heads, each.depth, whole) == (3, 4, ())


def test_one_head_needs_no_reshape() -> None:
    c = Chain()
    q, k = (c.dense("x", 6, 8) for _ in range(2))
    logits = c.add("MatMul", q, c.add("Transpose", k, perm=[0, 2, 1]))
    proto = c.proto(c.add("Softmax", logits, axis=-1), rank=3)
    (each,), _ = found_in(proto)
    assert (each.heads, each.depth) == (1, 6)


def test_heads_that_meet_other_heads_stay() -> None:
    c = Chain()
    shape = c.ints(0, 0, 2, 6)
    q, k = (c.add("Reshape", c.dense("x", 12, 8), shape) for _ in range(2))
    logits = c.add("MatMul", q, c.add("Transpose", k, perm=[0, 1, 3, 2]))  # heads by heads
    _, (whole,) = found_in(c.proto(c.add("Softmax", logits, axis=-1), rank=3))
    assert whole.reason == "queries of one head meet keys of another"
    assert whole.depth == 6
