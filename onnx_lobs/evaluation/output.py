"""What pruning did to the whole network: output error and top-1 accuracy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnx_lobs.errors import DataError
from onnx_lobs.graph.model import is_float
from onnx_lobs.graph.staged import Runnable

Feeds = Mapping[str, NDArray[Any]]


def output_error(
    dense: Runnable,
    pruned: Runnable,
    batches: Iterable[Feeds],
    tick: Callable[[int], None] = lambda n: None,
) -> float | None:
    """Return sum (pruned - dense)² / sum dense² over all floating outputs, or None if none.

    Cost: one forward pass of each model.
    """
    change, energy = 0.0, 0.0
    seen = False
    for feeds in batches:
        before, after = dense.run(feeds), pruned.run(feeds)
        for name, value in before.items():
            other = after[name]
            if not isinstance(value, np.ndarray) or not is_float(value.dtype):
                continue
            if value.shape != other.shape:
                raise DataError(
                    f"output {name!r} changed its shape from {value.shape} to {other.shape}; "
                    "its size depends on values, so no output error can be given"
                )
            seen = True
            exact = value.astype(np.float64)
            change += float(np.square(other - exact).sum())
            energy += float(np.square(exact).sum())
        tick(1)
    if not seen:
        return None
    return change / energy if energy > 0 else 0.0 if change == 0 else None


def top1(
    session: Runnable,
    batches: Iterable[Feeds],
    labels: NDArray[Any],
    tick: Callable[[int], None] = lambda n: None,
) -> float:
    """Return the fraction of samples whose largest score has the label's index.

    The scores are the first floating output of shape (samples, classes).

    Raises
    ------
    DataError
        When there is no such output, or the numbers of scores and labels differ.
    """
    guesses: list[NDArray[Any]] = []
    for feeds in batches:
        guesses.append(_scores(session.run(feeds)).argmax(axis=-1))
        tick(1)
    guess = np.concatenate(guesses)
    if guess.shape != labels.shape:
        raise DataError(
            f"the test set has {labels.size} labels, but the model gave {guess.size} scores"
        )
    return float((guess == labels).mean())


def _scores(outputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    for value in outputs.values():
        scores = isinstance(value, np.ndarray) and is_float(value.dtype) and value.ndim >= 2
        if scores and math.prod(value.shape[2:]) == 1:
            return value.reshape(value.shape[:2])
    shapes = ", ".join(f"{name} {np.shape(value)}" for name, value in outputs.items())
    raise DataError(f"no output of shape (samples, classes) to score; the model gives {shapes}")
