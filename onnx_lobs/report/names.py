"""Shortens the names of a table so that they fit and can still be told apart."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from onnx_lobs.report.numbers import shorten

CUT = "…"
_SEPARATORS = "/.:"
_WORD = re.compile(r"[^\W\d_]+")
_LONGEST_WORD = 12  # letters, from which words are shortened down to one

Cutter = Callable[[str, int], str]


@lru_cache(maxsize=64)
def fit_names(names: tuple[str, ...], width: int) -> tuple[str, ...]:
    """Return names of at most `width` characters each, which differ where the names do.

    What all share at the front and at the end is left out first. Then each is cut: in front, in the
    middle, or in its words, whichever leaves the most names different.

    >>> fit_names(("/net/block.10/conv", "/net/block.11/conv"), 10)
    ('…10…', '…11…')
    >>> fit_names(("short", "a"), 10)
    ('short', 'a')
    """
    if all(len(name) <= width for name in names):
        return names
    own = _without_shared(names)
    if all(len(name) <= width for name in own):
        return own
    found = [tuple(cut(name, width) for name in own) for cut in (cut_front, cut_words, shorten)]
    return max(found, key=lambda each: len(set(each)))


def cut_front(name: str, width: int) -> str:
    """Cut the front off a name that is longer than `width`.

    >>> cut_front("/model/encoder/MatMul", 8)
    '…/MatMul'
    """
    if len(name) <= width:
        return name
    return CUT + name[len(name) - max(width - 1, 0) :] if width > 0 else ""


def cut_words(name: str, width: int) -> str:
    """Cut the ends off the words of a name, numbers left whole, until it fits.

    >>> cut_words("/_blocks.12/_depthwise_conv/Conv", 20)
    '/_bl.12/_de_co/Co'
    """
    for letters in range(_LONGEST_WORD, 0, -1):
        short = _WORD.sub(lambda word: word[0][:letters], name)  # noqa: B023
        if len(short) <= width:
            return short
    return shorten(short, width)


def _without_shared(names: Sequence[str]) -> tuple[str, ...]:
    """Return names with … in place of the path that all of them begin or end with."""
    if len(set(names)) < 2:
        return tuple(names)
    front = _to_separator(os.path.commonprefix(names))  # noqa: RUF071
    rest = [name[front:] for name in names]
    back = _to_separator(os.path.commonprefix([name[::-1] for name in rest]))  # noqa: RUF071
    ends = [name[: len(name) - back] for name in rest]
    before, after = CUT * bool(front), CUT * bool(back)
    return tuple(f"{before}{end}{after}" for end in ends) if all(ends) else tuple(names)


def _to_separator(text: str) -> int:
    """Return the length of a text up to its last separator, if it is worth a mark in its place."""
    length = max(text.rfind(mark) for mark in _SEPARATORS) + 1
    return length if length > 1 else 0
