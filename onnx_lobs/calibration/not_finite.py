"""Says which samples, or which constants of the model, make a value inside it NaN or infinite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.calibration.independent import tap_reader
from onnx_lobs.calibration.shared_inputs import find_shared_inputs
from onnx_lobs.data.batches import Batches
from onnx_lobs.errors import NotFiniteError
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.constants import odd_constants
from onnx_lobs.layers.layer import Layer

SHOWN = 5


@contextmanager
def told_where(
    model: Model, layers: Sequence[Layer], batches: Batches, provider: str
) -> Iterator[None]:
    """Where a value inside the network is not finite, say which samples make it so.

    Parameters
    ----------
    model
        Execution copy of the dense network. Not modified.
    layers
        Whose inputs are looked at.
    batches
        The calibration data.
    provider
        Full name of an execution provider.

    Raises
    ------
    NotFiniteError
        The one raised inside, with the samples, or the model's own constants.

    Notes
    -----
    Cost, after such an error only: the constants are read once; one forward pass, one sample a
    call where the data can be cut so.
    """
    try:
        yield
    except NotFiniteError as error:
        constants = odd_constants(model)
        bad, n_seen = _bad_samples(model, layers, batches, provider)
        if not bad and not constants:
            raise
        words = []
        if constants:
            words.append(f"the model's own {' and '.join(constants)}")
        if bad:
            words.append(_sample_words(bad, n_seen, batches))
        raise NotFiniteError(f"{error}; {'; '.join(words)}") from error


def _bad_samples(
    model: Model, layers: Sequence[Layer], batches: Batches, provider: str
) -> tuple[list[int], int]:
    """Return the numbers of those samples, or batches, that are not finite, and how many were seen.

    Samples are counted in the data as they were given.
    """
    single = batches if batches.recut is None else batches.recut(1)
    shared = find_shared_inputs(layers)
    numbers = single.numbers
    bad = []
    read = tap_reader(model, shared, provider)
    for index, feeds in enumerate(single):
        find = read(feeds)
        inputs = [find(use) for part in shared for use in part.uses]
        if not all(map(_is_finite, inputs)):
            bad.append(index if numbers is None else int(numbers[index]))
    return bad, len(single)


def _is_finite(values: Array) -> bool:
    """Whether a sum of squares is finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(np.square(values.astype(np.float32)).sum()))


def _sample_words(bad: Sequence[int], n_seen: int, batches: Batches) -> str:
    unit = "sample" if max(batches.sizes) == 1 or batches.recut is not None else "batch"
    units = unit + ("es" if unit == "batch" else "s")
    if len(bad) == n_seen:
        return f"so it is on all {n_seen} {units}"
    first = ", ".join(map(str, bad[:SHOWN])) + (", ..." if len(bad) > SHOWN else "")
    which = f"{unit} {first}" if len(bad) == 1 else f"{units} {first}"
    return f"so it is on {which} ({len(bad)} of {n_seen}, counted from 0): remove or mend that"
