"""Batches that can be read again and again, cut from a stack or taken as they were given."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from onnx_lobs.arrays import Array, IntArray
from onnx_lobs.data.columns import Rows, Table
from onnx_lobs.data.fit import fit
from onnx_lobs.data.inputs import InputSpec
from onnx_lobs.errors import DataError


@dataclass(frozen=True, eq=False)
class Batches:
    """Calibration batches; every iteration gives the same batches in the same order.

    Parameters
    ----------
    load
        Returns batch ``i`` as ``{input: array}``. The arrays may be views of stored data:
        do not write into them.
    sizes
        Number of samples of each batch.
    origin
        Where the data come from, in words for people.
    synthetic
        Whether the data were made up.
    labels
        (n_samples, ...) labels in the order of the samples, or None.
    recut
        Returns the same samples, or as many that are made up, in batches of another size; None
        where they are what they are.
    notes
        What was done to the data that the user had better know.
    numbers
        The place of each sample in the data as they were given; None: the same as here.
    files
        The file of each sample of the data as they were given; empty where a sample is no file.
    places
        Of batches that were picked: their places among those that were there first; None: as here.
    """

    load: Callable[[int], dict[str, Array]]
    sizes: tuple[int, ...]
    origin: str
    synthetic: bool = False
    labels: Array | None = None
    recut: Callable[[int], Batches] | None = None
    notes: tuple[str, ...] = ()
    numbers: Array | None = None
    files: tuple[str, ...] = ()
    places: tuple[int, ...] | None = None

    @property
    def first_places(self) -> tuple[int, ...]:
        """The place of each batch among those that these were picked from at first."""
        return tuple(range(len(self.sizes))) if self.places is None else self.places

    def __iter__(self) -> Iterator[dict[str, Array]]:
        return map(self.load, range(len(self.sizes)))

    def labelled(self) -> Iterator[tuple[dict[str, Array], Array | None]]:
        """Yield every batch with its labels, or with None where there are none."""
        first = 0
        for batch, size in zip(self, self.sizes, strict=True):
            yield batch, None if self.labels is None else self.labels[first : first + size]
            first += size

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def n_samples(self) -> int:
        """Number of samples in all batches together."""
        return sum(self.sizes)

    def pick(self, indices: Iterable[int]) -> Batches:
        """Return some of the batches, in the order of `indices`."""
        chosen = [int(index) for index in indices]
        ends = np.cumsum(self.sizes)
        labels = None
        if self.labels is not None:
            parts = [self.labels[ends[i] - self.sizes[i] : ends[i]] for i in chosen]
            labels = np.concatenate(parts)
        return Batches(
            lambda i: self.load(chosen[i]),
            tuple(self.sizes[i] for i in chosen),
            f"{len(chosen)} batches of {self.origin}",
            self.synthetic,
            labels,
            notes=self.notes,
            places=tuple(self.first_places[i] for i in chosen),
        )


@dataclass(frozen=True)
class Item:
    """A batch as it was given: where it comes from, and how to get its arrays (again)."""

    where: str
    read: Callable[[], Mapping[str, Any]]


def stacked_batches(
    arrays: Mapping[str, Any],
    inputs: Sequence[InputSpec],
    *,
    name: str,
    samples: int | None,
    batch_size: int,
    seed: int,
) -> Batches:
    """Cut stacked arrays along the axis that counts samples.

    Parameters
    ----------
    arrays
        ``{name: (n, ...) array}``, see :func:`onnx_lobs.data.fit.fit`. Not modified, and
        kept in their own dtype; batches are converted when they are read.
    inputs
        The model's inputs.
    name
        What to call the data in messages and in `origin`.
    samples
        Take a seeded random subset of this many, in their order; None takes all.
    batch_size
        Samples per batch; the last may be smaller. What the model fixes wins, and then an
        incomplete last batch is dropped.
    seed
        Seeds the subset.

    Raises
    ------
    DataError
        When the arrays do not fit the inputs.
    """
    table = fit(arrays, inputs, where=name, whole=False)
    fixed = table.fixed(name)
    rows = chosen_rows(table.n_samples, samples, fixed, seed, name)
    recut = None if fixed else partial(_cut_up, table, rows, name)
    return dataclasses.replace(_cut_up(table, rows, name, fixed or batch_size), recut=recut)


def _cut_up(table: Table, rows: Array, name: str, size: int) -> Batches:
    """Return the chosen rows of a table in batches of `size`."""
    n_used = len(rows)
    step = min(size, n_used)
    cuts = [rows[start : start + step] for start in range(0, n_used, step)]
    slices = [_as_slice(cut) for cut in cuts]
    for cut in slices:
        table.check(cut, name)
    of = "" if n_used == table.n_samples else f" of {table.n_samples}"
    return Batches(
        load=lambda i: table.take(slices[i]),
        sizes=tuple(map(len, cuts)),
        origin=f"{name} ({n_used}{of} samples)",
        labels=None if table.labels is None else table.labels[rows],
        notes=table.notes,
        numbers=rows,
    )


def given_batches(
    items: Iterable[Item], inputs: Sequence[InputSpec], *, name: str, samples: int | None
) -> Batches:
    """Take batches as they were given, the first `samples` samples of them.

    Every item is read and checked here, and read again whenever it is iterated over, so
    that items read from files are never all in memory. The last batch is cut when it holds
    more samples than are left and no input fixes its number; if it cannot be cut, it is
    left out. A batch of more samples than the model takes a call is cut to fit.

    Raises
    ------
    DataError
        When an item does not fit the inputs, some items have labels and some have not, or
        there is none.
    """
    kept: list[tuple[Item, slice]] = []
    sizes: list[int] = []
    labels: list[Array | None] = []
    notes: dict[str, None] = {}
    n_left = samples
    for item in items:
        table = fit(item.read(), inputs, where=item.where, whole=True)
        pieces = _pieces(table, n_left, item.where)
        for rows, size in pieces:
            table.check(rows, item.where)
            kept.append((item, rows))
            sizes.append(size)
            labels.append(None if table.labels is None else table.labels[rows])
        notes |= dict.fromkeys(table.notes)
        taken = sum(size for _, size in pieces)
        n_left = None if n_left is None else n_left - taken
        if (not pieces and n_left is not None) or n_left == 0:
            break
    if not kept:
        raise DataError(f"{name}: no batch {_limit_words(samples)}; give at least one")

    def load(i: int) -> dict[str, Array]:
        item, rows = kept[i]
        return fit(item.read(), inputs, where=item.where, whole=True).take(rows)

    return Batches(
        load,
        tuple(sizes),
        f"{name} ({sum(sizes)} samples in {len(kept)} batches)",
        labels=_join(labels, [item.where for item, _ in kept]),
        notes=tuple(notes),
    )


def chosen_rows(
    n_samples: int, samples: int | None, fixed: int | None, seed: int, name: str
) -> IntArray:
    """Return which of `n_samples` samples are used, in their order.

    Parameters
    ----------
    samples
        Most that are used, a seeded random choice; None: all.
    fixed
        Samples that the model takes a call; an incomplete last batch is dropped. None: any.
    name
        What the data are called.

    Raises
    ------
    DataError
        When there are fewer than the model takes a call.
    """
    n_used = n_samples if samples is None else min(samples, n_samples)
    if fixed and n_used < fixed:
        raise DataError(
            f"{name}: {n_used} samples are used, but the model's batch axis is fixed at {fixed}; "
            f"give at least {fixed}"
        )
    n_used = n_used // fixed * fixed if fixed else n_used
    if samples is None or samples >= n_samples:
        return np.arange(n_used)
    return np.sort(np.random.default_rng(seed).choice(n_samples, n_used, replace=False))


def _as_slice(rows: Array) -> Rows:
    """Return the slice that `rows` is, so that taking it copies nothing, or else `rows`."""
    first, last = int(rows[0]), int(rows[-1])
    return slice(first, last + 1) if last - first + 1 == len(rows) else rows


def _pieces(table: Table, n_left: int | None, where: str) -> list[tuple[slice, int]]:
    """Return the rows and sizes of the batches to take of one that was given.

    None are taken of one that holds too many samples and stays whole.

    Raises
    ------
    DataError
        When it has fewer samples than the model takes a call.
    """
    size = table.n_samples
    wanted = size if n_left is None else min(size, n_left)
    if table.is_whole:
        if wanted == size:
            return [(slice(None), size)]
        counts = [column.reading.count for column in table.columns]
        is_cut = all(count in (None, size) for count in counts) and any(counts)
        is_fixed = any(column.fixed for column in table.columns)
        return [(slice(0, wanted), wanted)] if is_cut and not is_fixed else []
    fixed = table.fixed(where) or wanted
    if size < fixed:
        raise DataError(
            f"{where}: {size} samples, and the model takes {fixed} a call; give batches of "
            f"{fixed}, or one stacked array, which is cut to fit"
        )
    starts = range(0, wanted - fixed + 1, fixed)
    return [(slice(start, start + fixed), fixed) for start in starts]


def _limit_words(samples: int | None) -> str:
    return "was found" if samples is None else f"of at most {samples} samples was found"


def _join(labels: Sequence[Array | None], wheres: Sequence[str]) -> Array | None:
    known = [label for label in labels if label is not None]
    if not known:
        return None
    if len(known) < len(labels):
        bare = next(where for label, where in zip(labels, wheres, strict=True) if label is None)
        raise DataError(f"{bare}: labels are missing, other batches have them; add or remove them")
    for label, where in zip(known, wheres, strict=True):
        if label.shape[1:] != known[0].shape[1:]:
            raise DataError(
                f"{where}: a label has shape {label.shape[1:]}, in {wheres[0]} "
                f"{known[0].shape[1:]}; give all of one shape, or leave them out"
            )
    return np.concatenate(known)
