"""Finishes a sum: scales it onto the grid of the output, or keeps a float within its limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.targets.c.grid import Factors
from onnx_lobs.targets.c.program import Value
from onnx_lobs.targets.c.text import float_text

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
    def tables(self) -> dict[str, Array]:
        """Constants of the C code."""
        if self.factors is None:
            return {}
        shift = self.factors.last_shift.astype(np.uint8)
        return {"factor": self.factors.factor.astype(np.uint16), "shift": shift}

    @property
    def tag(self) -> str:
        """What tells kernels apart that finish in different ways."""
        return finish_tag(self.factors)

    def arguments(self, table: Callable[[str], str]) -> list[str]:
        """Return the C arguments; `table` names tables."""
        if self.factors is None:
            return [float_text(limit) for limit in self.limits]
        return [table("factor"), table("shift")]

    def expression(self, output: Value, channel: str) -> str:
        """Return the C expression that makes an element of ``sum``."""
        if self.factors is None:
            return "finish_f32(sum, lowest, highest)"
        return finished("sum", self.factors, output, f"factor[{channel}], shift[{channel}]")

    def function(self, output: Value) -> str:
        """Return the C function that `expression` calls."""
        return FLOAT_FINISH if output.grid is None else integer_finish(output, self.factors)


def finish_tag(factors: Factors | None) -> str:
    """Return what the names of functions that scale in 32 bits have more than others."""
    return "_short" if factors is not None and factors.is_short else ""


def finished(text: str, factors: Factors | None, output: Value, arguments: str = "") -> str:
    """Return the C expression that scales a sum onto a grid, or the sum itself in float32.

    The arguments name a factor and a shift; without them it holds those of all sums.
    """
    if factors is None:
        return text
    return f"finish{finish_tag(factors)}_{output.tag}({text}, {arguments or one_factor(factors)})"


def one_factor(factors: Factors) -> str:
    """Return the C arguments that scale all sums alike."""
    return f"{int(factors.factor[0])}, {int(factors.last_shift[0])}"


def integer_finish(output: Value, factors: Factors | None = None) -> str:
    """Return the C function that scales a sum onto a grid."""
    assert output.grid is not None
    text = (_SHORT if finish_tag(factors) else _LONG).replace("$LIMIT", _LIMIT)
    text = text.replace("$Y", output.c_type).replace("$tag", output.tag)
    return text.replace("$lo", str(output.grid.lowest)).replace("$hi", str(output.grid.highest))
