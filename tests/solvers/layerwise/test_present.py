"""Zeros that a weight has come first, and as many as before are zero, in every pattern."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_lobs.linalg.gram import Gram
from onnx_lobs.linalg.moments import Calibration, Moments
from onnx_lobs.patterns import NM, Block, Pattern, Unstructured
from onnx_lobs.solvers import METHODS
from onnx_lobs.solvers.layerwise import LayerTask, solve_layer
from onnx_lobs.solvers.layerwise.present import with_present_zeros

SHAPE = (1, 8, 12)
RNG = np.random.default_rng(5)
INPUTS = RNG.standard_normal((1, 200, 12)) @ RNG.standard_normal((12, 12))


def task(zeros: np.ndarray, share: float, pattern: Pattern, method: str = "joint") -> LayerTask:
    """Return a layer with zeros, of which a `share` of the weights is to be zero."""

    def moments(part: slice) -> Moments:
        gram = Gram(1, SHAPE[2])
        gram.update(INPUTS[:, part])
        return Moments(gram)

    weight = np.where(zeros, 0.0, np.random.default_rng(1).standard_normal(SHAPE))
    calibration = Calibration((moments(slice(180)),), (moments(slice(180, None)),))
    n_prune = pattern.closest(SHAPE, share)
    return LayerTask(weight, calibration, (False,), n_prune, pattern=pattern, method=method)


@given(st.integers(0, 99), st.floats(0, 0.5), st.floats(0.5, 1))
def test_all_zeros_stay_and_the_rest_is_the_methods_own(
    seed: int, has: float, share: float
) -> None:
    rng = np.random.default_rng(seed)
    zeros = np.zeros(SHAPE, bool)
    zeros.flat[rng.permutation(zeros.size)[: int(has * zeros.size)]] = True
    layer = task(zeros, share, Unstructured())
    mask = Unstructured().select(rng.random(SHAPE), layer.n_prune)
    found = with_present_zeros(layer, mask, np.ones((1, 12)))
    assert not (found & zeros).any()
    assert (~found).sum() == layer.n_prune
    assert not (~found & mask & ~zeros).any()  # no weight goes that the method kept


def test_the_least_important_of_the_methods_zeros_go_on_being_zero() -> None:
    zeros = np.zeros(SHAPE, bool)
    zeros[0, 0, 0] = True
    layer = task(zeros, 2 / 96, Unstructured())
    mask = np.ones(SHAPE, bool)
    mask[0, 1, 1] = mask[0, 2, 2] = False
    diagonal = np.ones((1, 12))
    diagonal[0, 1] = 1e-6
    found = with_present_zeros(layer, mask, diagonal)
    assert sorted(map(tuple, np.argwhere(~found)[:, 1:])) == [(0, 0), (1, 1)]


@pytest.mark.parametrize("pattern", [NM(2, 4), Block(4, 1), Block(1, 4)], ids=str)
def test_zeros_that_the_pattern_can_have_stay_and_the_result_obeys_it(pattern: Pattern) -> None:
    half = ~pattern.select(np.random.default_rng(3).random(SHAPE), pattern.closest(SHAPE, 0.5))
    if isinstance(pattern, NM):  # one of the two zeros of each window
        half[:, :, ::2] = False
    layer = task(half, 0.5 if isinstance(pattern, NM) else 0.75, pattern)
    mask = pattern.select(np.random.default_rng(4).random(SHAPE), layer.n_prune)
    found = with_present_zeros(layer, mask, np.ones((1, 12)))
    assert not (found & half).any()
    assert pattern.obeys(found)
    assert (~found).sum() == layer.n_prune


def test_a_weight_without_zeros_is_left_to_the_method() -> None:
    layer = task(np.zeros(SHAPE, bool), 0.5, Unstructured())
    mask = Unstructured().select(np.random.default_rng(4).random(SHAPE), layer.n_prune)
    assert with_present_zeros(layer, mask, np.ones((1, 12))) is mask


@pytest.mark.parametrize("method", [name for name in METHODS if not METHODS[name].prunes_bias])
def test_methods_that_refit_keep_zeros_and_have_exactly_as_many_as_asked(method: str) -> None:
    zeros = np.random.default_rng(2).random(SHAPE) < 0.4
    layer = task(zeros, 0.6, Unstructured(), method)
    found = solve_layer(layer).weight
    assert (found == 0).sum() == layer.n_prune
    if METHODS[method].refits:
        assert not found[zeros].any()
