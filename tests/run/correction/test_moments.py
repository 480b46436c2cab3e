"""Moments per channel against NumPy, and the maps that make two of them agree."""

from __future__ import annotations

import numpy as np
from build_onnx import Array, normal

from onnx_lobs.run.correction.moments import LARGEST_GAIN, ChannelMoments, MomentPair

EXACT = 1e-10  # float64 sums of a few hundred numbers


def pair(dense: Array, pruned: Array) -> MomentPair:
    found = MomentPair.zeros(len(dense))
    found.dense.update(dense)
    found.pruned.update(pruned)
    return found


def test_batches_add_up_to_the_moments_of_all() -> None:
    x = (normal(0, 3, 500) + 1000).astype(np.float64)
    moments = ChannelMoments.zeros(3)
    for part in (x[:, :7], x[:, 7:7], x[:, 7:100], x[:, 100:]):
        moments.update(part)
    np.testing.assert_allclose(moments.mean, x.mean(axis=1), rtol=EXACT)
    np.testing.assert_allclose(moments.variance, x.var(axis=1), rtol=EXACT)


def test_the_correction_gives_the_dense_moments() -> None:
    dense, pruned = normal(0, 3, 400).astype(float), 0.4 * normal(1, 3, 400).astype(float) - 2
    found = pair(dense, pruned)
    affine = found.correction(variance=True)
    mapped = affine.gain[:, None] * pruned + affine.shift[:, None]
    np.testing.assert_allclose(mapped.mean(axis=1), dense.mean(axis=1), atol=EXACT)
    np.testing.assert_allclose(mapped.std(axis=1), dense.std(axis=1), rtol=EXACT)
    assert found.distance(affine) < EXACT < found.distance()
    shift = found.correction(variance=False)
    np.testing.assert_array_equal(shift.gain, 1)
    assert found.distance(affine) < found.distance(shift) < found.distance()


def test_equal_values_need_no_correction() -> None:
    x = normal(0, 4, 100)
    affine = pair(x, x).correction(variance=True)
    np.testing.assert_array_equal(affine.gain, 1)
    np.testing.assert_array_equal(affine.shift, 0)


def test_a_dead_channel_keeps_its_gain_and_a_faint_one_is_not_blown_up() -> None:
    dense = normal(0, 3, 100)
    pruned = dense * np.array([[0], [1e-3], [1]], np.float32)
    affine = pair(dense, pruned).correction(variance=True)
    np.testing.assert_allclose(affine.gain, [1, LARGEST_GAIN, 1])


def test_what_is_not_finite_is_seen() -> None:
    x = normal(0, 2, 10)
    assert pair(x, x).is_finite
    with np.errstate(invalid="ignore"):
        assert not pair(x, np.where(x == x[0, 0], np.inf, x)).is_finite
