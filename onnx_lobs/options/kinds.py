"""Knows the kinds of values that options have: numbers, texts, lists, sizes, files."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Collection, Mapping
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
    read_duration,
    read_fractions,
    read_number,
    read_numbers,
    read_shapes,
    read_sides,
    read_texts,
    unboxed,
)
from onnx_lobs.options.texts import (
    parse_count,
    parse_fractions,
    parse_input_shape,
    parse_number,
    write_duration,
    write_fractions,
    write_input_shapes,
)
from onnx_lobs.options.value_kind import ValueKind

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


def _check_sides(name: str, value: tuple[int, ...]) -> None:
    if not are_whole(value) or len(value) not in (1, 2) or min(value) < 1:
        raise ConfigError(
            f"{name} is {value!r}; give one size, or height and width, such as 224x224"
        )


SIDES = ValueKind(
    "N|HxW",
    str,
    _check_sides,
    to_plain=lambda value: "x".join(map(str, value)),
    from_plain=read_sides,
    read=read_sides,
    types=(tuple,),
    words="a size such as 224, or (224, 320)",
    in_python="a number, or (height, width)",
)


def numbers_of(check: Check) -> ValueKind:
    """Return the kind of one number for all channels, or one for each, joined by commas."""
    return ValueKind(
        "X|R,G,B",
        str,
        check,
        to_plain=lambda values: ",".join(map(repr, values)),
        from_plain=read_numbers,
        read=read_numbers,
        types=(tuple,),
        words="a number, or three such as (0.485, 0.456, 0.406)",
        in_python="a number, or a tuple of three",
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
        metavar,
        str,
        check,
        from_plain=take,
        read=take,
        types=(str,),
        words=f"a text: {metavar}",
        names=tuple(names),
    )


def _path_text(_name: str, value: Any) -> Any:
    """Return a path as a text."""
    return str(value) if isinstance(value, Path) else value


def folder() -> ValueKind:
    """Return the kind of the name of a folder, which may be a path."""
    return ValueKind("DIR", str, read=_path_text, types=(str,), words="the path of a folder")


def file() -> ValueKind:
    """Return the kind of the name of a file, which may be a path."""
    return ValueKind("FILE", str, read=_path_text, types=(str,), words="the path of a file")


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
        names=tuple(names),
    )


def choice(names: Collection[str], word: str = "", metavar: str = "") -> ValueKind:
    """Return the kind of a text that is one of `names`, in any case; messages call it `word`."""

    def take(_name: str, value: Any) -> Any:
        return as_choice(value, names) if isinstance(value, str) else value

    return ValueKind(
        metavar or "|".join(names),
        str,
        one_of(names, word),
        from_plain=take,
        read=take,
        names=tuple(names),
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
        names=tuple(names),
    )


def number_list(check: Check) -> ValueKind:
    """Return the kind of several numbers, joined by commas, each with a point or in per cent."""

    def split(name: str, plain: str) -> tuple[float, ...]:
        return tuple(sorted({parse_number(name, part) for part in plain.split(",")}))

    return ValueKind(
        "FRACTION,...",
        str,
        check,
        lambda values: ",".join(f"{value:g}" for value in values),
        split,
        types=(tuple,),
        words="a tuple such as (0.5, 0.9)",
    )


def text_list(metavar: str) -> ValueKind:
    """Return the kind of several texts, joined by commas."""
    return ValueKind(
        metavar,
        str,
        to_plain=",".join,
        from_plain=lambda _name, plain: tuple(part.strip() for part in plain.split(",")),
        types=(tuple,),
        words="a tuple of texts",
    )


def size(least: int) -> ValueKind:
    """Return the kind of a number of bytes that is `least` or more, written like ``2GiB``."""

    def check(name: str, value: int) -> None:
        if value < least:
            raise ConfigError(f"{name} is {value}; it must be at least {least} bytes, e.g. 2GiB")

    return ValueKind(
        "SIZE",
        str,
        check,
        to_plain=str,
        from_plain=read_bytes,
        read=read_bytes,
        types=(numbers.Integral,),
        words="a number of bytes, or a text such as 2GiB",
        in_python="a number of bytes",
    )


def duration(check: Check) -> ValueKind:
    """Return the kind of a time in seconds, written like ``10m``."""

    return ValueKind(
        "TIME",
        str,
        check,
        to_plain=write_duration,
        from_plain=read_duration,
        read=read_duration,
        types=(numbers.Real,),
        words="a number of seconds, or a text such as 90s, 10m or 1h",
        in_python="seconds, or a text",
    )
