"""Scores of a network on data: higher is better, with a standard error where samples count."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from onnx_lobs.data.batches import Batches
from onnx_lobs.errors import DataError
from onnx_lobs.evaluation.output import Outputs
from onnx_lobs.evaluation.samples import (
    Floats,
    agreements,
    class_scores,
    cosines,
    n_outcomes,
    pair_up,
)
from onnx_lobs.graph.model import is_float
from onnx_lobs.graph.staged import Runnable

Array = NDArray[Any]
Tick = Callable[[int], None]


@dataclass(frozen=True, eq=False)
class Measured:
    """A score: its value, and what each sample contributed if it is a mean over samples."""

    value: float
    outcomes: Floats | None = None

    @property
    def n(self) -> int:
        """Samples that the value is the mean of; 0 if it is no such mean."""
        return 0 if self.outcomes is None else len(self.outcomes)

    @property
    def standard_error(self) -> float | None:
        """Standard error of the mean: sqrt(p(1 - p)/n) for shares of hits; None if unknown."""
        return standard_error(self.outcomes)


def differences(before: Measured, after: Measured) -> Floats | None:
    """Return what each of at least two samples lost, if both scores are means over the same ones.

    Samples that both models get right, or both wrong, lose 0, so they do not add to the error.
    """
    if before.outcomes is None or after.outcomes is None or before.n != after.n or before.n < 2:
        return None
    return before.outcomes - after.outcomes


def mean_over(outcomes: Floats) -> Measured:
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
    return Measured(float(outcomes.mean()), outcomes)


def standard_error(outcomes: Floats | None) -> float | None:
    """Return the standard error of the mean; None for fewer than two outcomes."""
    if outcomes is None or len(outcomes) < 2:
        return None
    return float(outcomes.std() / math.sqrt(len(outcomes)))


@dataclass(frozen=True)
class Reference:
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
    ) -> Measured:
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
class Seen:
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
    outcomes: Callable[[Seen], Floats]
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
    ) -> Measured:
        """Return the mean over the samples, see :meth:`Score.compute`. One forward pass."""
        assert batches is not None
        check_labels(self, batches)
        parts = []
        expected = None if reference is None else iter(reference)
        for (feeds, labels), size in zip(batches.labelled(), batches.sizes, strict=True):
            outputs = model.run(feeds)
            known = outputs if expected is None else next(expected)
            parts.append(self.outcomes(Seen(outputs, known, labels, size)))
            tick(1)
        return mean_over(np.concatenate(parts))


def _hits(seen: Seen, k: int) -> Floats:
    """Return 1 for every sample whose label is among the `k` best classes, else 0.

    Of equal scores the class with the smaller index is better, as argmax has it; a sample with
    a NaN score is no hit.
    """
    scores = find_scores(seen.outputs)
    labels = class_indices(seen.labels, *scores.shape)
    if k > 1 and scores.shape[1] <= k:
        raise DataError(
            f"the model has {scores.shape[1]} classes, so top{k} is always met; score with top1"
        )
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    rank = ((scores > own) | ((scores == own) & earlier)).sum(axis=1)
    hits: Floats = ((rank < k) & ~np.isnan(scores).any(axis=1)).astype(np.float64)
    return hits


def find_scores(outputs: Outputs) -> Array:
    """Return the class scores: the first floating output of shape (samples, classes).

    There must be two classes or more; axes of size 1 may follow.

    Raises
    ------
    DataError
        When there is no such output.
    """
    for value in outputs.values():
        scores = class_scores(value)
        if scores is not None:
            return scores
    shapes = ", ".join(f"{name} {np.shape(value)}" for name, value in outputs.items())
    raise DataError(
        f"no output of shape (samples, classes) to score; the model gives {shapes}; "
        "score with agreement, cosine or a function of your own (--score FILE.py:FUNCTION)"
    )


def class_indices(labels: Array | None, n_scores: int, n_classes: int) -> NDArray[np.int64]:
    """Return labels as (n_scores,) class indices.

    Raises
    ------
    DataError
        When their number is another, or one is no index below `n_classes`.
    """
    assert labels is not None
    if labels.size != n_scores:
        raise DataError(
            f"the test set has {labels.size} labels of shape {labels.shape} where the model "
            f"gives {n_scores} scores; give one label per sample"
        )
    if labels.dtype.kind not in "iub" and not (
        labels.dtype.kind == "f" and (labels == np.floor(labels)).all()
    ):
        raise DataError(f"the labels are {labels.dtype}; give class indices, counted from 0")
    flat = labels.reshape(-1)
    bad = flat[(flat < 0) | (flat >= n_classes)]
    if bad.size:
        raise DataError(
            f"label {bad[0]} is no class index: the model has {n_classes} classes, counted from 0"
        )
    return flat.astype(np.int64)


def _agreement(seen: Seen) -> Floats:
    floats_first = sorted(seen.expected.items(), key=lambda item: not _is_floating(item[1]))
    for name, value in floats_first:  # integers are often inputs that are passed on
        shares = agreements(value, seen.outputs[name], seen.size)
        if shares is not None:
            return shares if shares.size else _nothing(value, seen)
    names = ", ".join(seen.expected)
    raise DataError(f"no output chooses a class ({names}), so none can agree; score with cosine")


def _cosine(seen: Seen) -> Floats:
    parts = []
    for name, value in seen.expected.items():
        other = seen.outputs[name]
        if _is_floating(value):
            same = value.shape == other.shape
            if not same:
                parts.append(np.zeros(n_outcomes(value, seen.size)))
            elif value.size:
                parts.append(cosines(pair_up(value, other), seen.size))
            else:
                parts.append(_nothing(value, seen))
    if not parts:
        raise DataError("the model has no floating output to compare; score with agreement")
    if len({len(part) for part in parts}) > 1:
        parts = [part.mean(keepdims=True) for part in parts]
    known = [part for part in parts if not np.isnan(part).any()]
    means: Floats = np.mean(known or parts, axis=0)
    return means


def _nothing(value: Array, seen: Seen) -> Floats:
    """Return what the samples contribute for which two outputs are empty, as :func:`mean_over`."""
    return np.full(n_outcomes(value, seen.size), np.nan)


def _is_floating(value: object) -> bool:
    return isinstance(value, np.ndarray) and is_float(value.dtype)


SCORES: dict[str, Score] = {
    "top1": SampledScore("top1", lambda seen: _hits(seen, 1), needs_labels=True),
    "top5": SampledScore("top5", lambda seen: _hits(seen, 5), needs_labels=True),
    "agreement": SampledScore("agreement", _agreement, needs_reference=True),
    "cosine": SampledScore("cosine", _cosine, needs_reference=True, is_fraction=False),
}
