"""Choices, agreement and cosine, sample by sample, against what NumPy and eyes say."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from build_onnx import normal

from onnx_lobs.evaluation.samples import (
    agreements,
    by_sample,
    choices,
    class_scores,
    cosines,
    pair_up,
)

NAN, INF = np.nan, np.inf


def test_nonfinite_values_are_counted_and_clash_where_they_differ() -> None:
    before = np.array([1.0, NAN, INF, INF, 2.0, NAN])
    after = np.array([NAN, NAN, INF, -INF, 3.0, 4.0])
    pair = pair_up(before, after)
    assert pair.nonfinite == (4, 4)
    assert pair.clash.tolist() == [True, False, False, True, False, True]
    assert pair.before.tolist() == [0, 0, 0, 0, 2, 0]
    assert pair.after.tolist() == [0, 0, 0, 0, 3, 0]
    assert np.isnan(before[1])


def test_cosine_is_that_of_each_samples_vector() -> None:
    a, b = normal(1, 4, 3, 2), normal(2, 4, 3, 2)
    x, y = a.reshape(4, 6).astype(np.float64), b.reshape(4, 6).astype(np.float64)
    expected = (x * y).sum(1) / np.sqrt((x * x).sum(1) * (y * y).sum(1))
    # both in float64, summed in another order
    np.testing.assert_allclose(cosines(pair_up(a, b), 4), expected, rtol=1e-12)


def test_cosine_of_zeros_of_opposites_and_of_a_clash() -> None:
    before = np.array([[0.0, 0], [0, 0], [1, 2], [NAN, 3], [NAN, 3]])
    after = np.array([[0.0, 0], [1, 0], [-1, -2], [NAN, 3], [1, 3]])
    # [1, 2] has no exact norm
    np.testing.assert_allclose(cosines(pair_up(before, after), 5), [1, 0, -1, 1, 0], rtol=1e-12)


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [
        ((4, 3), 4, (4, 3)),
        ((12, 2), 4, (4, 6)),  # time folded into the batch axis
        ((5, 4, 2), 4, (1, 40)),  # time before the batch
        ((), 1, (1, 1)),
        ((0, 3), 4, (0, 1)),
    ],
)
def test_outputs_are_split_by_sample(
    shape: tuple[int, ...], size: int, expected: tuple[int, ...]
) -> None:
    assert by_sample(np.zeros(shape), size).shape == expected


def test_class_scores_may_have_trailing_axes_of_one() -> None:
    scores = class_scores(normal(1, 2, 5, 1, 1))
    assert scores is not None
    assert scores.shape == (2, 5)
    for value in (
        normal(1, 2, 5, 3),
        normal(1, 5),
        normal(1, 5, 1),
        np.zeros((2, 5), int),
        [normal(1, 2, 5)],
    ):
        assert class_scores(value) is None


@pytest.mark.parametrize(
    ("shape", "axis"), [((3, 5), 1), ((3, 4, 5), 2), ((3, 5, 2, 2), 1), ((3, 5, 2, 2, 2), 1)]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_a_choice_is_the_largest_along_the_class_axis(
    shape: tuple[int, ...], axis: int, dtype: type
) -> None:
    value = normal(1, *shape).astype(dtype)
    chosen = choices(value)
    assert chosen is not None
    assert np.array_equal(chosen, value.astype(np.float64).argmax(axis))


def test_axes_of_one_do_not_change_a_choice() -> None:
    value = normal(1, 3, 5)
    assert np.array_equal(choices(value[..., None, None]), value.argmax(1))  # type: ignore[arg-type]


def test_integers_are_choices_and_what_chooses_nothing_has_none() -> None:
    ids = np.array([3, 1])
    assert choices(ids) is ids
    for value in (normal(1, 4), normal(1, 4, 1), np.array(["a", "b"]), [ids]):
        assert choices(value) is None
    assert agreements(normal(1, 4), normal(1, 4), 4) is None


def test_agreement_is_each_samples_share_of_positions() -> None:
    before = normal(1, 2, 4, 5)
    after = before.copy()
    after[0, 1] = -after[0, 1]
    shares = agreements(before, after, 2)
    assert shares is not None
    assert shares.tolist() == [0.75, 1.0]


def test_nan_agrees_with_nan_alone() -> None:
    before = np.array([[NAN, 1.0], [NAN, 1.0], [2.0, 1.0]])
    after = np.array([[NAN, 5.0], [2.0, 1.0], [NAN, 1.0]])
    assert agreements(before, after, 3).tolist() == [1.0, 0.0, 0.0]  # type: ignore[union-attr]


def test_where_shapes_differ_nothing_agrees() -> None:
    assert agreements(np.arange(3), np.arange(4), 3).tolist() == [0, 0, 0]  # type: ignore[union-attr]
    assert agreements(np.arange(3), "text", 3).tolist() == [0, 0, 0]  # type: ignore[union-attr]
