"""The samples that changed most are those, wherever in the batches they stand."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_lobs.evaluation.changed_samples import MOST_SAMPLES, SampleTally

RNG = np.random.default_rng(0)
SIZE = 10
N = 5 * SIZE
BEFORE = RNG.normal(size=(N, 4)).astype(np.float32)
AFTER = BEFORE + (RNG.normal(size=(N, 4)) * np.exp(RNG.normal(size=(N, 1)))).astype(np.float32)
EXACT = 1e-12  # sums in float64, in another order


def tally(numbers: np.ndarray | None = None, labels: np.ndarray | None = None) -> SampleTally:
    found = SampleTally(numbers, labels)
    for start in range(0, N, SIZE):
        rows = slice(start, start + SIZE)
        outputs = ({"n": np.arange(SIZE), "y": one[rows]} for one in (BEFORE, AFTER))
        found.add(*outputs, {"x": BEFORE[rows]}, SIZE)
    return found


def changes() -> np.ndarray:
    """Return each sample's relative change, all at once."""
    before, after = BEFORE.astype(np.float64), AFTER.astype(np.float64)
    return np.square(after - before).sum(1) / np.square(before).sum(1).mean()


def test_the_worst_samples_come_first_and_the_mean_of_all_is_the_output_error() -> None:
    found = tally()
    worst = np.argsort(-changes())[:MOST_SAMPLES]
    assert [one.index for one in found.result()] == worst.tolist()
    assert [one.change for one in found.result()] == pytest.approx(changes()[worst], rel=EXACT)
    assert found.n_seen == N
    before, after = BEFORE.astype(np.float64), AFTER.astype(np.float64)
    error = np.square(after - before).sum() / np.square(before).sum()
    assert changes().mean() == pytest.approx(error, rel=EXACT)


def test_places_labels_and_choices_are_those_of_the_samples() -> None:
    numbers, labels = RNG.permutation(1000)[:N], RNG.integers(0, 9, N)
    worst = np.argsort(-changes())[:MOST_SAMPLES]
    for row, one in zip(worst, tally(numbers, labels).result(), strict=True):
        assert (one.index, one.label) == (numbers[row], str(labels[row]))
        assert (one.before, one.after) == (BEFORE[row].argmax(), AFTER[row].argmax())
        assert one.thumbnail is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (np.zeros((7, 2, 3), np.float32), np.ones((7, 2, 3), np.float32)),  # time before samples
        (np.zeros((2, 3), np.float32), np.ones((2, 5), np.float32)),
        (np.zeros((2, 3), np.int64), np.ones((2, 3), np.int64)),
        ([1.0], [2.0]),
        (np.zeros((2, 3), np.float32), np.ones((2, 3), np.float32)),  # relative to nothing
    ],
)
def test_outputs_that_tell_no_samples_apart_give_none(before: object, after: object) -> None:
    found = SampleTally()
    found.add({"y": before}, {"y": after}, {}, 2)  # type: ignore[dict-item]
    assert found.result() == ()
    assert found.n_seen == 2


def test_samples_that_did_not_change_are_none() -> None:
    found = SampleTally()
    found.add({"y": BEFORE}, {"y": BEFORE}, {}, N)
    assert found.result() == ()


def test_a_long_label_is_cut() -> None:
    found = SampleTally(labels=np.zeros((N, 50)))
    found.add({"y": BEFORE}, {"y": AFTER}, {}, N)
    label = found.result()[0].label
    assert label is not None
    assert len(label) == 40


def test_samples_that_are_files_have_their_names_wherever_they_stand() -> None:
    numbers = RNG.permutation(N)
    files = tuple(f"{i}.jpg" for i in range(N))
    found = SampleTally(numbers, files=files)
    found.add({"y": BEFORE}, {"y": AFTER}, {"x": BEFORE}, N)
    assert [one.file for one in found.result()] == [f"{one.index}.jpg" for one in found.result()]
    assert tally().result()[0].file is None
