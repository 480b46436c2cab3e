"""Reads the arrays of an npz archive, and believes no size that it states."""

from __future__ import annotations

import io
import math
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from onnx_lobs.arrays import Array

MAPPED_BYTES = 1 << 20  # arrays of an archive from this size on are mapped
_NAME_LENGTHS, _LOCAL_HEADER = 26, 30  # of a file in a zip archive: where, and how many bytes
_MOST_DEFLATED = 1032  # times: what deflate makes of zeros, and of nothing more
_SUFFIX = ".npy"
# what NumPy and zipfile raise on files that are damaged, or were never theirs
BROKEN_ARRAYS: tuple[type[Exception], ...] = (
    ValueError,
    TypeError,
    EOFError,
    RuntimeError,  # an encrypted archive
    OverflowError,
    SyntaxError,
    KeyError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_archive(path: Path, archive: zipfile.ZipFile, *, mapped: bool = True) -> dict[str, Array]:
    """Return the arrays of an archive by name.

    Parameters
    ----------
    path
        The archive's file, which is mapped.
    archive
        Open for reading.
    mapped
        Whether large arrays that lie there as they are are mapped and not read.

    Raises
    ------
    Exception
        One of :data:`BROKEN_ARRAYS`: damaged, with Python objects, or not by numpy.savez.
    """
    found: dict[str, Array] = {}
    for member in archive.infolist():
        if not member.filename.endswith(_SUFFIX):
            continue
        _check_size(path, member)
        is_plain = member.compress_type == zipfile.ZIP_STORED and not member.flag_bits & 1
        if mapped and is_plain and member.file_size >= MAPPED_BYTES:
            array = _map(path, member)
        else:
            with archive.open(member) as stream:
                array = _read(stream, member)
        found[member.filename.removesuffix(_SUFFIX)] = array
    return found


def _check_size(path: Path, member: zipfile.ZipInfo) -> None:
    """Refuse a member that states more bytes than its part of the file can hold."""
    factors = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: _MOST_DEFLATED}
    factor = factors.get(member.compress_type)
    if factor is None:
        raise ValueError(f"{member.filename} is compressed in a way that numpy.savez never uses")
    held = min(member.compress_size, path.stat().st_size)
    if member.file_size > factor * held:
        raise ValueError(
            f"{member.filename} states {member.file_size} bytes, and {held} in the file hold at "
            f"most {factor * held}"
        )


def _map(path: Path, member: zipfile.ZipInfo) -> Array:
    """Map an array that lies in the file as it is."""
    with path.open("rb") as file:
        file.seek(member.header_offset + _NAME_LENGTHS)
        lengths = struct.unpack("<HH", file.read(4))
        file.seek(member.header_offset + _LOCAL_HEADER + sum(lengths))
        start = file.tell()
        shape, order, dtype = _header(file)
        _check_shape(member, shape, dtype, file.tell() - start)
        return np.memmap(file, dtype, "r", file.tell(), shape, order)


def _read(stream: IO[bytes], member: zipfile.ZipInfo) -> Array:
    """Read an array to its end, where zipfile checks its sum."""
    shape, order, dtype = _header(stream)
    _check_shape(member, shape, dtype, stream.tell())
    try:
        flat = np.empty(math.prod(shape), dtype)
    except MemoryError as error:
        size = member.file_size
        raise ValueError(f"{member.filename} takes {size} bytes, more than is free") from error
    left = flat.view(np.uint8).data if flat.nbytes else memoryview(b"")
    while left:
        n_bytes = stream.readinto(left)  # type: ignore[attr-defined]
        if not n_bytes:
            raise EOFError(f"{member.filename} is cut short by {len(left)} bytes")
        left = left[n_bytes:]
    stream.read(1)
    return flat.reshape(shape, order=order)


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], Literal["C", "F"], np.dtype[Any]]:
    """Return shape, order and type of the array that follows."""
    is_first = np.lib.format.read_magic(stream) == (1, 0)
    read = np.lib.format.read_array_header_1_0
    shape, is_fortran, dtype = (read if is_first else np.lib.format.read_array_header_2_0)(stream)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    return shape, "F" if is_fortran else "C", dtype


def _check_shape(
    member: zipfile.ZipInfo, shape: tuple[int, ...], dtype: np.dtype[Any], header: int
) -> None:
    """Refuse a shape that does not need just the bytes that there are."""
    needed = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or header + needed != member.file_size:
        raise ValueError(
            f"{member.filename} has {member.file_size - header} bytes, its shape "
            f"{str(shape)[:80]} of {dtype} needs {needed}"
        )


def read_npy(stream: io.BytesIO) -> Array:
    """Return the array of an npy file that is all in memory.

    Raises
    ------
    Exception
        One of :data:`BROKEN_ARRAYS`: damaged, or with Python objects.
    """
    n_bytes = stream.getbuffer().nbytes
    shape, order, dtype = _header(stream)
    needed = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or stream.tell() + needed != n_bytes:
        raise ValueError(f"it has {n_bytes - stream.tell()} bytes, and its shape needs {needed}")
    return np.frombuffer(stream.read(), dtype).reshape(shape, order=order)
