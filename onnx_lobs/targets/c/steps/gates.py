"""Computes gates of recurrent nodes: in whole numbers, which are steps of 2^-16, or in float32.

The sigmoid of whole numbers is a table of 257 values from -8 to 8, shared by all nodes, with
straight lines between them: 7e-5 off at most, and 3.6e-4 beyond the ends. From it comes the
hyperbolic tangent: tanh(v) = 2 sigmoid(2 v) - 1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

from onnx_lobs.arrays import Array

POINT = 16  # bits behind the point
ONE = 1 << POINT
SUM_REACH = 2**27  # of each term of a gate: twice the sum of five keeps within 32 bits
_HALF = 8 * ONE  # the table goes from -8 to 8
_CELL = 12  # bits of a cell of the table: 256 cells are 16 wide
_SIGMOID = f"""static int32_t sigmoid_i32(int32_t v)
{{
    const int32_t at = v < -{_HALF} ? 0 : v >= {_HALF} ? {2 * _HALF - 1} : v + {_HALF};
    const int32_t low = sigmoids[at >> {_CELL}], rise = sigmoids[(at >> {_CELL}) + 1] - low;
    return low + ((rise * (at & {(1 << _CELL) - 1})) >> {_CELL});
}}
"""
_TANH = f"""static int32_t tanh_i32(int32_t v)
{{
    return 2 * sigmoid_i32(2 * v) - {ONE};
}}
"""
_TIMES = f"""static inline int32_t times_i32(int32_t a, int32_t b)
{{
    return (int32_t)(((int64_t)a * b + {ONE // 2}) >> {POINT});
}}
"""
_SIGMOID_FLOAT = """static inline float sigmoid_f32(float v)
{
    return 1 / (1 + expf(-v));
}
"""
_TANH_FLOAT = """static inline float tanh_f32(float v)
{
    return tanhf(v);
}
"""
_TIMES_FLOAT = """static inline float times_f32(float a, float b)
{
    return a * b;
}
"""


class GateArithmetic(ABC):
    """What the gates of a cell are computed with, in NumPy and in C.

    Attributes
    ----------
    c_type, tag
        Of its numbers: the C type, and what names of C functions call it.
    functions
        C texts by name, in the order in which they need each other.
    tables
        Constants that these read.
    """

    c_type: str
    tag: str
    functions: Mapping[str, str]
    tables: Mapping[str, Array]

    @abstractmethod
    def sigmoid(self, v: Array) -> Array:
        """Return 1 / (1 + exp(-v))."""

    @abstractmethod
    def tanh(self, v: Array) -> Array:
        """Return the hyperbolic tangent."""

    @abstractmethod
    def times(self, a: Array, b: Array) -> Array:
        """Return the products."""


def _sigmoids() -> Array:
    points = np.linspace(-8.0, 8.0, 257)
    return np.asarray(np.rint(ONE / (1 + np.exp(-points))), np.uint16)


class WholeGates(GateArithmetic):
    """Computes in steps of 2^-16."""

    c_type = "int32_t"
    tag = "i32"
    functions: Mapping[str, str] = {"sigmoid": _SIGMOID, "tanh": _TANH, "times": _TIMES}
    tables: Mapping[str, Array] = {"sigmoids": _sigmoids()}

    def sigmoid(self, v: Array) -> Array:
        """Return the lines between the places of the table."""
        at = np.clip(v + _HALF, 0, 2 * _HALF - 1)
        table = self.tables["sigmoids"].astype(np.int64)
        low = table[at >> _CELL]
        rise = table[(at >> _CELL) + 1] - low
        return np.asarray(low + ((rise * (at & ((1 << _CELL) - 1))) >> _CELL))

    def tanh(self, v: Array) -> Array:
        """Return it by the sigmoid."""
        return 2 * self.sigmoid(2 * v) - ONE

    def times(self, a: Array, b: Array) -> Array:
        """Return the products, rounded (a half goes up)."""
        return np.asarray((a * b + ONE // 2) >> POINT)


class FloatGates(GateArithmetic):
    """Computes in float32."""

    c_type = "float"
    tag = "f32"
    functions: Mapping[str, str] = {
        "sigmoid": _SIGMOID_FLOAT,
        "tanh": _TANH_FLOAT,
        "times": _TIMES_FLOAT,
    }
    tables: Mapping[str, Array] = {}

    def sigmoid(self, v: Array) -> Array:
        """Return it as C does; the exponential may be infinite."""
        with np.errstate(over="ignore"):
            return np.asarray(1 / (1 + np.exp(-v)))

    def tanh(self, v: Array) -> Array:
        """Return it."""
        return np.asarray(np.tanh(v))

    def times(self, a: Array, b: Array) -> Array:
        """Return the products."""
        return a * b


WHOLE, FLOATING = WholeGates(), FloatGates()
