"""Sums of inputs alone are a Gram, and refuse a target that they would lose."""

from __future__ import annotations

import numpy as np
import pytest
from build_onnx import normal

from onnx_lobs.linalg.accumulator import Accumulator, InputSums, TargetObservations
from onnx_lobs.linalg.convolution.geometry import Unfold
from onnx_lobs.linalg.convolution.offset_gram import ConvSums
from onnx_lobs.linalg.convolution.pixel_gram import PixelSums
from onnx_lobs.linalg.convolution.pixel_targets import PixelTargets
from onnx_lobs.linalg.gram import Gram
from onnx_lobs.linalg.moments import Moments

SINGLE = 1e-6  # float32 products of 27 observations, in two orders
LINE = Unfold((3,), (1,), (1,), (0, 0), (1,))


def test_input_sums_that_are_merged_are_those_of_one_gram() -> None:
    parts = [normal(i, 2, 9, 5) for i in range(3)]
    whole, other, expected = InputSums(2, 5), InputSums(2, 5), Gram(2, 5)
    whole.add(parts[0])
    other.add(parts[1])
    for sums in (whole, other):
        sums.settle()
    whole.merge(other)
    whole.merge(InputSums(2, 5))
    x = parts[2].astype(np.float64)
    whole.add_moments(Moments(Gram.of(x.swapaxes(1, 2) @ x, x.sum(axis=1), 9)))
    for part in parts:
        expected.update(part)
    found = whole.result()
    assert found.targets is None
    assert found.inputs.count == expected.count == 27
    np.testing.assert_allclose(found.inputs.matrix, expected.matrix, rtol=SINGLE, atol=SINGLE * 27)
    np.testing.assert_allclose(found.inputs.total, expected.total, rtol=SINGLE, atol=SINGLE * 27)


@pytest.mark.parametrize(
    "sums", [InputSums(4, 3), ConvSums(LINE, 4, (9,), 4), PixelSums(LINE, 4, (9,), 4)], ids=type
)
def test_sums_of_inputs_alone_refuse_a_target(sums: Accumulator) -> None:
    target = TargetObservations(normal(1, 4, 14, 1), is_output=True)
    with pytest.raises(ValueError, match="given a target at 14 observations; use sums that take"):
        sums.add(normal(2, 2, 4, 9), target)


@pytest.mark.parametrize("is_output", [None, False])
def test_sums_of_targets_at_all_outputs_want_outputs(is_output: bool | None) -> None:
    sums = PixelTargets(LINE, 4, (9,), 4, 1)
    target = None if is_output is None else TargetObservations(normal(1, 4, 14, 3), is_output)
    with pytest.raises(ValueError, match="no output to aim at; use PixelSums"):
        sums.add(normal(2, 2, 4, 9), target)
