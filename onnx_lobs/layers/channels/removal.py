"""Removes channels from a model: slices its constants, and edits the nodes that name sizes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

import numpy as np
import onnx

from onnx_lobs.arrays import Array, IntArray
from onnx_lobs.graph.files.tensors import write_tensor
from onnx_lobs.graph.model import DEFAULT_DOMAINS, Model, outer_names
from onnx_lobs.layers.channels.axes import AxisLabels, AxisPlace
from onnx_lobs.layers.channels.coupling import Coupling
from onnx_lobs.layers.channels.node_view import NodeEdit, NodeView
from onnx_lobs.layers.channels.observed import Observed
from onnx_lobs.layers.channels.query_key import QueryKey
from onnx_lobs.layers.channels.rules.table import RULES

NONE: Mapping[QueryKey, int] = MappingProxyType({})
Kept = Mapping[AxisPlace, IntArray]
"""the indices that stay, of the axes that lose some"""


def kept_indices(
    coupling: Coupling, channels: Collection[int], dimensions: Mapping[QueryKey, int] = NONE
) -> Kept:
    """Return what stays of every axis that loses indices with `channels` or `dimensions`."""
    classes, gone = coupling.classes, np.asarray(sorted(channels), np.int64)
    found = {}
    for place in classes.starts:
        stays = ~np.isin(classes.of(place), gone)
        if not stays.all():
            found[place] = np.flatnonzero(stays)
    for each, kept in dimensions.items():
        for place in each.places:
            left = each.stay(classes.sizes[place], kept)
            found[place] = np.intersect1d(found[place], left) if place in found else left
    return found


def remove_channels(
    coupling: Coupling, channels: Collection[int], dimensions: Mapping[QueryKey, int] = NONE
) -> onnx.ModelProto:
    """Return a copy of the model without some channels.

    Parameters
    ----------
    coupling
        Of the model. Not modified.
    channels
        Classes of its groups; at least one of each group must stay.
    dimensions
        How many dimensions stay of products of queries and keys: the first ones of each head.

    Returns
    -------
    onnx.ModelProto
        Its constants are slices of those before; inferred shapes are left out, and constants that
        nothing reads any more. Names, metadata and operator sets stay, and so do inputs and
        outputs. External data become part of it where they change.

    Notes
    -----
    Cost: a copy of the model. What is left computes what the model does when everything that the
    products read of the removed channels is zero.
    """
    observed, kept = coupling.observed, kept_indices(coupling, channels, dimensions)
    proto = onnx.ModelProto()
    proto.CopyFrom(observed.model.proto)
    result = Model(proto, observed.model.folder)
    _slice_constants(result, kept)
    made: dict[str, Array] = {}
    labels, nodes = AxisLabels(observed.shapes), list[onnx.NodeProto]()
    for before, node in zip(observed.model.proto.graph.node, proto.graph.node, strict=True):
        names = {*outer_names(before), *filter(None, before.output)}
        is_known = node.domain in DEFAULT_DOMAINS and node.op_type in RULES
        if is_known and _loses(observed, kept, names):
            view = NodeView(before, observed, labels, coupling.carriers)
            edit = NodeEdit(node, view, kept, made)
            RULES[node.op_type].edit(edit)
            nodes += edit.before
        nodes.append(onnx.NodeProto.FromString(node.SerializeToString()))
    if len(nodes) > len(proto.graph.node):
        del proto.graph.node[:]
        proto.graph.node.extend(nodes)
    for name, values in made.items():
        tensor = proto.graph.initializer.add()
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, name))
        if proto.ir_version < 4:
            proto.graph.input.append(
                onnx.helper.make_tensor_value_info(name, tensor.data_type, values.shape)
            )
    del proto.graph.value_info[:]
    drop_unread(proto)
    return proto


def found_again(before: Coupling, now: Coupling, channels: Collection[int]) -> set[int]:
    """Return the classes that channels have in a model to which biases were added since."""
    gone, found = np.asarray(sorted(channels), np.int64), set[int]()
    for place in before.classes.starts.keys() & now.classes.starts.keys():
        is_gone = np.isin(before.classes.of(place), gone)
        found |= set(now.classes.of(place)[is_gone].tolist())
    return found


def _loses(observed: Observed, kept: Kept, names: Collection[str]) -> bool:
    """Whether one of some tensors loses indices."""
    return any(
        (name, axis) in kept for name in names for axis in range(len(observed.shapes.get(name, ())))
    )


def _slice_constants(model: Model, kept: Kept) -> None:
    """Slice every constant of the main graph that loses indices, in place."""
    by_name: dict[str, dict[int, IntArray]] = {}
    for (name, axis), indices in kept.items():
        by_name.setdefault(name, {})[axis] = indices
    listed = {info.name: info for info in model.proto.graph.input}
    for name, axes in by_name.items():
        tensor = model.constant(model.main, name)
        if tensor is None:
            continue
        values = model.value(tensor)
        for axis, indices in axes.items():
            values = np.take(values, indices, axis=axis)
        _replace(tensor, values)
        if name in listed:
            shape = listed[name].type.tensor_type.shape
            for axis, size in enumerate(values.shape):
                shape.dim[axis].dim_value = size


def _replace(tensor: onnx.TensorProto, values: Array) -> None:
    """Put values of another shape into a tensor, which keeps its name, type and doc string."""
    name, text, kind = tensor.name, tensor.doc_string, tensor.data_type
    tensor.Clear()
    tensor.name, tensor.data_type = name, kind
    if text:
        tensor.doc_string = text
    tensor.dims.extend(values.shape)
    write_tensor(tensor, values)  # which packs numbers of less than a byte


def drop_unread(proto: onnx.ModelProto) -> None:
    """Remove, in place, constants and nodes of the main graph that no output depends on.

    A node with several outputs stays if one of them is read.
    """
    graph = proto.graph
    read = {output.name for output in graph.output}
    nodes = []
    for node in reversed(graph.node):
        if any(name in read for name in node.output if name):
            nodes.append(onnx.NodeProto.FromString(node.SerializeToString()))
            read |= outer_names(node)
    unread = {t.name for t in graph.initializer if t.name not in read}
    if len(nodes) < len(graph.node):
        del graph.node[:]
        graph.node.extend(reversed(nodes))
    if unread:
        left = [t for t in graph.initializer if t.name not in unread]
        copies = [onnx.TensorProto.FromString(t.SerializeToString()) for t in left]
        del graph.initializer[:]
        graph.initializer.extend(copies)
    if proto.ir_version < 4:
        inputs = [info for info in graph.input if info.name not in unread]
        copies_of = [onnx.ValueInfoProto.FromString(i.SerializeToString()) for i in inputs]
        del graph.input[:]
        graph.input.extend(copies_of)
