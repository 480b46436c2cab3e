"""Finds how many samples a model takes a call where its batch is open outside and fixed inside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from onnx_lobs.arrays import Feeds
from onnx_lobs.data.batches import Batches
from onnx_lobs.errors import InferenceError

_SIZES = (1, 4, 8, 16, 32, 64, 128, 3, 5, 6, 7)  # looked at where two samples do not go through


def cut_as_fixed_inside(batches: Batches, run: Callable[[Feeds], object]) -> Batches:
    """Return the batches, or the same samples in batches of the size that is fixed inside.

    Some models say that their batch is open, but reshape to one of a fixed size, or start a
    recurrence from states of one. Two samples together tell.

    Parameters
    ----------
    batches
        Those that cannot be cut otherwise stay as they are.
    run
        Runs the model.

    Raises
    ------
    InferenceError
        When the model fails on every size that was tried.

    Notes
    -----
    Cost: the network on two samples; where it fails on them, on some more.
    """
    if batches.recut is None or max(batches.sizes) == 1:
        return batches
    try:
        run(next(iter(batches.recut(2))))
    except InferenceError as error:
        for size in _SIZES:
            if size <= batches.n_samples and goes(found := batches.recut(size), run):
                return _as_fixed(found, size)
        raise InferenceError(
            f"{error}; it fails on every number of samples a call that was tried, 1 to 128; check "
            "the data, or give batches that it takes (a folder of npz files)"
        ) from error
    return batches


def goes(batches: Batches, run: Callable[[Feeds], object]) -> bool:
    """Whether a model runs on the first of some batches.

    Nothing but a run tells: a graph may fix how many samples it takes in any constant that is a
    shape, whatever its inputs declare.
    """
    try:
        run(next(iter(batches)))
    except InferenceError:
        return False
    return True


def _as_fixed(batches: Batches, size: int) -> Batches:
    """Return batches of one size, which can be cut no other way, with a note."""
    full = sum(n == size for n in batches.sizes)
    left = batches.n_samples - full * size
    rest = f", and {left} samples were left out" if left else ""
    note = f"the model takes {size} sample{'s' * (size > 1)} a call, fixed inside it{rest}"
    cut = batches.pick(range(full)) if left else batches
    return replace(cut, origin=batches.origin, recut=None, notes=(*batches.notes, note))
