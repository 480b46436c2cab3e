"""Reads values as callers of Python write them: numbers as texts, lists for tuples, any case.

Each function takes the option's name, for its messages, and the value; what it does not know it
returns as it is, so that the check of its type names it.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any

from onnx_lobs.options.texts import (
    parse_bytes,
    parse_count,
    parse_duration,
    parse_fractions,
    parse_input_shape,
    parse_number,
    parse_numbers,
    parse_sides,
)


def unboxed(_name: str, value: Any) -> Any:
    """Return the number in an array or tensor without axes, such as a NumPy scalar."""
    is_box = getattr(value, "shape", None) == () and callable(getattr(value, "item", None))
    return value.item() if is_box else value


def read_number(name: str, value: Any) -> Any:
    """Return a real number; texts may be ``80%`` or ``0,8``."""
    return parse_number(name, value) if isinstance(value, str) else unboxed(name, value)


def read_numbers(name: str, value: Any) -> Any:
    """Return a tuple of real numbers; a text is ``0.485,0.456,0.406``, one number is alone."""
    if isinstance(value, str):
        return parse_numbers(name, value)
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return (float(value),)
    is_row = isinstance(value, list | tuple)
    return tuple(float(read_number(name, one)) for one in value) if is_row else value


def read_sides(name: str, value: Any) -> Any:
    """Return a tuple of one size or two; a text is ``224`` or ``224x320``."""
    if isinstance(value, str):
        return parse_sides(name, value)
    value = unboxed(name, value)
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return (int(value),)
    return tuple(value) if isinstance(value, list) else value


def read_count(name: str, value: Any) -> Any:
    """Return a whole number, or None for ``all``."""
    return parse_count(name, value) if isinstance(value, str) else unboxed(name, value)


def read_bytes(name: str, value: Any) -> Any:
    """Return a number of bytes; texts may be ``2GiB``, an empty one is None."""
    if isinstance(value, str):
        return parse_bytes(value) if value else None
    return unboxed(name, value)


def read_duration(name: str, value: Any) -> Any:
    """Return seconds; texts may be ``10m``, an empty one is None."""
    if isinstance(value, str):
        return parse_duration(name, value) if value else None
    if isinstance(value, timedelta):
        return value.total_seconds()
    return unboxed(name, value)


def read_texts(_name: str, value: Any) -> Any:
    """Return a tuple of texts; one text alone is one of them."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list | set | frozenset) else value


def read_fractions(name: str, value: Any) -> Any:
    """Return ``{glob: fraction}``; fractions may be texts, and all of it ``GLOB=FRACTION``."""
    texts = [value] if isinstance(value, str) else value
    if _are_texts(texts):
        return parse_fractions(name, texts)
    if not isinstance(value, Mapping):
        return value
    return {glob: read_number(name, one) for glob, one in value.items()}


def read_shapes(_name: str, value: Any) -> Any:
    """Return ``{input: shape}``; texts are ``NAME:1x3x224x224``."""
    texts = [value] if isinstance(value, str) else value
    if _are_texts(texts):
        return dict(map(parse_input_shape, texts))
    if not isinstance(value, Mapping):
        return value
    return {n: tuple(map(int, s)) if are_whole(s) else s for n, s in value.items()}


def are_whole(sizes: object) -> bool:
    """Whether a value holds whole numbers only."""
    if isinstance(sizes, str) or not isinstance(sizes, Iterable):
        return False
    return all(isinstance(size, numbers.Integral) for size in sizes)


def _are_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)


def as_choice(value: str, names: Iterable[str]) -> str:
    """Return that of the names which a text is but for case; if none, the text.

    >>> as_choice("SparseGPT", ["lobs", "sparsegpt"]), as_choice("x", ["lobs"])
    ('sparsegpt', 'x')
    """
    wanted = _folded(value)
    return next((name for name in names if _folded(name) == wanted), value)


def _folded(text: str) -> str:
    return text.strip().lower().replace("_", "-")


def name_of(function: Callable[..., Any]) -> str:
    """Return what to call a function."""
    return str(getattr(function, "__name__", type(function).__name__))
