"""Holds what the cache knows of a run with given zeros: its solved layers and its Grams."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.calibration.shared_inputs import SharedInput
from onnx_lobs.layers.layer import Layer
from onnx_lobs.linalg.gram import Gram
from onnx_lobs.linalg.moments import Calibration, Moments
from onnx_lobs.report.record import LayerRecord
from onnx_lobs.run.layer_step import UNTOUCHED, Solved
from onnx_lobs.run.resume.cache import Cache, Entry
from onnx_lobs.run.resume.fingerprint import digest
from onnx_lobs.run.resume.plain import build, whole_number
from onnx_lobs.run.slots import layer_key
from onnx_lobs.run.zeros import Zeros


@dataclass(frozen=True)
class BaseKeys:
    """What the keys of a run begin with, for its layers and for its Grams."""

    layers: str
    moments: str


class Known:
    """Solved layers and Grams of one run, in a cache; without one, nothing is known.

    Parameters
    ----------
    cache
        Where they are, or None.
    base
        Hashes of all that they depend on, but zeros and other layers.
    zeros
        Of every layer, by its key.
    in_order
        Whether a layer depends on those solved before it. Its key then holds their weights.
    """

    def __init__(
        self, cache: Cache | None, base: BaseKeys, zeros: Zeros, *, in_order: bool
    ) -> None:
        self.cache, self.base, self.zeros, self.in_order = cache, base, zeros, in_order
        self._found: dict[str, Solved] = {}
        self._moments: dict[str, Calibration] = {}
        self._top = -1
        self._before: list[str] = []
        self._pending: list[str] = []

    @classmethod
    def nothing(cls) -> Known:
        """Return what is known without a cache."""
        return cls(None, BaseKeys("", ""), {}, in_order=False)

    def is_known(self, shared: SharedInput) -> bool:
        """Whether all layers of a shared input, the next to be solved, are solved already."""
        return all(self.solved(shared, layer) is not None for layer in shared.layers)

    def solved(self, shared: SharedInput, layer: Layer) -> Solved | None:
        """Return a layer as an earlier run solved it."""
        if self.cache is None:
            return None
        key = self._key(shared, layer)
        if key not in self._found:
            found = self.cache.find(key, lambda entry: _to_solved(entry, layer))
            if found is None:
                return None
            self._found[key] = found
        return self._found[key]

    def note(self, shared: SharedInput, layer: Layer, solved: Solved) -> None:
        """Keep a layer that was solved, or taken from here; the next ones depend on it."""
        if self.cache is None:
            return
        key = self._key(shared, layer)
        if self._found.pop(key, None) is None:
            self.cache.save(key, _from_solved(solved))
        self._pending.append(_digest(solved))

    def _key(self, shared: SharedInput, layer: Layer) -> str:
        if self.in_order and shared.top != self._top:
            self._before += self._pending
            self._pending.clear()
            self._top = shared.top
        zeros = self.zeros.get(layer_key(layer))
        return digest("layer", self.base.layers, self._before, layer_key(layer), zeros)

    def has_moments(self, shared: SharedInput, part: Sequence[SharedInput]) -> bool:
        """Whether the cache holds the moments of a shared input on the dense network.

        `part` are all those whose taps the graph showed, which decides how it was run.
        """
        return self._load_moments(shared, part) is not None

    def take_moments(self, shared: SharedInput, part: Sequence[SharedInput]) -> Calibration | None:
        """Return what :meth:`has_moments` says is there, and hold it no longer."""
        found = self._load_moments(shared, part)
        self._moments.pop(self._moments_key(shared, part), None)
        return found

    def keep_moments(
        self, shared: SharedInput, part: Sequence[SharedInput], found: Calibration
    ) -> None:
        """Keep the moments of a shared input."""
        if self.cache is not None:
            self.cache.save(self._moments_key(shared, part), _from_calibration(found))

    def _load_moments(self, shared: SharedInput, part: Sequence[SharedInput]) -> Calibration | None:
        if self.cache is None:
            return None
        key = self._moments_key(shared, part)
        if key not in self._moments:
            found = self.cache.find(key, lambda entry: _to_calibration(entry, shared))
            if found is None:
                return None
            self._moments[key] = found
        return self._moments[key]

    def _moments_key(self, shared: SharedInput, part: Sequence[SharedInput]) -> str:
        if self.cache is None:
            return ""
        taps = [_uses(other) for other in part]
        return digest("moments", self.base.moments, taps, _uses(shared))


def _uses(shared: SharedInput) -> list[tuple[object, ...]]:
    return [(use.top, use.op, use.output, repr(use.tap)) for use in shared.uses]


def _digest(solved: Solved) -> str:
    hasher = hashlib.sha256()
    for array in (solved.weight, *solved.changes):
        hasher.update(b"-" if array is None else repr((array.dtype.name, array.shape)).encode())
        if array is not None:
            hasher.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return hasher.hexdigest()


def _from_solved(solved: Solved) -> Entry:
    arrays: dict[str, Array] = {
        f"change{use}": change for use, change in enumerate(solved.changes) if change is not None
    }
    if solved.weight is not None:
        arrays["weight"] = solved.weight
    if solved.scales is not None:
        arrays["scales"] = solved.scales
    record = dataclasses.asdict(solved.record)
    return Entry(arrays, {"layer": record, "uses": len(solved.changes)})


def _to_solved(entry: Entry, layer: Layer) -> Solved:
    weight = entry.arrays.get("weight")
    if weight is not None:
        if weight.dtype.kind == "V":  # npy knows no bfloat16
            weight = weight.view(layer.dtype)
        _check(layer.chain.apply(weight), layer.layout.shape, layer.chain.dtype(layer.dtype))
    record = build(LayerRecord, entry.record["layer"])
    if (weight is None) != (record.status in UNTOUCHED):
        raise ValueError("its weights are there, or are not, and should not be so")
    if entry.record["uses"] != len(layer.uses):
        raise ValueError("it is of a layer with other uses")
    changes = tuple(entry.arrays.get(f"change{use}") for use in range(len(layer.uses)))
    for change in changes:
        if change is not None:
            _check(change.reshape(-1), (layer.layout.groups * layer.layout.rows,), change.dtype)
    scales = entry.arrays.get("scales")
    if scales is not None:
        _check(scales, (scales.size,), np.float32)
    return Solved(record, weight, changes, scales)


def _check(array: Array, shape: tuple[int, ...], dtype: object) -> None:
    """Raise ValueError unless an array has this shape and type, and is finite."""
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"it holds {array.dtype}{list(array.shape)} in place of {list(shape)}")
    if not np.isfinite(array.astype(np.float64)).all():
        raise ValueError("it holds NaN or infinity")


def _from_calibration(found: Calibration) -> Entry:
    arrays: dict[str, Array] = {}
    counts: dict[str, int] = {}
    for side, parts in (("fit", found.fit), ("held", found.held)):
        for use, moments in enumerate(parts):
            gram = moments.inputs
            counts[f"{side}{use}"] = gram.count
            if gram.count:
                arrays |= {f"{side}{use}.matrix": gram.matrix, f"{side}{use}.total": gram.total}
    return Entry(arrays, {"counts": counts})


def _to_calibration(entry: Entry, shared: SharedInput) -> Calibration:
    layout = shared.layers[0].layout
    groups, columns = layout.groups, layout.columns

    def one(name: str) -> Moments:
        count = whole_number(entry.record["counts"][name], sys.maxsize)
        if not count:
            return Moments(Gram(groups, columns))
        matrix, total = (entry.arrays[f"{name}.{key}"] for key in ("matrix", "total"))
        _check(matrix, (groups, columns, columns), np.float64)
        _check(total, (groups, columns), np.float64)
        return Moments(Gram.of(matrix, total, count))

    sides = (tuple(one(f"{side}{u}") for u in range(len(shared.uses))) for side in ("fit", "held"))
    fit, held = sides
    return Calibration(fit, held)
