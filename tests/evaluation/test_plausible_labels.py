"""Labels that a network does not meet: which of them raise a warning, and what it says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from networks import Network, batches_of

from onnx_lobs.arrays import Array
from onnx_lobs.evaluation.builtin import SCORES
from onnx_lobs.evaluation.plausible_labels import doubtful_labels

N = 200


def look(labels: Array, n_classes: int, chosen: Array, name: str = "top1") -> tuple[list[str], int]:
    """Return the warnings for a network that chooses so, and how often it ran."""
    scores = np.eye(n_classes, dtype=np.float32)[chosen]
    network = Network(y=lambda x: scores[x[:, 0].astype(int)])
    data = batches_of(np.arange(len(labels))[:, None], labels=labels)
    before = SCORES[name].compute(network, data)
    runs = network.runs
    return doubtful_labels(network, data, SCORES[name], before), network.runs - runs


def truth(n_classes: int, right: float = 0.9, n: int = N) -> tuple[Array, Array]:
    """Return labels, and choices that are right of a share of samples."""
    rng = np.random.default_rng(n_classes)
    labels = rng.integers(0, n_classes, n)
    chosen = np.where(rng.random(n) < right, labels, rng.integers(0, n_classes, n))
    return labels, chosen


OTHERS: dict[str, tuple[int, Callable[[Array], Array], str]] = {
    "one too high": (10, lambda y: (y + 1) % 10, "with every label one lower"),
    "one too low": (10, lambda y: (y - 1) % 10, "with every label one higher"),
    "exchanged": (2, lambda y: 1 - y, "with every label exchanged"),
    "in reverse": (10, lambda y: 9 - y, "stood for the classes in another order"),
    "moved by five": (10, lambda y: (y + 5) % 10, "stood for the classes in another order"),
}


@pytest.mark.parametrize("how", OTHERS)
@pytest.mark.parametrize("right", [0.7, 1.0])
def test_labels_of_other_classes_are_told_from_wrong_ones(how: str, right: float) -> None:
    n_classes, change, words = OTHERS[how]
    labels, chosen = truth(n_classes, right)
    (text,), runs = look(change(labels), n_classes, chosen)
    assert words in text
    assert "counted from 0" in text
    assert runs == 1


@pytest.mark.parametrize(
    ("n_classes", "name"), [(2, "top1"), (10, "top1"), (200, "top1"), (9, "top5")]
)
def test_a_network_that_guesses_is_doubted(n_classes: int, name: str) -> None:
    index = np.arange(N)
    (text,), _ = look(index % n_classes, n_classes, index // n_classes % n_classes, name)
    assert f"no better than guessing among {n_classes} classes" in text


@pytest.mark.parametrize(("n_classes", "n", "hits"), [(1000, 60, 1), (10, 100, 15), (2, 40, 23)])
def test_a_few_hits_are_no_skill(n_classes: int, n: int, hits: int) -> None:
    """As many or more are right by guessing once in 20 times, or more often."""
    index = np.arange(n)
    labels = index * 7 % n_classes
    wrong = (labels + 1 + index % (n_classes - 1)) % n_classes
    (text,), _ = look(labels, n_classes, np.where(index < hits, labels, wrong))
    assert f"no better than guessing among {n_classes} classes" in text


@pytest.mark.parametrize(
    ("n_classes", "right"), [(10, 0.3), (10, 0.5), (2, 0.8), (100, 0.1), (3, 0.4)]
)
def test_a_network_that_is_only_poor_is_not(n_classes: int, right: float) -> None:
    assert look(*_first(truth(n_classes, right)))[0] == []


def _first(pair: tuple[Array, Array]) -> tuple[Array, int, Array]:
    labels, chosen = pair
    return labels, int(max(labels.max(), chosen.max())) + 1, chosen


def test_a_network_that_always_says_the_same_is_no_other_order() -> None:
    labels, _ = truth(4)
    (text,), _ = look(labels, 4, np.full(N, 2))
    assert "no better than guessing" in text


def test_a_good_score_costs_nothing() -> None:
    labels, chosen = truth(10)
    assert look(labels, 10, chosen) == ([], 0)


def test_few_samples_tell_nothing() -> None:
    labels, _ = truth(10, n=8)
    assert look(labels, 10, (labels + 1) % 10) == ([], 0)


@pytest.mark.parametrize("name", ["agreement", "cosine"])
def test_scores_without_labels_tell_nothing(name: str) -> None:
    labels, chosen = truth(10)
    assert look((labels + 1) % 10, 10, chosen, name) == ([], 0)
