"""Writes the command that repeats a run, with its seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from onnx_lobs.cli.verb import Verb
from onnx_lobs.options.option import Option
from onnx_lobs.options.prose import long_flag
from onnx_lobs.targets.runtimes import set_by

_ALWAYS = ("seed",)  # named though it has its default, which may change


def repeat_command(verb: Verb, values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the words of a command line that does the same again.

    Parameters
    ----------
    verb
        What was done.
    values
        The plain forms of its options by name, as :attr:`Verb.run` gets them. Those that have
        their defaults are left out, but for the seed and what a target sets. Not modified.
    """
    arguments = [str(values[option.name]) for option in verb.options if option.is_argument]
    words = ["onnx-lobs", verb.name, *(_as_argument(word) for word in arguments)]
    for option in verb.options:
        if not option.is_argument:
            words += _words(option, values)
    return tuple(words)


def _words(option: Option, values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the flag of an option and its value, if it has to be named."""
    plain = values.get(option.name, option.plain_default)
    always = (*_ALWAYS, *set_by(values.get("target")))
    is_default = plain == option.plain_default and option.name not in always
    if plain is None or is_default:
        return
    if isinstance(plain, bool):
        yield long_flag(option, off=not plain)
        return
    for one in plain if option.kind.is_repeated else (plain,):
        yield from _flag_and_value(long_flag(option), str(one))


def _flag_and_value(flag: str, value: str) -> tuple[str, ...]:
    return (f"{flag}={value}",) if value.startswith("-") else (flag, value)


def _as_argument(word: str) -> str:
    """Return a file name that no program takes for an option."""
    return f"./{word}" if word.startswith("-") else word
