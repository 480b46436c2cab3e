"""How a run tells of its advance."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """What the pipeline tells about its advance; each phase starts anew and may repeat."""

    def start(self, phase: str, total: int) -> None:
        """Begin a phase of `total` steps."""

    def advance(self, n: int = 1) -> None:
        """Count `n` steps of the present phase."""


class Silent:
    """A Progress that shows nothing."""

    def start(self, phase: str, total: int) -> None:
        """Ignore."""

    def advance(self, n: int = 1) -> None:
        """Ignore."""
