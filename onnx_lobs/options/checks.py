"""Checks the value of one option; a message names the value, the limit and the remedy.

Each check takes the option's name, for the message, and the value, which is not None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

from onnx_lobs.errors import ConfigError, did_you_mean

Check = Callable[[str, Any], None]


def accept(_name: str, _value: object) -> None:
    """Take every value."""


def check_sparsity(what: str, value: float) -> None:
    """Raise ConfigError unless ``0 <= value < 1``."""
    if not (math.isfinite(value) and 0 <= value < 1):
        near = f"for {value:g} % write {value / 100:g}" if 1 < value < 100 else "for 80 % write 0.8"
        raise ConfigError(f"{what} is {value}; it must be at least 0 and below 1; {near}")


def check_sparsities(name: str, values: Mapping[str, float]) -> None:
    """Raise ConfigError unless every value of ``{pattern: sparsity}`` is a sparsity."""
    for pattern, value in values.items():
        check_sparsity(f"{name.replace('_', ' ')} of {pattern!r}", value)


def at_least(least: int) -> Check:
    """Return a check that a number is `least` or more."""

    def check(name: str, value: int) -> None:
        if value < least:
            raise ConfigError(f"{name} is {value}; it must be at least {least}")

    return check


def finite(example: str) -> Check:
    """Return a check that a number is finite and not negative; the remedy names an example."""

    def check(name: str, value: float) -> None:
        if not (math.isfinite(value) and value >= 0):
            raise ConfigError(f"{name} is {value}; it must be a finite number >= 0, e.g. {example}")

    return check


def one_of(choices: Collection[str], word: str = "") -> Check:
    """Return a check that a text is one of `choices`; messages call it `word`, or by its name."""

    def check(name: str, value: str) -> None:
        if value not in choices:
            names = ", ".join(choices)
            near = did_you_mean(value, choices)
            raise ConfigError(f"{word or name} {value!r} is unknown; {near}choose one of {names}")

    return check


def each(check: Check) -> Check:
    """Return a check of every entry of a value that has several."""

    def check_all(name: str, values: Collection[Any]) -> None:
        for value in values:
            check(name, value)

    return check_all
