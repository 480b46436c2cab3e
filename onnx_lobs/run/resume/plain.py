"""Builds records from plain values that a file holds, and refuses values of other types."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

Record = TypeVar("Record")
_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "dict": (dict,),
    "tuple": (list,),  # what JSON makes of it
    "None": (type(None),),
}


def build(kind: type[Record], values: Mapping[str, Any]) -> Record:
    """Return a record whose fields have the types that its class states.

    Raises
    ------
    TypeError
        Not all of its fields are there, or others are, or one is of another type.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"it says {str(values)[:40]!r} where a record stands")
    stated = {field.name: str(field.type) for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name, value in values.items():
        parts = [part.split("[")[0] for part in stated.get(name, "nothing").split(" | ")]
        allowed = [known for part in parts for known in _TYPES.get(part, ())]
        if not isinstance(value, tuple(allowed)):
            raise TypeError(f"it says {name} = {str(value)[:40]!r}")
    return kind(**values)


def whole_number(value: object, most: int) -> int:
    """Return a number if it is a whole one in 0 .. most.

    Raises
    ------
    ValueError
        It is none.
    """
    if not isinstance(value, int) or not 0 <= value <= most:
        raise ValueError(f"it says {str(value)[:40]!r} where a number up to {most} stands")
    return value
