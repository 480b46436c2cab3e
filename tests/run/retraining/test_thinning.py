"""Thinning takes the weights of least loss, a few at a time, to an exact count."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnx_lobs.errors import ConfigError
from onnx_lobs.run.retraining.parameters import MovingTensor
from onnx_lobs.run.retraining.thinning import FLOOR, PART, TIMES, Thinning, thinned

LAYER: Any = object()  # whose weight it is does not matter


def weights(**arrays: np.ndarray) -> list[MovingTensor]:
    """Return tensors that are weights, zeros fixed."""
    return [
        MovingTensor(name, array.astype(np.float32), array != 0, LAYER)
        for name, array in arrays.items()
    ]


def names(tensors: list[MovingTensor]) -> set[str]:
    """Return what is called how."""
    return {tensor.name for tensor in tensors}


def left(thinning: Thinning, tensors: list[MovingTensor]) -> dict[str, np.ndarray]:
    """Return where weights stay."""
    ones = {tensor.name: np.ones(tensor.kept.shape) for tensor in tensors}
    return {name: values != 0 for name, values in thinning.applied(ones).items()}


def thinned_after(
    tensors: list[MovingTensor], gradients: dict[str, np.ndarray], sparsity: float, steps: int = 100
) -> dict[str, np.ndarray]:
    """Return what stays of weights that do not move, by gradients that are always the same."""
    thinning = Thinning(tensors, names(tensors), sparsity, steps)
    values = {tensor.name: tensor.start for tensor in tensors}
    for step in range(1, steps + 1):
        thinning.see(thinning.applied(gradients))
        if thinning.is_due(step):
            thinning.thin(step, values)
    return left(thinning, tensors)


@pytest.mark.parametrize("steps", [1, 2, 7, 100, 1000])
@pytest.mark.parametrize("sparsity", [0.5, 0.9, 0.983])
def test_as_many_weights_stay_as_the_sparsity_says(steps: int, sparsity: float) -> None:
    rng = np.random.default_rng(0)
    tensors = weights(a=rng.standard_normal((30, 20)), b=rng.standard_normal((20, 10)))
    gradients = {"a": rng.standard_normal((30, 20)), "b": rng.standard_normal((20, 10))}
    stays = thinned_after(tensors, gradients, sparsity, steps)
    assert sum(mask.sum() for mask in stays.values()) == round((1 - sparsity) * 800)


def test_those_stay_whose_removal_raises_a_quadratic_loss_most() -> None:
    rng = np.random.default_rng(1)
    tensors = weights(a=rng.standard_normal((8, 9)), b=10 * rng.standard_normal((5, 4)))
    gradients = {t.name: rng.standard_normal(t.kept.shape) for t in tensors}
    stays = thinned_after(tensors, gradients, 0.5)
    # floors compare weights of one tensor with each other, so they enter the loss
    losses = {
        t.name: np.square(t.start)
        * (np.square(gradients[t.name]) + FLOOR * np.square(gradients[t.name]).mean())
        for t in tensors
    }
    kept = np.concatenate([losses[n][stays[n]] for n in losses])
    gone = np.concatenate([losses[n][~stays[n]] for n in losses])
    # what went earlier leaves the mean, which moves a floor: nine in ten are beyond doubt
    assert np.quantile(gone, 0.9) < np.quantile(kept, 0.1)


def test_a_small_weight_with_a_steep_gradient_outlives_a_large_one_without() -> None:
    tensors = weights(a=np.array([[0.1, 0.3], [0.5, 0.5]]))
    stays = thinned_after(tensors, {"a": np.array([[100.0, 0.01], [50, 50]])}, 0.25)
    np.testing.assert_array_equal(stays["a"], [[True, False], [True, True]])


def test_what_went_never_comes_back_and_shares_fall_by_equal_factors() -> None:
    rng = np.random.default_rng(2)
    tensors = weights(a=rng.standard_normal((100, 100)))
    thinning = Thinning(tensors, {"a"}, 0.99, 100)
    counts, before = [], np.ones((100, 100), bool)
    for step in range(1, 101):
        thinning.see({"a": rng.standard_normal((100, 100))})
        if thinning.is_due(step):
            thinning.thin(step, {"a": rng.standard_normal((100, 100))})
            mask = left(thinning, tensors)["a"]
            assert not (mask & ~before).any()
            counts.append(mask.sum())
            before = mask
    assert len(counts) == PART * 100
    assert counts[-1] == 100
    ratios = np.array(counts[1:]) / counts[:-1]
    # a count is whole: one of a hundred is one per cent
    np.testing.assert_allclose(ratios, 0.01 ** (1 / (PART * 100)), atol=0.01)


@pytest.mark.parametrize(
    ("steps", "times"), [(1, 1), (50, 30), (100, 60), (199, 119), (200, 60), (643, 65), (841, 64)]
)
def test_weights_go_in_sixty_to_twice_as_many_parts_or_at_every_step(
    steps: int, times: int
) -> None:
    thinning = Thinning(weights(a=np.ones((10, 10))), {"a"}, 0.5, steps)
    assert sum(map(thinning.is_due, range(1, steps + 1))) == times
    assert times < 2 * TIMES
    assert times >= min(TIMES, thinning.until)


def test_layers_without_zeros_are_left_alone_where_others_have_some() -> None:
    rng = np.random.default_rng(3)
    half = rng.standard_normal((10, 10)) * (np.arange(10) % 2)
    tensors = weights(a=half, b=1e-3 * rng.standard_normal((10, 10)))
    gradients = {"a": np.ones((10, 10)), "b": np.zeros((10, 10))}
    stays = thinned_after(tensors, gradients, 0.8)
    assert stays["b"].all()
    assert stays["a"].sum() == 20


def test_zeros_of_what_does_not_move_count() -> None:
    tensors = weights(a=np.ones((10, 10)), b=np.eye(10))
    fixed = [tensors[0]]
    with_zeros = weights(a=np.triu(np.ones((10, 10))), b=np.eye(10))
    thinning = Thinning(with_zeros, {"a"}, 0.9, 1)
    thinning.see({"a": np.ones((10, 10))})
    thinning.thin(1, {"a": np.ones((10, 10))})
    assert left(thinning, with_zeros)["a"].sum() == 10  # 20 of 200 in all
    assert thinned(fixed, {"a": np.zeros((10, 10))})[0].n_kept == 0
    assert thinned(fixed, {})[0].n_kept == 100


@pytest.mark.parametrize(
    ("sparsity", "moved", "message"),
    [
        (0.5, {"a"}, r"0.5 is to be reached .* and 0.75 of the weights are zero already; name"),
        (0.75, {"a"}, "zero already"),
        (0.9, set[str](), "cannot be reached: 0 of 100 weights move"),
        (0.999, {"a"}, r"0.999 cannot be reached: 25 of 100 weights move; name less"),
    ],
)
def test_a_sparsity_that_is_there_or_out_of_reach_is_refused(
    sparsity: float, moved: set[str], message: str
) -> None:
    quarter = np.zeros((10, 10))
    quarter[:5, :5] = 1
    with pytest.raises(ConfigError, match=message):
        Thinning(weights(a=quarter), moved, sparsity, 10)
