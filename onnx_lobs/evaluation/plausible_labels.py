"""Looks at labels that the dense network does not meet, for signs that they mean other classes."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy.special import betainc

from onnx_lobs.arrays import IntArray
from onnx_lobs.data.batches import Batches
from onnx_lobs.evaluation.builtin import SCORES, class_indices, find_scores
from onnx_lobs.evaluation.score import MeasuredScore, Score
from onnx_lobs.graph.run.staged import Runnable

DOUBTED = 0.6  # a score below which the labels are looked at
ENOUGH = 512  # samples for that
LEAST = 16  # samples of which a network may get most wrong by chance
FAR_BETTER = 0.2  # by which other labels must score more, and twice as much
CLEARLY = 3.0  # standard errors above guessing
LIKELY = 0.05  # that as many are right by guessing: one hit of 60 among 1,000 classes is no skill


def doubtful_labels(
    dense: Runnable, test: Batches, score: Score, before: MeasuredScore
) -> list[str]:
    """Return a warning where the dense network scores no better than by guessing.

    It says so where the labels would fit much better one higher or one lower, or if they stood for
    the classes in another order.

    Parameters
    ----------
    dense
        The dense network.
    test
        Data with class indices for labels.
    score
        What was measured; others than top1 and top5 tell nothing here.
    before
        The dense network's.

    Notes
    -----
    Cost: nothing where the score is at least DOUBTED, else a forward pass over ENOUGH samples.
    """
    top = {"top1": 1, "top5": 5}.get(score.name) if score.name in SCORES else None
    if top is None or before.value >= DOUBTED or before.n < LEAST:
        return []
    labels, chosen, n_classes = _look(dense, test)
    found = f"the dense network's {score.name} is {before.value:.1%}".replace("%", " %")
    chance = min(top / n_classes, 1.0)
    better = list(_explanations(labels, chosen, n_classes))
    if better:
        return [f"{found}, but {better[0]}; {_ADVICE}"]
    hits = round(before.value * before.n)
    if hits == 0 or float(betainc(hits, before.n - hits + 1, chance)) > LIKELY:  # at least as many
        return [
            f"{found} on {before.n} samples, no better than guessing among {n_classes} classes: "
            f"scores will not tell what pruning does; {_ADVICE}, and the inputs scaled as in "
            "training"
        ]
    return []


_ADVICE = "check that the labels are class indices, counted from 0 in the order of the outputs"


def _look(dense: Runnable, test: Batches) -> tuple[IntArray, IntArray, int]:
    """Return labels, chosen classes, and the number of classes, of the first samples."""
    labels, chosen, n_classes = [], [], 0
    for feeds, given in test.labelled():
        scores = find_scores(dense.run(feeds))
        n_classes = scores.shape[1]
        labels.append(class_indices(given, *scores.shape))
        chosen.append(scores.astype(np.float64).argmax(axis=1))
        if sum(map(len, labels)) >= ENOUGH:
            break
    return np.concatenate(labels), np.concatenate(chosen), n_classes


def _explanations(labels: IntArray, chosen: IntArray, n_classes: int) -> Iterator[str]:
    """Yield what would make the labels fit far better, and how well."""
    own, n = float((labels == chosen).mean()), len(labels)
    guess = 1 / n_classes
    least = max(own + FAR_BETTER, 2 * own, guess + CLEARLY * math.sqrt(guess * (1 - guess) / n))
    for shift, word in ((-1, "lower"), (1, "higher")):
        share = float(((labels + shift) % n_classes == chosen).mean())
        if share >= least:
            meant = "exchanged" if n_classes == 2 else f"one {word}"
            yield f"{100 * share:.1f} % with every label {meant}"
            return
    share = _share_in_another_order(labels, chosen, n_classes)
    if share >= least:
        yield f"{100 * share:.1f} % if the labels stood for the classes in another order"


def _share_in_another_order(labels: IntArray, chosen: IntArray, n_classes: int) -> float:
    """Return the share of samples whose class is the one mostly chosen for others of their label.

    0 where two labels would mean the same class.
    """
    counts = np.zeros((n_classes, n_classes), int)
    np.add.at(counts, (labels, chosen), 1)
    present = counts.any(axis=1)
    meant = counts.argmax(axis=1)
    if len(set(meant[present].tolist())) < present.sum():
        return 0.0
    others = counts[labels]
    others[np.arange(len(labels)), chosen] -= 1
    hits = (others.argmax(axis=1) == chosen) & others.any(axis=1)
    return float(hits.mean())
