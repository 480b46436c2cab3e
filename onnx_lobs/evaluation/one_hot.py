"""Makes class indices of labels that mark the class with a one."""

from __future__ import annotations

import dataclasses

from onnx_lobs.arrays import Array
from onnx_lobs.data.batches import Batches
from onnx_lobs.evaluation.score import SampledScore, Score

NOTE = "the labels were one-hot: the place of the one was taken as the class"


def with_class_labels(batches: Batches, score: Score | None) -> Batches:
    """Return batches with class indices where their labels are one-hot, and a note that says so.

    Parameters
    ----------
    batches
        Test data.
    score
        What they are scored by; None: by class indices. A function of the user gets the labels as
        they are.
    """
    labels = batches.labels
    takes_indices = score is None or (isinstance(score, SampledScore) and score.needs_labels)
    if labels is None or not takes_indices or not is_one_hot(labels):
        return batches
    return dataclasses.replace(
        batches, labels=labels.argmax(axis=-1), notes=(*batches.notes, NOTE), recut=None
    )


def is_one_hot(labels: Array) -> bool:
    """Whether every row of (n, classes) labels holds a single one and zeros.

    >>> import numpy as np
    >>> is_one_hot(np.eye(3)), is_one_hot(np.ones((3, 2))), is_one_hot(np.array([0, 1]))
    (True, False, False)
    """
    if labels.ndim != 2 or labels.shape[1] < 2 or labels.dtype.kind not in "iubf":
        return False
    marks = labels == 1
    return bool(((labels == 0) | marks).all() and (marks.sum(axis=1) == 1).all())
