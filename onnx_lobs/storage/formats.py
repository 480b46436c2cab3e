"""Holds the table of storage formats: how pruned weights are written, and what their zeros save.

To add a format, write what encodes it in a file of its own, beside those here, add its line to
``FORMATS``, and its name to those of :mod:`onnx_lobs.options.output`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from onnx import ModelProto, TensorProto

from onnx_lobs.storage.dense import BytesAt, dense_bytes, keep_dense
from onnx_lobs.storage.packed import (
    encode_packed,
    packed_bytes,
    packed_price,
    packed_table_bits,
    packing_notes,
    packing_trouble,
)
from onnx_lobs.storage.sparse import encode_sparse, sparse_bytes, sparse_price
from onnx_lobs.storage.unpacking import BYTE_BITS

Encode = Callable[[ModelProto, Collection[str], Path | None], list[str]]


def no_trouble(proto: ModelProto) -> str | None:
    """Say nothing against any model."""
    return None


def no_notes(proto: ModelProto, names: Collection[str]) -> list[str]:
    """Say nothing of any weight."""
    return []


def whole_bytes(tensor: TensorProto) -> int:
    """Return the bits of a byte, for any table."""
    return BYTE_BITS


@dataclass(frozen=True)
class StorageFormat:
    """One row of the table.

    Parameters
    ----------
    name
        What the user writes.
    encode
        Stores initializers of the main graph in this form, in place, where that is smaller: given
        the model, the names of those to look at, and the folder of external data, it returns the
        names of those that it stored anew.
    bytes_at
        Foresees sizes: given a model and initializers of it, it returns what they take, about,
        (tensors,), as a function of the share of zeros.
    price
        Bytes that a kept weight takes, by the bytes of its element type: what a budget of bytes
        counts.
    shrinks
        Whether zeros make the file smaller.
    hint
        What to expect of such a file, and which tools cannot read it, for the report.
    anywhere
        Whether weights in Constant nodes and in subgraphs are stored anew too.
    trouble
        Says why no weight of a model can be stored so, or nothing.
    notes
        Says of the encoded model which of the weights stay dense whatever zeros they have.
    table_bits
        In how many bits the numbers of a table that becomes int8 will be stored.
    """

    name: str
    encode: Encode
    bytes_at: Callable[[ModelProto, Sequence[TensorProto]], BytesAt]
    price: Callable[[int], float]
    shrinks: bool
    hint: str
    anywhere: bool = False
    trouble: Callable[[ModelProto], str | None] = no_trouble
    notes: Callable[[ModelProto, Collection[str]], list[str]] = no_notes
    table_bits: Callable[[TensorProto], int] = whole_bytes


FORMATS: Mapping[str, StorageFormat] = {
    each.name: each
    for each in (
        StorageFormat(
            "dense",
            keep_dense,
            dense_bytes,
            float,
            shrinks=False,
            hint="zeros in a dense file shrink only compressed copies of it; --format sparse "
            "shrinks the file itself, for onnxruntime. Most runtimes run no faster with "
            "unstructured zeros.",
        ),
        StorageFormat(
            "sparse",
            encode_sparse,
            sparse_bytes,
            sparse_price,
            shrinks=True,
            hint="onnxruntime reads sparse initializers, unless built without sparse tensors, and "
            "makes them dense when it loads them: the file is smaller, memory and speed are as "
            "before. OpenVINO, TensorRT, MNN, onnx2tf, onnxoptimizer, the values of "
            "onnx-graphsurgeon, onnx's full_check, extract_model, version converter and reference "
            "evaluator, onnxruntime's float16 converter and symbolic shape inference cannot read "
            "them; onnx_ir, and shape inference that is not told, lose weights or shapes without a "
            "word; what onnxruntime saves of it is no valid ONNX. onnxruntime's quantisers fail on "
            "them: quantise first, or after `onnx-lobs expand`, which makes it dense again.",
        ),
        StorageFormat(
            "packed",
            encode_packed,
            packed_bytes,
            packed_price,
            shrinks=True,
            hint="onnxruntime and OpenVINO unpack the weights when they load the model, which "
            "takes up to five times the memory of a dense one for that moment; speed is as before. "
            "TensorRT, onnx2tf, and onnxruntime built for few operators cannot read it; with "
            "optimisation disabled it unpacks at every run; onnxsim, onnxslim, onnx-graphsurgeon "
            "and what onnxruntime saves of it make it large again, and onnxruntime's quantisers "
            "find no weights. Pack last; `onnx-lobs expand` makes it dense.",
            anywhere=True,
            trouble=packing_trouble,
            notes=packing_notes,
            table_bits=packed_table_bits,
        ),
    )
}


def find_format(name: str | None) -> StorageFormat:
    """Return a format by its name; None is that of a model without sparse initializers."""
    return FORMATS["dense" if name is None else name]


def shrinking_formats() -> str:
    """Return the formats in which zeros make the file smaller, for messages."""
    return " or ".join(f"--format {each.name}" for each in FORMATS.values() if each.shrinks)
