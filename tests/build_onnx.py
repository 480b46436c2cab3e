"""Small graphs for tests: nodes in, a checked ModelProto out; and onnxruntime to run them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper
from onnx import numpy_helper as nh

from onnx_lobs.arrays import Array

Shape = Sequence[int | str | None] | None


def normal(seed: int, *shape: int, dtype: Any = np.float32) -> Array:
    """Seeded standard normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def value(name: str, shape: Shape = None, elem_type: int = TensorProto.FLOAT) -> ValueInfoProto:
    """An input or output; shape None: rank unknown."""
    return helper.make_tensor_value_info(name, elem_type, shape)


def tensor(name: str, array: Array) -> TensorProto:
    """A tensor with raw data; ml_dtypes' types too."""
    elem_type = helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor(name, elem_type, array.shape, array.tobytes(), raw=True)


def external(array: Array, location: str = "w.data", **entries: object) -> TensorProto:
    """The tensor w whose values lie in a file, which is not written."""
    made = nh.from_array(array, "w")
    made.ClearField("raw_data")
    made.data_location = TensorProto.EXTERNAL
    for key, text in {"location": location, **entries}.items():
        made.external_data.add(key=key, value=str(text))
    return made


def constant(name: str, array: Array) -> NodeProto:
    """A Constant node."""
    return helper.make_node("Constant", [], [name], value=tensor(name, array))


def graph(
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto | str],
    weights: Mapping[str, Array] | None = None,
    **options: Any,
) -> GraphProto:
    """A graph; outputs given by name alone are float32 of unknown rank."""
    made = [value(out) if isinstance(out, str) else out for out in outputs]
    initializers = [tensor(name, array) for name, array in (weights or {}).items()]
    return helper.make_graph(nodes, "g", list(inputs), made, initializers, **options)


def model(
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto | str],
    weights: Mapping[str, Array] | None = None,
    *,
    opset: int = 17,
    ir_version: int = 8,
    domains: Sequence[str] = (),
    functions: Sequence[onnx.FunctionProto] = (),
    **options: Any,
) -> ModelProto:
    """A model that onnx's checker accepts; ranks of outputs that are not given are inferred."""
    main = graph(nodes, inputs, outputs, weights, **options)
    if ir_version < 4:
        main.input.extend(
            helper.make_tensor_value_info(t.name, t.data_type, list(t.dims))
            for t in main.initializer
        )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    proto = helper.make_model(
        main, opset_imports=opsets, ir_version=ir_version, functions=list(functions)
    )
    stored = {t.name: value(t.name, list(t.dims), t.data_type) for t in main.initializer}
    for out in proto.graph.output:
        out.CopyFrom(stored.get(out.name, out))
    inferred = onnx.shape_inference.infer_shapes(proto).graph.output
    for out, found in zip(proto.graph.output, inferred, strict=True):
        out.CopyFrom(out if out.type.tensor_type.HasField("shape") else found)
    onnx.checker.check_model(proto)
    return proto


def one_node(
    op: str,
    weights: Mapping[str, Array],
    inputs: Sequence[str] = ("x", "w"),
    *,
    rank: int = 2,
    elem_type: int = TensorProto.FLOAT,
    **attributes: Any,
) -> ModelProto:
    """The model ``y = op(inputs)`` whose only true input is x, of the given rank."""
    node = helper.make_node(op, list(inputs), ["y"], name="node", **attributes)
    out = value("y", None, elem_type)
    return model([node], [value("x", [None] * rank, elem_type)], [out], weights)


def two_layers() -> ModelProto:
    """A Gemm ``first`` with a Relu and a Gemm ``second``: x has 16 columns, y has 10."""
    nodes = [
        helper.make_node("Gemm", ["x", "w0"], ["h"], "first", transB=1),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w1"], ["y"], "second", transB=1),
    ]
    weights = {"w0": normal(1, 24, 16), "w1": normal(2, 10, 24)}
    return model(nodes, [value("x", ["n", 16])], [value("y", ["n", 10])], weights)


def branch(nodes: Sequence[NodeProto], out: str, **weights: Array) -> GraphProto:
    """A branch of an If with one output."""
    return graph(nodes, [], [out], weights)


def run(proto: ModelProto, **feeds: Array) -> dict[str, Array]:
    """Outputs of the model in onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [out.name for out in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def initializer(proto: ModelProto, name: str) -> Array:
    """Values of a main-graph initializer."""
    return nh.to_array(next(t for t in proto.graph.initializer if t.name == name))
