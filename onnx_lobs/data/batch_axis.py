"""Finds the axis of each input that counts samples, by the names that the model gives its axes."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from onnx_lobs.data.inputs import InputSpec

_BATCH = re.compile(r"batch|(^|_)bs(_|$)", re.IGNORECASE)
_LETTERS = ("n", "b")  # what many call a batch axis
_TIME = re.compile(r"^[tls]$|time|seq|len|frame|step|token", re.IGNORECASE)
_MADE_UP = re.compile(r"\d|unk|dynamic", re.IGNORECASE)  # names of exporters, which mean nothing


@dataclass(frozen=True)
class BatchAxis:
    """Where the samples of an input lie.

    Parameters
    ----------
    axis
        The axis that counts samples; None: the input has none and every batch gets it whole.
    is_guess
        Whether the model does not tell, so that the data may show that it is none.
    """

    axis: int | None
    is_guess: bool = False


def batch_axes(inputs: Sequence[InputSpec]) -> tuple[BatchAxis, ...]:
    """Return the batch axis of every input.

    It is the one that is named like the other inputs' batch axis (``batch``, ``N``, or the name
    of a first axis that several inputs have), else the first. An input whose axes are all named
    otherwise has none. Where the batch is open in one input, a fixed first axis of another does
    not count samples if a single axis behind it is open.

    Parameters
    ----------
    inputs
        The model's inputs.

    Examples
    --------
    >>> import numpy as np
    >>> sound = InputSpec("input", np.dtype("float32"), ("batch", 512))
    >>> state = InputSpec("state", np.dtype("float32"), (2, "batch", 128))
    >>> rate = InputSpec("rate", np.dtype("int64"), ())
    >>> [found.axis for found in batch_axes((sound, state, rate))]
    [0, 1, None]
    """
    names = _batch_names(inputs)
    is_open = bool(names) or any(spec.shape and spec.fixed_batch is None for spec in inputs)
    return tuple(_batch_axis(spec, names, is_open=is_open) for spec in inputs)


def is_time(size: int | str | None) -> bool:
    """Whether an axis is named as one along which time runs.

    >>> [is_time(size) for size in ("frames", "n", None, 7)]
    [True, False, False, False]
    """
    return isinstance(size, str) and bool(_TIME.search(size))


def _batch_names(inputs: Sequence[InputSpec]) -> set[str]:
    """Return the names of axes that count samples."""
    shapes = [spec.shape for spec in inputs if spec.shape]
    named = {size for shape in shapes for size in shape if isinstance(size, str)}
    firsts = {shape[0] for shape in shapes if isinstance(shape[0], str)}
    words = {name for name in named if _BATCH.search(name)}
    if words:
        return words
    letters = {name for name in named if name.lower() in _LETTERS}
    letters = {name for name in letters if name in firsts or _stands_behind_time(name, shapes)}
    if letters:
        return letters
    return {name for name in firsts if sum(name in shape for shape in shapes) > 1}


def _stands_behind_time(name: str, shapes: Sequence[tuple[int | str | None, ...]]) -> bool:
    """Whether all axes in front of a name are fixed or named like time."""
    places = [(shape, shape.index(name)) for shape in shapes if name in shape]
    fronts = [size for shape, place in places for size in shape[:place]]
    return all(isinstance(x, int) or is_time(x) for x in fronts)


def _batch_axis(spec: InputSpec, names: Collection[str], *, is_open: bool) -> BatchAxis:
    shape = spec.shape
    if shape is None:
        return BatchAxis(0)
    if not shape:
        return BatchAxis(None)
    named = [axis for axis, size in enumerate(shape) if size in names]
    if named:
        return BatchAxis(named[0])
    first = shape[0]
    if isinstance(first, str) and names and not _MADE_UP.search(first):
        return BatchAxis(None)
    if not isinstance(first, int):
        return BatchAxis(0, is_guess=bool(names))
    still_open = [axis for axis, size in enumerate(shape) if not isinstance(size, int)]
    if is_open and len(still_open) == 1 and shape[still_open[0]] is None:
        return BatchAxis(still_open[0], is_guess=True)
    return BatchAxis(0, is_guess=True)
