"""Writes options as a commented TOML file, and reads such a file.

Both follow the declarations: a key is the name of an option, its value the plain form.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from onnx_lobs.errors import ConfigError
from onnx_lobs.options.call import check_names
from onnx_lobs.options.option import Option
from onnx_lobs.options.prose import flags_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_WIDTH = 92
_HEAD = """\
# Options of onnx-lobs. Run it by: onnx-lobs -c FILE
# What the command line says wins over this file. Paths are seen from where you run it.
# A line that begins with # is not read: such an option takes its default.
"""


def write_toml(options: Iterable[Option], values: Mapping[str, Any]) -> str:
    """Return a TOML file with every option, what it is, and its value or default.

    Parameters
    ----------
    options
        In the order in which they stand, those of one panel together.
    values
        Plain forms by the name of the option; what is missing takes the default. What has no plain
        form stands as a comment.
    """
    parts = [_HEAD]
    for panel, group in groupby(options, key=lambda option: option.panel):
        parts.append(f"# {panel or 'Files'}\n# {'-' * len(panel or 'Files')}\n")
        for option in group:
            default = option.plain_default if option.has_default else None
            parts.append(_entry(option, values.get(option.name, default)))
    return "\n".join(parts)


def _entry(option: Option, value: Any) -> str:
    """Return an option with a comment that says what it is."""
    texts = [option.help]
    if any(name not in option.help for name in option.kind.names):
        texts.append(f"One of {', '.join(option.kind.names)}.")
    if option.unset:
        texts.append(f"Default: {option.unset}.")
    lines = textwrap.wrap(" ".join(texts).replace("`", ""), _WIDTH)
    comment = "".join(f"# {line}\n" for line in lines)
    if value is None:
        form = option.metavar or option.kind.metavar
        return f"{comment}# {option.name} = {_literal(form or True)}\n"
    return f"{comment}{option.name} = {_literal(value)}\n"


def _literal(value: Any) -> str:
    """Return a plain form as TOML writes it; its texts are written as those of JSON are."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    return repr(value)


def read_toml(text: str, options: Mapping[str, Option], where: str) -> dict[str, Any]:
    """Return the plain forms in a TOML file, by the name of the option.

    Parameters
    ----------
    text
        The file. Keys are names of options, or of the command line without dashes in front.
    options
        All that it may hold.
    where
        What messages call the file.

    Raises
    ------
    ConfigError
        When it is no TOML, a key is no option's, or a value is of another kind.
    """
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where} is no TOML: {error}; `onnx-lobs config` writes one") from error
    aliases = {
        flag.lstrip("-").replace("-", "_"): name
        for name, option in options.items()
        for flag in flags_of(option)
        if "/" not in flag
    }
    values: dict[str, Any] = {}
    for key, value in found.items():
        name = key.replace("-", "_")
        name = name if name in options else aliases.get(name, name)
        try:
            check_names([name], options)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from error
        values[name] = _checked(options[name], value, where)
    return values


def _checked(option: Option, value: Any, where: str) -> Any:
    """Return a value that the option can read; raise ConfigError if it is of another kind."""
    kind = option.kind
    if kind.is_repeated:
        is_right = isinstance(value, list) and all(isinstance(one, str) for one in value)
        words = f'a list of texts such as ["{kind.metavar}"]'
    elif kind.native is bool:
        is_right, words = isinstance(value, bool), "true or false"
    elif kind.native is int:
        is_right = isinstance(value, int) and not isinstance(value, bool)
        words = "a whole number"
    else:
        is_right = isinstance(value, str | int | float) and not isinstance(value, bool)
        words = f'a text such as "{kind.metavar}", or a number'
    if not is_right:
        raise ConfigError(f"{where}: {option.name} is {value!r}; write {words}")
    return value
