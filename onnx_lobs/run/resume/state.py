"""What a run takes from its cache, and what it leaves there: Grams and solved layers."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.calibration import observation_choice, options
from onnx_lobs.calibration.shared_inputs import SharedInput
from onnx_lobs.layers.layer import Layer
from onnx_lobs.linalg.gram import Gram
from onnx_lobs.linalg.moments import Calibration, Moments
from onnx_lobs.options.config import OPTIONS
from onnx_lobs.options.option import Affects, names_that_affect
from onnx_lobs.report.record import AllocationRecord, LayerRecord
from onnx_lobs.run.layer_step import Solved
from onnx_lobs.run.resume.cache import Cache, Entry
from onnx_lobs.run.resume.fingerprint import (
    data_hash,
    digest,
    model_hash,
    options_hash,
    program_hash,
)
from onnx_lobs.run.slots import layer_key
from onnx_lobs.run.workspace import Workspace

# Options that change nothing that is kept. Whether the model runs in stages depends on memory and
# is part of the keys.
_WORKING = names_that_affect(OPTIONS, Affects.RUN)
# Options that the moments of the dense network do not depend on.
_SOLVING = names_that_affect(OPTIONS, Affects.SOLVING)


@dataclass(frozen=True)
class ChosenZeros:
    """How zeros were chosen, and the kind of allocation that later choices go on with."""

    allocation: AllocationRecord
    kind: str | None


class Resume:
    """The cache of one run; without a folder for it, everything is unknown.

    Parameters
    ----------
    work
        The run. Its options name the folder.
    sequential
        Whether a layer depends on those solved before it. Its key then holds their weights.
    staged
        Whether the model runs in stages in any mode.

    Raises
    ------
    ConfigError
        When the folder cannot be written to.

    Notes
    -----
    Making it reads the whole model and all data once.
    """

    def __init__(self, work: Workspace, *, sequential: bool, staged: bool) -> None:
        self.sequential = sequential
        self._work = work
        self.cache = None if work.config.cache is None else Cache(work.config.cache)
        self._found: dict[str, Solved] = {}
        self._moments: dict[str, Calibration] = {}
        self._top = -1
        self._before: list[str] = []
        self._pending: list[str] = []
        if self.cache is None:
            return
        positions = observation_choice.CHUNK_BYTES, options.LEAST_OBSERVATIONS
        hashes = program_hash(), model_hash(work.loaded), data_hash(work.batches)
        run = (*hashes, staged, positions)
        self._solve_base = digest(run, options_hash(work.config, _WORKING))
        self._gram_base = digest(run, options_hash(work.config, (*_WORKING, *_SOLVING)))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the cache held and could not be used, and what it could not take."""
        return () if self.cache is None else tuple(self.cache.warnings)

    def plan(self) -> ChosenZeros | None:
        """Give the run the zeros that an earlier one chose, and return how, if the cache knows."""
        entry = None if self.cache is None else self.cache.load(self._plan_key())
        if entry is None:
            return None
        self._work.budgets = dict(entry.record["zeros"])
        return ChosenZeros(AllocationRecord(**entry.record["allocation"]), entry.record["kind"])

    def keep_plan(self, plan: ChosenZeros) -> None:
        """Keep the zeros of the run, which were chosen by measurement."""
        if self.cache is not None:
            chosen = {"zeros": dict(self._work.budgets), **dataclasses.asdict(plan)}
            self.cache.save(self._plan_key(), Entry({}, chosen))

    def _plan_key(self) -> str:
        config = self._work.config
        # the form in which zeros are stored decides what a budget of bytes is
        storage = config.storage if config.budget == "bytes" else None
        return digest("plan", self._solve_base, storage)

    def is_known(self, group: SharedInput) -> bool:
        """Whether all layers of a group, which is the next to be solved, are solved already."""
        return all(self.solved(group, layer) is not None for layer in group.layers)

    def solved(self, group: SharedInput, layer: Layer) -> Solved | None:
        """Return a layer as an earlier run solved it."""
        if self.cache is None:
            return None
        key = self._key(group, layer)
        if key not in self._found:
            entry = self.cache.load(key)
            if entry is None:
                return None
            self._found[key] = _to_solved(entry, layer)
        return self._found[key]

    def note(self, group: SharedInput, layer: Layer, solved: Solved) -> None:
        """Keep a layer that was solved, or taken from here; the next ones depend on it."""
        if self.cache is None:
            return
        key = self._key(group, layer)
        if self._found.pop(key, None) is None:
            self.cache.save(key, _from_solved(solved))
        self._pending.append(_digest(solved))

    def _key(self, group: SharedInput, layer: Layer) -> str:
        if self.sequential and group.top != self._top:
            self._before += self._pending
            self._pending.clear()
            self._top = group.top
        zeros = self._work.budgets.get(layer_key(layer))
        return digest("layer", self._solve_base, self._before, layer_key(layer), zeros)

    def has_moments(self, group: SharedInput, part: Sequence[SharedInput]) -> bool:
        """Whether the cache holds the moments that a group has on the dense network.

        `part` are all groups whose taps the graph showed, which decides how it was run.
        """
        return self._load_moments(group, part) is not None

    def moments(self, group: SharedInput, part: Sequence[SharedInput]) -> Calibration | None:
        """Return what :meth:`has_moments` says is there; only once."""
        self._load_moments(group, part)
        return self._moments.pop(self._moments_key(group, part), None)

    def keep_moments(
        self, group: SharedInput, part: Sequence[SharedInput], found: Calibration
    ) -> None:
        """Keep the moments of a group."""
        if self.cache is not None:
            self.cache.save(self._moments_key(group, part), _from_calibration(found))

    def _load_moments(self, group: SharedInput, part: Sequence[SharedInput]) -> Calibration | None:
        if self.cache is None:
            return None
        key = self._moments_key(group, part)
        if key not in self._moments:
            entry = self.cache.load(key)
            if entry is None:
                return None
            self._moments[key] = _to_calibration(entry, group)
        return self._moments[key]

    def _moments_key(self, group: SharedInput, part: Sequence[SharedInput]) -> str:
        if self.cache is None:
            return ""
        taps = [_uses(other) for other in part]
        return digest("moments", self._gram_base, taps, _uses(group))


def _uses(group: SharedInput) -> list[tuple[object, ...]]:
    return [(use.top, use.op, use.output, repr(use.tap)) for use in group.uses]


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
    record = dataclasses.asdict(solved.record)
    return Entry(arrays, {"layer": record, "uses": len(solved.changes)})


def _to_solved(entry: Entry, layer: Layer) -> Solved:
    weight = entry.arrays.get("weight")
    if weight is not None and weight.dtype.kind == "V":  # npy knows no bfloat16
        weight = weight.view(layer.dtype)
    changes = tuple(entry.arrays.get(f"change{use}") for use in range(entry.record["uses"]))
    return Solved(LayerRecord(**entry.record["layer"]), weight, changes)


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


def _to_calibration(entry: Entry, group: SharedInput) -> Calibration:
    layout = group.layers[0].layout

    def one(name: str) -> Moments:
        gram = Gram(layout.groups, layout.columns)
        gram.count = int(entry.record["counts"][name])
        if gram.count:
            gram.matrix, gram.total = (entry.arrays[f"{name}.{key}"] for key in ("matrix", "total"))
        return Moments(gram)

    sides = (tuple(one(f"{side}{u}") for u in range(len(group.uses))) for side in ("fit", "held"))
    fit, held = sides
    return Calibration(fit, held)
