"""Tells which classes lost most of a score."""

from __future__ import annotations

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.evaluation.score import MeasuredScore
from onnx_lobs.report.record import ClassScore

_MOST_CLASSES = 100_000


def scores_by_class(
    labels: Array | None, before: MeasuredScore, after: MeasuredScore
) -> tuple[ClassScore, ...]:
    """Return the score of the samples of each label, the largest drop first.

    Parameters
    ----------
    labels
        One class index for each sample; others, or None, give no classes. Not modified.
    before, after
        Of the dense network and of the pruned one, on these samples.
    """
    if labels is None or before.outcomes is None or after.outcomes is None:
        return ()
    if not labels.size == before.n == after.n or labels.dtype.kind not in "uif":
        return ()
    flat = labels.reshape(-1)
    if (flat != np.floor(flat)).any() or flat.min() < 0 or flat.max() >= _MOST_CLASSES:
        return ()
    flat = flat.astype(np.int64)
    counts = np.bincount(flat)
    sums = [np.bincount(flat, score.outcomes) for score in (before, after)]
    found = [
        ClassScore(int(k), int(counts[k]), *(float(total[k] / counts[k]) for total in sums))
        for k in np.flatnonzero(counts)
    ]
    return tuple(sorted(found, key=lambda one: (-one.drop, one.label)))
