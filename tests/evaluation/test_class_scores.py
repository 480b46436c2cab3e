"""Scores by class are those of the samples of each label."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_lobs.evaluation.class_scores import scores_by_class
from onnx_lobs.evaluation.score import MeasuredScore, mean_over
from onnx_lobs.report.record import ClassScore

LABELS = np.array([0, 2, 2, 0, 7])
BEFORE = mean_over(np.array([1.0, 1.0, 1.0, 1.0, 0.0]))
AFTER = mean_over(np.array([1.0, 0.0, 1.0, 1.0, 1.0]))


@pytest.mark.parametrize("labels", [LABELS, LABELS[:, None], LABELS.astype(np.float32)])
def test_the_largest_drop_comes_first(labels: np.ndarray) -> None:
    assert scores_by_class(labels, BEFORE, AFTER) == (
        ClassScore(2, 2, 1.0, 0.5),
        ClassScore(0, 2, 1.0, 1.0),
        ClassScore(7, 1, 0.0, 1.0),
    )
    assert scores_by_class(labels, BEFORE, AFTER)[0].drop == 0.5


@pytest.mark.parametrize(
    "labels",
    [None, LABELS[:4], LABELS - 1, LABELS + 0.5, LABELS.astype(str), LABELS + 1_000_000],
)
def test_labels_that_are_no_classes_give_none(labels: np.ndarray | None) -> None:
    assert scores_by_class(labels, BEFORE, AFTER) == ()


def test_a_score_that_is_no_mean_gives_none() -> None:
    assert scores_by_class(LABELS, MeasuredScore(0.5), AFTER) == ()
    assert scores_by_class(LABELS, BEFORE, MeasuredScore(0.5)) == ()
