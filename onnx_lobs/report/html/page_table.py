"""Describes tables of a page: headings, and cells with their words and what they sort by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Heading:
    """The head of a column; numbers are sorted as such."""

    words: str
    is_number: bool = True


@dataclass(frozen=True)
class Cell:
    """One cell: its words, the number that it sorts by, and its style."""

    words: str
    value: float | None = None
    style: str = ""


@dataclass(frozen=True)
class PageTable:
    """A table with a name for those who do not see it."""

    name: str
    headings: tuple[Heading, ...]
    rows: tuple[tuple[Cell, ...], ...]


def number(words: str, value: float | None) -> Cell:
    """Return a cell that sorts by a number; None, and what is no number, come last."""
    is_known = value is not None and not math.isnan(value)
    return Cell(words, value if is_known else None)


def text(words: str) -> Cell:
    """Return a cell with a short text."""
    return Cell(words, style="text")


def name(words: str) -> Cell:
    """Return a cell with a name, which may be long and may be broken anywhere."""
    return Cell(words, style="text long")


def prose(words: str) -> Cell:
    """Return a cell with a sentence."""
    return Cell(words, style="prose")


def headings(words: str, texts: Sequence[str] = ()) -> tuple[Heading, ...]:
    """Return the headings that stand in `words`, divided by bars; `texts` are not of numbers."""
    return tuple(Heading(one, one not in texts) for one in words.split("|"))
