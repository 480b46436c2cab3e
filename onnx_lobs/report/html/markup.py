"""Marks texts that are markup already, so that templates do not escape them."""

from __future__ import annotations


class Drawn(str):
    """A text that is markup already; templates put it in as it is."""

    __slots__ = ()

    def __html__(self) -> str:
        return self
