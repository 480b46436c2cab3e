"""Builds the nodes that unpack a weight: fresh names, and the constants that all weights share."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper

from onnx_lobs.arrays import Array
from onnx_lobs.graph.files.tensors import copy_header, write_tensor
from onnx_lobs.storage.stored_weights import RESTORES, FreshNames, Restoring

BYTE_BITS = 8


class Unpacking:
    """Collects the constants and nodes that restore one tensor under its name.

    Parameters
    ----------
    tensor
        What is restored: gives name, element type, dims, and the file its values belong in.
    shared
        Gives names, and constants that several weights read.
    """

    def __init__(self, tensor: TensorProto, shared: SharedConstants) -> None:
        self.tensor, self.shared = tensor, shared
        self.made = Restoring()
        self._prefix = shared.names.prefix()

    def values(self, array: Array) -> str:
        """Store values of the tensor's own type; they belong where the tensor did."""
        stored = TensorProto(dims=array.shape)
        copy_header(self.tensor, stored)
        stored.name = self._fresh("values")
        write_tensor(stored, array)
        return self._stored(stored)

    def constant(self, word: str, array: Array) -> str:
        """Store an array of numbers, in the model itself."""
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        name = self._fresh(word)
        return self._stored(helper.make_tensor(name, kind, array.shape, array.tobytes(), raw=True))

    def node(self, op: str, inputs: list[str], **attributes: Any) -> str:
        """Add a node with one output; return that."""
        made = helper.make_node(op, inputs, [self._fresh("")], **attributes)
        self.made.nodes.append(made)
        return str(made.output[0])

    def first_of(self, rows: str, size: int, together: int) -> str:
        """Return the first numbers of rows that are filled up to as many as stand together."""
        flat = self.node("Reshape", [rows, self.shared.flat()])
        if size % together == 0:
            return flat
        end = self.constant("end", np.array([size], np.int64))
        return self.node("Slice", [flat, self.shared.first(), end])

    def finish(self, flat: str) -> Restoring:
        """Give the flat values the tensor's shape and name, and return all that was made."""
        shape = self.constant("shape", np.array(self.tensor.dims, np.int64))
        name = RESTORES + self.tensor.name
        self.made.nodes.append(
            helper.make_node("Reshape", [flat, shape], [self.tensor.name], name=name)
        )
        return self.made

    def _fresh(self, word: str) -> str:
        return f"{self._prefix}{word or len(self.made.nodes)}"

    def _stored(self, tensor: TensorProto) -> str:
        self.made.constants.append(tensor)
        return str(tensor.name)


class SharedConstants:
    """The constants that the nodes of several weights read; they stand in the main graph."""

    def __init__(self, proto: ModelProto) -> None:
        self.names = FreshNames(proto)
        self.made: dict[str, TensorProto] = {}

    def get(self, word: str, array: Array) -> str:
        """Return the name of a constant, which is made at the first call."""
        if word not in self.made:
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            name = self.names.fresh(f"unpack.{word}")
            self.made[word] = helper.make_tensor(name, kind, array.shape, array.tobytes(), raw=True)
        return str(self.made[word].name)

    def axis(self) -> str:
        """Return the first axis, for a CumSum."""
        return self.get("axis", np.array(0, np.int64))

    def flat(self) -> str:
        """Return the shape of a vector, for a Reshape."""
        return self.get("flat", np.array([-1], np.int64))

    def first(self) -> str:
        """Return where a vector begins, for a Slice."""
        return self.get("first", np.array([0], np.int64))

    def bit_table(self) -> str:
        """Return the bits of every byte, (256, 8), the highest first."""
        every = np.arange(1 << BYTE_BITS, dtype=np.uint8)[:, None]
        return self.get("bits", np.unpackbits(every, axis=1))


def to_int32(unpacking: Unpacking, value: str) -> str:
    """Cast a value to int32."""
    return unpacking.node("Cast", [value], to=TensorProto.INT32)


def as_bits(array: Array) -> Array:
    """Return the bit patterns of an array's elements, flat: -0.0 is no zero there."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.view(f"u{flat.itemsize}")
