"""What the dense network has where the pruned one is calibrated, noted in one pass ahead of it.

Of every batch, and of every layer behind another one, the observations that calibration will
read are kept: the layer's inputs, or its own outputs where those are fewer. So the dense network
runs as a whole, and none of its activations is carried from stage to stage.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from onnx_lobs.arrays import Array, Feeds
from onnx_lobs.calibration.kept import KeptObservations
from onnx_lobs.calibration.notes import DenseObservations, Note, key_of
from onnx_lobs.calibration.reading import Reading
from onnx_lobs.calibration.shared_inputs import SharedInput
from onnx_lobs.graph.model import Model, outer_names
from onnx_lobs.graph.run.arena import release_memory
from onnx_lobs.graph.run.session import Session
from onnx_lobs.graph.run.staged import cuts
from onnx_lobs.graph.run.stages import Stage, cut, stage_session
from onnx_lobs.layers.layer import Use
from onnx_lobs.linalg.workers import map_batches
from onnx_lobs.memory.store import Overlay, Store, Values


class DensePass:
    """Runs the dense network over all batches and notes what calibration will aim at.

    Parameters
    ----------
    dense
        Execution copy; it must not change.
    readings
        Of all groups that are calibrated, in graph order. Those that no earlier one can change the
        inputs of need no note, nor do tied ones.
    types
        Element type of every tap, by scope and name.
    provider
        Full name of an execution provider.
    store
        Where the notes are kept, and values between stages.
    kept
        Notes for other runs too.
    most_weights, most_noted
        Bytes of weights in one session and of notes that it makes; with more, the network runs in
        stages, each just before it is needed.

    Notes
    -----
    Nothing runs before it is needed. Cost: one forward pass, and a second one of the first batch
    where the notes are too many. Memory: per layer 4 bytes for each observation and each input
    of the layer, or output if those are fewer, until :meth:`forget`, as far as `store` lets them;
    with several stages also the values that are live between two of them.
    """

    def __init__(
        self,
        dense: Model,
        readings: Sequence[Reading],
        types: Mapping[tuple[int, str], int],
        *,
        provider: str,
        store: Store,
        kept: KeptObservations | None = None,
        most_weights: int = sys.maxsize,
        most_noted: int = sys.maxsize,
    ) -> None:
        self.dense, self.types, self.provider, self.store = dense, types, provider, store
        self.most_noted = most_noted
        self.kept = KeptObservations(0) if kept is None else kept
        changing = _changing(dense, [reading.group for reading in readings])
        self._notes = {
            key_of(reading.group.uses[0]): Note(dense, reading, types)
            for reading in readings
            if _reads(dense, reading.group) & changing and not reading.group.is_tied
        }
        self._ends = list(_by_weights(dense, list(self._notes.values()), most_weights))
        self._parts = _cut(dense, self._ends)
        self._values: list[Values] = []
        self._written: list[Values] = []
        self._gone: set[str] = set()
        made = {name for node in dense.main.graph.node for name in node.output}
        self._inputs = {name for part in self._parts for name in part.reads} - made

    def take(self, feeds: Feeds) -> None:
        """Remember a batch, the next one."""
        self._values.append(self.store.new())
        self._values[-1].add({name: feeds[name] for name in feeds if name in self._inputs})
        self._written.append(self.store.new())

    def reach(self, groups: Iterable[SharedInput]) -> None:
        """See to it that :meth:`seen` knows what it is asked for of these groups."""
        wanted = {key_of(group.uses[0]) for group in groups} & set(self._notes)
        while any(note.key in wanted for part in self._parts for note in part.notes):
            too_many = [] if self._is_kept(self._parts) else self._run(self._parts[0])
            if too_many:
                self._split(too_many)
            else:
                del self._parts[0]

    def seen(self, use: Use, batch: int) -> DenseObservations | None:
        """Return what a use had on a batch; None: the same as in the pruned network."""
        note = self._notes.get(key_of(use))
        if note is None:
            return None
        data = self.kept.find(note.key, batch)
        return note.restore(self._written[batch][note.key] if data is None else data)

    def forget(self, groups: Iterable[SharedInput]) -> None:
        """Free what was noted of these groups."""
        self._gone |= {key_of(group.uses[0]) for group in groups}
        for written in self._written:
            written.keep([name for name in written if name not in self._gone])

    def close(self) -> None:
        """Free everything but what is kept for other runs."""
        for values in (*self._values, *self._written):
            values.keep(())

    def _is_kept(self, parts: Sequence[_Part]) -> bool:
        keys = [note.key for part in parts for note in part.notes]
        batches = range(len(self._values))
        return all(self.kept.find(key, batch) is not None for key in keys for batch in batches)

    def _run(self, part: _Part) -> list[int]:
        """Run a stage over all batches; or return the bytes of each note, if they are too many."""
        later = {name for other in self._parts[1:] for name in other.reads}
        session: Session | None = None
        for batch, values in enumerate(self._values):
            if session is None and part.stage.nodes:
                session = stage_session(
                    self.dense, part.stage, values, self.provider, part.taps, self.types
                )
            made = {} if session is None else session.run(values)
            shown = Overlay(made, values)
            found = map_batches(partial(Note.read, batch=batch, shown=shown), part.notes)
            if batch == 0 and part.is_divisible:
                sizes = [data.nbytes * len(self._values) for data in found]
                if sum(sizes) > self.most_noted:
                    return sizes
            self._write(batch, part.notes, found)
            values.keep(later)
            values.add({name: made[name] for name in made if name in later})
        del session
        release_memory()  # a batch of taps
        return []

    def _write(self, batch: int, notes: Sequence[Note], found: Sequence[Array]) -> None:
        """Keep the notes of a batch, unless they are kept already, or needed no more."""
        for note, data in zip(notes, found, strict=True):
            is_kept = self.kept.find(note.key, batch) is not None
            is_kept = is_kept or self.kept.keep(note.key, batch, data)
            if not is_kept and note.key not in self._gone:
                self._written[batch].add({note.key: data})

    def _split(self, bytes_of_each: Sequence[int]) -> None:
        """Cut the next stage into several that each note no more than they may."""
        done = len(self._ends) - len(self._parts)
        end, notes = self._ends[done]
        sizes = dict(zip(notes, bytes_of_each, strict=True))
        parts: list[list[Note]] = []
        used = 0
        for _, some in groupby(notes, key=lambda note: note.use.top):  # of one node, not to be cut
            members = list(some)
            size = sum(sizes[note] for note in members)
            if not parts or used + size > self.most_noted:
                parts.append([])
                used = 0
            parts[-1] += members
            used += size
        ends = [*(part[0].use.top for part in parts[1:]), end]
        self._ends[done : done + 1] = list(zip(ends, parts, strict=True))
        self._parts = _cut(self.dense, self._ends)[done:]


@dataclass(frozen=True)
class _Part:
    """A stage of the dense network and what is noted there."""

    stage: Stage
    notes: tuple[Note, ...]

    @property
    def taps(self) -> list[tuple[int, str]]:
        """The values inside branches that are noted, by scope and name."""
        return sorted({note.name for note in self.notes if note.name[0]})

    @property
    def is_divisible(self) -> bool:
        """Whether its notes are of several nodes."""
        return len({note.use.top for note in self.notes}) > 1

    @property
    def reads(self) -> set[str]:
        """The values that must be there before it runs."""
        shown = {name for scope, name in (note.name for note in self.notes) if scope == 0}
        return {*self.stage.inputs, *(shown - set(self.stage.outputs))}


def _by_weights(
    dense: Model, notes: Sequence[Note], most_weights: int
) -> Iterator[tuple[int, list[Note]]]:
    """Yield the nodes before which stages end, and the notes whose layers are in each."""
    found: dict[int, list[Note]] = {}
    ends = [*cuts(dense, most_weights), len(dense.main.graph.node)]
    for note in notes:
        found.setdefault(next(end for end in ends if note.use.top < end), []).append(note)
    yield from sorted(found.items())


def _cut(dense: Model, ends: Sequence[tuple[int, Sequence[Note]]]) -> list[_Part]:
    """Return the stages that end before some nodes, in their order."""
    stops = {end: {_name_outside(dense, note) for note in notes} for end, notes in ends}
    stages = cut(dense, stops) if stops else ()
    return [_Part(stage, tuple(notes)) for stage, (_, notes) in zip(stages, ends, strict=True)]


def _name_outside(dense: Model, note: Note) -> str:
    """Return the top-level value that must be there for a note: of a branch, its node's."""
    scope, name = note.name
    if scope:
        name = next(filter(None, dense.main.graph.node[note.use.top].output))
    return name


def _changing(dense: Model, groups: Sequence[SharedInput]) -> set[str]:
    """Return the top-level values that change when the weights of the groups do."""
    tops = {use.top for group in groups for layer in group.layers for use in layer.uses}
    changing: set[str] = set()
    for index, node in enumerate(dense.main.graph.node):
        if index in tops or outer_names(node) & changing:
            changing.update(name for name in node.output if name)
    return changing


def _reads(dense: Model, group: SharedInput) -> set[str]:
    """Return the top-level values that the first use of a group depends on directly."""
    use = group.uses[0]
    return set(outer_names(dense.main.graph.node[use.top])) if use.scope else {use.input}
