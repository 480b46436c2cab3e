"""What the drop of a score is below with 95 % confidence, from one side."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from onnx_lobs.arrays import FloatArray

CONFIDENT = 1.645  # standard errors: a normal variable exceeds them with a probability of 5 %
START = 1e-12  # above the drop itself, where the equation has a root too if nothing changed


@dataclass(frozen=True)
class Upper:
    """Upper limits of a drop, 95 % from one side: what was measured, and what no change has."""

    drop: float
    unchanged: float


def upper_drop(before: FloatArray, after: FloatArray) -> Upper:
    """Return what the mean of ``before - after`` is below with a confidence of 95 %.

    Parameters
    ----------
    before, after
        What each sample contributed to the two scores, at least two samples. Of hits, which are 0
        or 1, by :func:`upper_difference`; else by the standard error of the differences.
    """
    n, lost = len(before), before - after
    if np.isin(before, (0, 1)).all() and np.isin(after, (0, 1)).all():
        losses, gains = int((lost > 0).sum()), int((lost < 0).sum())
        return Upper(upper_difference(losses, gains, n), least_upper(n))
    return Upper(float(lost.mean()) + CONFIDENT * float(lost.std()) / math.sqrt(n), 0.0)


def least_upper(n: int) -> float:
    """Return the upper limit where none of `n` samples changed; only gains make a lower one.

    >>> round(least_upper(373), 4), round(least_upper(125), 4)
    (0.0072, 0.0212)
    """
    return CONFIDENT**2 / (n + CONFIDENT**2)


def upper_difference(losses: int, gains: int, n: int) -> float:
    """Return the upper limit of ``p(loss) - p(gain)``, 95 % from one side.

    Parameters
    ----------
    losses, gains
        Samples that only the first of two models got right, and only the second.
    n
        All samples, at least one.

    Returns
    -------
    float
        In [-1, 1]: the largest difference that the score test does not reject.

    Notes
    -----
    Tango, Statistics in Medicine 17, 1998: like Wilson's interval for one share, it has its
    coverage where few samples changed too. A standard error from the sample is 0 where none did,
    which would make 50 samples as convincing as 5,000.

    >>> round(upper_difference(0, 0, 373), 4), round(upper_difference(1, 0, 373), 4)
    (0.0072, 0.0119)
    """
    drop = (losses - gains) / n
    if drop >= 1:
        return 1.0

    def beyond(difference: float) -> float:
        spread = 2 * gains_given(losses, gains, n, difference) + difference * (1 - difference)
        return losses - gains - n * difference + CONFIDENT * math.sqrt(n * max(spread, 0.0))

    return float(brentq(beyond, drop + START, 1.0))


def gains_given(losses: int, gains: int, n: int, difference: float) -> float:
    """Return the likeliest p(gain) if ``p(loss) - p(gain)`` were `difference`."""
    a = 2.0 * n
    b = (2 * n - losses + gains) * difference - losses - gains
    c = -gains * difference * (1 - difference)
    return (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
