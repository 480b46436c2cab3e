"""Writes the command that repeats a run, and changes single options of it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from onnx_lobs.options.config import OPTIONS, PruneConfig
from onnx_lobs.options.option import Option
from onnx_lobs.options.prose import long_flag
from onnx_lobs.targets.runtimes import set_by

PROGRAM = "onnx-lobs"


def command_of(model: str, config: PruneConfig, files: Mapping[str, str | None]) -> tuple[str, ...]:
    """Return the words of the command that repeats a run.

    Parameters
    ----------
    model
        The model's file.
    config
        The options; those at their defaults are left out, but for what a target sets.
    files
        Further values by flag, such as ``{"--data": "samples.npz"}``; None is left out.
    """
    words = [PROGRAM, model]
    for flag, value in files.items():
        words += [] if value is None else [flag, value]
    for name, option in OPTIONS.items():
        value = getattr(config, name)
        if value != option.default or (value is not None and name in set_by(config.target)):
            words += _words(option, option.to_plain(value))
    return tuple(words)


def _words(option: Option, plain: Any) -> list[str]:
    """Return an option with its value as the command line takes it."""
    if option.kind.native is bool:
        return [long_flag(option, off=not plain)]
    values = plain if option.kind.is_repeated else [plain]
    return [word for value in values for word in (long_flag(option), str(value))]


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
        if not is_value and word not in drop:
            kept.append(word)
        is_value = not is_value and word in drop
    more = ("--overwrite",) if overwrite and "--overwrite" not in kept else ()
    return (*kept, *add, *more)


def typed(words: Sequence[str]) -> str:
    """Return a command as it is typed."""
    return shlex.join(words)
