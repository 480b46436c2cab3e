"""Says which batches are held out: nothing is fitted to them, they choose settings and tell errors.

A tenth of the batches is held out: with a quarter of 30 samples, what was fitted to the others had
twice the error on new ones.
"""

from __future__ import annotations

from onnx_lobs.data.batches import Batches
from onnx_lobs.errors import DataError

APART = 10  # of so many batches, one is held out


def held_every(batches: Batches) -> int:
    """Return k, where the last of every k batches is held out; 0: with one batch none is."""
    return 0 if len(batches) < 2 else min(APART, len(batches))


def is_held_out(index: int, every: int) -> bool:
    """Whether a batch is held out where one of `every` batches is."""
    return every > 0 and index % every == every - 1


def split_held(batches: Batches) -> tuple[Batches, Batches | None]:
    """Return the batches that are fitted, and those that are held out, if there are any."""
    every = held_every(batches)
    held = [index for index in range(len(batches)) if is_held_out(index, every)]
    if not held:
        return batches, None
    fitted = [index for index in range(len(batches)) if not is_held_out(index, every)]
    return batches.pick(fitted), batches.pick(held)


def fitted_and_held(batches: Batches) -> tuple[Batches, Batches]:
    """Return the batches that are fitted and those held out, where something must choose.

    Raises
    ------
    DataError
        When they make one batch only.
    """
    fitted, held = split_held(batches)
    if held is None:
        raise DataError(
            f"{batches.n_samples} samples make one batch, and one is held out; give more samples, "
            "or a smaller batch_size"
        )
    return fitted, held
