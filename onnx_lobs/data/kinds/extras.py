"""Imports a library that reads one kind of files, or says how to install it."""

from __future__ import annotations

import importlib
from typing import Any

from onnx_lobs.errors import ConfigError


def need(module: str, extra: str, what: str) -> Any:
    """Return a module of an optional library.

    Parameters
    ----------
    module
        Its name.
    extra
        The extra of this package that installs it.
    what
        What it is needed for, the first words of the message.

    Raises
    ------
    ConfigError
        When it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise  # something that the library needs is missing
        raise ConfigError(f"{what}; install it: pip install 'onnx-lobs[{extra}]'") from error
