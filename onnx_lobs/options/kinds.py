"""Knows the kinds of values that options have: how each is checked, written, and read back.

The plain form of a value is what a command line and a TOML file can hold: a number, a truth
value, a text, or a list of texts.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx_lobs.errors import ConfigError
from onnx_lobs.options.checks import Check, accept, at_least, check_sparsities, each, one_of
from onnx_lobs.options.given import (
    are_whole,
    as_choice,
    name_of,
    read_bytes,
    read_count,
    read_fractions,
    read_number,
    read_shapes,
    read_texts,
    unboxed,
)
from onnx_lobs.options.texts import (
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
    read
        Returns the value that a caller of Python meant, or what was given where that is not
        known; takes the option's name first.
    types
        What the value is an instance of.
    words
        What the value is, for the message where it is none of these.
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
    read: Callable[[str, Any], Any] = _take
    types: tuple[type, ...] = (object,)
    words: str = ""
    is_repeated: bool = False
    takes_none: bool = False
    in_python: str = ""

    def is_value(self, value: object) -> bool:
        """Whether a value is of the right type; truth values are no numbers."""
        is_truth = isinstance(value, bool) and not {bool, object} & set(self.types)
        return isinstance(value, self.types) and not is_truth


SWITCH = ValueKind("", bool, read=unboxed, types=(bool,), words="True or False")
PATH = ValueKind("FILE", Path, to_plain=str, from_plain=lambda _name, plain: Path(plain))


PATHS = ValueKind(
    "FILE",
    Path,
    to_plain=lambda paths: [str(path) for path in paths],
    from_plain=lambda _name, plain: tuple(map(Path, plain)),
    types=(tuple,),
    is_repeated=True,
)


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise ConfigError(f"{name} holds {value!r}; give names or patterns as texts")


GLOBS = ValueKind(
    "GLOB",
    str,
    each(_check_text),
    to_plain=list,
    from_plain=lambda _name, plain: tuple(plain),
    read=read_texts,
    types=(tuple,),
    words="a tuple of names such as ('*fc*',)",
    is_repeated=True,
    in_python="a tuple such as `('*fc*',)`",
)


FRACTIONS = ValueKind(
    "GLOB=FRACTION",
    str,
    check_sparsities,
    to_plain=write_fractions,
    from_plain=parse_fractions,
    read=read_fractions,
    types=(Mapping,),
    words="a mapping such as {'*fc*': 0.7}",
    is_repeated=True,
    in_python="a mapping such as `{'*fc*': 0.7}`",
)


def _check_shapes(name: str, value: Mapping[str, Any]) -> None:
    for one, shape in value.items():
        if not are_whole(shape) or any(size < 1 for size in shape):
            raise ConfigError(
                f"{name} of {one!r} is {shape!r}; give positive sizes such as (1, 3, 224, 224)"
            )


SHAPES = ValueKind(
    "NAME:1x3x224x224",
    str,
    _check_shapes,
    to_plain=write_input_shapes,
    from_plain=lambda _name, plain: dict(map(parse_input_shape, plain)),
    read=read_shapes,
    types=(Mapping,),
    words="a mapping such as {'image': (1, 3, 224, 224)}",
    is_repeated=True,
    in_python="a mapping such as `{'image': (1, 3, 224, 224)}`",
)


def number(check: Check, metavar: str = "FRACTION") -> ValueKind:
    """Return the kind of a real number; texts may be ``80%`` or ``0,8``."""
    return ValueKind(
        metavar,
        str,
        check,
        from_plain=read_number,
        read=read_number,
        types=(numbers.Real,),
        words="a number such as 0.8",
    )


def count(least: int) -> ValueKind:
    """Return the kind of a whole number that is `least` or more."""
    return ValueKind(
        "N",
        int,
        at_least(least),
        read=read_count,
        types=(numbers.Integral,),
        words="a whole number such as 32",
    )


def count_or_all(least: int) -> ValueKind:
    """Return the kind of a whole number that is `least` or more, or None, which is ``all``."""
    return ValueKind(
        "N|all",
        str,
        at_least(least),
        to_plain=lambda value: "all" if value is None else str(value),
        from_plain=parse_count,
        read=read_count,
        types=(numbers.Integral,),
        words="a whole number such as 32, or None for all",
        takes_none=True,
        in_python="a number, or None for all",
    )


def text(metavar: str, check: Check = accept, names: Collection[str] = ()) -> ValueKind:
    """Return the kind of a text; case does not matter in `names`."""

    def take(_name: str, value: Any) -> Any:
        return as_choice(value, names) if isinstance(value, str) else value

    return ValueKind(
        metavar, str, check, from_plain=take, read=take, types=(str,), words=f"a text: {metavar}"
    )


def folder() -> ValueKind:
    """Return the kind of the name of a folder, which may be a path."""

    def take(_name: str, value: Any) -> Any:
        return str(value) if isinstance(value, Path) else value

    return ValueKind("DIR", str, read=take, types=(str,), words="the path of a folder")


def text_or_function(metavar: str, check: Check, names: Collection[str]) -> ValueKind:
    """Return the kind of a text, or in Python of a function; case does not matter in `names`."""

    def take(_name: str, value: Any) -> Any:
        return as_choice(value, names) if isinstance(value, str) else value

    return ValueKind(
        metavar,
        str,
        check,
        to_plain=lambda value: value if isinstance(value, str) else name_of(value),
        from_plain=take,
        read=take,
        types=(str, Callable),  # type: ignore[arg-type]
        words=f"a text ({metavar}) or a function",
        in_python="a text or a function",
    )


def choice(names: Collection[str], word: str = "", metavar: str = "") -> ValueKind:
    """Return the kind of a text that is one of `names`, in any case; messages call it `word`."""

    def take(_name: str, value: Any) -> Any:
        return as_choice(value, names) if isinstance(value, str) else value

    return ValueKind(
        metavar or "|".join(names), str, one_of(names, word), from_plain=take, read=take
    )


def choices(names: Collection[str], word: str, metavar: str) -> ValueKind:
    """Return the kind of several texts out of `names`, joined by commas."""

    def split(name: str, plain: str) -> tuple[str, ...]:
        found = tuple(as_choice(part, names) for part in plain.split(","))
        if not any(part.strip() for part in found):
            raise ConfigError(
                f"no {name.replace('_', ' ')} were given; choose from {','.join(names)}"
            )
        return tuple(part.strip() for part in found)

    def read(name: str, value: Any) -> Any:
        if isinstance(value, str):
            return split(name, value)
        if not isinstance(value, list | tuple):
            return value
        return tuple(as_choice(one, names) if isinstance(one, str) else one for one in value)

    example = f"a tuple such as `{tuple(names)[:2]}`"
    return ValueKind(
        metavar,
        str,
        each(one_of(names, word)),
        ",".join,
        split,
        read,
        types=(tuple,),
        words=example.replace("`", ""),
        in_python=example,
    )


def size(least: int) -> ValueKind:
    """Return the kind of a number of bytes that is `least` or more, written like ``2GiB``."""

    return ValueKind(
        "SIZE",
        str,
        at_least(least),
        to_plain=str,
        from_plain=read_bytes,
        read=read_bytes,
        types=(numbers.Integral,),
        words="a number of bytes, or a text such as 2GiB",
        in_python="a number of bytes",
    )
