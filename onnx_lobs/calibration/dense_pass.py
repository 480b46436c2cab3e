"""What the dense network has where the pruned one is calibrated, noted in one pass ahead of it.

Of every batch, and of every layer behind another one, the columns of data that calibration will
read are kept: the layer's inputs, or its own outputs where those are fewer. So the dense network
runs as a whole, and none of its activations is carried from stage to stage.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from onnx_lobs.calibration.groups import Group
from onnx_lobs.calibration.kept import KeptColumns
from onnx_lobs.calibration.reading import Reading
from onnx_lobs.graph.arena import release_memory
from onnx_lobs.graph.model import Model, outer_names
from onnx_lobs.graph.session import Session
from onnx_lobs.graph.staged import cuts
from onnx_lobs.graph.stages import Stage, cut, stage_session
from onnx_lobs.graph.taps import tap_name
from onnx_lobs.layers.bias import bias_values
from onnx_lobs.layers.layer import Layer, Use
from onnx_lobs.linalg.workers import map_batches
from onnx_lobs.memory.store import Overlay, Store, Values

Array = NDArray[Any]
Feeds = Mapping[str, Array]

# rows per column, up to which outputs cost no more than inputs: 2 n m d flops against 3 n d²
MOST_ROWS = 1.5
WIDE_TYPES = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)  # others round sums


@dataclass(frozen=True)
class Seen:
    """Columns of data of the dense network: what a use read there, or what it gave.

    ``data`` is (groups, n, columns), or (groups, n, rows) if it ``is_output``: the pre-activations
    without the bias.
    """

    data: Array
    is_output: bool

    @property
    def count(self) -> int:
        """Number of columns of data."""
        return int(self.data.shape[1])


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
    where the notes are too many. Memory: per layer 4 bytes for each column of data and each input
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
        kept: KeptColumns | None = None,
        most_weights: int = sys.maxsize,
        most_noted: int = sys.maxsize,
    ) -> None:
        self.dense, self.types, self.provider, self.store = dense, types, provider, store
        self.most_noted = most_noted
        self.kept = KeptColumns(0) if kept is None else kept
        changing = _changing(dense, [reading.group for reading in readings])
        self._notes = {
            _key(reading.group.uses[0]): _Note(dense, reading, types)
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

    def reach(self, groups: Iterable[Group]) -> None:
        """See to it that :meth:`seen` knows what it is asked for of these groups."""
        wanted = {_key(group.uses[0]) for group in groups} & set(self._notes)
        while any(note.key in wanted for part in self._parts for note in part.notes):
            if self._is_kept(self._parts) or self._run(self._parts[0]):
                del self._parts[0]
            else:
                self._split()

    def seen(self, use: Use, batch: int) -> Seen | None:
        """Return what a use had on a batch; None: the same as in the pruned network."""
        note = self._notes.get(_key(use))
        if note is None:
            return None
        data = self.kept.find(note.key, batch)
        return note.restore(self._written[batch][note.key] if data is None else data)

    def forget(self, groups: Iterable[Group]) -> None:
        """Free what was noted of these groups."""
        self._gone |= {_key(group.uses[0]) for group in groups}
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

    def _run(self, part: _Part) -> bool:
        """Run a stage over all batches, or return False if that would note too much."""
        later = {name for other in self._parts[1:] for name in other.reads}
        session: Session | None = None
        for batch, values in enumerate(self._values):
            if session is None and part.stage.nodes:
                session = stage_session(
                    self.dense, part.stage, values, self.provider, part.taps, self.types
                )
            made = {} if session is None else session.run(values)
            shown = Overlay(made, values)
            found = map_batches(partial(_Note.read, batch=batch, shown=shown), part.notes)
            if batch == 0 and part.is_divisible:
                self._sizes = [data.nbytes * len(self._values) for data in found]
                if sum(self._sizes) > self.most_noted:
                    return False
            self._write(batch, part.notes, found)
            values.keep(later)
            values.add({name: made[name] for name in made if name in later})
        del session
        release_memory()  # a batch of taps
        return True

    def _write(self, batch: int, notes: Sequence[_Note], found: Sequence[Array]) -> None:
        """Keep the notes of a batch, unless they are kept already, or needed no more."""
        for note, data in zip(notes, found, strict=True):
            is_kept = self.kept.find(note.key, batch) is not None
            is_kept = is_kept or self.kept.keep(note.key, batch, data)
            if not is_kept and note.key not in self._gone:
                self._written[batch].add({note.key: data})

    def _split(self) -> None:
        """Cut the next stage into several that each note no more than they may."""
        done = len(self._ends) - len(self._parts)
        end, notes = self._ends[done]
        sizes = dict(zip(notes, self._sizes, strict=True))
        parts: list[list[_Note]] = []
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


class _Note:
    """How the columns of data of one group are taken from the network's values."""

    def __init__(
        self, dense: Model, reading: Reading, types: Mapping[tuple[int, str], int]
    ) -> None:
        self.reading = reading
        self.use = reading.group.uses[0]
        self.key = _key(self.use)
        self.is_output = _gives_outputs(reading.group, types)
        self.is_conv = self.use.unfold is not None
        self._bias = _bias(dense, reading.group.layers[0]) if self.is_output else None

    @property
    def name(self) -> tuple[int, str]:
        """The value to be shown, by scope and name."""
        return (0, self.use.output) if self.is_output else (self.use.scope, self.use.input)

    def read(self, batch: int, shown: Feeds) -> Array:
        """Return the columns of data as they are stored: of convolutions, each in one run."""
        values = shown[tap_name(*self.name)]
        if values.size == 0:  # of a branch that is not taken
            return np.empty((self.use.groups, 0, 0), values.dtype)
        if not self.is_output:
            return self._columns(
                batch, values, self.use.output_sizes(values.shape), self.use.columns
            )
        sizes = values.shape[2:] if self.is_conv else ()
        outputs = self._columns(batch, values, sizes, self.use.outputs)
        if self._bias is not None:
            outputs -= self._bias
        return outputs

    def _columns(
        self,
        batch: int,
        values: Array,
        sizes: tuple[int, ...],
        columns: Callable[..., Array],
    ) -> Array:
        pieces = self.reading.pieces(self.use, len(values) if values.ndim else 1, sizes, batch)
        found = [columns(values[piece], chosen) for piece, chosen in pieces]
        if not self.is_conv:
            return found[0]
        turned = [some.swapaxes(1, 2) for some in found]
        return turned[0] if len(turned) == 1 else np.concatenate(turned, axis=2)

    def restore(self, stored: Array) -> Seen:
        """Return what :meth:`read` stored."""
        return Seen(stored.swapaxes(1, 2) if self.is_conv else stored, self.is_output)


@dataclass(frozen=True)
class _Part:
    """A stage of the dense network and what is noted there."""

    stage: Stage
    notes: tuple[_Note, ...]

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
    dense: Model, notes: Sequence[_Note], most_weights: int
) -> Iterator[tuple[int, list[_Note]]]:
    """Yield the nodes before which stages end, and the notes whose layers are in each."""
    found: dict[int, list[_Note]] = {}
    ends = [*cuts(dense, most_weights), len(dense.main.graph.node)]
    for note in notes:
        found.setdefault(next(end for end in ends if note.use.top < end), []).append(note)
    yield from sorted(found.items())


def _cut(dense: Model, ends: Sequence[tuple[int, Sequence[_Note]]]) -> list[_Part]:
    """Return the stages that end before some nodes, in their order."""
    stops = {end: {_name_outside(dense, note) for note in notes} for end, notes in ends}
    stages = cut(dense, stops) if stops else ()
    return [_Part(stage, tuple(notes)) for stage, (_, notes) in zip(stages, ends, strict=True)]


def _name_outside(dense: Model, note: _Note) -> str:
    """Return the top-level value that must be there for a note: of a branch, its node's."""
    scope, name = note.name
    if scope:
        name = next(filter(None, dense.main.graph.node[note.use.top].output))
    return name


def _changing(dense: Model, groups: Sequence[Group]) -> set[str]:
    """Return the top-level values that change when the weights of the groups do."""
    tops = {use.top for group in groups for layer in group.layers for use in layer.uses}
    changing: set[str] = set()
    for index, node in enumerate(dense.main.graph.node):
        if index in tops or outer_names(node) & changing:
            changing.update(name for name in node.output if name)
    return changing


def _reads(dense: Model, group: Group) -> set[str]:
    """Return the top-level values that the first use of a group depends on directly."""
    use = group.uses[0]
    return set(outer_names(dense.main.graph.node[use.top])) if use.scope else {use.input}


def _key(use: Use) -> str:
    return f"{use.scope}:{use.output}"


def _gives_outputs(group: Group, types: Mapping[tuple[int, str], int]) -> bool:
    """Whether a layer's own outputs are noted: they are W z in full precision, and no more."""
    use, layout = group.uses[0], group.layers[0].layout
    if use.scope or len(group.layers) > 1 or layout.rows > MOST_ROWS * layout.columns:
        return False
    if types[use.scope, use.input] not in WIDE_TYPES:
        return False
    if use.op in ("Conv", "ConvTranspose"):
        return use.bias is not None
    return (
        use.op == "MatMul" and not use.transposed and layout.groups == 1 and len(layout.shape) == 2
    )


def _bias(dense: Model, layer: Layer) -> Array | None:
    """Return what a convolution adds to W z, (groups, rows, 1); None if nothing."""
    slot = layer.uses[0].bias
    if layer.uses[0].unfold is None or slot is None or slot.source is None:
        return None
    values = bias_values(dense, slot, np.dtype(np.float32))
    return values.reshape(layer.layout.groups, layer.layout.rows, 1)
