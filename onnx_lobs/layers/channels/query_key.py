"""Finds products of queries and keys whose common dimensions two weights make.

An index of the axis that such a weight makes belongs to a head and to a dimension at once, so that
coupled groups, of one number for each index, do not tell dimensions. Here axes are followed back
from the product, and the same dimensions of all heads go together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from onnx_lobs.arrays import IntArray
from onnx_lobs.graph.model import DEFAULT_DOMAINS, attributes
from onnx_lobs.layers.channels.axes import AxisPlace
from onnx_lobs.layers.channels.coupling import Coupling
from onnx_lobs.layers.channels.observed import Observed
from onnx_lobs.layers.channels.projection import NotFollowedError, Projection, follow_back
from onnx_lobs.layers.layer import Layer


@dataclass(frozen=True, eq=False)
class QueryKey:
    """A product of queries and keys, in front of a Softmax over the keys.

    Parameters
    ----------
    name
        What the product is called.
    heads, depth
        How many heads, and dimensions of each.
    query, key
        What makes them.
    """

    name: str
    heads: int
    depth: int
    query: Projection
    key: Projection

    @property
    def places(self) -> tuple[AxisPlace, ...]:
        """All axes along which the dimensions run, those of one head behind those of another."""
        return *self.query.places, *self.key.places

    def stay(self, size: int, kept: int) -> IntArray:
        """Return which indices stay of such an axis when the first `kept` dimensions do."""
        return np.flatnonzero(np.arange(size) % self.depth < kept)


@dataclass(frozen=True)
class WholeProduct:
    """A product of queries and keys whose dimensions have to stay, and why."""

    name: str
    depth: int
    reason: str


def find_query_keys(
    coupling: Coupling, layers: Sequence[Layer]
) -> tuple[tuple[QueryKey, ...], tuple[WholeProduct, ...]]:
    """Return the products whose dimensions can go, and those whose have to stay.

    Parameters
    ----------
    coupling
        Of the model. Not modified.
    layers
        Those that may change.
    """
    by_output = {use.output: layer for layer in layers for use in layer.uses}
    observed, found, whole = coupling.observed, list[QueryKey](), list[WholeProduct]()
    for node in observed.model.main.graph.node:
        if not _is_query_key(observed, node):
            continue
        name = node.name or node.output[0]
        try:
            found.append(_query_key(coupling, node, name, by_output))
        except NotFollowedError as why:
            whole.append(WholeProduct(name, observed.shapes[node.input[0]][-1], str(why)))
    return tuple(found), tuple(whole)


def _is_query_key(observed: Observed, node: onnx.NodeProto) -> bool:
    """Whether a node multiplies two computed values, and a Softmax runs over its last axis.

    The operator Attention does both.
    """
    if node.op_type not in ("MatMul", "Attention") or node.domain not in DEFAULT_DOMAINS:
        return False
    names, shapes = list(node.input[:2]), observed.shapes
    if any((0, x) in observed.model.computed or len(shapes.get(x, ())) < 2 for x in names):
        return False
    return node.op_type == "Attention" or _reaches_softmax(observed, node.output[0])


def _reaches_softmax(observed: Observed, name: str) -> bool:
    """Whether all that is done to logits is to scale and mask them, in front of a Softmax.

    What all logits of a query have in common then makes no difference.
    """
    main = observed.model.main
    while True:
        readers = main.readers.get(name, [])
        if len(readers) != 1 or name in main.outputs:
            return False
        node, rank = readers[0][1], len(observed.shapes.get(name, ()))
        if node.op_type == "Softmax":
            usual = -1 if observed.model.opset >= 13 else 1
            axis = attributes(node).get("axis", usual)
            return axis in (-1, rank - 1)
        others = [x for x in node.input if x != name]
        is_even = all(observed.shapes.get(x, (1,))[-1:] in ((), (1,)) for x in others)
        is_masked = node.op_type in ("Add", "Where", "Cast", "Identity")
        if not (is_masked or (node.op_type in ("Mul", "Div") and is_even)):
            return False
        name = node.output[0]


def _query_key(
    coupling: Coupling, node: onnx.NodeProto, name: str, layers: Mapping[str, Layer]
) -> QueryKey:
    """Return a product of queries and keys.

    Raises
    ------
    NotFollowedError
        When its dimensions have to stay.
    """
    shapes = coupling.observed.shapes
    ranks = [len(shapes[x]) for x in node.input[:2]]
    is_whole = node.op_type == "Attention"
    if is_whole and (max(ranks) != 4 or any(node.input[4:]) or any(node.output[1:])):
        raise NotFollowedError(f"Attention {name!r} has a cache, or heads that are no axis")
    query = follow_back(coupling.observed, node, 0, ranks[0] - 1, layers)
    key = follow_back(coupling.observed, node, 1, ranks[1] - (1 if is_whole else 2), layers)
    depth = shapes[node.input[0]][-1]
    if query.layer is key.layer:
        raise NotFollowedError("one weight makes queries and keys")
    if query.heads != key.heads:
        raise NotFollowedError(f"{query.heads} heads of queries meet {key.heads} of keys")
    # axes in front of the last two are those that a MatMul takes one by one
    ends = [
        None if made.head is None else made.head - rank
        for made, rank in zip((query, key), ranks, strict=True)
    ]
    if ends[0] != ends[1] or (ends[0] is not None and ends[0] > -3):
        raise NotFollowedError("queries of one head meet keys of another")
    for made in (query, key):
        read = coupling.reads.get(made.layer.uses[0].output)
        if read is None or not coupling.classes.pinned[read.ids].all():
            raise NotFollowedError(f"{made.layer.weight!r} reads channels that can go themselves")
    return QueryKey(name, query.heads, depth, query, key)
