"""Some outputs of a convolution are those that all outputs hold at the same places."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from build_onnx import normal

from onnx_lobs.linalg.convolution.geometry import Unfold, n_positions, output_sizes
from onnx_lobs.linalg.convolution.positions import Grid, Spread, grid_step, wants_grid
from onnx_lobs.linalg.convolution.unfold import unfold

SPATIAL = {1: (11,), 2: (7, 6), 3: (7, 6, 5)}
SAMPLES, GROUPS = 2, 2
CASES = list(itertools.product([1, 2, 3], [1, 2], [1, 2], [0, 2, -1]))


def images(nd: int) -> np.ndarray:
    return normal(nd, SAMPLES, 4, *SPATIAL[nd])


def conv(nd: int, stride: int, dilation: int, pad: int) -> Unfold:
    pads = (pad, *[max(pad, 0)] * (2 * nd - 1))
    return Unfold((3, 2, 2)[:nd], (stride,) * nd, (dilation,) * nd, pads, (1,) * nd)


def windows(x: np.ndarray, geometry: Unfold) -> np.ndarray:
    """Return all windows (groups, samples, outputs, columns), one pixel at a time."""
    out = output_sizes(x.shape[2:], geometry)
    columns = [[] for _ in range(GROUPS)]
    inside = x.shape[1] // GROUPS
    for sample, place in itertools.product(x, itertools.product(*map(range, out))):
        for group in range(GROUPS):
            row = []
            for channel in sample[group * inside : (group + 1) * inside]:
                for position in itertools.product(*map(range, geometry.kernel)):
                    at = [
                        p * s + t * d - pad
                        for p, s, t, d, pad in zip(
                            place, geometry.strides, position, geometry.dilations,
                            geometry.pads[: len(position)], strict=True,
                        )
                    ]  # fmt: skip
                    is_in = all(0 <= a < n for a, n in zip(at, channel.shape, strict=True))
                    row.append(channel[tuple(at)] if is_in else 0)
            columns[group].append(row)
    return np.array(columns, x.dtype).reshape(GROUPS, len(x), math.prod(out), -1)


@pytest.mark.parametrize(("nd", "stride", "dilation", "pad"), CASES)
def test_all_outputs_a_grid_of_them_and_chosen_ones(
    nd: int, stride: int, dilation: int, pad: int
) -> None:
    x, geometry = images(nd), conv(nd, stride, dilation, pad)
    every = windows(x, geometry)
    assert every.shape[1] * every.shape[2] == n_positions(x.shape, geometry)
    flat = every.reshape(GROUPS, -1, every.shape[-1])
    assert np.array_equal(unfold(x, geometry, GROUPS), flat)
    rng = np.random.default_rng(nd)
    chosen = np.sort(rng.choice(flat.shape[1], size=flat.shape[1] // 3 + 1, replace=False))
    assert np.array_equal(unfold(x, geometry, GROUPS, chosen), flat[:, chosen])
    out = output_sizes(x.shape[2:], geometry)
    for fraction in (0.04, 0.3, 0.6):
        grid = Grid.draw(rng, grid_step(out, fraction))
        axes = [range(a, n, s) for a, n, s in zip(grid.start, out, grid.step, strict=True)]
        places = np.ravel_multi_index(np.meshgrid(*axes, indexing="ij"), out).ravel()
        expected = every[:, :, places].reshape(GROUPS, -1, every.shape[-1])
        assert np.array_equal(unfold(x, geometry, GROUPS, grid), expected)


@pytest.mark.parametrize("nd", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 3, 8, 100])
def test_spread_pixels_are_different_ones_from_any_start(nd: int, count: int) -> None:
    x = images(nd)
    size = math.prod(SPATIAL[nd])
    count = min(count, size)
    ones = (1,) * nd
    pointwise = Unfold(ones, ones, ones, (0,) * (2 * nd), ones)
    assert pointwise.is_pointwise
    every = unfold(x, pointwise, GROUPS).reshape(GROUPS, SAMPLES, size, -1)
    drawn = Spread.draw(np.random.default_rng(count), SPATIAL[nd], count)
    assert drawn.step * drawn.count <= size
    for start in range(size):
        spread = Spread(start, drawn.step, count)
        places = np.concatenate([np.arange(size)[pixels] for _, pixels in spread.runs(size)])
        assert len(set(places)) == len(places) == count
        found = unfold(x, pointwise, GROUPS, spread)
        assert np.array_equal(found, every[:, :, places].reshape(GROUPS, SAMPLES * count, -1))


def test_wide_steps_meet_all_columns_of_an_image() -> None:
    spread = Spread.draw(np.random.default_rng(0), (112, 112), 12544 // 48)
    assert math.gcd(spread.step, 112) == 1
    assert spread.step > 40


@pytest.mark.parametrize(
    ("sizes", "fraction", "step"),
    [
        ((14, 14), 1 / 6, (2, 3)), ((7, 7), 0.66, (1, 1)), ((7, 7), 0.4, (1, 2)),
        ((30,), 0.1, (10,)), ((4, 40), 1 / 100, (4, 25)), ((8, 8, 8), 1 / 8, (2, 2, 2)),
    ],
)  # fmt: skip
def test_a_grid_keeps_at_least_the_fraction(
    sizes: tuple[int, ...], fraction: float, step: tuple[int, ...]
) -> None:
    assert grid_step(sizes, fraction) == step
    assert 1 / math.prod(step) >= fraction - 1e-12


def test_every_output_is_on_the_grid_equally_often() -> None:
    rng = np.random.default_rng(1)
    seen = np.zeros((7, 9), int)
    n = 12_000
    for _ in range(n):
        (a, b), (s, t) = (grid := Grid.draw(rng, (3, 4))).start, grid.step
        seen[a::s, b::t] += 1
    expected, deviation = n / 12, math.sqrt(n * (1 / 12) * (11 / 12))
    assert np.abs(seen - expected).max() < 4 * deviation


def test_few_outputs_of_many_are_drawn_one_by_one() -> None:
    assert wants_grid(96, 9, 0.2)
    assert not wants_grid(96, 9, 0.01)
    assert not wants_grid(1, 9, 0.2)
    assert not wants_grid(4, 100, 0.2)
