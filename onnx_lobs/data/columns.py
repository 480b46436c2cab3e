"""Named arrays fitted to a model's inputs: stored as given, converted when taken.

A :class:`Table` is one stack of samples: a :class:`Column` per input, and the labels. What
is stored stays as it came (uint8 stays uint8); only the rows that are taken become the
model's dtype.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.data.inputs import DType, InputSpec, kind
from onnx_lobs.data.reading import Reading
from onnx_lobs.errors import DataError

Rows = slice | Array


@dataclass(frozen=True, eq=False)
class Column:
    """The samples of one input: ``stored * scale + offset`` in the dtype of `spec`.

    Parameters
    ----------
    spec
        The input.
    reading
        The array as it was given, and which of its axes counts samples.
    scale, offset
        Arrays that broadcast against it, or None.
    """

    spec: InputSpec
    reading: Reading
    scale: Array | None = None
    offset: Array | None = None

    @property
    def fixed(self) -> int | None:
        """The number of samples in every batch where the model fixes it, else None."""
        axis, shape = self.reading.axis, self.spec.shape
        if axis is None or shape is None:
            return None
        if self.reading.is_single:
            return 1
        size = shape[axis]
        return size if isinstance(size, int) else None

    def take(self, rows: Rows) -> Array:
        """Return the samples `rows` in the model's dtype, C-contiguous; a view if possible.

        Where the model takes one sample a call, `rows` names one.
        """
        part = self._converted(rows)
        return part[0] if self.reading.is_single else part

    def _converted(self, rows: Rows) -> Array:
        """Return some samples with their axis, in the model's dtype."""
        part = self._part(rows)
        target = self.spec.dtype
        if self.scale is not None or self.offset is not None:
            wide = np.float64 if target == np.float64 else np.float32
            part = part.astype(wide)
            part = part if self.scale is None else part * self.scale.astype(wide)
            part = part if self.offset is None else part + self.offset.astype(wide)
        with np.errstate(over="ignore", invalid="ignore"):  # `check` has reported these
            return np.asarray(part, dtype=target, order="C")

    def check(self, rows: Rows, where: str) -> None:
        """Raise DataError when a value in `rows` is NaN, infinite or does not fit the dtype."""
        target = kind(self.spec.dtype)
        part = self._part(rows)
        if target in ("float", "complex"):
            # The values as the model gets them, so an overflow of float16 is seen too.
            bad = ~np.isfinite(self._converted(rows))
            what = f"NaN or infinity as {self.spec.dtype}"
            remedy = "remove that sample, or rescale the data into the type's range"
        elif kind(part.dtype) == "int" and part.dtype != self.spec.dtype:
            low, high = (0, 1) if target == "bool" else integer_limits(self.spec.dtype)
            bad = (part < low) | (part > high)
            what = f"a value outside [{low}, {high}] of {self.spec.dtype}"
            remedy = "correct that sample"
        else:
            return
        if bad.any():
            bad = np.atleast_1d(np.moveaxis(bad, self.reading.axis or 0, 0) if bad.ndim else bad)
            first = int(np.argmax(bad.reshape(len(bad), -1).any(axis=1)))
            sample = first + (rows.start or 0) if isinstance(rows, slice) else int(rows[first])
            raise DataError(
                f"{where}: {self.spec.name!r} holds {what} in sample {sample}; {remedy}"
            )

    def _part(self, rows: Rows) -> Array:
        stored, axis = self.reading.stored, self.reading.axis
        _forget(stored)
        return stored if axis is None else stored[(slice(None),) * axis + (rows,)]


@dataclass(frozen=True, eq=False)
class Table:
    """One stack of samples: a column per input of the model, and the labels if any.

    ``is_whole``: it is a batch that the model takes as it is.
    """

    columns: tuple[Column, ...]
    labels: Array | None
    n_samples: int
    is_whole: bool = False

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to the data that the user had better know."""
        return tuple(
            f"the samples of input {c.spec.name!r} lay along the first axis and were put along "
            f"axis {c.reading.axis}, where the model has them"
            for c in self.columns
            if c.reading.is_moved
        )

    def fixed(self, where: str) -> int | None:
        """Return the number of samples in every batch where the model fixes it, else None.

        Raises
        ------
        DataError
            When two inputs fix it differently.
        """
        fixed = {c.fixed: c for c in self.columns if c.fixed is not None}
        if len(fixed) > 1:
            (a, of_a), (b, of_b), *_ = fixed.items()
            raise DataError(
                f"{where}: the model fixes {_axis_words(of_a)} of {of_a.spec.name!r} at {a} and of "
                f"{of_b.spec.name!r} at {b}, so a stack cannot be cut; give batches (a folder of "
                "npz files, an iterable of dicts)"
            )
        return next(iter(fixed), None)

    def take(self, rows: Rows) -> dict[str, Array]:
        """Return ``{input: the samples in rows}`` in the model's dtypes."""
        return {column.spec.name: column.take(rows) for column in self.columns}

    def check(self, rows: Rows, where: str) -> None:
        """Raise DataError when a value in `rows` cannot be fed to the model."""
        for column in self.columns:
            column.check(rows, where)


def _axis_words(column: Column) -> str:
    axis = column.reading.axis
    return f"axis {axis}" if axis else "the first axis"


def _forget(stored: Array) -> None:
    """Let the pages of a mapped file that were read before leave this process's memory.

    Not of one that is mapped to be changed in memory only (mode ``c``): its changes would leave.
    """
    source: object = stored
    while isinstance(source, np.ndarray):
        if isinstance(source, np.memmap) and source.mode == "c":
            return
        source = source.base
    if isinstance(source, mmap.mmap) and hasattr(source, "madvise"):
        source.madvise(mmap.MADV_DONTNEED)


def integer_limits(dtype: DType) -> tuple[int, int]:
    """Return the least and the greatest integer of a dtype, ml_dtypes' among them."""
    info = ml_dtypes.iinfo(dtype)  # type: ignore[no-untyped-call]
    return int(info.min), int(info.max)
