"""Finds the samples whose outputs pruning changed most, while two networks are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from onnx_lobs.arrays import Array, FloatArray
from onnx_lobs.evaluation.output import Outputs
from onnx_lobs.evaluation.samples import by_sample, choices, pair_up
from onnx_lobs.evaluation.thumbnail import thumbnail
from onnx_lobs.graph.model import is_float
from onnx_lobs.report.record import ChangedSample

MOST_SAMPLES = 12
_LONGEST_LABEL = 40  # characters


class SampleTally:
    """Keeps the samples with the largest changes, of batches that come one by one.

    Parameters
    ----------
    numbers
        The place of each sample in the data, in the order in which they come; None: counted.
    labels
        Their labels in that order, or None.
    files
        The file of each sample of the data, by its place there; empty: samples are no files.

    Attributes
    ----------
    n_seen
        How many samples came so far.
    """

    def __init__(
        self,
        numbers: Array | None = None,
        labels: Array | None = None,
        files: Sequence[str] = (),
    ) -> None:
        self._numbers, self._labels, self._files = numbers, labels, files
        self.n_seen = 0
        self._energy = 0.0
        self._worst: list[ChangedSample] = []  # with changes that are not relative yet

    def add(self, before: Outputs, after: Outputs, feeds: Mapping[str, Array], size: int) -> None:
        """Count a batch; the arrays are not modified."""
        first, self.n_seen = self.n_seen, self.n_seen + size
        change = np.zeros(size)
        for name, value in before.items():
            parts = _squares(value, after[name], size)
            if parts is not None:
                change += parts[0]
                self._energy += float(parts[1].sum())
        least = self._worst[-1].change if len(self._worst) == MOST_SAMPLES else 0.0
        chosen = _first_choices(before, after, size)
        rows = np.argsort(-change, kind="stable")[:MOST_SAMPLES]
        for row in rows[change[rows] > least]:
            number = self._number(first + int(row))
            found = ChangedSample(
                index=number,
                file=self._files[number] if self._files else None,
                change=float(change[row]),
                label=None if self._labels is None else _label(self._labels[first + row]),
                thumbnail=thumbnail(feeds, int(row), size),
            )
            if chosen is not None:
                found = replace(found, before=int(chosen[0][row]), after=int(chosen[1][row]))
            self._worst.append(found)
        self._worst = sorted(self._worst, key=lambda one: -one.change)[:MOST_SAMPLES]

    def result(self) -> tuple[ChangedSample, ...]:
        """Return the samples whose outputs changed most, the largest change first."""
        mean = self._energy / self.n_seen if self.n_seen else 0.0
        return tuple(replace(one, change=one.change / mean) for one in self._worst if mean)

    def _number(self, position: int) -> int:
        return position if self._numbers is None else int(self._numbers[position])


def _squares(before: object, after: object, size: int) -> tuple[FloatArray, FloatArray] | None:
    """Return each sample's sum of squared changes and of squares, or None where none has its own.

    That is so where an output is not floating, its shape changed, or its first axis does not count
    samples.
    """
    if not isinstance(before, np.ndarray) or not isinstance(after, np.ndarray):
        return None
    if before.shape != after.shape or not (is_float(before.dtype) and is_float(after.dtype)):
        return None
    pair = pair_up(before, after)
    change = by_sample(np.square(pair.after - pair.before), size).sum(axis=1)
    energy = by_sample(np.square(pair.before), size).sum(axis=1)
    return (change, energy) if len(change) == size and before.size else None


def _first_choices(before: Outputs, after: Outputs, size: int) -> tuple[Array, Array] | None:
    """Return what each sample chose in the first output that chooses one class, or None."""
    for name, value in before.items():
        if isinstance(value, np.ndarray) and is_float(value.dtype):
            pair = choices(value), choices(after[name])
            if pair[0] is not None and pair[1] is not None and pair[0].shape == (size,):
                return (pair[0], pair[1]) if pair[1].shape == (size,) else None
    return None


def _label(label: Array) -> str:
    text = str(label)
    return text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 3]}..."
