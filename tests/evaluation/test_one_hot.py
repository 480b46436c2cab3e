"""Labels that mark the class with a one become class indices, and that is said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnx_lobs.data.batches import Batches
from onnx_lobs.data.inputs import InputSpec
from onnx_lobs.data.reader import open_data
from onnx_lobs.evaluation.builtin import SCORES
from onnx_lobs.evaluation.find import find_score
from onnx_lobs.evaluation.one_hot import NOTE, with_class_labels

CLASSES = np.array([2, 0, 1, 2])


def labelled(labels: Any) -> Batches:
    spec = InputSpec("x", np.dtype("float32"), ("N", 3))
    source = {"x": np.ones((len(labels), 3), np.float32), "label": labels}
    return open_data(source, (spec,), samples=None, batch_size=2)


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool", "uint8"])
@pytest.mark.parametrize("score", [None, SCORES["top1"]])
def test_one_hot_labels_become_indices(dtype: str, score: Any) -> None:
    found = with_class_labels(labelled(np.eye(3)[CLASSES].astype(dtype)), score)
    np.testing.assert_array_equal(found.labels, CLASSES)
    assert found.notes == (NOTE,)
    assert [labels.tolist() for _, labels in found.labelled() if labels is not None] == [
        [2, 0], [1, 2],
    ]  # fmt: skip


@pytest.mark.parametrize(
    "labels",
    [
        CLASSES,
        CLASSES[:, None],
        np.zeros((4, 3)),
        np.ones((4, 3)),  # several at once
        np.full((4, 3), 1 / 3),
        np.eye(3)[CLASSES][:, :, None],
        np.array(["a", "b", "a", "b"]),
    ],
)
def test_other_labels_stay(labels: Any) -> None:
    batches = labelled(labels)
    assert with_class_labels(batches, None) is batches


def test_a_function_gets_labels_as_they_are_and_scores_without_labels_do_not_care() -> None:
    batches = labelled(np.eye(3)[CLASSES])
    for score in (find_score(lambda run, batches: 1.0), SCORES["agreement"]):
        assert with_class_labels(batches, score) is batches
