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
from onnx_lobs.errors import DataError

Rows = slice | Array


@dataclass(frozen=True, eq=False)
class Column:
    """The samples of one input: ``stored * scale + offset`` in the dtype of `spec`.

    Parameters
    ----------
    spec
        The input.
    stored
        (n, ...) array as it was given, or one of rank 0, which every batch gets whole.
    scale, offset
        Arrays that broadcast against `stored`, or None.
    """

    spec: InputSpec
    stored: Array
    scale: Array | None = None
    offset: Array | None = None

    def take(self, rows: Rows) -> Array:
        """Return the samples `rows` in the model's dtype, C-contiguous; a view if possible."""
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
            bad = ~np.isfinite(self.take(rows))
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
            bad = np.atleast_1d(bad)
            first = int(np.argmax(bad.reshape(len(bad), -1).any(axis=1)))
            sample = first + (rows.start or 0) if isinstance(rows, slice) else int(rows[first])
            raise DataError(
                f"{where}: {self.spec.name!r} holds {what} in sample {sample}; {remedy}"
            )

    def _part(self, rows: Rows) -> Array:
        _forget(self.stored)
        return self.stored[rows] if self.stored.ndim else self.stored


@dataclass(frozen=True, eq=False)
class Table:
    """One stack of samples: a column per input of the model, and the labels if any."""

    columns: tuple[Column, ...]
    labels: Array | None
    n_samples: int

    def take(self, rows: Rows) -> dict[str, Array]:
        """Return ``{input: the samples in rows}`` in the model's dtypes."""
        return {column.spec.name: column.take(rows) for column in self.columns}

    def check(self, rows: Rows, where: str) -> None:
        """Raise DataError when a value in `rows` cannot be fed to the model."""
        for column in self.columns:
            column.check(rows, where)


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
