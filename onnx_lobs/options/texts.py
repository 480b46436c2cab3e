"""Reads the values of options from the texts of a command line, and writes them again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

from onnx_lobs.errors import ConfigError

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}
_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse_bytes(text: str) -> int:
    """Return the number of bytes in a text such as ``2GiB``, ``500 MB`` or ``1000000``.

    ``KB``, ``MB`` ... are powers of 1000; ``KiB`` and plain ``K`` are powers of 1024.

    Raises
    ------
    ConfigError
        When the text is no such number.

    Examples
    --------
    >>> parse_bytes("2GiB"), parse_bytes("1.5 kb"), parse_bytes("4096")
    (2147483648, 1500, 4096)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?b)?\s*", text.lower())
    if match is None:
        raise ConfigError(f"{text!r} is no amount of memory; write 2GiB, 500MB or bytes")
    number, unit, end = match.groups()
    return int(float(number) * (1000 if end == "b" else 1024) ** _UNITS[unit])


def parse_duration(name: str, text: str) -> float:
    """Return the seconds in a text such as ``90s``, ``10m``, ``1.5 h``, ``1h30m`` or ``600``.

    Raises
    ------
    ConfigError
        When the text is no such duration.

    Examples
    --------
    >>> parse_duration("time", "90s"), parse_duration("time", "1h30m"), parse_duration("time", "20")
    (90.0, 5400.0, 20.0)
    """
    written = text.lower().replace(" ", "")
    parts = re.findall(r"(\d+(?:\.\d+)?)([hms]?)", written)
    units = [unit for _, unit in parts]
    # each unit once, the largest first; without one the number stands alone
    in_order = units == sorted(set(units), key="hms".find) and ("" not in units or len(units) == 1)
    if not parts or "".join(map("".join, parts)) != written or not in_order:
        raise ConfigError(f"{name} {text!r} is no duration; write 90s, 10m, 1h30m or seconds")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def write_duration(seconds: float) -> str:
    """Return seconds as a text that :func:`parse_duration` reads: 90 is ``1m30s``.

    >>> write_duration(600.0), write_duration(5400), write_duration(0.5)
    ('10m', '1h30m', '0.5s')
    """
    if seconds != int(seconds):
        return f"{Decimal(repr(float(seconds))):f}s"
    minutes, rest = divmod(int(seconds), 60)
    parts = zip((*divmod(minutes, 60), rest), "hms", strict=True)
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"


def parse_number(name: str, text: str) -> float:
    """Return the number in a text: ``0.8``, ``80%`` and, where commas are decimal, ``0,8``.

    >>> parse_number("sparsity", "80 %"), parse_number("sparsity", "0,8")
    (0.8, 0.8)

    Raises
    ------
    ConfigError
        When it is none.
    """
    digits = text.strip()
    is_percent = digits.endswith("%")
    digits = digits.removesuffix("%").strip()
    if re.fullmatch(r"[-+]?\d*,\d+", digits):
        digits = digits.replace(",", ".")
    try:
        value = float(digits)
    except ValueError as error:
        raise ConfigError(
            f"{name.replace('_', ' ')} {text!r} is not understood; write a number such as 0.8 or "
            "80%"
        ) from error
    return value / 100 if is_percent else value


def parse_numbers(name: str, text: str) -> tuple[float, ...]:
    """Return the numbers in a text such as ``0.485,0.456,0.406``; decimals have a point.

    >>> parse_numbers("mean", "127"), parse_numbers("std", "1, 2,3")
    ((127.0,), (1.0, 2.0, 3.0))

    Raises
    ------
    ConfigError
        When a part is no number.
    """
    return tuple(parse_number(name, part) for part in text.split(","))


def parse_sides(name: str, text: str) -> tuple[int, ...]:
    """Return one size or two, of a text such as ``256`` or ``224x320``.

    >>> parse_sides("resize", "256"), parse_sides("crop", "224x320")
    ((256,), (224, 320))

    Raises
    ------
    ConfigError
        When it is neither.
    """
    if not re.fullmatch(r"0*[1-9][0-9]*(x0*[1-9][0-9]*)?", text.strip()):
        raise ConfigError(
            f"{name} {text!r} is not understood; write one size, or height x width: 256, 224x320"
        )
    return tuple(map(int, text.strip().split("x")))


def parse_count(name: str, text: str) -> int | None:
    """Return a whole number, or None for ``all``.

    Raises
    ------
    ConfigError
        When the text is neither.
    """
    if text == "all":
        return None
    if not text.isdecimal():
        raise ConfigError(f"{name} {text!r} is not understood; write a number such as 32, or all")
    return int(text)


def parse_fractions(name: str, texts: Sequence[str]) -> dict[str, float]:
    """Return ``{glob: fraction}`` of texts such as ``*fc*=0.7``; a glob may hold ``=``.

    A glob that is given again moves to the end, because the last match wins.

    >>> parse_fractions("layer_sparsity", ["a=0.1", "b=0.2", "a=0.3"])
    {'b': 0.2, 'a': 0.3}

    Raises
    ------
    ConfigError
        When a text has no glob or no number.
    """
    result: dict[str, float] = {}
    for text in texts:
        glob, _, fraction = text.rpartition("=")
        try:
            value = parse_number(name, fraction)
        except ConfigError as error:
            raise _not_understood(name, text) from error
        if not glob:
            raise _not_understood(name, text)
        result.pop(glob, None)
        result[glob] = value
    return result


def write_fractions(values: Mapping[str, float]) -> list[str]:
    """Return the texts that :func:`parse_fractions` reads."""
    return [f"{glob}={value!r}" for glob, value in values.items()]


def _not_understood(name: str, text: str) -> ConfigError:
    return ConfigError(f"{name.replace('_', ' ')} {text!r} is not understood; write GLOB=0.7")


def parse_input_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Parse ``name:1x3x224x224``; the name itself may hold colons.

    >>> parse_input_shape("image:0:1x3x224x224")
    ('image:0', (1, 3, 224, 224))

    Raises
    ------
    ConfigError
        When there is no name or the sizes are not positive integers joined by ``x``.
    """
    name, _, sizes = text.rpartition(":")
    if not name or not re.fullmatch(r"0*[1-9][0-9]*(x0*[1-9][0-9]*)*", sizes):
        raise ConfigError(
            f"input shape {text!r} is not understood; write the name and positive sizes, like "
            "name:1x3x224x224"
        )
    return name, tuple(int(size) for size in sizes.split("x"))


def write_input_shapes(shapes: Mapping[str, Sequence[int]]) -> list[str]:
    """Return the texts that :func:`parse_input_shape` reads."""
    return [f"{name}:{'x'.join(map(str, shape))}" for name, shape in shapes.items()]
