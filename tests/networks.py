"""Networks that are a function of their feeds, and batches for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.data.batches import Batches


class Network:
    """A Runnable that gives ``{output: function(x)}`` and counts its runs."""

    def __init__(self, **functions: Callable[[Array], Any]) -> None:
        self.functions = functions
        self.runs = 0

    def run(
        self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None
    ) -> dict[str, Array]:
        """Return the outputs by name."""
        self.runs += 1
        return {name: function(feeds["x"]) for name, function in self.functions.items()}


def batches_of(*arrays: Array, labels: Any = None) -> Batches:
    """Return batches of the input x, with labels of all samples."""
    return Batches(
        load=lambda i: {"x": arrays[i]},
        sizes=tuple(map(len, arrays)),
        origin="arrays",
        labels=None if labels is None else np.asarray(labels),
    )


def same(x: Array) -> Array:
    """Return the input."""
    return x


def shown(*rows: Sequence[float]) -> Array:
    """Return rows as a float32 array."""
    return np.array(rows, np.float32)
