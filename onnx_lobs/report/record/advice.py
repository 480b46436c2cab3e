"""Holds what a report advises to try next."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AdviceRecord:
    """What to try next: a kind, which programs read, a sentence, and the words of the command."""

    kind: str
    text: str
    command: tuple[str, ...]
