"""Records how parts of a network were fitted, nonlinearities included."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BlocksRecord:
    """What fitting spans between two cuts of a network, and then the whole of it, brought.

    Parameters
    ----------
    spans, fitted
        How many there are, the whole among them, and how many came nearer to the dense network on
        held-out samples.
    error_before, error_after
        Output error on the held-out samples; None where there is no floating output, and then
        nothing was fitted.
    is_kept
        Whether it fell, so that the new weights were kept.
    seconds
        That it took.
    """

    spans: int
    fitted: int
    error_before: float | None
    error_after: float | None
    is_kept: bool
    seconds: float
