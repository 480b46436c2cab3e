"""Reads the options of a run from a TOML file, under those of the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from onnx_lobs.errors import ConfigError
from onnx_lobs.options.option import Option


def take_file(ctx: typer.Context, path: Path | None, options: Mapping[str, Option]) -> None:
    """Make the values of a TOML file the defaults of a command.

    Raises
    ------
    ConfigError
        When it cannot be read, a key is no option's, or a value is of another kind.
    """
    if path is None or ctx.resilient_parsing:
        return
    from onnx_lobs.options.toml import read_toml

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ConfigError(
            f"config file {str(path)!r} cannot be read ({reason}); `onnx-lobs config` writes one"
        ) from error
    values: dict[str, Any] = read_toml(text, options, f"config file {str(path)!r}")
    ctx.default_map = {**(ctx.default_map or {}), **values}
