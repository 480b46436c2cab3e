"""Follows an axis of a value back to the weight that makes it, through what keeps it apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from onnx_lobs.graph.model import DEFAULT_DOMAINS, attributes
from onnx_lobs.layers.channels.axes import AxisLabels, AxisPlace
from onnx_lobs.layers.channels.node_view import NodeView
from onnx_lobs.layers.channels.observed import Observed
from onnx_lobs.layers.channels.rules.selecting import sizes_read
from onnx_lobs.layers.channels.rules.shaping import aligned
from onnx_lobs.layers.layer import Layer


class NotFollowedError(Exception):
    """Says why an axis cannot be followed back; never leaves the finding of products."""


@dataclass(frozen=True, eq=False)
class Projection:
    """A weight that makes the dimensions of a value.

    Parameters
    ----------
    layer
        It.
    places
        The axes along which these run: of the weight, its bias, and all values up to that one.
    heads
        How often they stand in its rows, one head behind the other.
    head
        The axis of heads of the value; None where there is one head.
    """

    layer: Layer
    places: tuple[AxisPlace, ...]
    heads: int
    head: int | None


def follow_back(
    observed: Observed,
    reader: onnx.NodeProto,
    position: int,
    axis: int,
    layers: Mapping[str, Layer],
) -> Projection:
    """Return the weight that makes an axis of a node's input.

    Parameters
    ----------
    observed
        Shapes of the model.
    reader, position, axis
        The node, which of its inputs, and an axis of that.
    layers
        Those that may change, by the outputs of their uses.

    Raises
    ------
    NotFollowedError
        When something stands in between that is more than a Reshape into heads, a Transpose, a
        scale or a bias, or others read what lies on the way.
    """
    name, head, places = reader.input[position], None, list[AxisPlace]()
    heads, turns = 1, list[list[int]]()
    depth = observed.shapes[name][axis]
    while True:
        _check_readers(observed, name, axis, reader)
        places.append((name, axis))
        node = observed.model.main.producers.get(name)
        if node is None or node.domain not in DEFAULT_DOMAINS:
            raise NotFollowedError(f"{name!r} is made by no weight")
        if node.op_type in ("MatMul", "Gemm"):
            break
        if node.op_type == "Transpose":
            view = NodeView(node, observed, AxisLabels(observed.shapes))
            order = list(view.attributes.get("perm", range(len(observed.shapes[name]))[::-1]))
            axis = order[axis]
            turns.append(order)
        elif node.op_type == "Reshape":
            axis, new = _before_reshape(observed, node, axis)
            if new is not None:
                head, heads = new, observed.shapes[name][new]
                for order in reversed(turns):
                    head = order.index(head)
        elif not _keeps_dimensions(observed, node, heads * depth):
            raise NotFollowedError(f"{node.op_type} {node.name or name!r} stands in between")
        reader, name = node, _computed_input(observed, node)
    if reader.op_type != "Add":
        reader = node
    found = _weight_places(observed, node, reader, axis, layers)
    if observed.shapes[name][axis] != heads * depth:
        raise NotFollowedError("some of what its weight makes goes elsewhere")
    return Projection(layers[node.output[0]], (*found, *places), heads, head)


def _computed_input(observed: Observed, node: onnx.NodeProto) -> str:
    """Return the one input that is no constant; a Reshape's is its first."""
    if node.op_type == "Reshape":
        return str(node.input[0])
    names = [str(x) for x in node.input if (0, x) not in observed.model.computed]
    if len(names) != 1:
        label = node.name or node.output[0]
        raise NotFollowedError(f"{node.op_type} {label!r} stands in between")
    return names[0]


def _check_readers(observed: Observed, name: str, axis: int, only: onnx.NodeProto) -> None:
    """Raise NotFollowedError where others than one node read a value, but for other sizes."""
    main = observed.model.main
    if name in main.outputs:
        raise NotFollowedError(f"{name!r} is an output of the graph")
    readers = [node for _, node in main.readers.get(name, [])]
    if sum(node is only for node in readers) != 1:
        raise NotFollowedError(f"{name!r} is read twice")
    for node in readers:
        if node is only:
            continue
        if node.op_type != "Shape" or node.domain not in DEFAULT_DOMAINS:
            raise NotFollowedError(f"{node.op_type} {node.name or node.output[0]!r} reads it too")
        view = NodeView(node, observed, AxisLabels(observed.shapes))
        if axis in sizes_read(view):
            raise NotFollowedError(f"{view.label} reads its size")


def _before_reshape(observed: Observed, node: onnx.NodeProto, axis: int) -> tuple[int, int | None]:
    """Return the axis in front of a Reshape, and its axis of heads behind, if it makes one."""
    before, after = observed.shapes[node.input[0]], observed.shapes[node.output[0]]
    for one, other in aligned(before, after):
        if axis in other and len(one) == 1:
            if other == [axis]:
                return one[0], None
            if len(other) == 2 and other[1] == axis:
                return one[0], other[0]
    raise NotFollowedError(f"Reshape {node.name or node.output[0]!r} merges it with others")


def _keeps_dimensions(observed: Observed, node: onnx.NodeProto, width: int) -> bool:
    """Whether a node is a scale, a bias or nothing; which bias that is shows at the weight."""
    if node.op_type == "Identity":
        return True
    constants = [x for x in node.input if (0, x) in observed.model.computed]
    sizes = [observed.shapes.get(x, (0,))[-1:] for x in constants]
    if node.op_type == "Add":
        made = [x for x in node.input if x not in constants]
        product = observed.model.main.producers.get(made[0]) if made else None
        is_behind = product is not None and product.op_type in ("MatMul", "Gemm")
        return is_behind and sizes == [(width,)]
    is_divisor = node.op_type == "Div" and list(node.input[1:]) == constants
    shapes = [observed.shapes.get(x, (0,)) for x in constants]
    return (node.op_type == "Mul" or is_divisor) and all(set(shape) <= {1} for shape in shapes)


def _weight_places(
    observed: Observed,
    node: onnx.NodeProto,
    add: onnx.NodeProto,
    axis: int,
    layers: Mapping[str, Layer],
) -> list[AxisPlace]:
    """Return the axes of a weight and its bias; `add` is the Add behind it, or itself."""
    layer = layers.get(node.output[0])
    if layer is None:
        raise NotFollowedError(f"the weight of {node.name or node.output[0]!r} is not pruned")
    use = layer.uses[0]
    is_alone = len(layer.uses) == 1 and not layer.other_tops and use.home is None and not use.scope
    is_plain = node.input[1] == layer.weight and len(observed.shapes[layer.weight]) == 2
    if not (is_alone and is_plain) or use.transposed or layer.layout.groups > 1:
        raise NotFollowedError(f"{layer.weight!r} is used in other places or forms too")
    rank = len(observed.shapes[node.output[0]])
    if axis != rank - 1:
        raise NotFollowedError(f"{layer.weight!r} does not make it")
    is_turned = node.op_type == "Gemm" and attributes(node).get("transB", 0)
    places = [(layer.weight, 0 if is_turned else 1)]
    has_bias = add is not node or len(node.input) > 2
    if has_bias:
        slot = use.bias
        is_own = slot is not None and slot.in_place and slot.node == add.output[0]
        if slot is None or not is_own or slot.order is not None:
            raise NotFollowedError(f"the bias of {layer.weight!r} is not its alone")
        shape = observed.shapes[slot.name]
        if shape[-1] != layer.layout.rows or max((1, *shape[:-1])) > 1:
            raise NotFollowedError(f"the bias of {layer.weight!r} has another shape")
        places.append((slot.name, len(shape) - 1))
    return places
