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
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.errors import ConfigError

_MAGIC = b"onnx-lobs cache 1 "
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
        except OSError as error:
            raise ConfigError(
                f"the cache folder {self.folder} is not writable ({error.strerror}); choose "
                "another with --cache"
            ) from error
        self._remove_stale()

    def load(self, key: str) -> Entry | None:
        """Return an entry, or None, with a warning if there is one that is not sound."""
        path = self._path(key)
        try:
            with path.open("rb") as file:
                entry = _read(file, key)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            self.warnings.append(
                f"cache entry {path.name} is damaged or foreign ({error}); it was not used, "
                "and what it should hold was computed anew"
            )
            return None
        self.hits += 1
        return entry

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
    record = json.dumps({"key": key, **entry.record}).encode()
    file.write(bytes(_HEADER))
    arrays: Mapping[str, Any] = {_RECORD: np.frombuffer(record, np.uint8), **entry.arrays}
    np.savez(file, **arrays)
    digest = _digest(file)
    file.seek(0)
    file.write(_MAGIC + digest.encode() + b"\n")


def _read(file: BinaryIO, key: str) -> Entry:
    header = file.read(_HEADER)
    if header != _MAGIC + _digest(file).encode() + b"\n":
        raise ValueError("its checksum does not agree")
    file.seek(_HEADER)
    with np.load(file, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    record = json.loads(arrays.pop(_RECORD).tobytes())
    if record.pop("key", None) != key:
        raise ValueError("it belongs to another key")
    return Entry(arrays, record)


def _digest(file: BinaryIO) -> str:
    """Return the hash of all that follows the header."""
    file.seek(_HEADER)
    hasher = hashlib.sha256()
    while piece := file.read(_CHUNK):
        hasher.update(piece)
    return hasher.hexdigest()
