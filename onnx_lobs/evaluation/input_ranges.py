"""Looks at the range of the values that a model is fed."""

from __future__ import annotations

import numpy as np

from onnx_lobs.data.batches import Batches
from onnx_lobs.graph.model import is_float
from onnx_lobs.report.record import InputRange


def input_ranges(batches: Batches) -> tuple[InputRange, ...]:
    """Return the range of each input of numbers in the first batch, which is read."""
    feeds = next(iter(batches), {})
    return tuple(
        InputRange(
            name,
            value.shape,
            float(value.min()),
            float(value.max()),
            float(value.mean(dtype=np.float64)),
        )
        for name, value in feeds.items()
        if value.size and (value.dtype.kind in "iu" or is_float(value.dtype))
    )
