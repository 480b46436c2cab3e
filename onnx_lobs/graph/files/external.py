"""A working copy of a model's external data, in which weights change in place.

So the weights of a model of any size are written one by one, and none is ever held by a
protobuf message, which cannot hold more than 2 GiB.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto

from onnx_lobs.arrays import Array
from onnx_lobs.errors import ModelError
from onnx_lobs.graph.files.location import ExternalRef, external_path, external_ref, is_external
from onnx_lobs.graph.files.tensors import raw_size
from onnx_lobs.graph.files.walk import iter_tensors


def copy_data(proto: ModelProto, folder: Path, target: Path) -> None:
    """Copy the external data files of a model, under the names by which it calls them.

    Parameters
    ----------
    proto
        Not modified.
    folder
        Folder of the model file.
    target
        Exists, and is empty.

    Raises
    ------
    OSError
        When the disk is full, say.
    """
    files = {}
    for tensor in iter_tensors(proto):
        ref = external_ref(tensor)
        if ref is not None and is_external(tensor):
            files[ref.location] = external_path(tensor, folder)
    for location, source in files.items():
        copy = target / location
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)
        copy.chmod(0o600)


def patch_tensor(tensor: TensorProto, folder: Path | None, array: Array) -> None:
    """Overwrite an external tensor's bytes in its file.

    Parameters
    ----------
    tensor
        External, of an element type of at least a byte. Not modified.
    folder
        Folder of a working copy.
    array
        Of the tensor's shape and element type. Not modified.

    Raises
    ------
    ModelError
        When shape or size differ from the tensor's.
    """
    if array.shape != tuple(tensor.dims) or array.nbytes != raw_size(tensor):
        raise ModelError(
            f"tensor {tensor.name!r} of shape {list(tensor.dims)} has {raw_size(tensor)} bytes "
            f"and cannot take {array.nbytes} of shape {list(array.shape)}; convert the array first"
        )
    ref = external_ref(tensor)
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    with external_path(tensor, folder).open("r+b") as file:
        file.seek(0 if ref is None else ref.offset)
        file.write(np.ascontiguousarray(little).reshape(-1).view(np.uint8).data)


def external_bytes(proto: ModelProto) -> int:
    """Return the bytes of all external tensors of a model."""
    return sum(raw_size(tensor) for tensor in iter_tensors(proto) if is_external(tensor))


def stored_bytes(tensor: TensorProto) -> int:
    """Return the bytes that a tensor takes, in its external file or in the model."""
    return raw_size(tensor) if is_external(tensor) else int(tensor.ByteSize())


def shared_places(proto: ModelProto) -> frozenset[ExternalRef]:
    """Return the places in external files that overlap the place of another tensor."""
    by_file: dict[str, list[tuple[int, int, ExternalRef]]] = {}
    for tensor in iter_tensors(proto):
        ref = external_ref(tensor)
        if ref is not None and is_external(tensor):
            place = ref.offset, ref.offset + raw_size(tensor), ref
            by_file.setdefault(str(Path(ref.location)), []).append(place)
    shared: set[ExternalRef] = set()
    for places in by_file.values():
        places.sort(key=lambda place: place[:2])
        end, last = 0, None
        for begin, stop, ref in places:
            if last is not None and begin < end:
                shared |= {ref, last}
            if stop >= end:
                end, last = stop, ref
    return frozenset(shared)
