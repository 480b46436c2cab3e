"""Opens ``FILE.py:FUNCTION``, which yields batches and is called for each pass over the data."""

from __future__ import annotations

import inspect
import itertools
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.data.batches import Batches, Item, given_batches
from onnx_lobs.data.kinds.request import Place, Request
from onnx_lobs.data.python_batch import copied, name_arrays
from onnx_lobs.data.user_code import UserCode, find_function
from onnx_lobs.errors import ConfigError, DataError

_FORMS = "write `def batches(): yield {'input': array}`"
_NAME = re.compile(r"\.py:[^:/\\]*$")


def find_script(place: Place) -> tuple[Path, ...]:
    """Return the path that names a function, as it was given, or nothing."""
    return place.files if not place.is_folder and _NAME.search(str(place.root)) else ()


def script_file(path: Path) -> Path:
    """Return the file of ``FILE.py:FUNCTION``."""
    return Path(str(path).rpartition(":")[0])


def open_script(place: Place, request: Request) -> Batches:
    """Return the batches that a function yields; one is in memory at a time.

    It takes nothing and yields what :func:`onnx_lobs.data.python_batch.name_arrays` knows: feeds
    by name, or (feeds, labels). It must yield the same each time that it is called.

    Raises
    ------
    ConfigError
        When there is no such function, or it takes arguments.
    DataError
        When it raises, what it yields does not fit, or differs on another pass.
    """
    text = str(place.root)
    function, folder = find_function(text, "data", _FORMS, DataError)
    _check_form(function, text)
    replay = _Replay(function, text, folder)

    def read(i: int) -> dict[str, Array]:
        where = f"{text}, batch {i}"
        return copied(name_arrays(replay.get(i), request.inputs, where), where)

    items = (
        Item(f"{text}, batch {i}", partial(read, i))
        for i in itertools.takewhile(replay.has, itertools.count())
    )
    return given_batches(items, request.inputs, name=text, samples=request.samples)


def _check_form(function: Callable[..., Any], text: str) -> None:
    parameters = inspect.signature(function).parameters.values()
    needed = [
        p.name
        for p in parameters
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if needed:
        raise ConfigError(
            f"data {text!r} takes {', '.join(needed)}; it must take nothing: {_FORMS}"
        )


class _Replay:
    """Gives batch ``i`` of what a function yields; goes on where it is, or calls it anew."""

    def __init__(self, function: Callable[[], Iterable[Any]], text: str, folder: Path) -> None:
        self._function, self._text, self._folder = function, text, folder
        self._iterator: Iterator[Any] = iter(())
        self._last: tuple[int, Any] = (-1, None)
        self._sums: list[int] = []
        self._is_over = True

    def has(self, i: int) -> bool:
        """Whether there is a batch ``i``."""
        return self._reach(i)

    def get(self, i: int) -> Any:
        """Return batch ``i``."""
        if not self._reach(i):
            raise self._changed(f"yields {self._last[0] + 1} batches")
        return self._last[1]

    def _reach(self, i: int) -> bool:
        if self._last[0] == i:
            return True
        if self._is_over or self._last[0] > i:
            self._restart()
        while self._last[0] < i:
            if not self._step():
                return False
        return True

    def _restart(self) -> None:
        with self._code():
            self._iterator = iter(self._function())
        self._last, self._is_over = (-1, None), False

    def _step(self) -> bool:
        """Take the next batch; False at the end."""
        place = self._last[0] + 1
        with self._code():
            batch = next(self._iterator, None)
        if batch is None:
            self._is_over = True
            return False
        found = _sum(batch)
        if place == len(self._sums):
            self._sums.append(found)
        elif self._sums[place] != found:
            raise self._changed(f"yields another batch {place}")
        self._last = (place, batch)
        return True

    def _changed(self, what: str) -> DataError:
        return DataError(
            f"data {self._text} {what} when it is called again; each pass over the data calls it, "
            "so seed what is random in it"
        )

    def _code(self) -> UserCode:
        return UserCode(f"data {self._text}", self._folder, DataError)


def _sum(batch: Any) -> int:
    """Return a check sum of arrays in any nesting."""
    if isinstance(batch, dict):
        batch = [part for name in sorted(batch, key=str) for part in (str(name), batch[name])]
    if isinstance(batch, list | tuple):
        return zlib.crc32(repr([_sum(part) for part in batch]).encode())
    if isinstance(batch, str):
        return zlib.crc32(batch.encode())
    array = np.asarray(batch)
    held = repr(array.tolist()).encode() if array.dtype.hasobject else array.tobytes()
    return zlib.crc32(held, zlib.crc32(repr((array.shape, array.dtype.str)).encode()))
