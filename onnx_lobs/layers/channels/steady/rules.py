"""Says how operators pass on values that are the same for any data.

A rule is given what is known of a node's inputs and returns what is known of its outputs. What no
rule speaks of is taken to depend on the data. All numbers are taken to be finite: zero times what
depends on the data is zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import onnx

from onnx_lobs.arrays import Array
from onnx_lobs.graph.run.session import Session
from onnx_lobs.layers.channels.node_view import NodeView
from onnx_lobs.layers.channels.rules.elementwise import ELEMENTWISE
from onnx_lobs.layers.channels.steady.value import SteadyValue, steady

Known = SteadyValue | None


@dataclass(frozen=True, eq=False)
class SteadyNode:
    """One node as a rule sees it.

    Parameters
    ----------
    view
        Its attributes, shapes and constants.
    given
        What is known of its inputs, in their order; None for those that are missing too.
    """

    view: NodeView
    given: Sequence[Known]

    def run(self, values: Mapping[str, Array]) -> list[Array]:
        """Return what the node makes of some inputs by name, as onnxruntime has it."""
        node = self.view.node
        inputs = [
            onnx.helper.make_tensor_value_info(
                name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
            )
            for name, value in values.items()
        ]
        outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        source = self.view.observed.model.proto
        graph = onnx.helper.make_graph([node], "node", inputs, outputs)
        proto = onnx.helper.make_model(graph, ir_version=source.ir_version)
        del proto.opset_import[:]
        proto.opset_import.extend(source.opset_import)
        return list(Session(proto, light=True).run(values).values())


SteadyRule = Callable[[SteadyNode], Sequence[Known]]


def each_number(node: SteadyNode) -> Sequence[Known]:
    """Return an elementwise operator's numbers that follow from known ones."""
    names, given = node.view.node.input, list(node.given)
    is_product = node.view.node.op_type == "Mul"
    some = next((each for each in given if each is not None), None)
    if some is None:
        return []
    if is_product:  # what is multiplied by a known zero
        given = [_nothing(some) if each is None else each for each in given]
    pairs = {name: each for name, each in zip(names, given, strict=True) if name}
    known_pairs = {name: each for name, each in pairs.items() if each is not None}
    if len(known_pairs) < len(pairs):
        return []
    values = node.run({name: each.values for name, each in known_pairs.items()})[0]
    known = np.ones(values.shape, bool)
    for each in known_pairs.values():
        known &= each.known
    if is_product:
        for each in known_pairs.values():
            is_zero = np.broadcast_to(each.known & (each.values == 0), values.shape)
            values, known = np.where(is_zero, np.zeros((), values.dtype), values), known | is_zero
    if np.issubdtype(values.dtype, np.floating):
        known &= np.isfinite(values)
    return [steady(values, known)]


def _nothing(like: SteadyValue) -> SteadyValue:
    return SteadyValue(np.zeros((), like.values.dtype), np.zeros((), bool))


def by_channel(node: SteadyNode) -> Sequence[Known]:
    """Return the channels of a BatchNormalization that are known, or scaled by zero."""
    x, *parameters = node.given
    if any(each is None for each in parameters):
        return []
    scale = parameters[0]
    assert scale is not None
    if x is None and scale.values.all():
        return []
    rank = len(node.view.shape(node.view.input(0)))
    ones = (scale.values.size, *(1,) * (rank - 2))
    x = _nothing(scale) if x is None else x
    wide = x.spread(np.broadcast_shapes(x.shape, (1, *ones)))
    names = [*node.view.node.input]
    given = {name: each.values for name, each in zip(names, [wide, *parameters], strict=True)
             if each is not None}  # fmt: skip
    known = wide.known | (scale.values == 0).reshape(ones)
    return [steady(node.run(given)[0], known)]


def moved(node: SteadyNode) -> Sequence[Known]:
    """Return where known numbers go in what only moves numbers: it is run on them, and on masks."""
    view = node.view
    n_data = len(view.node.input) if view.node.op_type == "Concat" else 1
    data, feeds = view.node.input[:n_data], {}
    some = next((each for each in node.given[:n_data] if each is not None), None)
    if some is None:
        return []
    for place, name in enumerate(view.node.input[n_data:], start=n_data):
        fixed = view.known(name)
        if view.node.op_type == "Reshape" and place == 1:
            fixed = np.asarray(view.shape(view.output), np.int64)
        if name and fixed is None:
            return []
        if name and fixed is not None:
            feeds[name] = fixed
    parts = [
        (_nothing(some) if each is None else each).spread(view.shape(name))
        for name, each in zip(data, node.given, strict=False)
    ]
    dtype = some.values.dtype
    values = node.run({**feeds, **{n: p.values for n, p in zip(data, parts, strict=True)}})
    known = node.run(
        {**feeds, **{n: p.known.astype(dtype) for n, p in zip(data, parts, strict=True)}}
    )
    return [steady(one, other != 0) for one, other in zip(values, known, strict=True)]


def alike_in_space(node: SteadyNode) -> Sequence[Known]:
    """Return the channels of a picture that is the same everywhere, pooled or resized."""
    x, view = node.given[0], node.view
    if x is None or not x.is_alike(range(2, len(x.shape))):
        return []
    if view.attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        return []
    return [_only_zeros(x) if view.attributes.get("count_include_pad", 0) else x]


def padded(node: SteadyNode) -> Sequence[Known]:
    """Return what a Pad leaves known: zeros beside zeros, and what it repeats."""
    x, view = node.given[0], node.view
    pads = view.attributes.get("pads", view.known(view.input(1)))
    if x is None or pads is None or view.input(3):
        return []
    rank = len(x.shape)
    if any(x.shape[axis] > 1 and (pads[axis] or pads[rank + axis]) for axis in range(rank)):
        return []
    if view.attributes.get("mode", "constant") not in (b"constant", "constant"):
        return [x]
    fill = view.known(view.input(2)) if view.input(2) else view.attributes.get("value", 0.0)
    return [] if fill is None or np.any(np.asarray(fill) != 0) else [_only_zeros(x)]


def averaged(node: SteadyNode) -> Sequence[Known]:
    """Return the mean, or the extreme, of numbers that are alike."""
    x, view = node.given[0], node.view
    axes = view.attributes.get("axes", view.known(view.input(1)))
    if x is None or axes is None:
        return []
    reduced = {int(axis) % len(x.shape) for axis in axes}
    if not reduced or any(x.shape[axis] > 1 for axis in reduced):
        return []
    if view.attributes.get("keepdims", 1):
        return [x]
    left = [size for axis, size in enumerate(x.shape) if axis not in reduced]
    return [replace(x, values=x.values.reshape(left), known=x.known.reshape(left))]


def _only_zeros(x: SteadyValue) -> Known:
    return steady(x.values, x.known & (x.values == 0))


STEADY_RULES: Mapping[str, SteadyRule] = MappingProxyType(
    {
        **dict.fromkeys(ELEMENTWISE, each_number),
        **dict.fromkeys(
            ("Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Reshape", "Slice",
             "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
            moved,
        ),
        **dict.fromkeys(
            ("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool", "Resize"),
            alike_in_space,
        ),
        **dict.fromkeys(("ReduceMax", "ReduceMean", "ReduceMin"), averaged),
        "BatchNormalization": by_channel,
        "Pad": padded,
    }
)  # fmt: skip
