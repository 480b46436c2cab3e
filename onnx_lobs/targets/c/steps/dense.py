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
        x, y, kind = self.inputs[0], self.output, self.stored.kind
        count = self.stored.count_type
        name = f"dense_{self.stored.tag}_{x.tag}_{y.tag}{self.finish.tag}"
        acc = "float" if y.grid is None else "int32_t"
        body = "sum += w * x[pos];"
        starts = [p.split()[-1].lstrip("*") for p in kind.parameters.split(",")]
        types = {"X": x.c_type, "Y": y.c_type, "A": acc, "W": _weight_type(y), "N": count}
        function = _KERNEL.substitute(
            types,
            name=name,
            CODE=Template(", ".join(_renamed(kind.parameters))).substitute(types),
            FINISH=self.finish.parameters,
            RESTART="\n        ".join(_restart(p, types) for p in kind.parameters.split(", ")),
            LOOP=Template(kind.loop.replace("\n", "\n    ")).substitute(types, BODY=body),
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
        arguments += [names.table("bias"), *(names.table(start) for start in starts)]
        arguments += self.finish.arguments(names.table)
        return CCode(
            f"{name}({', '.join(arguments)});",
            (self.finish.function(y), function),
            {"bias": self.bias, **self.stored.tables, **self.finish.tables},
        )


def _renamed(parameters: str) -> list[str]:
    """Return the parameters with names of their own: each vector walks the tables anew."""
    return [f"{p.rpartition('*')[0]}*all_{p.rpartition('*')[2]}" for p in parameters.split(", ")]


def _restart(parameter: str, types: dict[str, str]) -> str:
    name = parameter.rpartition("*")[2]
    return Template(f"{parameter} = all_{name};").substitute(types)


def _weight_type(output: Value) -> str:
    return "float" if output.grid is None else "int8_t"
