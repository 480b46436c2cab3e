"""Finishes a sum: scales it onto the grid of the output, or keeps a float within its limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.targets.c.grid import WORD, Factors
from onnx_lobs.targets.c.program import Value

_LIMIT = "($Y)(scaled < $lo ? $lo : scaled > $hi ? $hi : scaled)"
_LONG = """static inline $Y finish_$tag(int64_t sum, int64_t factor, int shift)
{
    const int64_t scaled = (sum * factor + ((int64_t)1 << (shift - 1))) >> shift;
    return $LIMIT;
}
"""
_SHORT = """static inline $Y finish_short_$tag(int32_t sum, uint32_t factor, int shift)
{
    /* the upper word of sum * factor * 2^16, then rounded */
    const int32_t high = (int32_t)(((int64_t)sum * (int32_t)factor) >> 16);
    const int32_t scaled = (high + ((int32_t)1 << (shift - 1))) >> shift;
    return $LIMIT;
}
"""
FLOAT_FINISH = """static inline float finish_f32(float sum, float lowest, float highest)
{
    return sum < lowest ? lowest : sum > highest ? highest : sum;
}
"""


@dataclass(frozen=True, eq=False)
class Finish:
    """How sums become elements of the output.

    Parameters
    ----------
    factors
        One for each output channel or for all; None in a float32 program.
    limits
        Of a float: -inf and inf where there are none. An integer's grid is its limit.
    """

    factors: Factors | None
    limits: tuple[float, float] = (-np.inf, np.inf)

    def apply(self, sums: Array, output: Value) -> Array:
        """Return elements of the output from sums, whose first axis is that of the channels."""
        if self.factors is None or output.grid is None:
            return np.clip(sums, *self.limits).astype(np.float32)
        return self.factors.apply(np.asarray(sums, np.int64), output.grid)

    @property
    def parameters(self) -> str:
        """C parameters."""
        if self.factors is None:
            return "float lowest, float highest"
        return "const uint16_t *factor, const uint8_t *shift"

    @property
    def is_short(self) -> bool:
        """Whether sums are scaled in 32 bits."""
        return self.factors is not None and self.factors.is_short

    @property
    def tables(self) -> dict[str, Array]:
        """Constants of the C code."""
        if self.factors is None:
            return {}
        shift = self.factors.shift - (WORD if self.is_short else 0)
        return {"factor": self.factors.factor.astype(np.uint16), "shift": shift.astype(np.uint8)}

    @property
    def tag(self) -> str:
        """What tells kernels apart that finish in different ways."""
        return "_short" if self.is_short else ""

    def arguments(self, table: Callable[[str], str]) -> list[str]:
        """Return the C arguments; `table` names tables."""
        if self.factors is None:
            return [float_text(limit) for limit in self.limits]
        return [table("factor"), table("shift")]

    def expression(self, output: Value, channel: str) -> str:
        """Return the C expression that makes an element of ``sum``."""
        if self.factors is None:
            return "finish_f32(sum, lowest, highest)"
        return f"finish{self.tag}_{output.tag}(sum, factor[{channel}], shift[{channel}])"

    def function(self, output: Value) -> str:
        """Return the C function that `expression` calls."""
        return (
            FLOAT_FINISH if output.grid is None else integer_finish(output, is_short=self.is_short)
        )


def integer_finish(output: Value, *, is_short: bool = False) -> str:
    """Return the C function that scales a sum onto a grid."""
    assert output.grid is not None
    text = (_SHORT if is_short else _LONG).replace("$LIMIT", _LIMIT)
    text = text.replace("$Y", output.c_type).replace("$tag", output.tag)
    return text.replace("$lo", str(output.grid.lowest)).replace("$hi", str(output.grid.highest))


def float_text(value: float) -> str:
    """Return a float32 as C text that gives the same bits.

    >>> float_text(0.1), float_text(2.0), float_text(float("inf"))
    ('0.1f', '2.0f', 'INFINITY')
    """
    if np.isinf(value):
        return "-INFINITY" if value < 0 else "INFINITY"
    text = str(np.float32(value))
    return f"{text}f" if any(mark in text for mark in ".e") else f"{text}.0f"
