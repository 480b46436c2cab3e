"""Keeps N of every M consecutive input channels, the pattern that sparse tensor cores read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import BoolArray, RealArray
from onnx_lobs.errors import ConfigError, InfeasibleError
from onnx_lobs.patterns.base import Pattern, Quota, Shape
from onnx_lobs.patterns.pieces import count_channels, piece_lengths
from onnx_lobs.patterns.ranking import keep_highest_short


@dataclass(frozen=True)
class NM(Pattern):
    """Exactly `keep` weights kept of every window of `of` input channels at one kernel position.

    Channels that `of` does not divide leave a short last window of r < `of` channels, of which
    ``ceil(keep * r / of)`` are kept. Rows and kernel positions are independent.
    """

    keep: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.keep < self.of:
            raise ConfigError(f"pattern {self} must keep at least 1 and fewer than {self.of}")

    def __str__(self) -> str:
        return f"{self.keep}:{self.of}"

    @property
    def own_sparsity(self) -> float:
        return 1 - self.keep / self.of

    @property
    def tile(self) -> tuple[int, int]:
        return 1, 1

    def _zeros(self, size: int) -> int:
        return size - -(-self.keep * size // self.of)

    def quota(self, columns: int, kernel_size: int = 1) -> Quota:
        """Return the window of each column and the zeros of each window.

        >>> NM(1, 2).quota(6, kernel_size=2)
        Quota(window=array([0, 1, 0, 1, 2, 3]), zeros=array([1, 1, 0, 0]))
        """
        channels = count_channels(columns, kernel_size)
        channel, position = np.divmod(np.arange(columns, dtype=np.int64), kernel_size)
        sizes = piece_lengths(channels, self.of).repeat(kernel_size)
        window = channel // self.of * kernel_size + position
        return Quota(window, sizes - -(-self.keep * sizes // self.of))

    def closest(self, shape: Shape, sparsity: float, kernel_size: int = 1) -> int:
        groups, rows, columns = shape
        full, short = divmod(count_channels(columns, kernel_size), self.of)
        return groups * rows * kernel_size * (full * self._zeros(self.of) + self._zeros(short))

    def select(self, scores: RealArray, n_prune: int, kernel_size: int = 1) -> BoolArray:
        groups, rows, columns = scores.shape
        only = self.closest((groups, rows, columns), 0.0, kernel_size)
        if n_prune != only:
            raise InfeasibleError(
                f"pattern {self} has exactly {only} zeros in {scores.shape}, not {n_prune}; "
                "take the count from closest()"
            )
        by_position = scores.reshape(groups, rows, columns // kernel_size, kernel_size).swapaxes(
            2, 3
        )
        mask = np.empty(by_position.shape, dtype=np.bool_)
        channels = by_position.shape[-1]
        split = channels - channels % self.of
        for part, size in ((slice(0, split), self.of), (slice(split, None), channels - split)):
            if size and (windows := by_position[..., part].reshape(-1, size)).size:
                kept = keep_highest_short(windows, self._zeros(size))
                mask[..., part] = kept.reshape(mask[..., part].shape)
        return np.ascontiguousarray(mask.swapaxes(2, 3)).reshape(scores.shape)

    def n_present(self, zeros: BoolArray, kernel_size: int = 1) -> int:
        groups, rows, columns = zeros.shape
        windows = self._windows(zeros, kernel_size)
        if all(bool((w.sum(axis=2) >= self._zeros(w.shape[2])).all()) for w in windows):
            return self.closest((groups, rows, columns), 0.0, kernel_size)
        return 0

    def obeys(self, mask: BoolArray, kernel_size: int = 1) -> bool:
        return all(
            bool((w.sum(axis=2) == w.shape[2] - self._zeros(w.shape[2])).all())
            for w in self._windows(mask, kernel_size)
        )

    def allows(self, mask: BoolArray, kernel_size: int = 1) -> bool:
        return all(
            bool((w.sum(axis=2) <= w.shape[2] - self._zeros(w.shape[2])).all())
            for w in self._windows(mask, kernel_size)
        )

    def _windows(self, mask: BoolArray, kernel_size: int) -> list[BoolArray]:
        """Return the windows of all rows, (groups, rows, channels, kernel_size) each."""
        groups, rows, columns = mask.shape
        parts = mask.reshape(groups, rows, count_channels(columns, kernel_size), kernel_size)
        return [parts[:, :, at : at + self.of] for at in range(0, parts.shape[2], self.of)]
