"""Streamed sums equal those of all data at once, whatever the batches, types and means."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from build_onnx import Array, normal

from onnx_lobs.errors import NotPositiveDefiniteError
from onnx_lobs.linalg import gram as gram_module
from onnx_lobs.linalg.factor import check_gram
from onnx_lobs.linalg.gram import Gram
from onnx_lobs.linalg.moments import Calibration, Moments, TargetMoments
from onnx_lobs.linalg.triangles import BAND

EXACT = 1e-12  # relative: float64 sums in two orders
SINGLE = 1e-6  # of the variances: float32 products of 200 rows
HALF = 1e-6  # half precision is widened before anything is multiplied


def gram_of(*parts: Array) -> Gram:
    gram = Gram(parts[0].shape[0], parts[0].shape[2])
    for part in parts:
        gram.update(part)
    return gram


def scatter_of(x: Array, centred: bool) -> Array:
    wide = x.astype(np.float64)
    wide = wide - wide.mean(axis=1, keepdims=True) if centred else wide
    return np.asarray(np.einsum("gnc,gnd->gcd", wide, wide))


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize(("groups", "columns"), [(1, 5), (1, 40), (6, 9), (3, 40)])
def test_batches_add_up_to_the_whole(groups: int, columns: int, centred: bool) -> None:
    x = normal(1, groups, 100, columns, dtype=np.float64) + 3
    gram = gram_of(x[:, :1], x[:, 1:60], x[:, 60:60], x[:, 60:])
    np.testing.assert_allclose(gram.scatter(centred), scatter_of(x, centred), atol=EXACT * 1000)
    np.testing.assert_allclose(gram.mean, x.mean(axis=1), rtol=EXACT)
    assert gram.count == 100


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_low_precision_is_widened(dtype: Any) -> None:
    x = normal(1, 2, 200, 7).astype(dtype)
    expected = scatter_of(x, True)
    assert np.abs(gram_of(x).scatter(True) - expected).max() <= HALF * expected.max()


def test_large_means_cost_no_precision() -> None:
    x = normal(1, 1, 200, 6) + 1000
    expected = scatter_of(x, True)
    found = gram_of(x[:, :50], x[:, 50:]).scatter(True)
    assert np.abs(found - expected).max() <= SINGLE * expected.max()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1e-24, 3e-20, 0.1, 1 / 3, 1e3, 1e12])
def test_constant_inputs_have_no_negative_variance(size: float, dtype: Any) -> None:
    x = np.full((2, 77, 5), size, dtype) * np.array([1, -1, 3, 0, 7], dtype)
    found = gram_of(x[:, :30], x[:, 30:]).scatter(True)
    assert np.diagonal(found, axis1=1, axis2=2).min() >= 0
    check_gram(found)  # symmetric too


def test_inputs_beside_a_constant_one_keep_their_variances() -> None:
    x = normal(1, 1, 200, 4)
    x[..., 2] = 0.3
    found, expected = gram_of(x).scatter(True), scatter_of(x, True)
    assert np.abs(found - expected).max() <= SINGLE * expected.max()
    assert (found[0, [0, 1, 3], [0, 1, 3]] > 100).all()


def test_negative_sums_stay_for_who_checks_them() -> None:
    matrix = np.diag([5.0, -1.0, 5.0])[None]
    found = Gram.of(matrix, np.zeros((1, 3)), 10).scatter(True)
    with pytest.raises(NotPositiveDefiniteError, match=r"diagonal entry -1 < 0"):
        check_gram(found)


@pytest.mark.parametrize("order", ["C", "F", "neither"])
@pytest.mark.parametrize("mean", [0, 1000])
def test_large_grams_go_to_float64_at_once(
    order: str, mean: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = 2 * BAND + 9  # three bands, the last one narrow
    x = normal(1, 2, 100, columns) + np.float32(mean)
    parts = [x[:, :40], x[:, 40:99], x[:, 99:]]
    expected = scatter_of(x, True)
    monkeypatch.setattr(gram_module, "LARGE", columns)
    lay = {"C": np.ascontiguousarray, "F": as_columns, "neither": spread}[order]
    gram = gram_of(*map(lay, parts))
    assert gram._part is None
    assert np.abs(gram.scatter(True) - expected).max() <= SINGLE * expected.max()
    assert np.array_equal(gram.matrix, gram.matrix.swapaxes(1, 2))
    total, size = x.sum(axis=1, dtype=np.float64), np.abs(x).sum(axis=1, dtype=np.float64)
    assert (np.abs(gram.total - total) <= SINGLE * size).all()
    assert gram.count == 100


def as_columns(x: Array) -> Array:
    """Return x (groups, n, d) with its columns contiguous."""
    return np.ascontiguousarray(x.swapaxes(1, 2)).swapaxes(1, 2)


def spread(x: Array) -> Array:
    """Return x (groups, n, d) with every other number of its memory unused."""
    return np.repeat(x, 2, axis=2)[:, :, ::2]


def test_merge_equals_one_gram() -> None:
    x = normal(1, 2, 60, 5, dtype=np.float64)
    merged = gram_of(x[:, :20])
    merged.merge(gram_of(x[:, 20:]))
    whole = gram_of(x)
    np.testing.assert_allclose(merged.matrix, whole.matrix, rtol=EXACT, atol=EXACT)
    np.testing.assert_allclose(merged.total, whole.total, rtol=EXACT, atol=EXACT)
    assert merged.count == whole.count


def test_scatter_is_a_copy() -> None:
    gram = gram_of(normal(1, 1, 9, 4))
    before = gram.matrix.copy()
    gram.scatter(False)[...] = 0
    assert np.array_equal(gram.matrix, before)


def test_mean_of_nothing_is_zero() -> None:
    assert np.array_equal(Gram(2, 3).mean, np.zeros((2, 3)))


def test_updates_leave_the_data_alone() -> None:
    x, y = normal(1, 1, 9, 4), normal(2, 1, 9, 3)
    kept = x.copy(), y.copy()
    TargetMoments.zeros(1, 3, 4).update(y, Gram(1, 4).update(x))
    assert np.array_equal(x, kept[0])
    assert np.array_equal(y, kept[1])


def test_data_that_may_be_overwritten_are_multiplied_in_place() -> None:
    data = 50 + normal(4, 2, 300, 6)
    kept, lent = Gram(2, 6), Gram(2, 6)
    one, two = data.copy(), data.copy()
    kept.update(one)
    centred = lent.update(two, overwrite=True)
    assert np.array_equal(one, data)
    assert np.shares_memory(centred.rest, two)
    assert np.array_equal(kept.matrix, lent.matrix)
    assert np.array_equal(kept.total, lent.total)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("sizes", [(1, 2, 3), (4, 3, 9, 1), (20,), (3, 3, 3)])
def test_rows_of_large_grams_wait_until_there_are_enough(
    sizes: tuple[int, ...], order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gram_module, "LARGE", 4)
    monkeypatch.setattr(gram_module, "ENOUGH", 7)
    parts = [50 + normal(i, 2, n, 4) for i, n in enumerate(sizes)]
    parts[-1] = parts[-1].astype(np.float64)
    gram = Gram(2, 4)
    multiplied: list[int] = []
    multiply = Gram._multiply

    def counted(self: Gram) -> None:
        multiplied.append(sum(part.shape[1] for part in self._waiting))
        multiply(self)

    monkeypatch.setattr(Gram, "_multiply", counted)
    for part in parts:
        turned = part if order == "C" else np.ascontiguousarray(part.swapaxes(1, 2)).swapaxes(1, 2)
        gram.update(turned)
    x = np.concatenate(parts, axis=1).astype(np.float64)
    exact = x.swapaxes(1, 2) @ x
    assert gram.count == sum(sizes) == sum(multiplied) + sum(p.shape[1] for p in gram._waiting)
    np.testing.assert_allclose(gram.matrix, exact, rtol=1e-6)
    np.testing.assert_allclose(gram.total, x.sum(axis=1), rtol=1e-6)
    assert sum(multiplied) == sum(sizes)
    centred = x - x.mean(axis=1, keepdims=True)
    scatter = centred.swapaxes(1, 2) @ centred
    room = 1e-5 * np.abs(scatter).max()  # of numbers 50 times as large as they differ
    np.testing.assert_allclose(gram.scatter(True), scatter, rtol=0, atol=room)


def test_large_numbers_that_hardly_differ_are_summed_exactly() -> None:
    x = np.full((1, 300, 2), 1e30, np.float32)  # whose squares float32 does not hold
    gram = Gram(1, 2)
    gram.update(x)
    np.testing.assert_allclose(gram.matrix, 300 * 1e60, rtol=SINGLE)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, EXACT), (np.float32, SINGLE)])
def test_target_sums_equal_those_of_all_data(dtype: Any, tolerance: float) -> None:
    x, y = normal(1, 2, 80, 6, dtype=dtype) + 5, normal(2, 2, 80, 3, dtype=dtype) - 7
    found, gram = TargetMoments.zeros(2, 3, 6), Gram(2, 6)
    for part in (slice(0, 30), slice(30, 30), slice(30, 80)):
        found.update(y[:, part], gram.update(x[:, part]))
    x64, y64 = x.astype(np.float64), y.astype(np.float64)
    np.testing.assert_allclose(found.cross, np.einsum("gnr,gnd->grd", y64, x64), rtol=tolerance)
    np.testing.assert_allclose(found.total, y64.sum(axis=1), rtol=tolerance)
    np.testing.assert_allclose(found.energy, (y64**2).sum(axis=1), rtol=tolerance)


def moments_of(seed: int, targets: bool = True) -> Moments:
    x, y = normal(seed, 2, 10, 4), normal(seed + 50, 2, 10, 6)
    found = TargetMoments.zeros(2, 6, 4)
    gram = Gram(2, 4)
    found.update(y, gram.update(x))
    return Moments(gram, found if targets else None)


@pytest.mark.parametrize("targets", [False, True])
def test_total_adds_the_held_out_and_changes_neither(targets: bool) -> None:
    calibration = Calibration((moments_of(1, targets),), (moments_of(2, targets),))
    total = calibration.total(0)
    again = calibration.total(0)
    assert total.inputs.count == 20
    assert np.array_equal(total.inputs.matrix, again.inputs.matrix)
    one, two = calibration.fit[0], calibration.held[0]
    assert np.array_equal(total.inputs.matrix, one.inputs.matrix + two.inputs.matrix)
    assert (total.targets is None) is not targets
    if total.targets and one.targets and two.targets:
        assert np.array_equal(total.targets.cross, one.targets.cross + two.targets.cross)


def test_rows_take_part_of_the_targets_and_share_the_gram() -> None:
    calibration = Calibration((moments_of(1),), (moments_of(2),))
    part = calibration.rows(slice(2, 5)).fit[0]
    whole = calibration.fit[0]
    assert part.inputs is whole.inputs
    assert part.targets is not None
    assert whole.targets is not None
    assert np.array_equal(part.targets.cross, whole.targets.cross[:, 2:5])
    assert np.array_equal(part.targets.energy, whole.targets.energy[:, 2:5])


def test_rows_without_targets_are_the_moments_themselves() -> None:
    moments = moments_of(1, targets=False)
    assert moments.rows(slice(0, 1)) is moments


@pytest.mark.parametrize("offset", [0.0, 50.0])
def test_sums_that_settle_now_and_then_equal_those_at_once(
    monkeypatch: pytest.MonkeyPatch, offset: float
) -> None:
    """More columns than one band, in both memory orders, in float32 and float64."""
    x = normal(1, 1, 400, 300) + np.float32(offset)
    monkeypatch.setattr(gram_module, "SETTLE_ROWS", 150)
    turned = np.ascontiguousarray(x[:, 100:300].swapaxes(1, 2)).swapaxes(1, 2)
    gram = gram_of(x[:, :100], turned, x[:, 300:].astype(np.float64))
    expected = scatter_of(x, True)
    assert np.abs(gram.scatter(True) - expected).max() <= SINGLE * expected.max()
    assert np.array_equal(gram.matrix, gram.matrix.swapaxes(1, 2))
    assert gram.count == 400


def test_joined_grams_are_their_sum() -> None:
    x = normal(1, 2, 60, 5, dtype=np.float64)
    one, two = gram_of(x[:, :20]), gram_of(x[:, 20:])
    both = Gram.joined(one, two)
    assert np.array_equal(both.matrix, one.matrix + two.matrix)
    np.testing.assert_allclose(both.scatter(True), scatter_of(x, True), atol=EXACT * 1000)
    np.testing.assert_allclose(both.mean, x.mean(axis=1), rtol=EXACT, atol=EXACT)
