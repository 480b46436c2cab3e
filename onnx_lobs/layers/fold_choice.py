"""Chooses which computed weights are folded, and says why the others are not.

A weight is folded if that makes a layer of the nodes that read it, whatever the options then leave
dense, and if the model does not grow by it. Growth is counted over the weights that share a large
constant: what they take, less the constants that nobody reads once all of them are stored. In all
a model may grow by ALLOWANCE. So three Slices of one matrix are folded where they are all that
reads it; where something else reads it too, they would store it twice, and are refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from onnx import TensorProto

from onnx_lobs.graph.files.load import PROTOBUF_LIMIT
from onnx_lobs.graph.files.tensors import raw_size
from onnx_lobs.graph.folding.cone import ConstantPart, Value
from onnx_lobs.graph.folding.replace import find_unread
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.find import LayerFilter, find_layers
from onnx_lobs.layers.place import NodePlace
from onnx_lobs.layers.refusal import Refusal, RefusalKind

ALLOWANCE = 1 << 20  # bytes by which folding may make a model larger
LARGE = 1 << 16  # bytes; smaller constants (axes, scales) are shared without being the same matrix
MOST_INSIDE = PROTOBUF_LIMIT - (1 << 24)  # bytes in the model itself; the rest is for new biases


def groups(part: ConstantPart, values: Collection[Value]) -> list[list[Value]]:
    """Return the values in groups of those that are computed from the same large constants."""
    group_of: dict[Value, list[Value]] = {}  # of a large constant
    found: list[list[Value]] = []
    for value in values:
        constants = part.cone([value]).constants.items()
        large = [source for source, tensor in constants if raw_size(tensor) >= LARGE]
        joined = {id(g): g for source in large if (g := group_of.get(source)) is not None}
        group = [*(member for g in joined.values() for member in g), value]
        found = [g for g in found if id(g) not in joined] + [group]
        moved = [source for source, g in group_of.items() if id(g) in joined]
        group_of |= dict.fromkeys([*moved, *large], group)
    return found


def choose(
    part: ConstantPart,
    readers: Mapping[Value, Sequence[NodePlace]],
    tensors: Mapping[Value, TensorProto],
    refused: dict[Value, Refusal],
) -> dict[Value, TensorProto]:
    """Return what is to be folded: what makes layers, without the file growing much.

    What is left out may be needed by others, so it is asked again until nothing changes.
    """
    kept = dict(tensors)
    before = -1
    while kept and len(kept) != before:
        before = len(kept)
        unfit = _unfit(part, readers, kept)
        refused |= unfit
        kept = {value: tensor for value, tensor in kept.items() if value not in unfit}
        for value in list(_growing(part, kept, refused)):
            del kept[value]
    return kept


def _unfit(
    part: ConstantPart,
    readers: Mapping[Value, Sequence[NodePlace]],
    tensors: Mapping[Value, TensorProto],
) -> dict[Value, Refusal]:
    """Return why some values would make no layer if all were stored."""
    layers, skips = find_layers(
        _assumed(part, tensors), LayerFilter(depthwise=True, transforms=True)
    )
    weights = {(layer.scope, layer.weight) for layer in layers}
    refusals = {skip.node: skip.refusal for skip in skips}
    return {
        value: next(
            (refusals[place.label] for place in readers[value] if place.label in refusals),
            not_folded(part, value, ""),
        )
        for value in tensors
        if value not in weights
    }


def _assumed(part: ConstantPart, tensors: Mapping[Value, TensorProto]) -> Model:
    """Return an index of the model in which values count as stored; the model is not changed."""
    model = Model(part.model.proto, part.model.folder)
    unread = find_unread(part, tensors.keys())
    dead = {id(part.nodes[number][1]) for number in unread.nodes}
    for number in unread.nodes:
        for index, name in part.inputs(number):
            readers = model.scopes[index].readers
            readers[name] = [pair for pair in readers[name] if id(pair[1]) not in dead]
    for (index, name), tensor in tensors.items():
        model.scopes[index].initializers[name] = tensor
        del model.scopes[index].producers[name]
    return model


def _growing(
    part: ConstantPart, tensors: Mapping[Value, TensorProto], refused: dict[Value, Refusal]
) -> Iterator[Value]:
    """Yield the values that would make the model too large, and note the reasons."""
    allowance, inside = ALLOWANCE, part.model.proto.ByteSize()
    for group in groups(part, tensors):
        size = sum(map(raw_size, (tensors[value] for value in group)))
        unread = find_unread(part, group)
        growth = size - unread.inside - unread.external
        if growth > max(allowance, 0):
            sources = sum(map(raw_size, part.cone(group).constants.values()))
            cause = (
                "other nodes read what it is computed from"
                if size <= sources
                else ("it is computed from smaller constants")
            )
            refused |= {value: _too_much(part, value, growth, cause) for value in group}
            yield from group
        elif inside + size - unread.inside > MOST_INSIDE:
            refused |= {value: too_large(part, value) for value in group}
            yield from group
        else:
            allowance -= max(growth, 0)
            inside += size - unread.inside


def _too_much(part: ConstantPart, value: Value, growth: int, cause: str) -> Refusal:
    return not_folded(
        part,
        value,
        f"; folded, it would make the model {growth:,} bytes larger, more than the {ALLOWANCE:,} "
        f"allowed, because {cause}; fold constants first to prune it",
    )


def too_large(part: ConstantPart, value: Value) -> Refusal:
    """Return that a weight does not fit into the model."""
    return not_folded(
        part,
        value,
        f"; folded, it would exceed the {PROTOBUF_LIMIT:,} bytes that protobuf can hold; fold "
        "constants first, into external data, to prune it",
    )


def not_folded(part: ConstantPart, value: Value, more: str) -> Refusal:
    """Return how a weight is computed, and `more`: why it stays so."""
    maker = part.nodes[part.makers[value]][1].op_type
    reason = f"its weight is computed from constants by {maker}{more}"
    return Refusal(RefusalKind.COMPUTED, reason, maker)
