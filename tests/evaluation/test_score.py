"""Built-in scores against counting by hand, and their standard errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from build_onnx import normal
from networks import Array, Network, batches_of, same, shown

from onnx_lobs.errors import DataError
from onnx_lobs.evaluation.builtin import SCORES
from onnx_lobs.evaluation.score import (
    DenseOutputs,
    MeasuredScore,
    differences,
    mean_over,
    standard_error,
)
from onnx_lobs.options.data import SCORE_NAMES

NAN = float("nan")
EXACT = 1e-12  # the same sums in another order
X = normal(1, 40, 7)
LABELS = np.random.default_rng(2).integers(0, 7, 40)
DATA = batches_of(X[:25], X[25:], labels=LABELS)
DENSE = Network(y=same)


def shifted(x: Array) -> Array:
    return x + np.linspace(0, 1.5, 7, dtype=np.float32)


def test_the_names_of_the_config_are_the_scores() -> None:
    assert tuple(SCORES) == SCORE_NAMES
    assert [score.name for score in SCORES.values()] == list(SCORES)


@pytest.mark.parametrize(("name", "k"), [("top1", 1), ("top5", 5)])
@pytest.mark.parametrize("tail", [(), (1,), (1, 1)])
def test_a_hit_is_a_label_among_the_best_classes(name: str, k: int, tail: tuple[int, ...]) -> None:
    network = Network(ids=lambda x: np.arange(len(x)), y=lambda x: x.reshape(*x.shape, *tail))
    best = np.argsort(-X, axis=1)[:, :k]
    hits = [label in row for label, row in zip(LABELS, best, strict=True)]
    found = SCORES[name].compute(network, DATA)
    assert found.value == pytest.approx(np.mean(hits), rel=EXACT)
    assert found.outcomes is not None
    assert found.outcomes.tolist() == hits
    assert found.n == 40


def test_of_equal_scores_the_first_class_wins() -> None:
    data = batches_of(np.ones((6, 6), np.float32), labels=range(6))
    network = Network(y=same)
    assert SCORES["top1"].compute(network, data).outcomes.tolist() == [1, 0, 0, 0, 0, 0]  # type: ignore[union-attr]
    assert SCORES["top5"].compute(network, data).outcomes.tolist() == [1, 1, 1, 1, 1, 0]  # type: ignore[union-attr]


def test_a_sample_with_a_nan_score_is_no_hit() -> None:
    data = batches_of(shown([NAN, NAN], [1, 0], [NAN, 0]), labels=[0, 0, 1])
    assert SCORES["top1"].compute(Network(y=same), data).outcomes.tolist() == [0, 1, 0]  # type: ignore[union-attr]


@pytest.mark.parametrize("labels", [LABELS[:, None], LABELS.astype(np.float32)])
def test_labels_may_be_a_column_or_whole_floats(labels: Array) -> None:
    data = batches_of(X[:25], X[25:], labels=labels)
    expected = SCORES["top1"].compute(DENSE, DATA).value
    assert SCORES["top1"].compute(DENSE, data).value == expected


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "the test set arrays has no labels; add an array `label`, which score 'top1'"),
        (np.zeros((2, 3), int), r"6 labels of shape \(2, 3\) where .* gives 2 scores; give one"),
        (["cat", "dog"], "the labels are <U3; give class indices, counted from 0"),
        ([0.5, 1], "the labels are float64; give class indices"),
        ([0, 3], "label 3 is no class index: the model has 3 classes, counted from 0"),
        ([-1, 0], "label -1 is no class index"),
    ],
)
def test_labels_that_are_no_class_indices_are_refused(labels: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        SCORES["top1"].compute(DENSE, batches_of(normal(1, 2, 3), labels=labels))


def test_a_network_without_class_scores_is_refused() -> None:
    network = Network(ids=lambda x: np.arange(len(x)), boxes=lambda x: x[:, None, :].repeat(2, 1))
    with pytest.raises(
        DataError, match=r"no output of shape \(samples, classes\) .* ids \(25,\), boxes \(25, 2"
    ):
        SCORES["top1"].compute(network, DATA)


def test_top5_of_five_classes_is_refused() -> None:
    with pytest.raises(DataError, match="5 classes, so top5 is always met; score with top1"):
        SCORES["top5"].compute(DENSE, batches_of(normal(1, 2, 5), labels=[0, 1]))


def test_agreement_counts_the_dense_networks_choices() -> None:
    passed_on = {"ids": lambda x: np.arange(len(x))}
    dense, pruned = Network(**passed_on, y=same), Network(**passed_on, y=shifted)
    found = SCORES["agreement"].compute(pruned, DATA, DenseOutputs(dense, DATA))
    same_choice = X.argmax(1) == shifted(X).argmax(1)
    assert 0.2 < same_choice.mean() < 0.8  # or the test shows nothing
    assert found.outcomes is not None
    assert found.outcomes.tolist() == same_choice.tolist()


def test_without_floating_outputs_integers_agree() -> None:
    ids, others = (Network(y=lambda x, k=k: np.arange(len(x)) // k) for k in (1, 2))
    found = SCORES["agreement"].compute(others, DATA, DenseOutputs(ids, DATA))
    assert found.value == 2 / 40  # the first of both batches


def test_cosine_is_the_mean_over_samples_and_floating_outputs() -> None:
    outputs = {"ids": lambda x: np.arange(len(x)), "z": lambda x: -x}
    dense, pruned = Network(y=same, **outputs), Network(y=shifted, **outputs)
    a, b = X.astype(np.float64), shifted(X).astype(np.float64)
    alike = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    found = SCORES["cosine"].compute(pruned, DATA, DenseOutputs(dense, DATA))
    assert found.value == pytest.approx((alike.mean() + 1) / 2, rel=EXACT)
    assert found.n == 40


def test_cosine_of_an_output_without_a_batch_axis_is_one_per_batch() -> None:
    dense = Network(y=same, state=lambda x: np.ones((3, 2)))
    found = SCORES["cosine"].compute(dense, DATA, DenseOutputs(dense, DATA))
    assert (found.value, found.n) == (pytest.approx(1.0, rel=EXACT), 2)


def test_an_output_whose_shape_changed_is_not_alike() -> None:
    pruned = Network(y=lambda x: x[:3])
    for name in ("agreement", "cosine"):
        found = SCORES[name].compute(pruned, DATA, DenseOutputs(DENSE, DATA))
        assert found.value == 0.0


@pytest.mark.parametrize("name", ["agreement", "cosine"])
def test_the_dense_network_is_compared_with_itself_in_one_pass(name: str) -> None:
    told: list[int] = []
    network = Network(y=same)
    found = SCORES[name].compute(network, DATA, tick=told.append)
    assert found.value == pytest.approx(1.0, rel=EXACT)
    assert (network.runs, told) == (2, [1, 1])


def test_what_cannot_be_compared_is_refused() -> None:
    flat = Network(y=lambda x: x[:, 0])
    with pytest.raises(DataError, match=r"no output chooses a class \(y\).* score with cosine"):
        SCORES["agreement"].compute(flat, DATA)
    ids = Network(y=lambda x: np.arange(len(x)))
    with pytest.raises(DataError, match="no floating output to compare; score with agreement"):
        SCORES["cosine"].compute(ids, DATA)
    empty = Network(y=lambda x: x[:0])
    with pytest.raises(DataError, match="no output that could be scored; give other data"):
        SCORES["agreement"].compute(empty, DATA)


def test_the_standard_error_of_hits_is_binomial() -> None:
    hits = mean_over(np.array([1.0] * 30 + [0.0] * 70))
    assert hits.standard_error == pytest.approx(math.sqrt(0.3 * 0.7 / 100), rel=EXACT)


def test_the_standard_error_of_a_drop_is_that_of_paired_differences() -> None:
    rng = np.random.default_rng(0)
    p, q = 0.5, 0.2  # shares of hits, and of samples that change
    drops = []
    for _ in range(2000):
        before = (rng.random(50) < p).astype(np.float64)
        after = np.where(rng.random(50) < q, 1 - before, before)
        drops.append(before.mean() - after.mean())
    known = standard_error(differences(mean_over(before), mean_over(after)))
    flips = np.mean(before != after)
    drop = before.mean() - after.mean()
    assert known == pytest.approx(math.sqrt((flips - drop**2) / 50), rel=EXACT)
    # 2000 draws know a deviation to 1.6 %, here four times that
    assert math.sqrt(q / 50) == pytest.approx(np.std(drops), rel=0.064)


def test_without_samples_or_with_one_there_is_no_standard_error() -> None:
    one, bare = mean_over(np.ones(1)), MeasuredScore(0.5)
    two = mean_over(np.array([0.0, 1.0]))
    assert (one.standard_error, bare.standard_error, bare.n) == (None, None, 0)
    for pair in ((one, one), (bare, two), (two, bare), (two, one)):
        assert differences(*pair) is None


@pytest.mark.parametrize("name", ["cosine", "agreement"])
def test_a_batch_whose_output_changed_its_size_counts_for_all_its_samples(name: str) -> None:
    def fails_at_first(x: Array) -> Array:
        return x if len(x) == 15 else np.concatenate([x, x])

    found = SCORES[name].compute(Network(y=fails_at_first), DATA, DenseOutputs(DENSE, DATA))
    assert (found.value, found.n) == (pytest.approx(15 / 40), 40)


@pytest.mark.parametrize("name", ["cosine", "agreement"])
def test_where_neither_gives_anything_they_agree_and_samples_stay_paired(name: str) -> None:
    def found_some(x: Array) -> Array:
        return x if len(x) == 15 else x[:0]

    dense, pruned = Network(y=found_some), Network(y=lambda x: found_some(x)[:0])
    before = SCORES[name].compute(dense, DATA)
    after = SCORES[name].compute(pruned, DATA, DenseOutputs(dense, DATA))
    assert (before.value, before.n) == (pytest.approx(1), 40)
    assert (after.value, after.n) == (pytest.approx(25 / 40), 40)
    assert differences(before, after) is not None
