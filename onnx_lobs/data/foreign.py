"""Turns tensors of other libraries into arrays, without importing any of them."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from onnx_lobs.arrays import Array


def is_array_like(value: object) -> bool:
    """Whether a value is an array, or a tensor or table of another library.

    >>> is_array_like(np.ones(2)), is_array_like(np.float32(1)), is_array_like([1, 2])
    (True, True, False)
    """
    return hasattr(value, "__array__") or (hasattr(value, "shape") and hasattr(value, "numpy"))


def is_numbers(value: object) -> bool:
    """Whether a value is a list of numbers, or of such lists, looked at by its first.

    >>> is_numbers([[1.0, 2.0], [3.0, 4.0]]), is_numbers(["a"]), is_numbers([]), is_numbers(1)
    (True, False, False, False)
    """
    first = value
    while isinstance(first, list | tuple) and first:
        first = first[0]
    return isinstance(first, numbers.Number) and first is not value


def to_array(value: Any) -> Array:
    """Return a value as an array; tensors come from their device, and without their gradients.

    Raises
    ------
    ValueError, TypeError, RuntimeError
        What the other library raises where that cannot be done.
    """
    if isinstance(value, list | tuple) and any(is_array_like(one) for one in value):
        return np.asarray([to_array(one) for one in value])
    if isinstance(value, np.ndarray) or not is_array_like(value):
        return np.asarray(value)
    if callable(getattr(value, "detach", None)):
        value = value.detach().cpu()
        if "bfloat16" in str(value.dtype):  # NumPy has no such type
            value = value.float()
    as_numpy = getattr(value, "numpy", None)
    return np.asarray(as_numpy() if callable(as_numpy) else value)
