"""Multiplies a vector by the rows of a recurrent node's weight, in the numbers of its gates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from string import Template

import numpy as np

from onnx_lobs.arrays import Array, IntArray
from onnx_lobs.errors import DataError
from onnx_lobs.targets.c.codes import Code
from onnx_lobs.targets.c.grid import MOST_STEP, WORD
from onnx_lobs.targets.c.program import Value
from onnx_lobs.targets.c.steps.gates import FLOATING, SUM_REACH, WHOLE

_KERNEL = Template(
    """static void ${name}(const $X *x, const $A *bias, $A *y, int rows$COLUMNS,
        $CODE$SCALE)
{
    for (int r = 0; r < rows; r++) {
        $A sum = 0;
        $LOOP
        y[r] = bias[r] + $SCALED;
    }
}
"""
)
_PARAMETERS = ", const uint16_t *factor, int shift, int32_t most, int32_t step"
_ARGUMENTS = "sum, factor[r], shift, most, step"
GATE_SUM = """static inline int32_t gate_sum(int32_t sum, int32_t factor, int shift,
        int32_t most, int32_t step)
{
    const int32_t scaled = (int32_t)(((int64_t)sum * factor) >> 16) >> shift;
    return (scaled < -most ? -most : scaled > most ? most : scaled) * step;
}
"""
_MOST_EXPONENT = 20  # of a factor: sums of some hundred products would leave 32 bits far behind


@dataclass(frozen=True, eq=False)
class GateScale:
    """Whole numbers that bring sums to steps of 2^-16: factor 2^(exponent - 16).

    All sums of a product have one exponent, so that those of small rows have factors of fewer
    bits: what is lost is a 2^-17th of the largest sum.

    Parameters
    ----------
    factor
        (n,) below 2^16.
    exponent
        Of the largest factor.
    """

    factor: IntArray
    exponent: int

    def apply(self, sums: Array) -> Array:
        """Return scaled sums, rounded down and bounded, as :data:`GATE_SUM` does."""
        scaled = ((sums.astype(np.int64) * self.factor) >> WORD) >> self._shift
        most = SUM_REACH // self._step
        return np.asarray(np.clip(scaled, -most, most) * self._step)

    @property
    def _shift(self) -> int:
        return max(-self.exponent, 0)

    @property
    def _step(self) -> int:
        return int(2 ** max(self.exponent, 0))

    @property
    def arguments(self) -> list[str]:
        """C arguments behind the factor."""
        return [str(n) for n in (self._shift, SUM_REACH // self._step, self._step)]


def gate_scale(name: str, real: Array) -> GateScale:
    """Return whole numbers for real factors from sums to steps of 2^-16.

    Raises
    ------
    DataError
        A factor is 2^20 or more.
    """
    real = np.atleast_1d(np.asarray(real, np.float64))
    exponent = int(np.frexp(real.max())[1])
    if exponent > _MOST_EXPONENT:
        raise DataError(
            f"{name!r} scales sums by {real.max():g} to steps of 2^-16, at most "
            f"{2**_MOST_EXPONENT:,} is possible; scale its inputs"
        )
    exponent = max(exponent, -MOST_STEP)
    factor = np.rint(real * 2.0 ** (WORD - exponent)).astype(np.int64)
    return GateScale(np.minimum(factor, 2**WORD - 1), exponent)


@dataclass(frozen=True, eq=False)
class GateProduct:
    """y = bias + rows x, in the numbers of gates.

    Parameters
    ----------
    rows
        (n_rows, columns), int8 or float32.
    stored
        The rows as they are stored.
    scale
        From sums to steps of 2^-16, a factor a row; None in float32.
    """

    rows: Array
    stored: Code
    scale: GateScale | None

    def compute(self, x: Array) -> Array:
        """Return the products of one vector, without bias."""
        if self.scale is None:
            return np.asarray(self.rows @ x)
        return self.scale.apply(self.rows.astype(np.int64) @ x.astype(np.int64))

    @property
    def tables(self) -> dict[str, Array]:
        """Constants of the C code."""
        found = dict(self.stored.tables)
        if self.scale is not None:
            found["factor"] = self.scale.factor.astype(np.uint16)
        return found

    def function(self, x: Value) -> str:
        """Return the C function, for vectors of the type of `x`."""
        return _KERNEL.substitute(
            X=x.c_type,
            A=(FLOATING if self.scale is None else WHOLE).c_type,
            name=self._name(x),
            COLUMNS=", int columns" if self._reads_columns else "",
            CODE=self.stored.parameters,
            SCALE="" if self.scale is None else _PARAMETERS,
            LOOP=self.stored.loop("sum += w * x[pos];"),
            SCALED="sum" if self.scale is None else f"gate_sum({_ARGUMENTS})",
        )

    def call(
        self, x: Value, source: str, bias: str, target: str, table: Callable[[str], str]
    ) -> str:
        """Return the C statement; `table` names tables."""
        arguments = [source, bias, target, *map(str, self.rows.shape)]
        arguments = arguments if self._reads_columns else arguments[:-1]
        arguments += map(table, self.tables)
        arguments += [] if self.scale is None else self.scale.arguments
        return f"{self._name(x)}({', '.join(arguments)});"

    @property
    def _reads_columns(self) -> bool:
        return "columns" in self.stored.kind.loop

    def _name(self, x: Value) -> str:
        return f"gate_sums_{self.stored.tag}_{x.tag}"
