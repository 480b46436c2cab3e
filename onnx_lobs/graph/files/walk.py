"""The walk over every graph and every tensor of a model, subgraphs and functions included."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto
from onnx import TensorProto as Tensor


def iter_graphs(proto: ModelProto) -> Iterator[GraphProto]:
    """Yield the main graph, then every subgraph of its nodes and of the model's functions."""
    yield proto.graph
    for attribute in _iter_attributes(proto):
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def iter_tensors(proto: ModelProto) -> Iterator[Tensor]:
    """Yield every TensorProto of the model: each can hold values, and be external.

    Initializers, the values and indices of sparse ones, and tensors in attributes (Constant
    nodes and others), in all graphs, subgraphs and functions. The order is fixed.
    """
    for graph in iter_graphs(proto):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for attribute in _iter_attributes(proto):
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        if attribute.HasField("sparse_tensor"):
            yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
        for sparse in attribute.sparse_tensors:
            yield from (sparse.values, sparse.indices)


def _iter_attributes(proto: ModelProto) -> Iterator[AttributeProto]:
    """Yield every attribute of every node, and the defaults of functions, outermost first."""
    for function in (proto.graph, *proto.functions):
        yield from _iter_nested(function)


def _iter_nested(body: GraphProto | FunctionProto) -> Iterator[AttributeProto]:
    attributes = [attribute for node in body.node for attribute in node.attribute]
    if isinstance(body, FunctionProto):
        attributes.extend(body.attribute_proto)
    for attribute in attributes:
        yield attribute
        if attribute.HasField("g"):
            yield from _iter_nested(attribute.g)
        for graph in attribute.graphs:
            yield from _iter_nested(graph)
