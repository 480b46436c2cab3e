"""Reads a pattern from what a person writes: the table of patterns, and the function that uses it.

To add a pattern, write its class in a file of its own, beside those here, add its line to
``PATTERNS``, and its form to those of :mod:`onnx_lobs.options.what`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from onnx_lobs.errors import ConfigError
from onnx_lobs.patterns.base import Pattern
from onnx_lobs.patterns.block import Block
from onnx_lobs.patterns.n_m import NM
from onnx_lobs.patterns.unstructured import Unstructured


@dataclass(frozen=True)
class PatternForm:
    """One row of the table: how a pattern is written, and what makes it.

    Parameters
    ----------
    form
        For lists and help, such as ``N:M``.
    example
        A text of that form.
    regex
        What the whole text has to match, blanks around it aside.
    make
        The class, or a function; it is given the numbers in the text, one for each group of
        `regex`.
    """

    form: str
    example: str
    regex: str
    make: Callable[..., Pattern]

    @property
    def words(self) -> str:
        """The form, with the example where that is another text."""
        return self.form if self.form == self.example else f"{self.form} such as {self.example}"


PATTERNS: tuple[PatternForm, ...] = (
    PatternForm("unstructured", "unstructured", "(?i:unstructured)", Unstructured),
    PatternForm("N:M", "2:4", r"(\d{1,4}):(\d{1,4})", NM),
    PatternForm("RxC", "4x1", r"(\d{1,4})x(\d{1,4})", Block),
)


def parse_pattern(text: str) -> Pattern:
    """Return the pattern that `text` names: ``unstructured``, ``N:M`` or ``RxC``.

    Raises
    ------
    ConfigError
        When the text is none of these, or the numbers make no pattern.

    >>> parse_pattern("2:4"), parse_pattern("4x1")
    (NM(keep=2, of=4), Block(rows=4, columns=1))
    """
    for pattern in PATTERNS:
        found = re.fullmatch(pattern.regex, text.strip(), flags=re.ASCII)
        if found:
            return pattern.make(*map(int, found.groups()))
    *first, last = (pattern.words for pattern in PATTERNS)
    raise ConfigError(f"pattern {text!r} is unknown; write {', '.join(first)}, or {last}")
