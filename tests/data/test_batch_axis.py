"""The batch axis: which axis of each input counts samples, by the names in the model."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_lobs.data.batch_axis import batch_axes
from onnx_lobs.data.inputs import InputSpec

Shape = tuple[int | str | None, ...] | None


def axes(*shapes: Shape) -> list[int | None]:
    specs = [InputSpec(f"x{i}", np.dtype("float32"), shape) for i, shape in enumerate(shapes)]
    return [found.axis for found in batch_axes(specs)]


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ([("batch", 512), (2, "batch", 128), ()], [0, 1, None]),
        ([(2, "batch", 128), ("batch", 512)], [1, 0]),
        ([("N", 3), (4, "N", 3), (7, 4)], [0, 1, 0]),
        ([("batch", "seq"), ("batch_size", 3)], [0, 0]),
        ([("s0", "s1"), ("s0", "s1"), (2, 1, "s0", 64)], [0, 0, 2]),
        ([(5, "N", 8)], [1]),
        ([("time", "N", 8)], [1]),
        ([("T", "batch", 8), (1, "batch", 16)], [1, 1]),
    ],
)
def test_the_axis_named_like_the_batch_axis_of_others_is_the_batch(
    shapes: list[Shape], expected: list[int | None]
) -> None:
    assert axes(*shapes) == expected


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ([("batch", 3), ("anchors", 4)], [0, None]),
        ([("N", 3), ("tokens",)], [0, None]),
        ([("batch", 3), ("y_dynamic_axes_1", 4)], [0, 0]),
        ([("batch", 3), (None, 4)], [0, 0]),
    ],
)
def test_an_input_whose_axes_are_named_otherwise_has_no_batch_axis(
    shapes: list[Shape], expected: list[int | None]
) -> None:
    assert axes(*shapes) == expected


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ([("rows", "n")], [0]),  # a letter behind an open axis that is not time
        ([("M", 3)], [0]),
        ([(None, "length")], [0]),
        ([(1, 3, "height", "width")], [0]),
        ([None], [0]),
        ([()], [None]),
    ],
)
def test_without_a_name_that_tells_the_first_axis_is_the_batch(
    shapes: list[Shape], expected: list[int | None]
) -> None:
    assert axes(*shapes) == expected


def test_where_nothing_has_a_name_the_only_open_axis_behind_a_fixed_one_is_the_batch() -> None:
    assert axes((None, None), (2, None, 128), ()) == [0, 1, None]
    assert axes((2, None, 128)) == [0]  # nothing else says that the batch is open
    assert axes((None, 8), (2, None, None)) == [0, 0]  # two could be it
