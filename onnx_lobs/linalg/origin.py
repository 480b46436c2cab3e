"""Takes an origin off observations before they are multiplied, so that products round least."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import Array, FloatArray

ORIGIN_ROWS = 1 << 8  # observations that choose it
LARGE_MEAN = 4.0  # mean² over variance: below, the origin costs more than it saves


@dataclass(frozen=True)
class Centred:
    """Array x = rest + mean: `rest` (groups, n, d), `mean` and the sums of `rest` (groups, d)."""

    rest: Array
    mean: FloatArray
    sums: FloatArray


class Origin:
    """What is taken off the observations before they are multiplied.

    Zero where the mean is small beside the deviation, so that most activations are multiplied as
    they are, without a copy.
    """

    def __init__(self) -> None:
        self._value: Array | None = None
        self._any = False

    @property
    def value(self) -> Array:
        """(groups, columns), in the type of the data that were seen first."""
        assert self._value is not None
        return self._value

    def see(self, x: Array) -> None:
        """Choose the origin by the first observations (groups, n, columns) ever seen."""
        if self._value is not None:
            return
        some = x[:, :ORIGIN_ROWS]
        mean = some.mean(axis=1, dtype=np.float64)
        rest = some - mean.astype(x.dtype)[:, None, :]
        variance = np.einsum("gnd,gnd->gd", rest, rest).astype(np.float64) / some.shape[1]
        is_large = np.isfinite(mean) & (mean**2 > LARGE_MEAN * variance)
        self._value = np.where(is_large, mean, 0.0).astype(x.dtype)
        self._any = bool(is_large.any())

    def take_off(self, x: Array, out: Array | None = None) -> Array:
        """Return `x` less the origin, in its type and memory order; `x` itself if it is 0.

        In `out`, which may be `x`, if it is given.
        """
        if not self._any:
            return x
        rest: Array = np.subtract(x, self.value.astype(x.dtype)[:, None, :], out=out)
        return rest


def as_real(x: Array) -> Array:
    """Return `x` in float32 or float64; half precisions become float32."""
    return x if x.dtype in (np.float32, np.float64) else x.astype(np.float32)


def column_sums(x: Array) -> FloatArray:
    """Return the sums of the columns of x (groups, n, d), in float64, to the rounding of `x`."""
    return np.asarray(np.ones(x.shape[1], x.dtype) @ x, dtype=np.float64)
