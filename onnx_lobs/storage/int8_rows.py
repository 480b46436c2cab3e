"""Stores tables as int8 with a scale for each row, of which nodes look up both and multiply.

Behind a DequantizeLinear onnxruntime would make the whole table float at every run. So the rows are
looked up as int8, with their scales, and only these become float: ``Cast(Gather(codes, i)) *
Gather(scales, i)``, which is what DequantizeLinear makes of them, to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper

from onnx_lobs.arrays import Array
from onnx_lobs.graph.files.tensors import array_type, write_tensor
from onnx_lobs.graph.model import Model, attributes
from onnx_lobs.storage.stored_weights import RESTORES, FreshNames

RESTORES_ROWS = RESTORES + "rows "  # begins the name of the node that makes them
OF = " of "  # stands between the place of this node and the name of its table


def encode_rows(
    graph: GraphProto, tensor: TensorProto, codes: Array, scales: Array, names: FreshNames
) -> str:
    """Store a table as int8 rows, in place, and return the name of what holds these.

    Parameters
    ----------
    graph
        All nodes that read the table are in it, and look up rows. Changed in place.
    tensor
        The table, an initializer of the graph.
    codes, scales
        (n, d) int8, and (n,) float32.
    names
        Gives the names of what is new.
    """
    name, prefix = tensor.name, names.prefix()
    held, scale = prefix + "int8", prefix + "scale"
    for position in reversed(range(len(graph.node))):
        node = graph.node[position]
        if name in node.input:
            label = f"{RESTORES_ROWS}{position}{OF}{name}"
            made = _nodes(node, tensor, (held, scale), names.prefix(), label)
            del graph.node[position]
            for one in reversed(made):
                graph.node.insert(position, one)
    columns = scales.astype(np.float32).reshape(-1, 1)
    for label, kind, array in (
        (held, TensorProto.INT8, codes), (scale, TensorProto.FLOAT, columns),
    ):  # fmt: skip
        graph.initializer.append(
            helper.make_tensor(label, kind, array.shape, array.tobytes(), raw=True)
        )
    graph.initializer.remove(tensor)
    return held


def _nodes(
    node: NodeProto, tensor: TensorProto, stored: tuple[str, str], prefix: str, label: str
) -> list[NodeProto]:
    """Return what takes the place of a node that looks up rows; the last one has the label."""
    (held, scale), index, output = stored, node.input[1], node.output[0]
    is_float32 = array_type(tensor.data_type) == np.float32
    rows, wide, steps = prefix + "rows", prefix + "wide", prefix + "steps"
    product = output if is_float32 else prefix + "product"
    made = [
        helper.make_node("Gather", [held, index], [rows], name=node.name),
        helper.make_node("Cast", [rows], [wide], to=TensorProto.FLOAT),
        helper.make_node("Gather", [scale, index], [steps]),
        helper.make_node("Mul", [wide, steps], [product], name=label if is_float32 else ""),
    ]
    if not is_float32:
        made.append(helper.make_node("Cast", [product], [output], name=label, to=tensor.data_type))
    return made


def decode_rows(model: Model) -> dict[str, tuple[str, str]]:
    """Store tables of int8 rows as floating ones again, in place.

    Returns the names of the int8 rows and their scales, which stay, by those of the tables. What
    is not as :func:`encode_rows` wrote it is left alone. `model`'s index is stale afterwards.
    """
    graph, found = model.main.graph, dict[str, tuple[str, str]]()
    for last in [node for node in graph.node if node.name.startswith(RESTORES_ROWS)]:
        name, chain = last.name.partition(OF)[2], _chain(model, last)
        if chain is None:
            continue
        *_, steps, _, rows = chain
        if name not in found:
            graph.initializer.append(_table(model, name, last, chain))
            found[name] = rows.input[0], steps.input[0]
        position = list(graph.node).index(last)
        graph.node.insert(
            position,
            helper.make_node("Gather", [name, rows.input[1]], [last.output[0]], name=rows.name),
        )
        for node in chain:
            graph.node.remove(node)
    return found


def _chain(model: Model, last: NodeProto) -> list[NodeProto] | None:
    """Return the nodes that make looked-up rows, the last first and the look-up of rows last."""
    main = model.main
    product = main.producers.get(last.input[0]) if last.op_type == "Cast" else last
    if product is None or product.op_type != "Mul":
        return None
    wide, steps = (main.producers.get(name) for name in product.input)
    rows = None if wide is None else main.producers.get(wide.input[0])
    if wide is None or steps is None or rows is None:
        return None
    ops = [node.op_type for node in (wide, steps, rows)]
    if ops != ["Cast", "Gather", "Gather"] or steps.input[1] != rows.input[1]:
        return None
    tensors = [model.constant(main, node.input[0]) for node in (rows, steps)]
    kinds = [None if tensor is None else tensor.data_type for tensor in tensors]
    if kinds != [TensorProto.INT8, TensorProto.FLOAT]:
        return None
    return [*([] if last is product else [last]), product, steps, wide, rows]


def _table(model: Model, name: str, last: NodeProto, chain: Sequence[NodeProto]) -> TensorProto:
    """Return the floating table of which a chain of nodes looks up rows."""
    *_, steps, _, rows = chain
    held, scale = (model.constant(model.main, node.input[0]) for node in (rows, steps))
    assert held is not None
    assert scale is not None
    kind = attributes(last)["to"] if last.op_type == "Cast" else TensorProto.FLOAT
    assert isinstance(kind, int)
    dtype = array_type(kind)
    assert dtype is not None
    made = TensorProto(name=name, dims=held.dims, data_type=kind)
    write_tensor(made, (model.value(held).astype(np.float32) * model.value(scale)).astype(dtype))
    return made
