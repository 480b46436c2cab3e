"""Multiplies vectors by a sparse matrix: Gemm and MatMul with constant weights."""

from __future__ import annotations

from dataclasses import dataclass
from string import Template

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.targets.c.codes import Code
from onnx_lobs.targets.c.program import CCode, Names, Step, Value
from onnx_lobs.targets.c.steps.finish import Finish

_KERNEL = Template(
    """static void ${name}(const $X *x, $Y *y, int vectors, int rows, int columns,
        const $A *bias, $CODE, $FINISH)
{
    for (; vectors > 0; vectors--) {
        $RESTART
        for (int r = 0; r < rows; r++) {
            $A sum = bias[r];
            $LOOP
            *y++ = $RESULT;
        }
        x += columns;
    }
}
"""
)


@dataclass(frozen=True, eq=False)
class Dense(Step):
    """y = finish(x rowsᵀ + bias) for each vector x, the last axis of the input.

    Parameters
    ----------
    inputs, output
        (..., columns) and (..., n_rows).
    rows
        (n_rows, columns), int8 or float32.
    bias
        (n_rows,) int32 in steps of the sums, or float32.
    finish, stored
        How sums end, and the rows as they are stored.
    """

    inputs: tuple[Value, ...]
    output: Value
    rows: Array
    bias: Array
    finish: Finish
    stored: Code

    @property
    def multiplications(self) -> int:
        """Multiplications by weights that are not zero."""
        vectors = self.output.size // len(self.rows)
        return vectors * int(np.count_nonzero(self.rows))

    def compute(self, *values: Array) -> Array:
        """Return the products of whole numbers exactly; float32 in NumPy's own order."""
        vectors = values[0].reshape(-1, self.rows.shape[1])
        if self.output.grid is None:
            sums = self.rows @ vectors.T + self.bias[:, None]
        else:  # below 2^31, so float64 is exact
            sums = np.rint(self.rows.astype(np.float64) @ vectors.T.astype(np.float64))
            sums = sums.astype(np.int64) + self.bias[:, None]
        return np.asarray(self.finish.apply(sums, self.output).T)

    def code(self, names: Names) -> CCode:
        """Return a call of the function for the types of input, output and code."""
        x, y, parameters = self.inputs[0], self.output, self.stored.parameters.split(", ")
        name = f"dense_{self.stored.tag}_{x.tag}_{y.tag}{self.finish.tag}"
        acc = "float" if y.grid is None else "int32_t"
        function = _KERNEL.substitute(
            X=x.c_type,
            Y=y.c_type,
            A=acc,
            name=name,
            CODE=", ".join(map(_renamed, parameters)),
            FINISH=self.finish.parameters,
            RESTART="\n        ".join(map(_restart, parameters)),
            LOOP=self.stored.loop("sum += w * x[pos];").replace("\n", "\n    "),
            RESULT=self.finish.expression(y, "r"),
        )
        n_rows, columns = self.rows.shape
        arguments = [
            names.inputs[0],
            names.output,
            str(y.size // n_rows),
            str(n_rows),
            str(columns),
        ]
        arguments += [names.table("bias"), *map(names.table, self.stored.tables)]
        arguments += self.finish.arguments(names.table)
        return CCode(
            f"{name}({', '.join(arguments)});",
            (self.finish.function(y), function),
            {"bias": self.bias, **self.stored.tables, **self.finish.tables},
        )


def _renamed(parameter: str) -> str:
    """Return a parameter with a name of its own: each vector walks the tables anew."""
    return parameter.replace("*", "*all_")


def _restart(parameter: str) -> str:
    return f"{parameter} = all_{parameter.rpartition('*')[2]};"
