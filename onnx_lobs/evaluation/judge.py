"""Compare and score two networks in one pass over the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import FloatArray
from onnx_lobs.data.batches import Batches
from onnx_lobs.evaluation.changed_samples import SampleTally
from onnx_lobs.evaluation.class_scores import scores_by_class
from onnx_lobs.evaluation.judged_network import JudgedNetwork
from onnx_lobs.evaluation.output import ChangeTally, NetworkChange
from onnx_lobs.evaluation.score import (
    MeasuredScore,
    SampledScore,
    Score,
    ScoredBatch,
    check_labels,
    mean_over,
)
from onnx_lobs.report.record import Details


@dataclass(frozen=True)
class Judgement:
    """How the outputs differ, every score (before, after), and what changed most.

    The classes are those of the first score.
    """

    change: NetworkChange
    scores: tuple[tuple[MeasuredScore, MeasuredScore], ...]
    details: Details


def judge(
    dense: JudgedNetwork,
    pruned: JudgedNetwork,
    batches: Batches,
    scores: Sequence[Score],
    tick: Callable[[int], None] = lambda n: None,
) -> Judgement:
    """Compare two networks that take and give the same.

    Parameters
    ----------
    dense, pruned
        Whole or in stages. They are compared by what their outputs are judged by; scores see the
        outputs themselves.
    batches
        Data that fit both.
    scores
        What both are judged by.
    tick
        Told of every batch.

    Raises
    ------
    DataError, ScoreError
        As :meth:`onnx_lobs.evaluation.score.Score.compute`.

    Notes
    -----
    Cost: one forward pass of each, and what the user's own functions run.
    """
    sampled = [score for score in scores if isinstance(score, SampledScore)]
    for score in sampled:
        check_labels(score, batches)
    parts: dict[str, list[tuple[FloatArray, FloatArray]]] = {score.name: [] for score in sampled}
    tally, samples = ChangeTally(), SampleTally(batches.numbers, batches.labels, batches.files)
    for (feeds, labels), size in zip(batches.labelled(), batches.sizes, strict=True):
        (before, judged_before), (after, judged_after) = (
            dense.run_both(feeds),
            pruned.run_both(feeds),
        )
        tally.add(judged_before, judged_after, size)
        samples.add(judged_before, judged_after, feeds, size)
        seen = ScoredBatch(before, before, labels, size), ScoredBatch(after, before, labels, size)
        for score in sampled:
            parts[score.name].append((score.outcomes(seen[0]), score.outcomes(seen[1])))
        tick(1)
    found = {name: _join(pairs) for name, pairs in parts.items()}
    for other in scores:
        if other.name not in found:
            found[other.name] = other.compute(dense, batches), other.compute(pruned, batches)
    measured = tuple(found[score.name] for score in scores)
    classes = scores_by_class(batches.labels, *measured[0]) if measured else ()
    details = Details((), samples.result(), samples.n_seen, classes)
    return Judgement(tally.result(), measured, details)


def _join(pairs: list[tuple[FloatArray, FloatArray]]) -> tuple[MeasuredScore, MeasuredScore]:
    before, after = (mean_over(np.concatenate(parts)) for parts in zip(*pairs, strict=True))
    return before, after
