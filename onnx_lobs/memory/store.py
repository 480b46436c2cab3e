"""The values between two stages, for every batch: in memory up to a budget, then in files.

What is no longer needed is freed at once, so that the store holds what is live at one cut of
the graph and no more.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.memory.scratch import Scratch, writing

SMALL = 1 << 12  # bytes; what is smaller stays in memory


class Store:
    """Makes the :class:`Values` of batches and decides where each array is kept.

    Parameters
    ----------
    budget
        Bytes of arrays to be kept in memory; the rest goes to files.
    scratch
        Where the files are made.
    within
        A store whose budget holds for this one's arrays too.
    """

    def __init__(self, budget: int, scratch: Scratch, within: Store | None = None) -> None:
        self.budget = budget
        self.scratch = scratch
        self.in_memory = 0
        self.in_files = 0
        self._within = within

    def part(self, share: int) -> Store:
        """Return a store that may fill one part in `share` of this one."""
        return Store(self.budget // share, self.scratch, self)

    def count(self, in_memory: int = 0, in_files: int = 0) -> None:
        """Note bytes that are kept now, or, if negative, no longer."""
        self.in_memory += in_memory
        self.in_files += in_files
        if self._within is not None:
            self._within.count(in_memory, in_files)

    def has_room(self, size: int) -> bool:
        """Whether an array of `size` bytes may stay in memory."""
        fits = self.in_memory + size <= self.budget
        return fits and (self._within is None or self._within.has_room(size))

    def new(self) -> Values:
        """Return the values of one batch, none yet."""
        return Values(self)

    def put(self, value: Array) -> _Held | _Filed:
        """Keep an array, which the caller must not change any more."""
        # a value may also be a sequence, which only stays in memory
        size = int(getattr(value, "nbytes", 0))
        fits = size <= SMALL or self.has_room(size)
        return _Held(self, value, size) if fits or _has_objects(value) else _Filed(self, value)


class Values(Mapping[str, Array]):
    """The live values of one batch by name; an array in a file is mapped when it is asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: dict[str, _Held | _Filed] = {}

    def __getitem__(self, name: str) -> Array:
        return self._kept[name].load()

    def __contains__(self, name: object) -> bool:
        return name in self._kept  # without loading it

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, names: Collection[str]) -> None:
        """Free all values but those named."""
        for name in [name for name in self._kept if name not in names]:
            self._kept.pop(name).free()

    def add(self, made: Mapping[str, Array]) -> None:
        """Keep new values; one that is there under that name is replaced."""
        for name, value in made.items():
            if name in self._kept:
                self._kept.pop(name).free()
            self._kept[name] = self._store.put(value)


class Overlay(Mapping[str, Array]):
    """The values of `upper`, and those of `lower` that `upper` does not have; nothing is loaded."""

    def __init__(self, upper: Mapping[str, Array], lower: Mapping[str, Array]) -> None:
        self._upper, self._lower = upper, lower

    def __getitem__(self, name: str) -> Array:
        return self._upper[name] if name in self._upper else self._lower[name]

    def __contains__(self, name: object) -> bool:
        return name in self._upper or name in self._lower

    def __iter__(self) -> Iterator[str]:
        return iter({**dict.fromkeys(self._upper), **dict.fromkeys(self._lower)})

    def __len__(self) -> int:
        return len({*self._upper, *self._lower})


class _Held:
    """An array in memory."""

    def __init__(self, store: Store, value: Array, size: int) -> None:
        self._store, self._value, self._size = store, value, size
        store.count(in_memory=size)

    def load(self) -> Array:
        return self._value

    def free(self) -> None:
        self._store.count(in_memory=-self._size)


class _Filed:
    """An array in a npy file."""

    def __init__(self, store: Store, value: Array) -> None:
        self._store, self._dtype, self._size = store, value.dtype, value.nbytes
        self._path: Path = store.scratch.new_file()
        self._mapped: weakref.ref[Array] | None = None
        with writing(store.scratch.base), self._path.open("xb") as file:
            np.save(file, value, allow_pickle=False)
        store.count(in_files=self._size)

    def load(self) -> Array:
        """Return the array; the same object as long as anybody holds it."""
        mapped = None if self._mapped is None else self._mapped()
        if mapped is None:
            stored = np.load(self._path, mmap_mode="r", allow_pickle=False)
            mapped = np.asarray(stored).view(self._dtype)  # npy knows no bfloat16
            self._mapped = weakref.ref(mapped)
        return mapped

    def free(self) -> None:
        with suppress(PermissionError):  # Windows keeps what is still mapped; it goes at the end
            self._path.unlink(missing_ok=True)
        self._store.count(in_files=-self._size)


def bytes_of(value: Any) -> int:
    """Return the bytes of what onnxruntime gives: an array, or a list or dict of values."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return sum(map(bytes_of, value))
    return int(getattr(value, "nbytes", 0))


def _has_objects(value: Array) -> bool:
    return not isinstance(value, np.ndarray) or value.dtype.hasobject
