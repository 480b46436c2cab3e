"""Targets add up to the same sums by either way, and where some are the layer's own outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from build_onnx import Array, normal

from onnx_lobs.linalg import target_sums as module
from onnx_lobs.linalg.accumulator import TargetObservations
from onnx_lobs.linalg.gram import Gram
from onnx_lobs.linalg.moments import Moments, TargetMoments
from onnx_lobs.linalg.target_sums import TargetSums

GROUPS, COLUMNS = 2, 6
DOUBLE, SINGLE = 1e-12, 2e-6  # of the largest sum, which are of up to 90 terms
PARTS = (slice(0, 30), slice(30, 30), slice(30, 90))


def by_inputs(z: Array | None) -> TargetObservations | None:
    return None if z is None else TargetObservations(z, is_output=False)


def added(weight: Array, x: Array, z: list[Array | None]) -> TargetMoments:
    sums = TargetSums(weight)
    for part, other in zip(PARTS, z, strict=True):
        sums.add(x[:, part], by_inputs(other))
    moments = sums.result()
    assert moments.inputs.count == 90
    assert moments.targets is not None
    return moments.targets


def check(found: TargetMoments, weight: Array, x: Array, z: Array, tolerance: float) -> None:
    x, z = x.astype(np.float64), z.astype(np.float64)
    y = z @ weight.swapaxes(1, 2)
    for got, expected in (
        (found.cross, y.swapaxes(1, 2) @ x),
        (found.total, y.sum(axis=1)),
        (found.energy, (y**2).sum(axis=1)),
    ):
        assert got.shape == expected.shape
        assert np.abs(got - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("rows", [1, 4, 5, 20], ids=["one", "few", "wide", "wider"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, DOUBLE), (np.float32, SINGLE)])
@pytest.mark.parametrize("mean", [0.0, 5.0])
@pytest.mark.parametrize("own", [(), (0, 1), (2,), (0, 1, 2)])
def test_sums_are_those_of_the_targets(
    rows: int, dtype: Any, tolerance: float, mean: float, own: tuple[int, ...]
) -> None:
    weight = normal(1, GROUPS, rows, COLUMNS).astype(np.float64)
    x = mean + normal(2, GROUPS, 90, COLUMNS, dtype=dtype)
    other = x + normal(3, GROUPS, 90, COLUMNS, dtype=dtype)
    z = [None if i in own else other[:, part] for i, part in enumerate(PARTS)]
    full = [x[:, part] if i in own else other[:, part] for i, part in enumerate(PARTS)]
    kept = x.copy(), other.copy(), weight.copy()
    check(added(weight, x, z), weight, x, np.concatenate(full, axis=1), tolerance)
    for array, before in zip((x, other, weight), kept, strict=True):
        assert np.array_equal(array, before)


@pytest.mark.parametrize("rows", [4, 20], ids=["few", "wide"])
@pytest.mark.parametrize("own", [(), (0,), (2,), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("by_outputs", [(), (0, 2), (2,)])
def test_what_several_add_up_merges_into_the_sums_of_all(
    rows: int, own: tuple[int, ...], by_outputs: tuple[int, ...]
) -> None:
    weight = normal(1, GROUPS, rows, COLUMNS).astype(np.float64)
    x = 2 + normal(2, GROUPS, 90, COLUMNS, dtype=np.float64)
    z = x + normal(3, GROUPS, 90, COLUMNS, dtype=np.float64)
    several = []
    for i, part in enumerate(PARTS):
        z[:, part] = x[:, part] if i in own else z[:, part]
        sums = TargetSums(weight)
        if i in own:
            sums.add(x[:, part])
        elif i in by_outputs:
            y = z[:, part] @ weight.swapaxes(1, 2)
            sums.add(x[:, part], TargetObservations(y, is_output=True))
        else:
            sums.add(x[:, part], by_inputs(z[:, part]))
        several.append(sums)
    whole, *rest = several
    for other in rest:
        whole.merge(other)
    whole.result()
    assert whole.inputs.count == 90
    inputs = x.swapaxes(1, 2) @ x
    assert np.abs(whole.inputs.matrix - inputs).max() <= DOUBLE * np.abs(inputs).max()
    check(whole.targets, weight, x, z, DOUBLE)


@pytest.mark.parametrize("is_own", [True, False])
def test_sums_of_inputs_have_the_target_that_the_weight_gives_them(is_own: bool) -> None:
    weight = normal(1, GROUPS, 4, COLUMNS).astype(np.float64)
    x = normal(2, GROUPS, 90, COLUMNS, dtype=np.float64)
    sums = TargetSums(weight)
    first, rest = x[:, :30], x[:, 30:]
    sums.add(first, None if is_own else by_inputs(first))
    others = Gram.of(rest.swapaxes(1, 2) @ rest, rest.sum(axis=1), 60)
    sums.add_moments(Moments(others))
    sums.result()
    assert sums.inputs.count == 90
    check(sums.targets, weight, x, x, DOUBLE)


@pytest.mark.parametrize("is_output", [None, False, True])
@pytest.mark.parametrize("is_first", [True, False])
def test_observations_that_may_be_overwritten_give_the_same_sums(
    is_output: bool | None, is_first: bool
) -> None:
    weight = normal(1, GROUPS, 4, COLUMNS).astype(np.float64)
    x = 5 + normal(2, GROUPS, 60, COLUMNS)  # a mean that is taken off, in place if that is allowed
    data = None if is_output is None else normal(3, GROUPS, 60, 4 if is_output else COLUMNS)
    target = None if data is None else TargetObservations(data, bool(is_output))
    found = []
    for overwrite in (False, True):
        sums = TargetSums(weight)
        if not is_first:
            sums.add(x.copy(), by_inputs(x))
        sums.add(x.copy(), target, overwrite=overwrite)
        found.append(sums.result())
    for name in ("cross", "total", "energy"):
        one, other = (getattr(moments.targets, name) for moments in found)
        assert np.array_equal(one, other)
    assert np.array_equal(found[0].inputs.matrix, found[1].inputs.matrix)


def test_wide_layers_multiply_no_weight_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    x, z = normal(1, GROUPS, 90, COLUMNS), normal(2, GROUPS, 90, COLUMNS)
    seen: list[int] = []
    update = TargetMoments.update
    monkeypatch.setattr(
        TargetMoments, "update", lambda *of: (seen.append(of[1].shape[2]), update(*of))[1]
    )
    for rows, is_wide in ((4, False), (5, True)):
        seen.clear()
        added(normal(3, GROUPS, rows, COLUMNS).astype(float), x, [z[:, part] for part in PARTS])
        assert bool(seen) is not is_wide
    monkeypatch.setattr(module, "MOST_COLUMNS", COLUMNS - 1)
    added(normal(3, GROUPS, 5, COLUMNS).astype(float), x, [z[:, part] for part in PARTS])
    assert seen == [5, 5, 5]
