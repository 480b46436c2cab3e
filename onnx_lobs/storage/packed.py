"""Packs weights, each in the smallest of four forms: dense, a bitmask, gaps of a byte, seven bits.

What unpacks them are nodes in front of those of the graph, of ONNX's own operators. onnxruntime
runs them once, when it loads the model, and then has a dense one; so does OpenVINO. Simplifiers
fold them, which makes the file large again: this is the last step before a file is written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto

from onnx_lobs.arrays import Array, FloatArray
from onnx_lobs.graph.files.tensors import n_elements, raw_size, read_tensor
from onnx_lobs.graph.model import opset_of
from onnx_lobs.storage.bitmask import bitmask_size, pack_bitmask
from onnx_lobs.storage.dense import BytesAt, dense_bytes
from onnx_lobs.storage.gap8 import gap8_size, pack_gap8
from onnx_lobs.storage.narrow import NARROW_BITS, pack_narrow
from onnx_lobs.storage.stored_weights import (
    FRAME,
    INITIALIZERS_APART,
    Restoring,
    find_stored,
    lift_constants,
    put_in_place,
)
from onnx_lobs.storage.unpacking import BYTE_BITS, SharedConstants, as_bits

PACKED_OPSET = 11  # the first with CumSum, ScatterElements and a ConstantOfShape of any type
LARGEST_FOLDED = 1 << 30  # bytes that onnxruntime stores of one computed value, by default
LEAST_WIDTH = 4  # bytes of the positions, which are int32
PACKED_HEADER = 450  # bytes of names, nodes and dims of a packed weight, about
# types in which onnxruntime has all of the operators; bfloat16 lacks some
PACKED_TYPES = frozenset((1, 2, 3, 4, 5, 6, 10, 11))

Pack = Callable[[TensorProto, Array, SharedConstants], Restoring | None]  # None: it cannot
PACKINGS: tuple[Pack, ...] = (pack_bitmask, pack_gap8, pack_narrow)


def encode_packed(
    proto: ModelProto, names: Collection[str], folder: Path | None = None
) -> list[str]:
    """Store weights in the smallest of the forms, in place.

    Parameters
    ----------
    proto
        Changed in place.
    names
        Weights to look at, in any graph; other names are ignored.
    folder
        Folder of the model file; needed for external data only.

    Returns
    -------
    list of str
        Names of the weights that are packed now.

    Raises
    ------
    ModelError, OSError
        As :func:`~onnx_lobs.graph.files.tensors.read_tensor`.

    Notes
    -----
    Time: some 10 passes over each weight. Memory: all packed weights, and one dense with some 20
    bytes for each of its elements that is not zero.
    """
    if packing_trouble(proto) is not None:
        return []
    lift_constants(proto, names)
    made = _pack_all(proto, names, folder, PACKINGS)
    if 0 < made.saved <= made.table_size:
        made = _pack_all(proto, names, folder, PACKINGS[1:])  # a small model, and a large table
    for graph, restored in made.by_graph.values():
        put_in_place(graph, restored)
    proto.graph.initializer.extend(made.used())
    return [name for _, restored in made.by_graph.values() for name in restored]


@dataclass
class _Packed:
    """The packed weights of a model by graph, and the bytes that bitmasks save beside gaps."""

    shared: SharedConstants
    by_graph: dict[int, tuple[GraphProto, dict[str, Restoring]]] = field(default_factory=dict)
    saved: int = 0

    @property
    def table_size(self) -> int:
        """Bytes of the table that bitmasks need."""
        table = self.shared.made.get("bits")
        return 0 if table is None else int(table.ByteSize())

    def used(self) -> list[TensorProto]:
        """Return the shared constants that a node reads."""
        restored = [one for _, by_name in self.by_graph.values() for one in by_name.values()]
        read = {name for one in restored for node in one.nodes for name in node.input}
        return [tensor for tensor in self.shared.made.values() if tensor.name in read]


def _pack_all(
    proto: ModelProto, names: Collection[str], folder: Path | None, packings: Sequence[Pack]
) -> _Packed:
    """Return every weight in its smallest form, but for those that are smallest dense."""
    made = _Packed(SharedConstants(proto))
    for graph, tensor in find_stored(proto, names):
        if tensor_trouble(tensor) is not None:
            continue
        array = read_tensor(tensor, folder)
        able = packings if _has_zeros_enough(array) else (pack_narrow,)
        tried = {pack: pack(tensor, array, made.shared) for pack in able}
        forms = {pack: form for pack, form in tried.items() if form is not None}
        dense = raw_size(tensor) + FRAME
        best = min(forms, key=lambda pack: forms[pack].size, default=None)
        if best is None or forms[best].size >= dense:
            continue
        smallest = forms.pop(best)
        if best is pack_bitmask:
            made.saved += min([dense, *(form.size for form in forms.values())]) - smallest.size
        made.by_graph.setdefault(id(graph), (graph, {}))[1][tensor.name] = smallest
    return made


def _has_zeros_enough(array: Array) -> bool:
    """Whether the values that are not zero, and least of what says where they are, are smaller."""
    kept = int(np.count_nonzero(as_bits(array)))
    gaps = kept * (1 + array.itemsize)
    return min(bitmask_size(array.size, kept, array.itemsize), gaps) < array.nbytes


def packing_trouble(proto: ModelProto) -> str | None:
    """Return why no weight of a model can be packed, or None."""
    if opset_of(proto) < PACKED_OPSET:
        return (
            f"the model imports operator set {opset_of(proto)}, and unpacking needs {PACKED_OPSET} "
            "or later; convert it with onnx.version_converter"
        )
    if proto.ir_version < INITIALIZERS_APART:
        return (
            f"the model has IR version {proto.ir_version}, in which every weight is an input; "
            f"raise it to {INITIALIZERS_APART} or later"
        )
    return None


def tensor_trouble(tensor: TensorProto) -> str | None:
    """Return why a weight stays dense whatever its zeros are, or None."""
    if tensor.data_type not in PACKED_TYPES:
        kind = TensorProto.DataType.Name(tensor.data_type).lower()
        return f"onnxruntime cannot unpack {kind}"
    if max(n_elements(tensor) * LEAST_WIDTH, raw_size(tensor)) >= LARGEST_FOLDED:
        return (
            f"unpacked it takes more than the {LARGEST_FOLDED:,} bytes that onnxruntime computes "
            "when it loads a model; it would unpack it at every run"
        )
    return None


def packed_bytes(proto: ModelProto, tensors: Sequence[TensorProto]) -> BytesAt:
    """Return the bytes of tensors, (tensors,), as a function of the share of zeros.

    Zeros are taken to be evenly spread, and each tensor to be stored in its smallest form.

    Parameters
    ----------
    proto
        The model that has them. Not modified.
    tensors
        Some of its weights; dims and element types are read. Not modified.
    """
    dense = dense_bytes(proto, tensors)(0.0)
    sizes = [n_elements(tensor) for tensor in tensors]
    is_open = packing_trouble(proto) is None
    able = [is_open and tensor_trouble(tensor) is None for tensor in tensors]

    def one(sparsity: float, size: int, n_bytes: float) -> float:
        kept, itemsize = (1 - sparsity) * size, n_bytes / max(size, 1)
        forms = (form(size, kept, itemsize) for form in (bitmask_size, gap8_size))
        return min(n_bytes, min(forms) + PACKED_HEADER)

    def bytes_at(sparsity: float) -> FloatArray:
        each = zip(able, sizes, dense, strict=True)
        found = [one(sparsity, size, n) if is_able else n for is_able, size, n in each]
        return np.array(found, dtype=np.float64)

    return bytes_at


def packing_notes(proto: ModelProto, names: Collection[str]) -> list[str]:
    """Return in sentences which weights stay dense whatever zeros they have.

    Cost: none; no value is read.
    """
    if (trouble := packing_trouble(proto)) is not None:
        return [f"no weight was packed: {trouble}"]
    found = [(t.name, tensor_trouble(t)) for _, t in find_stored(proto, names)]
    stored = {name for name, _ in found}
    inputs = {value.name for value in proto.graph.input}
    given = [(name, "it is an input too") for name in names if name in inputs - stored]
    reasons = [(name, why) for name, why in (*found, *given) if why is not None]
    return [f"weight {name!r} was left dense: {why}" for name, why in reasons]


def packed_table_bits(tensor: TensorProto) -> int:
    """Return in how many bits the numbers of an int8 table are stored."""
    return BYTE_BITS if tensor_trouble(tensor) is not None else NARROW_BITS


def packed_price(itemsize: float) -> float:
    """Return the bytes that a kept weight takes: its value, and a byte where gaps are stored."""
    return itemsize + 0.5
