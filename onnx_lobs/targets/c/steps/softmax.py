"""Computes a softmax over the last axis: from a table of exponentials, or in float32."""

from __future__ import annotations

from dataclasses import dataclass
from string import Template

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.targets.c.program import CCode, Names, Step, Value

PROBABILITY_STEPS = 255  # of the output's grid: a scale of 1/255
_ONE = 65535  # the exponential of 0 in the table
_INTEGER = Template(
    """static void softmax_$tag(const $X *x, uint8_t *y, int rows, int n, const uint16_t *powers)
{
    for (; rows > 0; rows--, x += n) {
        int highest = x[0];
        uint32_t sum = 0;
        for (int i = 1; i < n; i++)
            if (x[i] > highest)
                highest = x[i];
        for (int i = 0; i < n; i++)
            sum += powers[highest - x[i]];
        for (int i = 0; i < n; i++)
            *y++ = (uint8_t)(((uint64_t)powers[highest - x[i]] * 255u + sum / 2) / sum);
    }
}
"""
)
_FLOAT = """static void softmax_f32(const float *x, float *y, int rows, int n)
{
    for (; rows > 0; rows--, x += n, y += n) {
        float highest = x[0], sum = 0;
        for (int i = 1; i < n; i++)
            if (x[i] > highest)
                highest = x[i];
        for (int i = 0; i < n; i++) {
            y[i] = expf(x[i] - highest);
            sum += y[i];
        }
        for (int i = 0; i < n; i++)
            y[i] /= sum;
    }
}
"""


@dataclass(frozen=True, eq=False)
class Softmax(Step):
    """y = exp(x - max) / sum over the last axis.

    Parameters
    ----------
    inputs, output
        (..., n); the output's grid is 1/255.
    """

    inputs: tuple[Value, ...]
    output: Value

    @property
    def multiplications(self) -> int:
        """None by weights."""
        return 0

    def _powers(self) -> Array:
        grid = self.inputs[0].grid
        assert grid is not None
        return np.asarray(np.rint(_ONE * np.exp(-grid.scale * np.arange(256))), np.uint16)

    def compute(self, *values: Array) -> Array:
        """Return the probabilities."""
        rows = values[0].reshape(-1, self.output.shape[-1])
        if self.output.grid is None:
            powers = np.exp(rows - rows.max(axis=1, keepdims=True))
            return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)
        wide = rows.astype(np.int64)
        powers = self._powers().astype(np.int64)[wide.max(axis=1, keepdims=True) - wide]
        sums = powers.sum(axis=1, keepdims=True)
        return np.asarray((powers * PROBABILITY_STEPS + sums // 2) // sums, np.uint8)

    def code(self, names: Names) -> CCode:
        """Return a call of the function for the type."""
        x, n = self.inputs[0], self.output.shape[-1]
        arguments = f"{names.inputs[0]}, {names.output}, {self.output.size // n}, {n}"
        if self.output.grid is None:
            return CCode(f"softmax_f32({arguments});", (_FLOAT,))
        function = _INTEGER.substitute(tag=x.tag, X=x.c_type)
        call = f"softmax_{x.tag}({arguments}, {names.table('powers')});"
        return CCode(call, (function,), {"powers": self._powers()})
