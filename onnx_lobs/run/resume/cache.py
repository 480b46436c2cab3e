"""A folder of results that later runs may use: written at once or not at all, never trusted.

An entry is one file: a line with the SHA-256 of the rest, then an npz archive of arrays and of
one JSON record, which repeats the key. No entry can hold code. What does not agree with its
checksum or its key is reported and computed anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.data.archive import BROKEN_ARRAYS, read_archive
from onnx_lobs.errors import ConfigError
from onnx_lobs.graph.files.regular import regular_size, shown

Found = TypeVar("Found")
_UNSOUND: tuple[type[Exception], ...] = (OSError, *BROKEN_ARRAYS)

_MAGIC = b"onnx-lobs cache 2 "
_HEADER = len(_MAGIC) + 64 + 1  # bytes before the archive
_RECORD = "record"
_TEMPORARY = ".tmp-"
_STALE = 3600.0  # seconds after which a file half-written by a killed run is removed
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Entry:
    """What is kept under one key: arrays by name, and a record of plain values."""

    arrays: dict[str, Array]
    record: dict[str, Any]


class Cache:
    """Entries by key in a folder, which several runs may share.

    Parameters
    ----------
    folder
        Made if it does not exist.

    Raises
    ------
    ConfigError
        When the folder cannot be made or is not writable.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.warnings: list[str] = []
        self.hits = 0
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=self.folder).cleanup()
        except (OSError, ValueError) as error:  # ValueError: a name with a NUL
            reason = getattr(error, "strerror", None) or str(error)
            raise ConfigError(
                f"the cache folder {shown(self.folder)} is not writable ({reason}); choose "
                "another with --cache"
            ) from error
        self._remove_stale()

    def load(self, key: str) -> Entry | None:
        """Return an entry, or None, with a warning if there is one that is not sound."""
        return self.find(key, lambda entry: entry)

    def find(self, key: str, make: Callable[[Entry], Found]) -> Found | None:
        """Return what is made of an entry, or None, with a warning if it is not sound.

        `make` raises KeyError, TypeError or ValueError for an entry that is none of its kind.
        """
        path = self._path(key)
        try:
            regular_size(path)  # no pipe and no device, which would be read for ever
            with path.open("rb") as file:
                found = make(_read(file, key))
        except FileNotFoundError:
            return None
        except _UNSOUND as error:
            self.warnings.append(
                f"cache entry {path.name} is damaged or foreign ({error}); it was not used, "
                "and what it should hold was computed anew"
            )
            return None
        self.hits += 1
        return found

    def save(self, key: str, entry: Entry) -> None:
        """Keep an entry under a key, whole or not at all; a full disk is a warning."""
        number, name = -1, ""
        try:
            number, name = tempfile.mkstemp(prefix=_TEMPORARY, dir=self.folder)
            with os.fdopen(number, "w+b") as file:
                _write(file, key, entry)
            os.replace(name, self._path(key))
        except OSError as error:
            self.warnings.append(
                f"the cache folder {self.folder} cannot be written to ({error}); a later run "
                "computes anew what is missing"
            )
        finally:
            if name:
                Path(name).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.npz"

    def _remove_stale(self) -> None:
        for path in self.folder.glob(f"{_TEMPORARY}*"):
            try:
                if time.time() - path.stat().st_mtime > _STALE:
                    path.unlink()
            except OSError:  # another run was quicker
                continue


def _write(file: BinaryIO, key: str, entry: Entry) -> None:
    plain = {"key": key, "arrays": _described(entry.arrays), "record": entry.record}
    record = json.dumps(plain).encode()
    file.write(bytes(_HEADER))
    arrays: Mapping[str, Any] = {_RECORD: np.frombuffer(record, np.uint8), **entry.arrays}
    np.savez(file, **arrays)
    digest = _digest(file)
    file.seek(0)
    file.write(_MAGIC + digest.encode() + b"\n")


def _described(arrays: Mapping[str, Array]) -> dict[str, list[Any]]:
    """Return type and shape of arrays, so that one that is missing is missed."""
    return {name: [array.dtype.str, list(array.shape)] for name, array in arrays.items()}


def _read(file: BinaryIO, key: str) -> Entry:
    header = file.read(_HEADER)
    if header != _MAGIC + _digest(file).encode() + b"\n":
        raise ValueError("its checksum does not agree")
    file.seek(_HEADER)
    with zipfile.ZipFile(file) as archive:
        arrays = read_archive(Path(file.name), archive, mapped=False)
    plain = json.loads(arrays.pop(_RECORD).tobytes())
    if plain["key"] != key:
        raise ValueError("it belongs to another key")
    if plain["arrays"] != _described(arrays):
        raise ValueError("it holds other arrays than it says")
    return Entry(arrays, plain["record"])


def _digest(file: BinaryIO) -> str:
    """Return the hash of all that follows the header."""
    file.seek(_HEADER)
    hasher = hashlib.sha256()
    while piece := file.read(_CHUNK):
        hasher.update(piece)
    return hasher.hexdigest()
