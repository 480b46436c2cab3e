"""Reading calibration data from files and folders, and finding them beside a model."""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from onnx_lobs.arrays import Array
from onnx_lobs.data.fit import LABEL_NAMES
from onnx_lobs.errors import DataError

MAPPED_BYTES = 1 << 20  # arrays of an npz file from this size on are mapped
_NAME_LENGTHS, _LOCAL_HEADER = 26, 30  # of a file in a zip archive: where, and how many bytes
ARRAY_SUFFIXES = (".npz", ".npy")
_TEST_SETS = "test_data_set_*"


def read_arrays(path: Path) -> dict[str, Array]:
    """Read an npz file, or an npy file under its stem; nothing is ever unpickled.

    An npy file is mapped into memory, not read, and so are large arrays of an npz file that is
    not compressed (numpy.savez).

    Raises
    ------
    DataError
        When the file is missing, damaged, or holds Python objects.
    """
    with _reading(path):
        if path.suffix.lower() == ".npy":
            return {path.stem: np.load(path, mmap_mode="r", allow_pickle=False)}
        with zipfile.ZipFile(path) as members:  # np.load would guess another format
            mapped = _map_members(path, members)
        with np.load(path, allow_pickle=False) as archive:
            found = {n: mapped[n] if n in mapped else archive[n] for n in archive.files}
    # np.load answers bytes for members that are no arrays.
    return {name: array for name, array in found.items() if isinstance(array, np.ndarray)}


def _map_members(path: Path, archive: zipfile.ZipFile) -> dict[str, Array]:
    """Map the large arrays that lie in an npz file as they are, by name."""
    found: dict[str, Array] = {}
    for member in archive.infolist():
        is_plain = member.compress_type == zipfile.ZIP_STORED and not member.flag_bits & 1
        if not is_plain or member.file_size < MAPPED_BYTES or member.filename[-4:] != ".npy":
            continue
        with path.open("rb") as file:
            file.seek(member.header_offset + _NAME_LENGTHS)
            lengths = struct.unpack("<HH", file.read(4))
            file.seek(member.header_offset + _LOCAL_HEADER + sum(lengths))
            is_first = np.lib.format.read_magic(file) == (1, 0)
            read_header = np.lib.format.read_array_header_1_0
            shape, fortran, dtype = (
                read_header if is_first else np.lib.format.read_array_header_2_0
            )(file)
            if not dtype.hasobject:  # np.load refuses objects, and says why
                order: Literal["F", "C"] = "F" if fortran else "C"
                name = member.filename.removesuffix(".npy")
                found[name] = np.memmap(file, dtype, "r", file.tell(), shape, order)
    return found


def read_test_set(folder: Path, names: Sequence[str]) -> dict[str, Array]:
    """Read ``input_0.pb``, ``input_1.pb`` ... of a ``test_data_set_*`` folder.

    Parameters
    ----------
    folder
        A folder in ONNX's convention.
    names
        The model's inputs in order. The tensors' own names are used if they are these, as
        a set; else the file's number is the input's place, which is the convention.

    Raises
    ------
    DataError
        When a file is damaged or holds no tensor.
    """
    tensors = []
    for path in _numbered(folder.glob("input_*.pb")):
        with _reading(path):
            tensor = onnx.load_tensor(path)
            tensors.append((tensor.name, onnx.numpy_helper.to_array(tensor)))
    if {name for name, _ in tensors} == set(names):
        return dict(tensors)
    # Tensors too many keep a name that `fit` will report.
    places = [*names, *(f"input_{i}" for i in range(len(names), len(tensors)))]
    return {name: array for name, (_, array) in zip(places, tensors, strict=False)}


def list_test_sets(folder: Path) -> list[Path]:
    """Return the ``test_data_set_*`` folders in `folder`, by number, or `folder` if it is one."""
    if any(folder.glob("input_*.pb")):
        return [folder]
    return _numbered(path for path in folder.glob(_TEST_SETS) if path.is_dir())


def list_array_files(folder: Path) -> list[Path]:
    """Return the npz and npy files in `folder`, by number and name."""
    with _reading(folder):
        paths = list(folder.iterdir())
    return _numbered(path for path in paths if path.suffix.lower() in ARRAY_SUFFIXES)


def find_beside(model_path: Path) -> Path | None:
    """Return calibration data that lie beside a model, or None.

    In this order: ``{stem}.npz``, ``{stem}_calibration.npz``, ``calibration.npz``, and the
    model's folder if it holds ``test_data_set_*`` folders. Whether they fit the model is
    not looked at.
    """
    stem, folder = model_path.stem, model_path.parent
    for name in (f"{stem}.npz", f"{stem}_calibration.npz", "calibration.npz"):
        if (folder / name).is_file():
            return folder / name
    return folder if any(path.is_dir() for path in folder.glob(_TEST_SETS)) else None


def find_test_beside(model_path: Path) -> Path | None:
    """Return ``{stem}_test.npz`` or ``test.npz`` beside a model if it holds labels, or None.

    Raises
    ------
    DataError
        When such a file is there and cannot be read.
    """
    for name in (f"{model_path.stem}_test.npz", "test.npz"):
        path = model_path.parent / name
        if path.is_file():
            with _reading(path), zipfile.ZipFile(path) as archive:
                stems = {member.removesuffix(".npy") for member in archive.namelist()}
            if stems.intersection(LABEL_NAMES[:2]):
                return path
    return None


def _numbered(paths: Iterator[Path]) -> list[Path]:
    """Sort so that 2 comes before 10."""
    return sorted(paths, key=lambda path: _number_key(path.name))


def _number_key(name: str) -> list[tuple[int, str]]:
    return [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)
    ]


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Map what NumPy, zipfile and protobuf raise on a file to DataError."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; check the path") from error
    except (
        OSError,
        ValueError,
        TypeError,
        EOFError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
        DecodeError,
    ) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{path} cannot be read ({reason}); write it anew, e.g. with numpy.savez, and without "
            "Python objects"
        ) from error
