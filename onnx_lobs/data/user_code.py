"""Runs code of the user: finds what ``FILE.py:FUNCTION`` names, and maps what it raises."""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from onnx_lobs.errors import ConfigError, LobsError


class UserCode:
    """Runs code of the user: it may import from its folder; what it raises takes one line.

    Parameters
    ----------
    what
        What a message calls the code, such as ``score FILE.py:FUNCTION``.
    folder
        Put first on the path of imports meanwhile; None: nothing is.
    kind
        The error to raise.

    Raises
    ------
    LobsError
        Of that kind, for any exception inside, also an error of onnx-lobs and a call of
        sys.exit, but not an interrupt.
    """

    def __init__(self, what: str, folder: Path | None, kind: type[LobsError]) -> None:
        self._what, self._kind = what, kind
        self._paths = [] if folder is None else [str(folder)]

    def __enter__(self) -> None:
        sys.path[:0] = self._paths

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for path in self._paths:
            if path in sys.path:
                sys.path.remove(path)
        if isinstance(error, (Exception, SystemExit)):
            lines = str(error).strip().splitlines() or ["no message"]
            raise self._kind(
                f"{self._what} raised {type(error).__name__}: {lines[0]}{self._place(trace)}"
            ) from error

    def _place(self, trace: TracebackType | None) -> str:
        """Return the last line of the user's folder that the exception came through."""
        for frame in reversed(traceback.extract_tb(trace)):
            if str(Path(frame.filename).parent) in self._paths:
                return f" ({Path(frame.filename).name}, line {frame.lineno})"
        return ""


def find_function(
    text: str, word: str, forms: str, kind: type[LobsError]
) -> tuple[Callable[..., Any], Path]:
    """Return the function that ``FILE.py:FUNCTION`` names, and its folder. Runs the file's code.

    Parameters
    ----------
    text
        What was given.
    word
        What it is, for messages: ``score``.
    forms
        What to write there, for the message where there is no such function.
    kind
        The error to raise where the file's code raises.

    Raises
    ------
    ConfigError
        When there is no such file, or no such function in it.
    """
    file, _, name = text.rpartition(":")
    path = Path(file).resolve()
    if not file or not name:
        raise ConfigError(f"{word} {text!r} is not understood; write FILE.py:FUNCTION")
    if not os.path.isfile(path) or path.suffix != ".py":
        raise ConfigError(f"{word} {text!r}: there is no Python file {file!r}; check the path")
    module = _load(path, f"{word} {text}", word, kind)
    function = getattr(module, name, None)
    if not callable(function):
        own = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        raise ConfigError(
            f"{word} {text!r}: {path.name} has no function {name!r}; it has "
            f"{', '.join(own) or 'none'}; {forms}"
        )
    return function, path.parent


def _load(path: Path, what: str, word: str, kind: type[LobsError]) -> ModuleType:
    """Run a script as a module of a name that no import can mean."""
    spec = importlib.util.spec_from_file_location(f"onnx_lobs {word} {path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # dataclasses and typing look there
    with UserCode(what, path.parent, kind):
        spec.loader.exec_module(module)
    return module
