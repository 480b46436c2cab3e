"""Records which empty channels were dropped from a model without loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class DroppedRecord:
    """Channels of nothing but zeros that were dropped.

    ``channels`` are their numbers, by the first weight that holds them. ``multiplications`` and
    ``constants`` are (before, after), as in a ChannelsRecord.
    """

    channels: Mapping[str, int]
    multiplications: tuple[int, int]
    constants: tuple[int, int]

    @property
    def count(self) -> int:
        """All of them."""
        return sum(self.channels.values())
