"""The execution copy of a model: the same names and results, in a form that is easy to run.

The execution copy is only ever run, never written: Constant nodes become initializers, no
initializer is listed as an input, random numbers have a seed, convolutions pad by themselves, and
types that onnxruntime lacks kernels for are widened or narrowed to float32.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from onnx_lobs.errors import ModelError
from onnx_lobs.graph.files.tensors import read_tensor, write_tensor
from onnx_lobs.graph.files.walk import iter_graphs
from onnx_lobs.graph.model import DEFAULT_DOMAINS, RANDOM
from onnx_lobs.graph.padding import fold_pads
from onnx_lobs.graph.run.session import Session

RARE_FLOATS = (TensorProto.BFLOAT16, TensorProto.DOUBLE)
TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype")
SEEDS = 1 << 24  # whole numbers that float32 holds


def to_executable(
    proto: onnx.ModelProto, folder: Path | None, provider: str, *, light: bool = False
) -> tuple[onnx.ModelProto, str | None]:
    """Return the execution copy of `proto`, and a note if it had to run in float32.

    Whether it loads is tried; with `light` without optimising, which needs no memory for
    external weights.

    Raises
    ------
    ModelError
        When onnxruntime cannot load the model, in its own types or in float32.

    Notes
    -----
    onnxruntime's CPU provider has no bfloat16 kernels and no float64 convolution. A model
    that fails to load and holds such types is run in float32 instead; the note says so.
    Cost: one copy of the model without its external data, and one session.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for graph in iter_graphs(copy):
        lift_constants(graph)
    _unlist_initializers(copy)
    seed_random(copy)
    note = _made_to_run(copy, folder, provider, light=light)
    fold_pads(copy, folder, provider)
    return copy, note


def _made_to_run(
    copy: onnx.ModelProto, folder: Path | None, provider: str, *, light: bool
) -> str | None:
    """Try to load a model; put it in float32, in place, where only that helps, and say so."""
    try:
        Session(copy, folder=folder, provider=provider, light=light)
    except ModelError as error:
        rare = _rare_floats(copy)
        if not rare:
            raise
        to_float32(copy, folder)
        Session(copy, folder=folder, provider=provider, light=light)
        return f"run in float32: onnxruntime cannot run {' and '.join(rare)} here ({error})"
    shown = (*copy.graph.input, *copy.graph.output)
    if all(_element(info) != TensorProto.BFLOAT16 for info in shown):
        return None
    to_float32(copy, folder)
    Session(copy, folder=folder, provider=provider, light=light)
    return "run in float32: onnxruntime's Python interface has no bfloat16 arrays"


def lift_constants(graph: onnx.GraphProto) -> None:
    """Turn the Constant nodes with a tensor value of one graph into initializers, in place."""
    rest: list[onnx.NodeProto] = []
    outputs = {output.name for output in graph.output}
    for node in graph.node:
        value = next((a.t for a in node.attribute if a.name == "value"), None)
        is_constant = node.op_type == "Constant" and node.domain in DEFAULT_DOMAINS
        if not is_constant or value is None or node.output[0] in outputs:
            rest.append(node)
            continue
        tensor = graph.initializer.add()
        tensor.CopyFrom(value)
        tensor.name = node.output[0]
    if len(rest) < len(graph.node):
        kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in rest]
        del graph.node[:]
        graph.node.extend(kept)


def unseeded(proto: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the nodes that draw random numbers and have no seed.

    onnxruntime seeds them by their place among the nodes, which differs between a network and its
    stages or its optimised form, so two of them side by side would see different noise.
    """
    bodies = (*(graph.node for graph in iter_graphs(proto)), *(f.node for f in proto.functions))
    return [
        node
        for body in bodies
        for node in body
        if node.op_type in RANDOM and node.domain in DEFAULT_DOMAINS
        if all(attribute.name != "seed" for attribute in node.attribute)
    ]


def seed_random(proto: onnx.ModelProto) -> None:
    """Give every node of :func:`unseeded` a seed, in place, that goes by its output's name."""
    for node in unseeded(proto):
        seed = float(zlib.crc32(node.output[0].encode()) % SEEDS)
        node.attribute.append(onnx.helper.make_attribute("seed", seed))


def _unlist_initializers(proto: onnx.ModelProto) -> None:
    """Remove initializers from the inputs, where they are constants or may be left out."""
    names = {tensor.name for tensor in proto.graph.initializer}
    inputs = [i for i in proto.graph.input if i.name not in names]
    del proto.graph.input[:]
    proto.graph.input.extend(inputs)
    proto.ir_version = max(proto.ir_version, 4)


def _rare_floats(proto: onnx.ModelProto) -> list[str]:
    found = {t.data_type for g in iter_graphs(proto) for t in g.initializer}
    found |= {_element(info) for info in (*proto.graph.input, *proto.graph.output)}
    nodes = (node for graph in iter_graphs(proto) for node in graph.node)
    found |= {a.i for node in nodes for a in node.attribute if a.name in TYPE_ATTRIBUTES}
    return [TensorProto.DataType.Name(t).lower() for t in RARE_FLOATS if t in found]


def _element(info: onnx.ValueInfoProto) -> int:
    return int(info.type.tensor_type.elem_type)


def to_float32(proto: onnx.ModelProto, folder: Path | None) -> None:
    """Make every bfloat16 and float64 value of `proto` float32, in place."""
    for graph in iter_graphs(proto):
        for tensor in graph.initializer:
            _convert(tensor, folder)
        for info in (*graph.input, *graph.output, *graph.value_info):
            if info.type.tensor_type.elem_type in RARE_FLOATS:
                info.type.tensor_type.elem_type = TensorProto.FLOAT
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.TENSOR:
                    _convert(attribute.t, folder)
                if attribute.name in TYPE_ATTRIBUTES and attribute.i in RARE_FLOATS:
                    attribute.i = TensorProto.FLOAT


def _convert(tensor: onnx.TensorProto, folder: Path | None) -> None:
    if tensor.data_type not in RARE_FLOATS:
        return
    values = read_tensor(tensor, folder).astype(np.float32)
    name = tensor.name
    tensor.Clear()
    tensor.name = name
    tensor.dims.extend(values.shape)
    tensor.data_type = TensorProto.FLOAT
    write_tensor(tensor, values)
