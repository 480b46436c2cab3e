"""Writes the command that repeats a run, and changes single options of it."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from onnx_lobs.options.option import Option
from onnx_lobs.options.prose import long_flag
from onnx_lobs.targets.runtimes import set_by

PROGRAM = "onnx-lobs"
MODEL, DATA = "MODEL", "DATA"  # stand for what has no file


def command_of(
    head: Sequence[str],
    options: Iterable[Option],
    values: Mapping[str, Any],
    always: Collection[str] = (),
) -> tuple[str, ...]:
    """Return the words of a command that does the same again.

    Parameters
    ----------
    head
        What comes first: the program, the verb, files and what is no option of these.
    options
        Those that the verb takes.
    values
        Plain forms by name. Options at their defaults are left out, but for what a target sets.
        Not modified.
    always
        Names of options that stand there at their defaults too.
    """
    named = {*always, *set_by(values.get("target"))}
    words = list(head)
    for option in options:
        plain = values.get(option.name, option.plain_default)
        if plain is None or (option.is_default(plain) and option.name not in named):
            continue
        words += option_words(option, plain)
    return tuple(words)


def option_words(option: Option, plain: Any) -> list[str]:
    """Return an option with its value as the command line takes it."""
    if isinstance(plain, bool):
        return [long_flag(option, off=not plain)]
    values = plain if option.kind.is_repeated else [plain]
    return [word for one in values for word in flag_words(long_flag(option), str(one))]


def flag_words(flag: str, value: str) -> tuple[str, ...]:
    """Return a flag with its value, in one word where the value looks like a flag."""
    return (f"{flag}={value}",) if value.startswith("-") else (flag, value)


def file_word(path: str) -> str:
    """Return the name of a file as a word that no program takes for a flag."""
    return f"./{path}" if path.startswith("-") else path


def changed(
    words: Sequence[str], *add: str, drop: Sequence[str] = (), overwrite: bool = True
) -> tuple[str, ...]:
    """Return a command with other options.

    Parameters
    ----------
    words
        As :func:`command_of` returns them. Not modified.
    add
        Flags and values that come at the end.
    drop
        Flags that take a value, which go together with it.
    overwrite
        Whether to let it replace the file that the first run wrote.

    Examples
    --------
    >>> changed(("onnx-lobs", "m.onnx", "--sparsity", "0.9"), "--max-drop", "0.01",
    ...         drop=("--sparsity",))
    ('onnx-lobs', 'm.onnx', '--max-drop', '0.01', '--overwrite')
    """
    kept, is_value = list[str](), False
    for word in words:
        if not is_value and word.partition("=")[0] not in drop:
            kept.append(word)
        is_value = not is_value and word in drop
    more = ("--overwrite",) if overwrite and "--overwrite" not in kept else ()
    return (*kept, *add, *more)


def typed(words: Sequence[str]) -> str:
    """Return a command as it is typed."""
    return shlex.join(words)
