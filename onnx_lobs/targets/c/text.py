"""Writes names, comments and tables as C text."""

from __future__ import annotations

import re

import numpy as np

from onnx_lobs.arrays import Array

_WIDTH = 99  # letters of a line of a table


def identifier(text: str) -> str:
    """Return a C identifier that is like a text.

    >>> identifier("lenet-5.onnx v2"), identifier("5th")
    ('lenet_5_onnx_v2', 'network_5th')
    """
    name = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_").lower()
    return name if name and not name[0].isdigit() else f"network_{name}".rstrip("_")


def comment(text: str) -> str:
    """Return a text as it can stand in a comment: one line, ASCII."""
    return " ".join(text.split()).replace("*/", "* /").encode("ascii", "replace").decode()


def float_text(value: float) -> str:
    """Return a float32 as C text that gives the same bits.

    >>> float_text(0.1), float_text(2.0), float_text(float("inf"))
    ('0.1f', '2.0f', 'INFINITY')
    """
    if np.isinf(value):
        return "-INFINITY" if value < 0 else "INFINITY"
    text = str(np.float32(value))
    return f"{text}f" if any(mark in text for mark in ".e") else f"{text}.0f"


def array_text(declaration: str, values: Array) -> str:
    """Return an array as C text; one without elements gets one, as C asks for."""
    flat = values.reshape(-1) if values.size else np.zeros(1, values.dtype)
    is_float = flat.dtype.kind == "f"
    words = [float_text(v) for v in flat] if is_float else [str(int(v)) for v in flat]
    lines, line = [], "   "
    for word in words:
        if len(line) + len(word) + 2 > _WIDTH:
            lines.append(line)
            line = "   "
        line += f" {word},"
    return "\n".join([f"{declaration}[{flat.size}] = {{", *lines, line, "};"])
