"""Applies functions of one number: by a table of 256 bytes, or by float32 arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from string import Template

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.targets.c.program import CCode, Names, Step, Value
from onnx_lobs.targets.c.steps.finish import FLOAT_FINISH

_LOOKUP = Template(
    """static void look_up_${x}_$y(const $X *x, $Y *y, int n, const $Y *table)
{
    for (int i = 0; i < n; i++)
        y[i] = table[(uint8_t)x[i]];
}
"""
)


@dataclass(frozen=True, eq=False)
class Lookup(Step):
    """y = table[x], element by element.

    Parameters
    ----------
    inputs, output
        Of one shape, on grids.
    table
        (256,) elements of the output by the byte of the input.
    """

    inputs: tuple[Value, ...]
    output: Value
    table: Array

    @property
    def multiplications(self) -> int:
        """None."""
        return 0

    def compute(self, *values: Array) -> Array:
        """Return the elements of the table."""
        return self.table[values[0].view(np.uint8)]

    def code(self, names: Names) -> CCode:
        """Return a call of the function for the types of input and output."""
        x, y = self.inputs[0], self.output
        function = _LOOKUP.substitute(x=x.tag, y=y.tag, X=x.c_type, Y=y.c_type)
        call = f"look_up_{x.tag}_{y.tag}({names.inputs[0]}, {names.output}, {y.size}, "
        return CCode(f"{call}{names.table('table')});", (function,), {"table": self.table})


@dataclass(frozen=True, eq=False)
class FloatFunction(Step):
    """y = expression(x), element by element, in float32.

    Parameters
    ----------
    inputs, output
        Of one shape, float32.
    expression
        C expression of ``v``.
    reference
        The same in NumPy.
    """

    inputs: tuple[Value, ...]
    output: Value
    expression: str
    reference: Callable[[Array], Array]

    @property
    def multiplications(self) -> int:
        """None."""
        return 0

    def compute(self, *values: Array) -> Array:
        """Return the function of every element."""
        return np.asarray(self.reference(values[0]), np.float32)

    def code(self, names: Names) -> CCode:
        """Return a loop."""
        return CCode(
            f"for (int i = 0; i < {self.output.size}; i++) {{\n"
            f"        const float v = {names.inputs[0]}[i];\n"
            f"        {names.output}[i] = {self.expression};\n    }}",
            (FLOAT_FINISH,) if "finish_f32" in self.expression else (),
        )
