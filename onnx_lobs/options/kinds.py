"""Knows the kinds of values that options have: how each is checked, written, and read back.

The plain form of a value is what a command line and a TOML file can hold: a number, a truth
value, a text, or a list of texts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx_lobs.errors import ConfigError
from onnx_lobs.options.checks import Check, accept, at_least, check_sparsities, each, one_of
from onnx_lobs.options.texts import (
    parse_bytes,
    parse_count,
    parse_fractions,
    parse_input_shape,
    write_fractions,
    write_input_shapes,
)


def _keep(value: Any) -> Any:
    """Return the value, which is its own plain form."""
    return value


def _take(_name: str, plain: Any) -> Any:
    """Return the plain form, which is the value."""
    return plain


@dataclass(frozen=True)
class ValueKind:
    """Describes the values of an option.

    Parameters
    ----------
    metavar
        What stands for the value in help, such as ``N``; empty for a switch.
    native
        What the command line makes of one text: int, float, bool, str or Path.
    check
        Raises ConfigError when a value is not possible.
    to_plain
        Returns the plain form of a value.
    from_plain
        Returns the value of a plain form; takes the option's name, for its messages, first.
    is_repeated
        Whether the plain form is a list of texts, one for each time that the option is given.
    takes_none
        Whether None has a plain form of its own, as in ``--positions all``.
    in_python
        What the value is in Python, where the command line has another form.
    """

    metavar: str
    native: type
    check: Check = accept
    to_plain: Callable[[Any], Any] = _keep
    from_plain: Callable[[str, Any], Any] = _take
    is_repeated: bool = False
    takes_none: bool = False
    in_python: str = ""


SWITCH = ValueKind("", bool)
PATH = ValueKind("FILE", Path, to_plain=str, from_plain=lambda _name, plain: Path(plain))
GLOBS = ValueKind(
    "GLOB",
    str,
    to_plain=list,
    from_plain=lambda _name, plain: tuple(plain),
    is_repeated=True,
    in_python="a tuple such as `('*fc*',)`",
)
FRACTIONS = ValueKind(
    "GLOB=FRACTION",
    str,
    check_sparsities,
    to_plain=write_fractions,
    from_plain=parse_fractions,
    is_repeated=True,
    in_python="a mapping such as `{'*fc*': 0.7}`",
)
SHAPES = ValueKind(
    "NAME:1x3x224x224",
    str,
    to_plain=write_input_shapes,
    from_plain=lambda _name, plain: dict(map(parse_input_shape, plain)),
    is_repeated=True,
    in_python="a mapping such as `{'image': (1, 3, 224, 224)}`",
)


def number(check: Check, metavar: str = "FRACTION") -> ValueKind:
    """Return the kind of a real number."""
    return ValueKind(metavar, float, check)


def count(least: int) -> ValueKind:
    """Return the kind of a whole number that is `least` or more."""
    return ValueKind("N", int, at_least(least))


def count_or_all(least: int) -> ValueKind:
    """Return the kind of a whole number that is `least` or more, or None, which is ``all``."""
    return ValueKind(
        "N|all",
        str,
        at_least(least),
        to_plain=lambda value: "all" if value is None else str(value),
        from_plain=parse_count,
        takes_none=True,
        in_python="a number, or None for all",
    )


def text(metavar: str, check: Check = accept) -> ValueKind:
    """Return the kind of a text."""
    return ValueKind(metavar, str, check)


def choice(choices: Collection[str], word: str = "", metavar: str = "") -> ValueKind:
    """Return the kind of a text that is one of `choices`; messages call it `word`."""
    return ValueKind(metavar or "|".join(choices), str, one_of(choices, word))


def choices(names: Collection[str], word: str, metavar: str) -> ValueKind:
    """Return the kind of several texts out of `names`, joined by commas."""

    def split(name: str, plain: str) -> tuple[str, ...]:
        found = tuple(part.strip() for part in plain.split(","))
        if not any(found):
            raise ConfigError(
                f"no {name.replace('_', ' ')} were given; choose from {','.join(names)}"
            )
        return found

    example = f"a tuple such as `{tuple(names)[:2]}`"
    return ValueKind(metavar, str, each(one_of(names, word)), ",".join, split, in_python=example)


def size(least: int) -> ValueKind:
    """Return the kind of a number of bytes that is `least` or more, written like ``2GiB``."""
    return ValueKind(
        "SIZE",
        str,
        at_least(least),
        to_plain=str,
        from_plain=lambda _name, plain: parse_bytes(plain) if plain else None,
        in_python="a number of bytes",
    )
