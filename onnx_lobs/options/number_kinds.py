"""Knows the kinds of values that are numbers: one, several, sizes, times, numbers by name."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Mapping
from typing import Any

from onnx_lobs.errors import ConfigError
from onnx_lobs.options.checks import Check, at_least, check_sparsities
from onnx_lobs.options.given import (
    are_whole,
    read_bytes,
    read_count,
    read_duration,
    read_fractions,
    read_number,
    read_numbers,
    read_shapes,
    read_sides,
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
from onnx_lobs.options.value_kind import ValueKind, text_kind


def number(check: Check, metavar: str = "FRACTION") -> ValueKind:
    """Return the kind of a real number; texts may be ``80%`` or ``0,8``."""
    return text_kind(
        metavar, check, read_number, types=(numbers.Real,), words="a number such as 0.8"
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
    number_alone = count(least)
    return dataclasses.replace(
        number_alone,
        metavar="N|all",
        native=str,
        to_plain=lambda value: "all" if value is None else str(value),
        from_plain=parse_count,
        words=f"{number_alone.words}, or None for all",
        takes_none=True,
        in_python="a number, or None for all",
    )


def numbers_of(
    check: Check,
    metavar: str = "X|R,G,B",
    words: str = "a number, or three such as (0.485, 0.456, 0.406)",
    in_python: str = "a number, or a tuple of three",
) -> ValueKind:
    """Return the kind of several numbers, joined by commas: if not told, one for each channel."""
    return text_kind(
        metavar,
        check,
        read_numbers,
        to_plain=lambda values: ",".join(map(repr, values)),
        types=(tuple,),
        words=words,
        in_python=in_python,
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


def _check_sides(name: str, value: tuple[int, ...]) -> None:
    if not are_whole(value) or len(value) not in (1, 2) or min(value) < 1:
        raise ConfigError(
            f"{name} is {value!r}; give one size, or height and width, such as 224x224"
        )


SIDES = text_kind(
    "N|HxW",
    _check_sides,
    read_sides,
    to_plain=lambda value: "x".join(map(str, value)),
    types=(tuple,),
    words="a size such as 224, or (224, 320)",
    in_python="a number, or (height, width)",
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


def size(least: int) -> ValueKind:
    """Return the kind of a number of bytes that is `least` or more, written like ``2GiB``."""

    def check(name: str, value: int) -> None:
        if value < least:
            raise ConfigError(f"{name} is {value}; it must be at least {least} bytes, e.g. 2GiB")

    return text_kind(
        "SIZE",
        check,
        read_bytes,
        to_plain=str,
        types=(numbers.Integral,),
        words="a number of bytes, or a text such as 2GiB",
        in_python="a number of bytes",
    )


def duration(check: Check) -> ValueKind:
    """Return the kind of a time in seconds, written like ``10m``."""
    return text_kind(
        "TIME",
        check,
        read_duration,
        to_plain=write_duration,
        types=(numbers.Real,),
        words="a number of seconds, or a text such as 90s, 10m or 1h",
        in_python="seconds, or a text",
    )
