"""Makes a model of one node, so that it can be timed alone."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from onnx_lobs.arrays import Array
from onnx_lobs.graph.model import Model


@dataclass(frozen=True, eq=False)
class TimedNode:
    """A node alone: its model, what it reads, and what all nodes have in common that are as fast.

    Parameters
    ----------
    proto
        The model.
    feeds
        Random values of what it reads besides constants.
    key
        Operator, attributes, and the types and shapes of all inputs.
    """

    proto: onnx.ModelProto
    feeds: Mapping[str, Array]
    key: Hashable


def element_types(proto: onnx.ModelProto) -> dict[str, int]:
    """Return the types of the elements of a model's values, as far as they are inferred."""
    graph = onnx.shape_inference.infer_shapes(proto).graph
    infos = (*graph.value_info, *graph.output, *graph.input)
    return {info.name: info.type.tensor_type.elem_type for info in infos}


def one_node(
    model: Model,
    node: onnx.NodeProto,
    shapes: Mapping[str, tuple[int, ...]],
    types: Mapping[str, int],
) -> TimedNode:
    """Return a node of the main graph alone, on random values of given shapes.

    Values of a type that is not known are taken to be float32.
    """
    rng = np.random.default_rng(0)
    feeds: dict[str, Array] = {}
    inputs, constants, described = [], [], []
    for name in dict.fromkeys(filter(None, node.input)):
        tensor = model.constant(model.main, name)
        if tensor is not None:
            named = onnx.TensorProto()
            named.CopyFrom(tensor)
            named.name = name
            constants.append(named)
            described.append((tensor.data_type, tuple(tensor.dims)))
            continue
        kind = types.get(name) or onnx.TensorProto.FLOAT
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
        feeds[name] = rng.standard_normal(shapes[name], np.float32).astype(dtype)
        inputs.append(onnx.helper.make_tensor_value_info(name, kind, shapes[name]))
        described.append((kind, shapes[name]))
    outputs = [
        onnx.helper.make_tensor_value_info(n, types.get(n) or onnx.TensorProto.FLOAT, None)
        for n in node.output
        if n
    ]
    graph = onnx.helper.make_graph([node], "node", inputs, outputs, constants)
    opsets, version = model.proto.opset_import, model.proto.ir_version
    proto = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=max(version, 4))
    attributes = tuple(sorted(each.SerializeToString() for each in node.attribute))
    return TimedNode(proto, feeds, (node.domain, node.op_type, attributes, tuple(described)))
