"""Computes values from constants, by onnx-graphsurgeon and onnxruntime."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper

from onnx_lobs.arrays import Array
from onnx_lobs.errors import InferenceError
from onnx_lobs.graph.files.tensors import array_type
from onnx_lobs.graph.folding.cone import ConstantPart, Value, label
from onnx_lobs.graph.normalise import to_float32
from onnx_lobs.graph.run.session import RUN_ERRORS, one_line

BFLOAT16 = TensorProto.BFLOAT16
# what graphsurgeon raises on values that it does not know, such as sequences
UNKNOWN_VALUES = AttributeError, IndexError, KeyError, TypeError
MOST_BYTES = 1 << 31  # of a value: protobuf holds no larger one
UNLIMITED = sys.maxsize  # graphsurgeon complains about tensors over 1 MiB unless given a limit


def compute(part: ConstantPart, values: Sequence[Value]) -> dict[Value, Array]:
    """Return what a model computes for values in its constant part, to the bit.

    Parameters
    ----------
    part
        Not modified.
    values
        Some of the values that nodes of `part` make. All are computed in one session: give those
        together that are computed from the same large constants.

    Raises
    ------
    InferenceError
        When onnxruntime cannot compute them, or one of them, or of what they are computed from,
        would take more than :data:`MOST_BYTES`.

    Notes
    -----
    bfloat16, for which onnxruntime's CPU provider has few kernels, is computed in float32 where
    they are missing, and rounded to bfloat16 at the end.

    Memory: some six times the constants and the values. graphsurgeon sees no other part of the
    model, and is imported here only: it takes a while, and most models have nothing to fold.
    """
    proto = part.extract(values)
    _check_sizes(proto)
    found = _with_bfloat16(proto) if _holds_bfloat16(proto) else _fold(proto, ())
    return {value: found[label(value)] for value in values}


def _check_sizes(proto: onnx.ModelProto) -> None:
    """Refuse values whose sizes, which a few bytes can state, would take all memory."""
    inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    for info in (*inferred.value_info, *inferred.output):
        tensor = info.type.tensor_type
        dtype = array_type(tensor.elem_type)
        sizes = [dim.dim_value for dim in tensor.shape.dim]  # 0 where it is not known
        if dtype is not None and math.prod(sizes) * dtype.itemsize > MOST_BYTES:
            name = info.name.partition("/")[2]  # of the scope
            raise InferenceError(
                f"{name!r} of shape {sizes} would take more than {MOST_BYTES} bytes"
            )


def _with_bfloat16(proto: onnx.ModelProto) -> dict[str, Array]:
    """Return the outputs of a model with bfloat16 in it, which is put in float32 if need be."""
    types = _element_types(proto)
    try:
        found = _fold(proto, [name for name, kind in types.items() if kind == BFLOAT16])
    except InferenceError:
        to_float32(proto, None)
        found = _fold(proto, ())
    return {
        name: array.astype(helper.tensor_dtype_to_np_dtype(types[name]), copy=False)
        for name, array in found.items()
    }


def _fold(proto: onnx.ModelProto, narrow: Sequence[str]) -> dict[str, Array]:
    """Return the outputs of a model without inputs; those in `narrow`, of bfloat16, as float32."""
    import onnx_graphsurgeon as gs
    from onnx_graphsurgeon.logger import G_LOGGER
    from onnx_graphsurgeon.util.exception import OnnxGraphSurgeonException

    names = [output.name for output in proto.graph.output]
    shown = _with_readers(proto, narrow)
    try:
        with G_LOGGER.suppress(G_LOGGER.CRITICAL + 1):  # it prints to the standard output
            graph = gs.import_onnx(shown)
            # fold_shapes would compute in integers what the model computes in floating point
            graph.fold_constants(fold_shapes=False, size_threshold=UNLIMITED, error_ok=False)
            folded = [np.asarray(output.values) for output in graph.outputs]
    except (*RUN_ERRORS, *UNKNOWN_VALUES, OnnxGraphSurgeonException) as error:
        raise InferenceError(f"onnxruntime cannot compute them: {one_line(error)}") from error
    return dict(zip(names, folded, strict=True))


def _with_readers(proto: onnx.ModelProto, narrow: Sequence[str]) -> onnx.ModelProto:
    """Return the model with every output behind one more node.

    graphsurgeon computes no value that other constant nodes read, and onnxruntime's Python
    interface gives no bfloat16.
    """
    copy = onnx.ModelProto(
        ir_version=proto.ir_version, opset_import=proto.opset_import, graph=proto.graph
    )
    for number, output in enumerate(copy.graph.output):
        source, output.name = output.name, f"output {number}"
        if source in narrow:
            node = helper.make_node("Cast", [source], [output.name], to=TensorProto.FLOAT)
        else:
            node = helper.make_node("Identity", [source], [output.name])
        copy.graph.node.append(node)
    return copy


def _holds_bfloat16(proto: onnx.ModelProto) -> bool:
    made = {a.i for node in proto.graph.node for a in node.attribute if a.name in ("to", "dtype")}
    return BFLOAT16 in made | {tensor.data_type for tensor in proto.graph.initializer}


def _element_types(proto: onnx.ModelProto) -> dict[str, int]:
    """Return the element types of a model's outputs."""
    inferred = onnx.shape_inference.infer_shapes(proto)
    types = {o.name: o.type.tensor_type.elem_type for o in inferred.graph.output}
    if not all(types.values()):
        raise InferenceError("onnx cannot tell their element types")
    return types
