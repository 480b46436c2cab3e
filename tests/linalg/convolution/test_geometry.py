"""Pads and steps of windows, once the size of an input is known."""

from __future__ import annotations

import pytest

from onnx_lobs.linalg.convolution.geometry import Unfold, n_positions, output_sizes, resolve


def test_conv_same_resolves_each_axis_by_its_own_size() -> None:
    geometry = Unfold((3, 2), (2, 1), (1, 1), (0,) * 4, (1, 1), auto_pad="SAME_UPPER")
    assert resolve(geometry, (8, 5)).pads == (0, 0, 1, 1)
    lower = Unfold((3, 2), (2, 1), (1, 1), (0,) * 4, (1, 1), auto_pad="SAME_LOWER")
    assert resolve(lower, (8, 5)).pads == (1, 1, 0, 0)


@pytest.mark.parametrize("stride", [7, 8, 9, 10, 1000, 2**40])
def test_strides_beyond_the_input_are_cut_to_it(stride: int) -> None:
    geometry = Unfold((3, 2), (stride, stride), (1, 1), (1, 0, 1, 1), (1, 1))
    found = resolve(geometry, (7, 8))
    assert found.strides == (min(stride, 9), min(stride, 9))  # of the padded input
    assert output_sizes((7, 8), found) == output_sizes((7, 8), geometry)


def test_positions_are_those_of_every_sample() -> None:
    geometry = Unfold((3, 2), (2, 1), (1, 1), (0,) * 4, (1, 1), auto_pad="SAME_UPPER")
    assert n_positions((5, 4, 8, 5), geometry) == 5 * 4 * 5
