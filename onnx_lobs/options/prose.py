"""Writes what an option is: for the command line's help, and for Python's documentation."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterable, Mapping
from typing import TypeVar

from onnx_lobs.options.option import Option, options_of

C = TypeVar("C", bound=type)
_WIDTH = 92
_NAME = re.compile(r"`(\w+)(=False)?`")


def flags_of(option: Option) -> tuple[str, ...]:
    """Return the names of an option on the command line, a switch's two as one text."""
    return option.flags or (f"--{option.name.replace('_', '-')}",)


def long_flag(option: Option, *, off: bool = False) -> str:
    """Return the long name of an option, or what turns a switch off.

    >>> from onnx_lobs.options.config import OPTIONS
    >>> long_flag(OPTIONS["sequential"], off=True), long_flag(OPTIONS["sparsity"])
    ('--independent', '--sparsity')
    """
    return flags_of(option)[-1].split("/")[-1 if off else 0]


def with_flags(text: str, options: Mapping[str, Option], quote: str = "") -> str:
    """Return a text in which options have their names on the command line.

    Parameters
    ----------
    text
        Names options as `` `memory` `` or, for what turns a switch off, `` `refit=False` ``.
    options
        All that it may name.
    quote
        Put around each name.

    Raises
    ------
    KeyError
        When it names another one.
    """

    def flag(match: re.Match[str]) -> str:
        return f"{quote}{long_flag(options[match[1]], off=bool(match[2]))}{quote}"

    return _NAME.sub(flag, text)


def help_text(option: Option) -> str:
    """Return what the command line's help says of an option, but for its default's value."""
    parts = [option.help]
    if option.kind.is_repeated:
        parts.append("Repeatable.")
    if option.unset:
        parts.append(f"Default: {option.unset}.")
    return " ".join(parts)


def python_text(option: Option) -> str:
    """Return what Python's documentation says of an option."""
    parts = [option.help, option.more]
    if option.kind.in_python:
        parts.append(f"{option.kind.in_python[0].upper()}{option.kind.in_python[1:]}.")
    if option.unset:
        parts.append(f"None: {option.unset}.")
    return " ".join(filter(None, parts))


def python_section(title: str, options: Iterable[Option]) -> str:
    """Return a section of a docstring that lists options."""
    lines = [title, "-" * len(title)]
    for option in options:
        lines.append(f"{option.name} : {option.annotation}, default {option.default!r}")
        lines += textwrap.wrap(
            python_text(option), _WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 4
        )
    return "\n".join(lines)


def documents_options(record: C) -> C:
    """Put the options that a dataclass declares into its docstring, before what it raises."""
    if record.__doc__:  # Python leaves docstrings out on demand
        first, *rest = inspect.cleandoc(record.__doc__).split("\n\n")
        section = python_section("Parameters", options_of(record).values())
        record.__doc__ = "\n\n".join((first, section, *rest)) + "\n"
    return record
