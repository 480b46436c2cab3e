"""Writes the command that repeats what a verb did, with its seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onnx_lobs.cli.verb import Verb
from onnx_lobs.report.command import PROGRAM, command_of, file_word

_ALWAYS = ("seed",)  # named though it has its default, which may change


def repeat_command(verb: Verb, values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the words of a command line that does the same again.

    Parameters
    ----------
    verb
        What was done.
    values
        The plain forms of its options by name, as :attr:`Verb.run` gets them. Not modified.
    """
    files = (file_word(str(values[o.name])) for o in verb.options if o.is_argument)
    options = (option for option in verb.options if not option.is_argument)
    return command_of((PROGRAM, verb.name, *files), options, values, _ALWAYS)
