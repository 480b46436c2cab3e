"""Reading calibration data from files and folders, and finding them beside a model."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from onnx_lobs.arrays import Array
from onnx_lobs.data.archive import BROKEN_ARRAYS, read_archive
from onnx_lobs.data.fit import LABEL_NAMES
from onnx_lobs.errors import DataError, ModelError, near_file
from onnx_lobs.graph.files.regular import regular_size, shown
from onnx_lobs.graph.files.tensors import read_tensor

ARRAY_SUFFIXES = (".npz", ".npy")
BROKEN: tuple[type[Exception], ...] = (OSError, ModelError, DecodeError, *BROKEN_ARRAYS)
_TEST_SETS = "test_data_set_*"


def read_arrays(path: Path) -> dict[str, Array]:
    """Read an npz file, or an npy file under its stem; nothing is ever unpickled.

    An npy file is mapped into memory, not read, and so are large arrays of an npz file that is
    not compressed (numpy.savez).

    Raises
    ------
    DataError
        When the file is missing, damaged, or holds Python objects.

    Notes
    -----
    Memory is taken for what is there, whatever sizes a file states.
    """
    with _reading(path):
        if path.suffix.lower() == ".npy":
            return {path.stem: np.load(path, mmap_mode="r", allow_pickle=False)}
        with zipfile.ZipFile(path) as archive:  # np.load would guess another format
            return read_archive(path, archive)


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
    for path in numbered(folder.glob("input_*.pb")):
        with _reading(path):
            tensor = onnx.TensorProto.FromString(path.read_bytes())
            tensors.append((tensor.name, read_tensor(tensor, None)))
    if {name for name, _ in tensors} == set(names):
        return dict(tensors)
    # Tensors too many keep a name that `fit` will report.
    places = [*names, *(f"input_{i}" for i in range(len(names), len(tensors)))]
    return {name: array for name, (_, array) in zip(places, tensors, strict=False)}


def list_test_sets(folder: Path) -> list[Path]:
    """Return the ``test_data_set_*`` folders in `folder`, by number, or `folder` if it is one."""
    if any(folder.glob("input_*.pb")):
        return [folder]
    return numbered(path for path in folder.glob(_TEST_SETS) if path.is_dir())


def list_files(folder: Path) -> list[Path]:
    """Return what lies in `folder`, by number and name.

    Raises
    ------
    DataError
        When it cannot be read.
    """
    try:
        paths = list(folder.iterdir())
    except OSError as error:
        raise DataError(
            f"the folder {folder} cannot be read ({error.strerror}); check its permissions"
        ) from error
    return numbered(paths)


def find_beside(model_path: Path) -> Path | None:
    """Return calibration data that lie beside a model, or None.

    In this order: ``{stem}.npz``, ``{stem}_calibration.npz``, ``calibration.npz``, and the
    model's folder if it holds ``test_data_set_*`` folders. Whether they fit the model is
    not looked at.
    """
    stem, folder = model_path.stem, model_path.parent
    for name in (f"{stem}.npz", f"{stem}_calibration.npz", "calibration.npz"):
        if os.path.isfile(folder / name):  # no error where the name is too long
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
        if os.path.isfile(path):
            with _reading(path), zipfile.ZipFile(path) as archive:
                stems = {member.removesuffix(".npy") for member in archive.namelist()}
            if stems.intersection(LABEL_NAMES[:2]):
                return path
    return None


def numbered(paths: Iterable[Path]) -> list[Path]:
    """Sort so that 2 comes before 10."""
    return sorted(paths, key=lambda path: _number_key(path.name))


def _number_key(name: str) -> list[tuple[int, str]]:
    return [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)
    ]


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Map what NumPy, zipfile and protobuf raise on a file to DataError.

    Pipes and devices are refused before they are opened.
    """
    try:
        regular_size(path)
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; check the path{near_file(path)}") from error
    except BROKEN as error:
        lines = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(
            f"{shown(path)} cannot be read ({lines.splitlines()[0]}); write it anew, e.g. with "
            "numpy.savez, and without Python objects"
        ) from error
