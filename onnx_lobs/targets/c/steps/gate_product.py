"""Multiplies a vector by the rows of a recurrent node's weight, in the numbers of its gates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from string import Template

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.targets.c.codes import Code
from onnx_lobs.targets.c.grid import Factors
from onnx_lobs.targets.c.program import Value
from onnx_lobs.targets.c.steps.gates import FLOATING, SUM_REACH, WHOLE

_KERNEL = Template(
    """static void ${name}(const $X *x, const $A *bias, $A *y, int rows$COLUMNS,
        $CODE$FACTORS)
{
    for (int r = 0; r < rows; r++) {
        $A sum = 0;
        $LOOP
        y[r] = bias[r] + $SCALED;
    }
}
"""
)
GATE_SUM = f"""static int32_t gate_sum(int64_t sum, int64_t factor, int shift)
{{
    const int64_t scaled = (sum * factor + ((int64_t)1 << (shift - 1))) >> shift;
    const int64_t most = {SUM_REACH};
    return (int32_t)(scaled < -most ? -most : scaled > most ? most : scaled);
}}
"""


def gate_sums(sums: Array, factors: Factors) -> Array:
    """Return sums as gates count them: steps of 2^-16, rounded (a half goes up) and bounded."""
    wide = sums.astype(np.int64) * factors.factor
    scaled = (wide + (np.int64(1) << (factors.shift - 1))) >> factors.shift
    return np.asarray(np.clip(scaled, -SUM_REACH, SUM_REACH))


@dataclass(frozen=True, eq=False)
class GateProduct:
    """y = bias + rows x, in the numbers of gates.

    Parameters
    ----------
    rows
        (n_rows, columns), int8 or float32.
    stored
        The rows as they are stored.
    factors
        One a row, from its sums to steps of 2^-16; None in float32.
    """

    rows: Array
    stored: Code
    factors: Factors | None

    def compute(self, x: Array) -> Array:
        """Return the products of one vector, without bias."""
        if self.factors is None:
            return np.asarray(self.rows @ x)
        return gate_sums(self.rows.astype(np.int64) @ x.astype(np.int64), self.factors)

    @property
    def tables(self) -> dict[str, Array]:
        """Constants of the C code."""
        found = dict(self.stored.tables)
        if self.factors is not None:
            found["factor"] = self.factors.factor.astype(np.uint16)
            found["shift"] = self.factors.shift.astype(np.uint8)
        return found

    def function(self, x: Value) -> str:
        """Return the C function, for vectors of the type of `x`."""
        kind, numbers = self.stored.kind, FLOATING if self.factors is None else WHOLE
        weight = "float" if self.factors is None else "int8_t"
        types = {"X": x.c_type, "A": numbers.c_type, "W": weight, "N": self.stored.count_type}
        return _KERNEL.substitute(
            types,
            name=self._name(x),
            COLUMNS=", int columns" if self._reads_columns else "",
            CODE=Template(kind.parameters).substitute(types),
            FACTORS=""
            if self.factors is None
            else ", const uint16_t *factor, const uint8_t *shift",
            LOOP=Template(kind.loop).substitute(types, BODY="sum += w * x[pos];"),
            SCALED="sum" if self.factors is None else "gate_sum(sum, factor[r], shift[r])",
        )

    def call(
        self, x: Value, source: str, bias: str, target: str, table: Callable[[str], str]
    ) -> str:
        """Return the C statement; `table` names tables."""
        arguments = [source, bias, target, *map(str, self.rows.shape)]
        arguments = arguments if self._reads_columns else arguments[:-1]
        arguments += map(table, self.tables)
        return f"{self._name(x)}({', '.join(arguments)});"

    @property
    def _reads_columns(self) -> bool:
        return "columns" in self.stored.kind.loop

    def _name(self, x: Value) -> str:
        counts = self.stored.count_type.removeprefix("uint").removesuffix("_t")
        return f"gate_sums_{self.stored.kind.name}{counts}_{x.tag}"
