"""Cuts the batches of a span into pieces: where a sample has many positions, few samples tell much.

The gradient of a span's loss is a mean over the positions of its output, of which an image gives
thousands near the input of a network and tens near its end. A step that looks at POSITIONS of them
costs a fraction of one that looks at a batch, and gets as near.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from onnx_lobs.arrays import Array, Feeds
from onnx_lobs.data.batches import Batches
from onnx_lobs.data.fixed_inside import goes
from onnx_lobs.graph.derivatives.observed import ObservedValues, observe
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.session import Session
from onnx_lobs.run.retraining.training import TrainingSet

POSITIONS = 2048  # of a span's output that a step looks at, or more
LEAST_SAMPLES = 4  # of a step


def samples_of_piece(shape: Sequence[int]) -> int:
    """Return how many samples a step looks at, for a target of some shape.

    The first axis of the target counts samples. Of images the second is channels; of sequences the
    longer one of both may be features. What is left are positions.

    >>> [samples_of_piece(shape) for shape in ((25, 16, 56, 56), (25, 320, 7, 7), (32, 48, 384))]
    [4, 42, 43]
    """
    inner = shape[2:] if len(shape) > 3 else sorted(shape[1:])[:-1]
    return max(LEAST_SAMPLES, math.ceil(POSITIONS / max(1, math.prod(inner))))


class _PieceTargets:
    """The targets of pieces, out of those of whole batches."""

    def __init__(self, whole: TrainingSet, parts: Sequence[tuple[int, slice]]) -> None:
        self._whole, self._parts = whole, parts

    def of(
        self, index: int, feeds: Feeds, shapes: Mapping[str, tuple[int, ...]]
    ) -> Sequence[Array]:
        """Return the targets of one piece."""
        batch, part = self._parts[index]
        return [target[part] for target in self._whole.targets.of(batch, feeds, shapes)]


def in_pieces(whole: TrainingSet, size: int) -> TrainingSet:
    """Return batches and their targets in pieces of so many samples, as :func:`pieces_of`."""
    targets = _PieceTargets(whole, _parts(whole.batches, size))
    return TrainingSet(pieces_of(whole.batches, size), targets)


def pieces_of(batches: Batches, size: int) -> Batches:
    """Return batches in pieces of so many samples; the last two of a batch may overlap.

    All have one size where no batch is smaller, so that one session suffices.
    """
    parts = _parts(batches, size)

    def load(index: int) -> dict[str, Array]:
        batch, part = parts[index]
        return {name: value[part] for name, value in batches.load(batch).items()}

    sizes = tuple(part.stop - part.start for _, part in parts)
    return Batches(load, sizes, f"pieces of {batches.origin}")


def _parts(batches: Batches, size: int) -> list[tuple[int, slice]]:
    """Return the batch of each piece, and its samples there."""
    return [
        (batch, slice(max(0, min(start, n - size)), min(start + size, n)))
        for batch, n in enumerate(batches.sizes)
        for start in range(0, n, size)
    ]


def cut_where_taken(
    part: Model, output: str, whole: TrainingSet, provider: str
) -> tuple[TrainingSet, ObservedValues]:
    """Return what steps learn from, and what a run on its first batch or piece tells.

    Parameters
    ----------
    part
        A model of the span. Not modified.
    output
        Its output.
    whole
        Batches, and the targets of that output.
    provider
        Full name of an execution provider.

    Returns
    -------
    TrainingSet
        In pieces, where these go through the span as batches do; else as it was.
    """
    target = whole.targets.of(0, whole.batches.load(0), {})[0]
    n = whole.batches.sizes[0]
    size = -(-n // max(1, round(n / samples_of_piece(target.shape))))  # pieces of about one size
    if target.shape[:1] == (n,) and takes_pieces(part, whole.batches, size, provider):
        pieces = in_pieces(whole, size)
        seen = observe(part, pieces.batches.load(0), provider=provider)
        if seen.shapes[output] == (size, *target.shape[1:]):
            return pieces, seen
    return whole, observe(part, whole.batches.load(0), provider=provider)


def takes_pieces(model: Model, batches: Batches, size: int, provider: str) -> bool:
    """Whether a model runs on so many samples of the first batch, which has more.

    Not where an input does not count samples, or the graph fixes how many it takes; batches then
    stay whole, so that each step looks at more samples and costs more.
    """
    n = batches.sizes[0]
    if size >= n or any(np.shape(value)[:1] != (n,) for value in batches.load(0).values()):
        return False
    session = Session(model.proto, folder=model.folder, provider=provider, light=True)
    return goes(pieces_of(batches, size), session.run)
