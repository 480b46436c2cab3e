"""Says which number a pixel of 0 to 255 becomes: a factor and an offset for each channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import FloatArray
from onnx_lobs.errors import ConfigError
from onnx_lobs.options.samples import PRESETS, SampleOptions

_WHITE = 255


@dataclass(frozen=True)
class PixelValues:
    """A pixel becomes ``(pixel * scale - mean) / std``; one value for all channels, or r, g, b."""

    scale: float
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def affine(self, channels: int, *, is_reversed: bool) -> tuple[FloatArray, FloatArray]:
        """Return (channels,) factors and offsets; reversed: blue comes first.

        One channel of three values gets their mean, as gray is a mean of colours.

        >>> factor, offset = PRESET_VALUES["-1-1"].affine(1, is_reversed=False)
        >>> factor * 255 + offset
        array([1.])
        """
        mean, std = (_spread(values, channels) for values in (self.mean, self.std))
        factor, offset = self.scale / std, -mean / std
        return (factor[::-1], offset[::-1]) if is_reversed else (factor, offset)


def _spread(values: tuple[float, ...], channels: int) -> FloatArray:
    if channels == 1:
        return np.array([float(np.mean(values))])
    return np.broadcast_to(np.asarray(values, np.float64), (channels,))


PRESET_VALUES = {
    "imagenet": PixelValues(1 / _WHITE, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "0-1": PixelValues(1 / _WHITE),
    "-1-1": PixelValues(1 / _WHITE, (0.5,), (0.5,)),
    "0-255": PixelValues(1.0),
}


def pixel_values(options: SampleOptions) -> PixelValues:
    """Return what the options say; without `scale`, means above 1 are those of 0 to 255.

    Raises
    ------
    ConfigError
        When they say nothing.
    """
    if options.preset is not None:
        return PRESET_VALUES[options.preset]
    if not options.values_given():
        raise ConfigError(
            "how pixels are scaled is not known, and could not be found by trials: give --preset "
            f"{'|'.join(PRESETS)}, or --mean, --std and --scale"
        )
    mean, std = options.mean or (0.0,), options.std or (1.0,)
    is_raw = max(*map(abs, mean), *std) > 1
    scale = options.scale if options.scale is not None else (1.0 if is_raw else 1 / _WHITE)
    return PixelValues(scale, mean, std)
