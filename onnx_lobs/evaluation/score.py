"""Scores a network on data: higher is better, with a standard error where samples count."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from onnx_lobs.arrays import Array, FloatArray
from onnx_lobs.data.batches import Batches
from onnx_lobs.errors import DataError
from onnx_lobs.evaluation.output import Outputs
from onnx_lobs.graph.run.staged import Runnable

Tick = Callable[[int], None]


@dataclass(frozen=True, eq=False)
class MeasuredScore:
    """A score: its value, and what each sample contributed if it is a mean over samples."""

    value: float
    outcomes: FloatArray | None = None

    @property
    def n(self) -> int:
        """Samples that the value is the mean of; 0 if it is no such mean."""
        return 0 if self.outcomes is None else len(self.outcomes)

    @property
    def standard_error(self) -> float | None:
        """Standard error of the mean: sqrt(p(1 - p)/n) for shares of hits; None if unknown."""
        return standard_error(self.outcomes)


def differences(before: MeasuredScore, after: MeasuredScore) -> FloatArray | None:
    """Return what each of at least two samples lost, if both scores are means over the same ones.

    Samples that both models get right, or both wrong, lose 0, so they do not add to the error.
    """
    if before.outcomes is None or after.outcomes is None or before.n != after.n or before.n < 2:
        return None
    return before.outcomes - after.outcomes


def mean_over(outcomes: FloatArray) -> MeasuredScore:
    """Return the score that is the mean of what the samples contribute.

    NaN is what a sample contributes for which neither network gives anything: they agree there.

    Raises
    ------
    DataError
        When there are none, or only such.
    """
    is_empty = np.isnan(outcomes)
    if is_empty.all():
        raise DataError("the model gave no output that could be scored; give other data")
    outcomes = np.where(is_empty, 1.0, outcomes)
    return MeasuredScore(float(outcomes.mean()), outcomes)


def standard_error(outcomes: FloatArray | None) -> float | None:
    """Return the standard error of the mean; None for fewer than two outcomes."""
    if outcomes is None or len(outcomes) < 2:
        return None
    return float(outcomes.std() / math.sqrt(len(outcomes)))


@dataclass(frozen=True)
class DenseOutputs:
    """The outputs of a network on batches, computed anew on every iteration."""

    model: Runnable
    batches: Batches

    def __iter__(self) -> Iterator[Outputs]:
        return map(self.model.run, self.batches)


class Score(Protocol):
    """Something that a network is judged by.

    It may need batches (``needs_data``), labels with them (``needs_labels``), and the outputs
    of the dense network (``needs_reference``); ``is_fraction``: it is a share of samples.
    """

    @property
    def name(self) -> str:
        """What the user calls it."""

    @property
    def needs_data(self) -> bool:
        """Whether it needs batches."""

    @property
    def needs_labels(self) -> bool:
        """Whether the batches must have labels."""

    @property
    def needs_reference(self) -> bool:
        """Whether it compares with the dense network."""

    @property
    def is_fraction(self) -> bool:
        """Whether it is a share between 0 and 1, shown in per cent."""

    def compute(
        self,
        model: Runnable,
        batches: Batches | None,
        reference: Iterable[Outputs] | None = None,
        tick: Tick = lambda n: None,
    ) -> MeasuredScore:
        """Return the score of `model`.

        Parameters
        ----------
        model
            Whole or in stages.
        batches
            Data that fit it; None only where the score needs none.
        reference
            The dense network's outputs of each batch; None: `model` is that network.
        tick
            Told of every call of the model.

        Raises
        ------
        DataError
            When the outputs or the labels are not what this score is made for.
        ScoreError
            When the user's own function fails.
        """


def check_labels(score: Score, batches: Batches) -> None:
    """Raise DataError when a score needs labels that the data do not have."""
    if score.needs_labels and batches.labels is None:
        raise DataError(
            f"the test set {batches.origin} has no labels; add an array `label`, which score "
            f"{score.name!r} needs"
        )


@dataclass(frozen=True, eq=False)
class ScoredBatch:
    """One batch: what the network gives, what the dense one gives, the labels, the size."""

    outputs: Outputs
    expected: Outputs
    labels: Array | None
    size: int


@dataclass(frozen=True)
class SampledScore:
    """A score that is a mean over samples.

    Parameters
    ----------
    name
        What the user calls it.
    outcomes
        Returns what each sample of a batch contributes.
    needs_labels
        Whether `outcomes` reads labels.
    needs_reference
        Whether it reads the dense network's outputs.
    is_fraction
        Whether it is a share between 0 and 1.
    """

    name: str
    outcomes: Callable[[ScoredBatch], FloatArray]
    needs_labels: bool = False
    needs_reference: bool = False
    is_fraction: bool = True
    needs_data = True

    def compute(
        self,
        model: Runnable,
        batches: Batches | None,
        reference: Iterable[Outputs] | None = None,
        tick: Tick = lambda n: None,
    ) -> MeasuredScore:
        """Return the mean over the samples, see :meth:`Score.compute`. One forward pass."""
        assert batches is not None
        check_labels(self, batches)
        parts = []
        expected = None if reference is None else iter(reference)
        for (feeds, labels), size in zip(batches.labelled(), batches.sizes, strict=True):
            outputs = model.run(feeds)
            known = outputs if expected is None else next(expected)
            parts.append(self.outcomes(ScoredBatch(outputs, known, labels, size)))
            tick(1)
        return mean_over(np.concatenate(parts))
