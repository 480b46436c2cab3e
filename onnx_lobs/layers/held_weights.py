"""Finds the stored constants that a node multiplies by, whether it can be pruned or not.

A report counts them, so that its figures are of the whole file and not of what was pruned alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import onnx

from onnx_lobs.graph.files.tensors import array_type
from onnx_lobs.graph.model import (
    DEFAULT_DOMAINS,
    Model,
    Scope,
    attributes,
    is_float,
    is_quantiser,
    outer_names,
    subgraphs,
)
from onnx_lobs.layers.chain import Root, is_computed, trace
from onnx_lobs.layers.not_taken import LOOK_UPS, WEIGHT_ATTRIBUTES
from onnx_lobs.layers.operators import OPERATORS
from onnx_lobs.layers.place import NodePlace
from onnx_lobs.layers.state_taps import GATES
from onnx_lobs.layers.stored_weight import StoredWeight

# (weight, its zero point) among the inputs; elsewhere DequantizeLinear makes the weight
QUANTISED_INPUTS = {
    "QLinearConv": ((3, 5),),
    "QLinearMatMul": ((0, 2), (3, 5)),
    "ConvInteger": ((1, 3),),
    "MatMulInteger": ((0, 2), (1, 3)),
    "MatMulIntegerToFloat": ((1, 5),),
    "DynamicQuantizeMatMul": ((1, 3),),
    "QGemm": ((3, 5),),
}
PRODUCTS = "Gemm", "MatMul"  # of which either operand may be the weight
PACKED = "MatMulNBits"  # several weights share a byte
CHANNEL_AXIS = {"QLinearConv": 0, "ConvInteger": 0}  # else zero points run along the last axis


def held_by(place: NodePlace, positions: Iterable[int]) -> tuple[StoredWeight, ...]:
    """Return the constants that a node multiplies by.

    Parameters
    ----------
    place
        The node.
    positions
        Places of the inputs that are weights, for an operator of the table; else not read.

    Returns
    -------
    tuple of StoredWeight
        A weight that is computed from constants is the largest of these. None where the operands
        are not constant.
    """
    node = place.node
    function = place.model.functions.get((node.domain, node.op_type))
    found: list[StoredWeight | None]
    if node.op_type in QUANTISED_INPUTS:
        found = [_quantised(place, *pair) for pair in QUANTISED_INPUTS[node.op_type]]
    elif node.domain in DEFAULT_DOMAINS:
        found = [_behind(place, node.input[i]) for i in positions if i < len(node.input)]
    else:
        found = [_unpacked(node, _behind(place, name, is_matrix=True)) for name in node.input]
        found += [_in_attributes(place), *_in_function(place.model, function)]
    return tuple(each for each in found if each is not None)


def weight_positions(node: onnx.NodeProto, number: int) -> tuple[int, ...]:
    """Return which inputs of a node can be the weights of the `number`-th thing it was read as."""
    if node.op_type in GATES:
        return (OPERATORS[node.op_type].weights[number],)
    if node.op_type == "Einsum":
        return tuple(range(len(node.input)))
    return (0, 1) if node.op_type in PRODUCTS else (1,)


def tables(places: Iterable[NodePlace]) -> Iterator[StoredWeight]:
    """Yield the constant matrices of which nodes look up rows: embeddings."""
    for place in places:
        is_gather = place.node.op_type == "Gather" and place.node.domain in DEFAULT_DOMAINS
        if is_gather or place.node.op_type in LOOK_UPS:
            for name in place.node.input[:1] if is_gather else place.node.input:
                found = _behind(place, name, is_matrix=True)
                if found is not None:
                    yield found


def _behind(place: NodePlace, name: str, *, is_matrix: bool = False) -> StoredWeight | None:
    """Return the constant behind an input: the one it is, or the largest it is computed from."""
    if not name:
        return None
    root = trace(place.model, place.scope, name)
    if isinstance(root, Root):
        if is_matrix and sum(size > 1 for size in root.shape) < 2:
            return None
        return _stored(root.scope, root.name, root.tensor)
    scope = place.model.scopes[root.scope]
    if not is_computed(place.model, scope, root.name):
        return None
    return max(_sources(place.model, scope, root.name), key=lambda w: w.size, default=None)


def _sources(model: Model, scope: Scope, name: str) -> Iterator[StoredWeight]:
    """Yield the constants that a value is computed from, with what quantisers say of them."""
    pending: list[tuple[Scope, str, onnx.NodeProto | None]] = [(scope, name, None)]
    seen: set[tuple[int, str]] = set()
    while pending:
        inner, name, reader = pending.pop()
        home = inner.find(name)
        if home is None or (home.index, name) in seen:
            continue
        seen.add((home.index, name))
        tensor = model.constant(home, name)
        node = home.producers.get(name)
        if tensor is not None:
            found = _stored(home.index, name, tensor, *_of_quantiser(model, inner, reader))
            if found is not None:
                yield found
        elif node is not None:
            pending += [(home, source, node) for source in outer_names(node)]


def _of_quantiser(
    model: Model, scope: Scope, node: onnx.NodeProto | None
) -> tuple[tuple[int, str] | None, int]:
    """Return the zero point that a DequantizeLinear takes off, and the axis along which it runs."""
    if node is None or not is_quantiser(node) or len(node.input) < 3:
        return None, -1
    axis = attributes(node).get("axis", 1)
    return _place_of(model, scope, node.input[2]), axis if isinstance(axis, int) else 1


def _quantised(place: NodePlace, weight: int, zero_point: int) -> StoredWeight | None:
    """Return the weight of an operator that takes whole numbers, with its zero point."""
    names = place.node.input
    root = trace(place.model, place.scope, names[weight]) if weight < len(names) else None
    if not isinstance(root, Root):
        return None
    given = names[zero_point] if zero_point < len(names) else ""
    origin = _place_of(place.model, place.scope, given)
    axis = CHANNEL_AXIS.get(place.node.op_type, -1)
    return _stored(root.scope, root.name, root.tensor, origin, axis)


def _place_of(model: Model, scope: Scope, name: str) -> tuple[int, str] | None:
    root = trace(model, scope, name) if name else None
    return (root.scope, root.name) if isinstance(root, Root) else None


def _stored(
    scope: int,
    name: str,
    tensor: onnx.TensorProto,
    zero_point: tuple[int, str] | None = None,
    axis: int = -1,
) -> StoredWeight | None:
    """Return a constant as a weight; None for one of a type that no weight has."""
    dtype = array_type(tensor.data_type)
    if dtype is None or not (is_float(dtype) or _is_short(dtype)):
        return None
    return StoredWeight(scope, name, math.prod(tensor.dims), not is_float(dtype), zero_point, axis)


def _is_short(dtype: np.dtype[np.generic]) -> bool:
    return dtype.itemsize == 1 and dtype != np.bool_


def _unpacked(node: onnx.NodeProto, found: StoredWeight | None) -> StoredWeight | None:
    """Return a constant of a node of another domain; of a packed one, as many weights as it is."""
    if found is None or node.op_type != PACKED:
        return found
    values = attributes(node)
    k, n = values.get("K"), values.get("N")
    if not isinstance(k, int) or not isinstance(n, int) or found.name != node.input[1]:
        return None
    return StoredWeight(found.scope, found.name, k * n, is_quantised=True, is_readable=False)


def _in_attributes(place: NodePlace) -> StoredWeight | None:
    """Return the weights that an operator of ``ai.onnx.ml`` keeps in an attribute."""
    for name in WEIGHT_ATTRIBUTES:
        values = attributes(place.node).get(name)
        if isinstance(values, list | tuple):
            return StoredWeight(-1, place.label, len(values), is_readable=False)
    return None


def _in_function(model: Model, function: onnx.FunctionProto | None) -> Iterator[StoredWeight]:
    """Yield the constant matrices in a function, its branches and what it calls, each once."""
    if function is None:
        return
    pending, seen = [(function.name, node) for node in function.node], {function.name}
    while pending:
        where, node = pending.pop()
        inner = model.functions.get((node.domain, node.op_type))
        if inner is not None and inner.name not in seen:
            seen.add(inner.name)
            pending += [(inner.name, each) for each in inner.node]
        tensors = [a.t for a in node.attribute if a.type == onnx.AttributeProto.TENSOR]
        for graph in subgraphs(node):
            pending += [(where, each) for each in graph.node]
            tensors += graph.initializer
        for tensor in tensors:
            found = _stored(-1, f"{where}/{node.output[0]}/{tensor.name}", tensor)
            if found is not None and sum(size > 1 for size in tensor.dims) > 1:
                yield StoredWeight(
                    -1, found.name, found.size, found.is_quantised, is_readable=False
                )
