"""Runs the verb ``config``: writes the options of a run as a TOML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from onnx_lobs.cli.files import OUTPUT_PANEL
from onnx_lobs.cli.prune import PRUNE
from onnx_lobs.cli.verb import Verb
from onnx_lobs.errors import ConfigError
from onnx_lobs.options.config import OPTIONS, PruneConfig
from onnx_lobs.options.option import from_plain, option, options_of, to_plain
from onnx_lobs.options.word_kinds import PATH, SWITCH

_ELSEWHERE = ("output", "overwrite")  # of the TOML file here, of the model in it


@dataclass(frozen=True, kw_only=True)
class ConfigTarget:
    """Where the TOML file goes."""

    output: Path | None = option(
        None, "The TOML file written.", PATH, flags=("-o", "--output"), unset="print it",
        panel=OUTPUT_PANEL,
    )  # fmt: skip
    overwrite: bool = option(False, "Replace an existing one.", SWITCH, panel=OUTPUT_PANEL)


def run(values: Mapping[str, Any]) -> None:
    """Write a commented TOML file of all options, with the values given here; -c FILE runs it."""
    from onnx_lobs.options.toml import write_toml

    target = from_plain(ConfigTarget, values)
    checked = to_plain(from_plain(PruneConfig, values))
    others = {n: v for n, v in values.items() if n not in OPTIONS and n not in _ELSEWHERE}
    plain = {name: str(v) if isinstance(v, Path) else v for name, v in others.items()}
    text = write_toml(PRUNE.ordered(), {**checked, **plain})
    if target.output is None:
        typer.echo(text, nl=False)
    else:
        _write(target.output, text, overwrite=target.overwrite)


def _write(path: Path, text: str, *, overwrite: bool) -> None:
    """Write a file; raise ConfigError if it exists and may not be replaced, or cannot be had."""
    try:
        whole = text.encode("utf-8")
        with path.open("wb" if overwrite else "xb") as file:
            file.write(whole)
    except FileExistsError as error:
        raise ConfigError(
            f"config file {str(path)!r} exists; name another, or give --overwrite"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"config file {str(path)!r} cannot be written: {error.strerror}; choose another place"
        ) from error
    except UnicodeEncodeError as error:
        raise ConfigError(f"{error.object!r} is no UTF-8, as TOML is; rename the file") from error


CONFIG = Verb(
    "config",
    run,
    (
        *(
            replace(each, default=None) if each.is_argument else each
            for each in PRUNE.options
            if each.name not in _ELSEWHERE
        ),
        *options_of(ConfigTarget).values(),
    ),
    summary="write all options as a commented TOML file, which -c runs",
)
