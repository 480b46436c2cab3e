"""Recognises matrices that are fixed transforms of signals, by their values.

Audio networks hold Fourier, cosine and constant-Q transforms and filter banks as weights. Nobody
trained them, and a zero in them is a hole in a spectrum. Two criteria, each of which every row has
to meet; what was learned fails in the first row, so that it costs next to nothing:

* *sinusoids*: of each row, between its first and last entry that is not zero, either
  x[n-1] + x[n+1] = 2 cos(w) x[n] holds, as in a Fourier or cosine transform of any size; or nearly
  all energy is within a few bins of one frequency w, as in a short-time Fourier or constant-Q
  transform, in its inverse and in a modified cosine transform. The rows differ in w.
* *filter bank*: no entry is negative; a row rises in a straight line to one peak and falls in
  another; peaks ascend; a column has at most two entries that are not zero. So do mel filters.
"""

from __future__ import annotations

from enum import Enum

import numpy as np

from onnx_lobs.arrays import Array, FloatArray

MOST_ROWS = 48  # looked at: a matrix that is no transform fails in the first ones
LEAST_ROWS, LEAST_LENGTH = 4, 8
LEAST_WINDOW = 24  # entries of a row from which a window can be told from what was learned
NOTHING = 1e-6  # of the largest row: a row of which nothing but rounding is left, as sin(pi n)
SILENCE = 1e-7  # of a row's largest entry: its window is zero there
RESIDUE = 2e-4  # of a row's energy that may not obey it: half precision leaves 1e-6
LOBE = 3  # bins on either side of the peak: the main lobe of any usual window
IN_LOBE = 0.99  # of the energy; a Hann window has 0.9999 there, a sine window 0.999
DISTINCT = 0.25  # of the rows that have a frequency of their own: sine and cosine share one
BENT = 0.15  # of a filter's peak: straight on the mel scale is bent by so much on that of bins
LEAST_SUPPORT = 3  # entries of a filter from which its flanks can be seen


class Transform(Enum):
    """Which criterion a matrix meets; the value names it in sentences."""

    SINUSOIDS = "sampled sines and cosines, as of a Fourier, cosine or constant-Q transform"
    FILTER_BANK = "a bank of triangular filters, as of a mel spectrum"


def find_transform(weight: Array) -> Transform | None:
    """Return which fixed transform a weight is, its rows or its columns being the basis, or None.

    Parameters
    ----------
    weight
        A real array of any shape and floating type; axes of size 1 do not count. Of three axes
        the first holds several transforms. Others are none. Not modified.

    Returns
    -------
    Transform or None
        None also where it is smaller than 4 x 8, or holds NaN or infinity.

    Notes
    -----
    Cost: of a learned weight, one row's Fourier transform; of a transform, at most `MOST_ROWS` of
    them, and one pass over a filter bank.
    """
    shape = tuple(size for size in weight.shape if size > 1)
    if len(shape) not in (2, 3):
        return None
    stack = weight.reshape(-1, *shape[-2:])
    for parts in (stack, stack.swapaxes(1, 2)):
        found = {_of_rows(part) for part in parts[:1]}
        if None not in found:
            found |= {_of_rows(part) for part in parts[1:]}
        if len(found) == 1 and None not in found:
            return found.pop()
    return None


def _of_rows(matrix: Array) -> Transform | None:
    """Return the transform whose basis are the rows of a matrix."""
    rows, length = matrix.shape
    if rows < LEAST_ROWS or length < LEAST_LENGTH:
        return None
    some = np.unique(np.linspace(0, rows - 1, min(rows, MOST_ROWS)).astype(int))
    sample = matrix[some].astype(np.float64)
    if not np.isfinite(sample).all():
        return None
    tops = np.abs(sample).max(axis=1)
    sample = sample[tops > NOTHING * tops.max()]
    if len(sample) < LEAST_ROWS:
        return None
    if _are_sinusoids(sample):
        return Transform.SINUSOIDS
    return Transform.FILTER_BANK if _is_filter_bank(matrix) else None


def _are_sinusoids(sample: FloatArray) -> bool:
    """Whether all rows have a frequency, and enough of them one of their own."""
    found = []
    for row in sample:
        places = np.flatnonzero(np.abs(row) > SILENCE * np.abs(row).max())
        own = row[places[0] : places[-1] + 1]
        frequency = _plain(own)
        frequency = _windowed(own) if frequency is None else frequency
        if frequency is None:
            return False
        found.append(frequency)
    apart = np.pi / sample.shape[1] / 2  # half of what a cosine transform's rows are apart
    ascending = np.sort(found)
    n_distinct = 1 + int((np.diff(ascending) > apart).sum())
    return n_distinct >= max(LEAST_ROWS, DISTINCT * len(found))


def _plain(row: FloatArray) -> float | None:
    """Return the frequency of a sampled sine, in radians per entry; None: it is none."""
    if len(row) < LEAST_LENGTH - 2:
        return None
    middle, around = row[1:-1], row[:-2] + row[2:]
    energy = float(middle @ middle)
    if energy == 0:
        return None
    factor = float(middle @ around) / energy  # 2 cos(w), by least squares
    left = around - factor * middle
    if float(left @ left) > RESIDUE * float(row @ row) or abs(factor) > 2 + RESIDUE:
        return None
    return float(np.arccos(np.clip(factor / 2, -1, 1)))


def _windowed(row: FloatArray) -> float | None:
    """Return the frequency of a windowed sine, in radians per entry; None: it is none."""
    if len(row) < LEAST_WINDOW:
        return None
    power = np.abs(np.fft.rfft(row)) ** 2
    peak = int(power.argmax())
    lobe = slice(max(peak - LOBE, 0), peak + LOBE + 1)
    if power[lobe].sum() < IN_LOBE * power.sum():
        return None
    centre = float(power[lobe] @ np.arange(len(power))[lobe] / power[lobe].sum())
    return 2 * np.pi * centre / len(row)


def _is_filter_bank(matrix: Array) -> bool:
    """Whether the rows are triangular filters whose peaks ascend."""
    if (matrix[0] < 0).any() or (matrix < 0).any():
        return False
    matrix = np.where(matrix > SILENCE * matrix.max(), matrix, 0)
    if (matrix != 0).sum(axis=0).max() > 2:
        return False
    rows = [row for row in matrix.astype(np.float64) if row.any()]
    peaks = [int(row.argmax()) for row in rows]
    n_seen = sum(int((row != 0).sum()) >= LEAST_SUPPORT for row in rows)
    if len(rows) < LEAST_ROWS or np.diff(peaks).min() < 0 or n_seen < DISTINCT * len(rows):
        return False
    return all(_is_triangle(row) for row in rows)


def _is_triangle(row: FloatArray) -> bool:
    """Whether a row rises in a straight line to its peak and falls in another, without gaps."""
    places = np.flatnonzero(row)
    first, last, peak = int(places[0]), int(places[-1]), int(row.argmax())
    if len(places) != last - first + 1:
        return False
    # the top of the triangle mostly lies beside the highest entry, which is then on either flank
    flanks = row[first:peak], row[peak + 1 : last + 1]
    return all(_is_straight(flank, float(row[peak])) for flank in flanks)


def _is_straight(flank: FloatArray, peak: float) -> bool:
    """Whether a flank is monotone and near the line between its ends."""
    if len(flank) < LEAST_SUPPORT:
        return True
    steps = np.diff(flank)
    line = np.linspace(flank[0], flank[-1], len(flank))
    is_monotone = bool((steps >= 0).all() or (steps <= 0).all())
    return is_monotone and float(np.abs(flank - line).max()) <= BENT * peak
