"""Inputs of another scale than the network's: which raise a warning, and which do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from networks import Network, batches_of

from onnx_lobs.arrays import Array
from onnx_lobs.evaluation.plausible_scale import (
    FAR,
    LEAST,
    LOOKED_AT,
    doubtful_pixels,
    unlike_scales,
)

WIDE = np.random.default_rng(3).standard_normal((192, 12))
SHAPES = [(3, 8, 8), (192, 1), (1, 16, 12)]  # channels first; a signal of bytes; grey


def images(n: int, shape: tuple[int, ...] = (3, 8, 8), seed: int = 0) -> Array:
    """Return pixels of 0 to 255 that differ in brightness and in place."""
    rng = np.random.default_rng(seed)
    light = rng.uniform(0.2, 1, (n,) + (1,) * len(shape))
    return np.round(255 * light * rng.random((n, *shape))).astype(np.float32)


def of_unit(x: Array) -> Array:
    """Stand for a network that takes -1 to 1: beyond its units stand at their ends."""
    return np.tanh(0.2 * (x.reshape(len(x), -1) @ WIDE) + 3.0).astype(np.float32) + 2


def of_bytes(x: Array) -> Array:
    """Stand for a network that scales its own pixels."""
    return of_unit((x - 127.5) / 127.5)


def of_any(x: Array) -> Array:
    """Stand for a network that normalises each sample."""
    flat = x.reshape(len(x), -1)
    flat = (flat - flat.mean(1, keepdims=True)) / flat.std(1, keepdims=True)
    return (flat @ WIDE).astype(np.float32)


def saturated(x: Array) -> Array:
    """Stand for a network whose units all stand at their ends where inputs are not small."""
    return np.tanh(np.abs(x.reshape(len(x), -1)) @ np.abs(WIDE) * 0.01).astype(np.float32)


def look(function: Callable[[Array], Any], x: Array) -> tuple[list[str], int]:
    network = Network(y=function)
    return doubtful_pixels(network, batches_of(*np.split(x, len(x) // 4))), network.runs


@pytest.mark.parametrize("shape", SHAPES)
def test_pixels_that_a_network_of_small_inputs_cannot_tell_apart_are_told(
    shape: tuple[int, ...],
) -> None:
    (text,), _ = look(saturated, images(40, shape))
    assert "'x' holds pixels of 0 to 255" in text
    assert "scale them as in training" in text


@pytest.mark.parametrize("function", [of_bytes, of_any])
@pytest.mark.parametrize("shape", SHAPES)
def test_networks_that_take_pixels_are_not_doubted(
    function: Callable[[Array], Any], shape: tuple[int, ...]
) -> None:
    assert look(function, images(40, shape))[0] == []


OTHER: dict[str, Callable[[Array], Array]] = {
    "scaled": lambda x: (x / 127.5 - 1).astype(np.float32),
    "fractions": lambda x: x + np.float32(0.25),
    "integers": lambda x: x.astype(np.int64),
    "few values": lambda x: np.round(x / 255 * 9),
    "negative": lambda x: x - 128,
    "a table": lambda x: x.reshape(len(x), -1),
}


@pytest.mark.parametrize("how", OTHER)
def test_what_are_no_pixels_costs_no_run(how: str) -> None:
    assert look(saturated, OTHER[how](images(40))) == ([], 0)


def test_too_few_samples_tell_nothing_and_no_more_than_enough_are_run() -> None:
    assert look(saturated, images(LEAST - 4)) == ([], 0)
    assert look(saturated, images(4 * LOOKED_AT))[1] == 2 * LOOKED_AT // 4


@pytest.mark.parametrize("factor", [255.0, 0.01])
def test_calibration_data_of_another_scale_than_the_test_data_are_told(factor: float) -> None:
    x = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
    (text,) = unlike_scales(batches_of(x * np.float32(factor)), batches_of(x))
    assert f"'x' goes from {factor * x.min():.4g} to" in text
    assert f"from {x.min():.4g} to" in text


@pytest.mark.parametrize("factor", [0.5, 3.0, FAR - 1])
def test_data_of_nearly_the_same_scale_are_not(factor: float) -> None:
    x = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
    assert unlike_scales(batches_of(x * np.float32(factor)), batches_of(x)) == []


def test_inputs_without_a_width_or_of_integers_have_no_scale() -> None:
    x = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
    assert unlike_scales(batches_of(0 * x), batches_of(x)) == []
    assert unlike_scales(batches_of((100 * x).astype(int)), batches_of(x.astype(int))) == []
