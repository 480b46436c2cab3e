"""Makes up pictures that have the spectrum of natural ones: neighbouring pixels are alike.

The amplitude of a natural scene falls with the frequency f as 1/f (Field, J. Opt. Soc. Am. A 4,
1987), and its colours go together. In white noise neither holds, so that a network's layers see
next to nothing of what they see in use.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnx_lobs.arrays import Array, FloatArray

CHANNELS = (1, 3)
LEAST_SIDE = 8  # pixels; smaller maps have no spectrum to speak of
COMMON = 0.9  # share of the variance that all colours have in common


def channel_axis(shape: Sequence[int]) -> int | None:
    """Return which axis of a batch of pictures holds their channels; None: these are none.

    >>> channel_axis((8, 3, 32, 32)), channel_axis((8, 32, 32, 1)), channel_axis((8, 16, 32, 32))
    (1, 3, None)
    """
    if len(shape) != 4:
        return None
    for axis, sides in ((1, shape[2:]), (3, shape[1:3])):
        if shape[axis] in CHANNELS and min(sides) >= LEAST_SIDE:
            return axis
    return None


def natural_pictures(shape: Sequence[int], rng: np.random.Generator) -> Array:
    """Return float32 pictures of mean 0 and variance 1, over all pictures that may be drawn.

    Parameters
    ----------
    shape
        Of a batch for which :func:`channel_axis` knows an axis.
    rng
        Random numbers.
    """
    axis = channel_axis(shape)
    assert axis is not None
    height, width = shape[2:] if axis == 1 else shape[1:3]
    noise = rng.standard_normal((shape[0], shape[axis] + 1, height, width), dtype=np.float32)
    spectrum = np.fft.rfft2(noise) * _amplitude(height, width)
    maps = np.fft.irfft2(spectrum, s=(height, width))
    mixed = np.sqrt(COMMON) * maps[:, :1] + np.sqrt(1 - COMMON) * maps[:, 1:]
    return np.ascontiguousarray(np.moveaxis(mixed, 1, axis), dtype=np.float32)


def _amplitude(height: int, width: int) -> FloatArray:
    """Return what each frequency is multiplied by, so that the variance stays 1."""
    rows = np.abs(np.fft.fftfreq(height))[:, None]
    frequency = np.hypot(rows, np.abs(np.fft.fftfreq(width))[None])
    frequency[0, 0] = 1 / max(height, width)  # the brightness of a picture as a whole
    amplitude = 1 / frequency
    amplitude /= np.sqrt(np.mean(amplitude**2))
    half: FloatArray = amplitude[:, : width // 2 + 1]
    return half
