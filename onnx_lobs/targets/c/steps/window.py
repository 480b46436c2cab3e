"""Describes windows that slide over planes: convolutions and pooling, in one or two dimensions."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from onnx_lobs.arrays import Array

STRUCT = """typedef struct {
    int height, width, out_height, out_width;
    int kernel_height, kernel_width, stride_y, stride_x, step_y, step_x, pad_y, pad_x;
} window;
"""


@dataclass(frozen=True)
class Window:
    """Sizes of planes and of the window; pads are those in front, steps are dilations."""

    height: int
    width: int
    out_height: int
    out_width: int
    kernel_height: int = 1
    kernel_width: int = 1
    stride_y: int = 1
    stride_x: int = 1
    step_y: int = 1
    step_x: int = 1
    pad_y: int = 0
    pad_x: int = 0

    @property
    def positions(self) -> int:
        """Kernel positions."""
        return self.kernel_height * self.kernel_width

    @property
    def plane(self) -> int:
        """Elements of an output plane."""
        return self.out_height * self.out_width

    @property
    def is_pointwise(self) -> bool:
        """Whether every output lies on one input at the same place."""
        strides = (self.stride_y, self.stride_x, self.positions)
        return strides == (1, 1, 1) and (self.pad_y, self.pad_x) == (0, 0)

    def flat(self) -> Window:
        """Return the window over planes of one row, where it is pointwise; else itself."""
        if not self.is_pointwise or (self.out_height, self.out_width) != (self.height, self.width):
            return self
        return Window(1, self.height * self.width, 1, self.height * self.width)

    def initialiser(self) -> str:
        """Return the C initialiser of the struct."""
        return "{" + ", ".join(str(getattr(self, field.name)) for field in fields(self)) + "}"

    def unfold(self, planes: Array, fill: float) -> Array:
        """Return the elements under every kernel position.

        Parameters
        ----------
        planes
            (channels, height, width).
        fill
            What lies outside.

        Returns
        -------
        (channels, positions, out_height * out_width)
        """
        channels = len(planes)
        bottom = self.pad_y + (self.out_height - 1) * self.stride_y
        right = self.pad_x + (self.out_width - 1) * self.stride_x
        padded = np.full(
            (
                channels,
                max(self.height + self.pad_y, bottom + self.kernel_height * self.step_y + 1),
                max(self.width + self.pad_x, right + self.kernel_width * self.step_x + 1),
            ),
            fill,
            planes.dtype if np.isfinite(fill) else np.float64,
        )
        down, across = slice(self.pad_y, self.pad_y + self.height), slice(self.pad_x, None)
        padded[:, down, across][:, :, : self.width] = planes
        rows, columns = np.arange(self.out_height), np.arange(self.out_width)
        found = np.empty((channels, self.positions, self.plane), padded.dtype)
        for at in range(self.positions):
            ky, kx = divmod(at, self.kernel_width)
            y = rows * self.stride_y + ky * self.step_y
            x = columns * self.stride_x + kx * self.step_x
            found[:, at] = padded[:, y[:, None], x].reshape(channels, -1)
        return found
