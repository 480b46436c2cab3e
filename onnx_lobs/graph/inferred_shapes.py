"""Infers the shapes of a model's values from its nodes, without running it or copying weights."""

from __future__ import annotations

import math

import onnx
from onnx import shape_inference

_READ = 1024  # elements of a tensor that shapes may be computed from; larger ones are weights

KnownShape = tuple[int | None, ...]  # None where a size is not known


def infer_shapes(proto: onnx.ModelProto) -> tuple[dict[str, KnownShape], int]:
    """Return the shapes of the main graph's values for one batch, and the samples in it.

    Parameters
    ----------
    proto
        The model. Not modified. The first axis of its inputs is the batch; where that is open,
        one sample is taken.

    Returns
    -------
    dict and int
        Nothing of values whose rank is not known, or where inference fails: on functions that call
        each other in a circle, too.
    """
    light = _light(proto)
    first = next((v.type.tensor_type.shape.dim for v in light.graph.input), ())
    name = first[0].dim_param if first else ""
    samples = first[0].dim_value if first and first[0].dim_value > 0 else 1
    for value in light.graph.input:
        for axis, size in enumerate(value.type.tensor_type.shape.dim):
            is_open = size.dim_value <= 0
            if is_open and (axis == 0 or (name and size.dim_param == name)):
                size.dim_value = 1
    for output in light.graph.output:  # what was declared for open sizes would win
        output.type.tensor_type.ClearField("shape")
    del light.graph.value_info[:]
    try:
        graph = shape_inference.infer_shapes(light, data_prop=True).graph
    except (
        shape_inference.InferenceError,
        onnx.checker.ValidationError,
    ):
        return {}, samples
    values = (*graph.input, *graph.value_info, *graph.output)
    return {v.name: s for v in values if (s := declared_shape(v)) is not None}, samples


def _light(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with inputs in place of its weights."""
    light = onnx.ModelProto(ir_version=proto.ir_version)
    light.opset_import.extend(proto.opset_import)
    light.functions.extend(proto.functions)
    graph, whole = light.graph, proto.graph
    graph.name = whole.name
    graph.node.extend(whole.node)
    names = {tensor.name for tensor in whole.initializer}
    graph.input.extend(value for value in whole.input if value.name not in names)
    graph.output.extend(whole.output)
    for tensor in whole.initializer:
        if math.prod(tensor.dims) <= _READ and not tensor.external_data:
            graph.initializer.append(tensor)
        else:
            graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    return light


def declared_shape(value: onnx.ValueInfoProto) -> KnownShape | None:
    """Return the shape that a value is declared with; None where it is no tensor, or has none."""
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
        return None
    return tuple(size.dim_value if size.dim_value > 0 else None for size in tensor.shape.dim)
