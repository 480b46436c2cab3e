"""Makes the weights of a packed model dense again, in place, bit for bit."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from onnx import ModelProto, NodeProto, TensorProto, helper

from onnx_lobs.graph.files.load import LoadedModel
from onnx_lobs.graph.files.tensors import write_tensor
from onnx_lobs.graph.folding.compute import compute
from onnx_lobs.graph.folding.cone import ConstantPart, Value
from onnx_lobs.graph.folding.replace import describe, replace
from onnx_lobs.graph.model import DEFAULT_DOMAINS, Model, Scope, attributes
from onnx_lobs.storage.int8 import Scales, dequantised
from onnx_lobs.storage.int8_rows import decode_rows
from onnx_lobs.storage.stored_weights import RESTORES


@dataclass(frozen=True)
class ExpandedWeights:
    """Names of what was unpacked, and of what was put in floating point of its own type."""

    unpacked: tuple[str, ...] = ()
    widened: tuple[str, ...] = ()


def expand_weights(loaded: LoadedModel, *, to_float: bool) -> ExpandedWeights:
    """Store what onnx-lobs packed as dense constants, in place.

    Parameters
    ----------
    loaded
        Its sparse initializers are dense already. Nodes that nobody reads any more are removed.
    to_float
        Whether int8 and float16 values, which nodes make float, are stored as what these make of
        them. Else they stay as they are, in dense tensors.

    Raises
    ------
    InferenceError
        When onnxruntime cannot compute a weight: the nodes are not as they were written.

    Notes
    -----
    A model without such nodes is not changed. What is folded is computed from constants alone, so
    that the model computes what it did. Cost: one pass over the nodes, and each weight unpacked.
    """
    proto = loaded.proto
    if not any(_restoring(Model(proto, None))):
        return ExpandedWeights()
    unpacked = _fold(loaded, "Reshape")
    if not to_float:
        return ExpandedWeights(unpacked)
    tables = decode_rows(Model(proto, loaded.folder))
    _drop_unread(proto, {name for pair in tables.values() for name in pair})
    widened = (*tables, *_dequantise(Model(proto, loaded.folder)))
    return ExpandedWeights(unpacked, (*widened, *_fold(loaded, "Cast", besides=widened)))


def count_rounded(proto: ModelProto) -> int:
    """Return how many weights a model stores as int8 that nodes of onnx-lobs make float."""
    nodes = (node for _, node in _restoring(Model(proto, None)))
    return sum(node.op_type == "DequantizeLinear" for node in nodes)


def _restoring(model: Model) -> Iterator[tuple[Scope, NodeProto]]:
    """Yield the nodes that bear the name of what restores a weight."""
    for scope in model.scopes:
        for node in scope.graph.node:
            if node.name.startswith(RESTORES) and node.domain in DEFAULT_DOMAINS:
                yield scope, node


def _fold(loaded: LoadedModel, op: str, besides: Collection[str] = ()) -> tuple[str, ...]:
    """Store what the restoring nodes of one operator make; return their names but for `besides`."""
    model = Model(loaded.proto, loaded.folder)
    part = ConstantPart(model)
    marked = ((s.index, n.output[0]) for s, n in _restoring(model) if n.op_type == op)
    values: list[Value] = [value for value in marked if value in part.makers]
    arrays = {value: compute(part, [value])[value] for value in values}
    described = {value: describe(part, value, array) for value, array in arrays.items()}
    if values:
        replace(part, described, arrays)
    return tuple(name for _, name in values if name not in besides)


def _dequantise(model: Model) -> tuple[str, ...]:
    """Store what DequantizeLinear makes of int8 constants, and remove it and these."""
    names, read = [], set()
    for scope, node in list(_restoring(model)):
        held, scale = (model.constant(scope, name) for name in (*node.input, "", "")[:2])
        is_ours = node.op_type == "DequantizeLinear" and len(node.input) == 2
        if not is_ours or held is None or scale is None or held.data_type != TensorProto.INT8:
            continue
        scope.graph.initializer.append(_dequantised(model, node, held, scale))
        read |= set(node.input)
        names.append(str(node.output[0]))
        scope.graph.node.remove(node)
    _drop_unread(model.proto, read)
    return tuple(names)


def _dequantised(
    model: Model, node: NodeProto, held: TensorProto, scale: TensorProto
) -> TensorProto:
    """Return the tensor that a node makes of int8 numbers and their scales."""
    axis = attributes(node).get("axis", 1) if scale.dims else None
    assert axis is None or isinstance(axis, int)
    codes, values = model.value(held), model.value(scale)
    array = dequantised(codes, Scales(values, axis), values.dtype)
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    made = TensorProto(name=node.output[0], dims=held.dims, data_type=kind)
    made.external_data.extend(held.external_data)
    write_tensor(made, array)
    return made


def _drop_unread(proto: ModelProto, names: Collection[str]) -> None:
    """Remove those of the constants of restored weights that nothing reads any more."""
    for scope in Model(proto, None).scopes:
        for position in reversed(range(len(scope.graph.initializer))):
            name = scope.graph.initializer[position].name
            is_read = bool(scope.readers.get(name)) or scope.is_output(name)
            if name in names and not is_read:
                del scope.graph.initializer[position]
