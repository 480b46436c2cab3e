"""Makes small pictures of samples that are pictures."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.report.png import encode_png

MOST_PIXELS = 64  # on the longer side
_LEAST_PIXELS = 8  # on the shorter side: less is a vector
_CHANNELS = (1, 3)


def thumbnail(feeds: Mapping[str, Array], row: int, size: int) -> bytes | None:
    """Return a PNG of the first input of a sample that can be a picture, or None.

    Parameters
    ----------
    feeds
        A batch. Not modified.
    row, size
        Which sample, of how many.

    Notes
    -----
    A picture has four axes, the samples first, with one or three channels before or behind height
    and width. Its smallest value is shown black, its largest white, since models scale their
    inputs in many ways.
    """
    for values in feeds.values():
        if values.ndim == 4 and len(values) == size and values.dtype.kind in "uif":
            pixels = _as_pixels(values[row])
            if pixels is not None:
                return encode_png(_stretched(_shrunk(pixels)))
    return None


def _as_pixels(values: Array) -> Array | None:
    """Return (height, width, channels) of an array of three axes, or None."""
    if values.shape[0] in _CHANNELS:
        values = values.transpose(1, 2, 0)
    elif values.shape[2] not in _CHANNELS:
        return None
    return values if min(values.shape[:2]) >= _LEAST_PIXELS else None


def _shrunk(pixels: Array) -> Array:
    """Return a picture of at most `MOST_PIXELS` a side, of evenly chosen rows and columns."""
    step = max(max(pixels.shape[:2]) / MOST_PIXELS, 1.0)
    rows, columns = (
        ((np.arange(max(int(n / step), 1)) + 0.5) * step).astype(int).clip(max=n - 1)
        for n in pixels.shape[:2]
    )
    small: Array = pixels[np.ix_(rows, columns)]
    return small


def _stretched(pixels: Array) -> Array:
    """Return the values as bytes from 0, the smallest, to 255; what is not finite is 0."""
    values = np.nan_to_num(pixels.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = values.min(), values.max()
    scaled: Array = ((values - low) / ((high - low) or 1.0) * 255).round().astype(np.uint8)
    return scaled
