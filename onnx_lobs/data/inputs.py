"""What a model asks for: the name, dtype and shape of each true input."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from onnx_lobs.errors import ConfigError, DataError
from onnx_lobs.graph.files.tensors import array_type

DType = np.dtype[Any]


@dataclass(frozen=True)
class InputSpec:
    """One input that data must be given for.

    Parameters
    ----------
    name
        The input's name in the graph.
    dtype
        NumPy dtype; bfloat16 is ml_dtypes', strings are ``object``.
    shape
        One entry per axis: an int where the model fixes the size, the symbolic name or
        None where it leaves it open. None in place of the tuple: the rank is open too.
    rows
        Of the smallest table that its values choose from, if there is one.
    """

    name: str
    dtype: DType
    shape: tuple[int | str | None, ...] | None
    rows: int | None = None

    @property
    def fixed_batch(self) -> int | None:
        """The size of the first axis when the model fixes it, else None."""
        first = self.shape[0] if self.shape else None
        return first if isinstance(first, int) else None


def check_named(names: Iterable[str], inputs: Sequence[InputSpec]) -> None:
    """Raise ConfigError when ``--input-shape`` names what is no input."""
    known = [spec.name for spec in inputs]
    for name in names:
        if name not in known:
            raise ConfigError(
                f"--input-shape names {name!r}, which is no input; choose one of "
                f"{', '.join(map(repr, known))}"
            )


def input_specs(proto: onnx.ModelProto) -> tuple[InputSpec, ...]:
    """Return the true inputs of a model: graph inputs that no initializer backs.

    Parameters
    ----------
    proto
        The model. Not modified.

    Returns
    -------
    tuple of InputSpec
        In the order of the graph. A size of 0 or below, which some exporters write for an
        open axis, counts as open.

    Raises
    ------
    DataError
        When an input is no dense tensor (sequence, map, optional) or has no element type.
    """
    graph = proto.graph
    backed = {tensor.name for tensor in graph.initializer}
    backed |= {tensor.values.name for tensor in graph.sparse_initializer}
    rows = _rows(graph)
    return tuple(_spec(value, rows) for value in graph.input if value.name not in backed)


def _rows(graph: onnx.GraphProto) -> dict[str, int]:
    """Return the rows of the smallest constant table that each value chooses rows of.

    Also through Cast; in the main graph only.
    """
    tables = {tensor.name: tensor.dims for tensor in graph.initializer}
    constants = (node for node in graph.node if node.op_type == "Constant")
    tables |= {n.output[0]: a.t.dims for n in constants for a in n.attribute if a.name == "value"}
    source = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Cast"}
    rows: dict[str, int] = {}
    for node in graph.node:
        dims = tables.get(node.input[0]) if node.op_type == "Gather" else None
        if dims and not any(a.name == "axis" and a.i for a in node.attribute):
            name = node.input[1]
            while name in source:
                name = source[name]
            rows[name] = min(dims[0], rows.get(name, dims[0]))
    return rows


def kind(dtype: DType) -> str:
    """Return ``float``, ``int``, ``bool``, ``complex``, ``string`` or ``other``.

    >>> import ml_dtypes
    >>> kind(np.dtype("float16")), kind(np.dtype("uint8")), kind(np.dtype(ml_dtypes.bfloat16))
    ('float', 'int', 'float')
    """
    if dtype.kind in "OU":
        return "string"
    for word in ("bool", "complex", "bfloat", "float", "uint", "int"):
        if dtype.name.startswith(word):
            return {"bfloat": "float", "uint": "int"}.get(word, word)
    return "other"


def _spec(value: onnx.ValueInfoProto, rows: Mapping[str, int]) -> InputSpec:
    which = value.type.WhichOneof("value")
    if which != "tensor_type":
        raise DataError(
            f"input {value.name!r} is of kind {which or 'unknown'}; only tensors can be fed; "
            "replace it by tensor inputs, or prune a part of the model that has only those"
        )
    tensor = value.type.tensor_type
    if tensor.elem_type == onnx.TensorProto.UNDEFINED:
        raise DataError(f"input {value.name!r} has no element type; give it one in the model")
    shape = None
    if tensor.HasField("shape"):
        shape = tuple(_size(dim) for dim in tensor.shape.dim)
    return InputSpec(value.name, _dtype(value), shape, rows.get(value.name))


def _size(dim: onnx.TensorShapeProto.Dimension) -> int | str | None:
    if dim.HasField("dim_value"):
        return dim.dim_value if dim.dim_value > 0 else None
    return dim.dim_param or None


def _dtype(value: onnx.ValueInfoProto) -> DType:
    elem_type = value.type.tensor_type.elem_type
    dtype = array_type(elem_type)
    if dtype is None:
        raise DataError(
            f"input {value.name!r} has the unknown element type {elem_type}; correct it in the "
            "model, or install a newer ml_dtypes"
        )
    return dtype
