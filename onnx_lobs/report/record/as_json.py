"""Writes records as JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping

_NUMBERS = re.compile(r"\[\n[-\d.e+,\s]+\]")  # texts hold no line breaks, so this is a list


def to_json(record: Mapping[str, object]) -> str:
    """Return plain values as JSON, lists of numbers on one line; what is infinite is null."""
    text = json.dumps(_without_infinity(record), indent=2, allow_nan=False)
    return _NUMBERS.sub(lambda found: f"[{' '.join(found[0][1:-1].split())}]", text)


def _without_infinity(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_infinity(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_infinity(one) for one in value]
    return None if isinstance(value, float) and math.isinf(value) else value
