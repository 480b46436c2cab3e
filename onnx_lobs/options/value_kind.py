"""Describes a kind of value that options have: how it is checked, written, and read back.

The plain form of a value is what a command line and a TOML file can hold: a number, a truth
value, a text, or a list of texts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from onnx_lobs.options.checks import Check, accept


def _keep(value: Any) -> Any:
    """Return the value, which is its own plain form."""
    return value


def _take(_name: str, plain: Any) -> Any:
    """Return the plain form, which is the value."""
    return plain


@dataclass(frozen=True)
class ValueKind:
    """Describes the values of an option.

    Parameters
    ----------
    metavar
        What stands for the value in help, such as ``N``; empty for a switch.
    native
        What the command line makes of one text: int, float, bool, str or Path.
    check
        Raises ConfigError when a value is not possible.
    to_plain
        Returns the plain form of a value.
    from_plain
        Returns the value of a plain form; takes the option's name, for its messages, first.
    read
        Returns the value that a caller of Python meant, or what was given where that is not
        known; takes the option's name first.
    types
        What the value is an instance of.
    words
        What the value is, for the message where it is none of these.
    is_repeated
        Whether the plain form is a list of texts, one for each time that the option is given.
    takes_none
        Whether None has a plain form of its own, as in ``--positions all``.
    in_python
        What the value is in Python, where the command line has another form.
    names
        Values that shells may complete.
    """

    metavar: str
    native: type
    check: Check = accept
    to_plain: Callable[[Any], Any] = _keep
    from_plain: Callable[[str, Any], Any] = _take
    read: Callable[[str, Any], Any] = _take
    types: tuple[type, ...] = (object,)
    words: str = ""
    is_repeated: bool = False
    takes_none: bool = False
    in_python: str = ""
    names: tuple[str, ...] = ()

    def is_value(self, value: object) -> bool:
        """Whether a value is of the right type; truth values are no numbers."""
        is_truth = isinstance(value, bool) and not {bool, object} & set(self.types)
        return isinstance(value, self.types) and not is_truth


def text_kind(
    metavar: str, check: Check, read: Callable[[str, Any], Any], **about: Any
) -> ValueKind:
    """Return the kind of values that command lines write as one text, read there as in Python.

    Parameters
    ----------
    metavar, check, read, about
        Fields of :class:`ValueKind`.
    """
    return ValueKind(metavar, str, check, from_plain=read, read=read, **about)
