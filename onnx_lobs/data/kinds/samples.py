"""Makes batches of samples that are read one by one, whenever they are needed.

What a sample is stored as, pixels of one byte for instance, is kept in memory up to a limit, so
that small sets are decoded once. Larger ones are decoded again on every pass.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from onnx_lobs.arrays import Array, IntArray
from onnx_lobs.data.batches import Batches, chosen_rows
from onnx_lobs.data.columns import Table
from onnx_lobs.data.fit import fit
from onnx_lobs.data.kinds.request import Request

KEPT_BYTES = 1 << 28  # of samples as they are stored: 1,700 pictures of 224 x 224
Sample = Mapping[str, Array]


def stacked(samples: Sequence[Sample]) -> dict[str, Array]:
    """Return samples of equal shapes as one batch."""
    return {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}


@dataclass(frozen=True, eq=False)
class SampleSource:
    """Samples that are read one by one.

    Parameters
    ----------
    name
        What they are called in messages and in the record of a run.
    count
        How many there are.
    read
        Returns sample ``i`` as ``{name: array}`` without an axis for the batch; the same values
        each time.
    sides
        Arrays that each batch has beside its samples: ``<input>.scale``, or inputs given whole.
    labels
        (count, ...), or None.
    is_grouped
        Whether samples that lie side by side are of one kind, as in folders of classes. They are
        mixed then, by the seed, so that no batch holds one kind only.
    notes
        What the user had better know.
    join
        Makes a batch of samples.
    files
        Of each sample, where it has one of its own.
    """

    name: str
    count: int
    read: Callable[[int], Sample]
    sides: Mapping[str, Array] = field(default_factory=dict)
    labels: Array | None = None
    is_grouped: bool = False
    notes: tuple[str, ...] = ()
    join: Callable[[Sequence[Sample]], dict[str, Array]] = stacked
    files: tuple[str, ...] = ()


def sampled_batches(source: SampleSource, request: Request) -> Batches:
    """Return batches of a source; all that will be used is read and checked once here.

    A seeded random subset is taken where fewer samples are asked for than there are; it keeps their
    order, unless they are grouped.

    Raises
    ------
    DataError
        When a sample cannot be read or does not fit the model.

    Notes
    -----
    Memory: one batch, and :data:`KEPT_BYTES`.
    """
    drawer = _Drawer(source)

    def table(rows: IntArray) -> Table:
        arrays = source.join([drawer.take(int(row)) for row in rows])
        return fit({**arrays, **source.sides}, request.inputs, where=source.name, whole=False)

    fixed = table(np.zeros(1, np.int64)).fixed(source.name)
    rows = chosen_rows(source.count, request.samples, fixed, request.seed, source.name)
    if source.is_grouped:
        rows = np.random.default_rng(request.seed).permutation(rows)

    def cut_up(size: int) -> Batches:
        cuts = [rows[start : start + size] for start in range(0, len(rows), size)]
        for cut in cuts:
            table(cut).check(slice(None), source.name)
        of = "" if len(rows) == source.count else f" of {source.count}"
        return Batches(
            load=lambda i: table(cuts[i]).take(slice(None)),
            sizes=tuple(map(len, cuts)),
            origin=f"{source.name} ({len(rows)}{of} samples)",
            labels=None if source.labels is None else source.labels[rows],
            recut=None if fixed else cut_up,
            notes=source.notes,
            numbers=rows,
            files=source.files,
        )

    return cut_up(fixed or request.batch_size)


class _Drawer:
    """Keeps samples in memory as long as there is room; the others are read again."""

    def __init__(self, source: SampleSource) -> None:
        self._source = source
        self._kept: dict[int, Sample] = {}
        self._left = KEPT_BYTES
        self._lock = threading.Lock()

    def take(self, row: int) -> Sample:
        """Return a sample; do not write into it."""
        found = self._kept.get(row)
        if found is not None:
            return found
        sample = self._source.read(row)
        n_bytes = sum(value.nbytes for value in sample.values())
        with self._lock:
            if n_bytes <= self._left and row not in self._kept:
                self._kept[row] = sample
                self._left -= n_bytes
        return sample
