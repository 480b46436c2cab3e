"""The scores that have a name: hits of the labels, agreement with the dense network, cosine."""

from __future__ import annotations

import numpy as np
import onnx

from onnx_lobs.arrays import Array, FloatArray, IntArray
from onnx_lobs.errors import DataError
from onnx_lobs.evaluation.output import Outputs
from onnx_lobs.evaluation.samples import (
    agreements,
    class_scores,
    cosines,
    n_outcomes,
    pair_up,
)
from onnx_lobs.evaluation.score import SampledScore, Score, ScoredBatch
from onnx_lobs.graph.model import is_float


def _hits(seen: ScoredBatch, k: int) -> FloatArray:
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
    hits: FloatArray = ((rank < k) & ~np.isnan(scores).any(axis=1)).astype(np.float64)
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


def class_count(proto: onnx.ModelProto) -> int | None:
    """Return how many classes the first output of scores has; None: the model does not say.

    Parameters
    ----------
    proto
        The model. Not modified.
    """
    for output in proto.graph.output:
        dims = [dim.dim_value for dim in output.type.tensor_type.shape.dim]
        if len(dims) >= 2 and dims[1] >= 2 and all(size == 1 for size in dims[2:]):
            return int(dims[1])
    return None


def class_indices(labels: Array | None, n_scores: int, n_classes: int) -> IntArray:
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
            f"label {bad[0]} is no class index: the model has {n_classes} classes, counted from 0; "
            "subtract 1 from labels that count from 1"
        )
    return flat.astype(np.int64)


def _agreement(seen: ScoredBatch) -> FloatArray:
    floats_first = sorted(seen.expected.items(), key=lambda item: not _is_floating(item[1]))
    for name, value in floats_first:  # integers are often inputs that are passed on
        shares = agreements(value, seen.outputs[name], seen.size)
        if shares is not None:
            return shares if shares.size else _nothing(value, seen)
    names = ", ".join(seen.expected)
    raise DataError(f"no output chooses a class ({names}), so none can agree; score with cosine")


def _cosine(seen: ScoredBatch) -> FloatArray:
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
    means: FloatArray = np.mean(known or parts, axis=0)
    return means


def _nothing(value: Array, seen: ScoredBatch) -> FloatArray:
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
