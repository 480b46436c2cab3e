"""Begins the state and the vector of a recurrent node: at zeros, at constants, or at an input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.targets.c.grid import Factors
from onnx_lobs.targets.c.program import Names, Value
from onnx_lobs.targets.c.steps.finish import Finish, finished
from onnx_lobs.targets.c.steps.gates import POINT

START_POINT = 28  # bits behind the point of what a state's input is multiplied by
_FINER = START_POINT - POINT
_HALF = 1 << (_FINER - 1)
START_STATE = f"""static inline int32_t start_state(int32_t x, int64_t step)
{{
    return (int32_t)((x * step + {_HALF}) >> {_FINER});
}}
"""


@dataclass(frozen=True, eq=False)
class Start:
    """Where a state or a vector begins: at zeros, at constants, or at an input.

    Parameters
    ----------
    constants
        (n,), or None.
    source
        Number of an input of the step, or None.
    scale
        Of a vector: from the input's grid to its own; None in float32.
    step
        Of a state: of one step of the input's grid, in steps of 2^-28; None in float32.
    """

    constants: Array | None = None
    source: int | None = None
    scale: Factors | None = None
    step: int | None = None

    def compute(
        self, values: tuple[Array, ...], number: int, n: int, vector: Value | None
    ) -> Array:
        """Return the elements that a vector, or else the numbers that a state, begins at.

        Parameters
        ----------
        values
            The inputs of the step.
        number, n
            Of the direction, and how many numbers one has.
        vector
            Gives the grid; None for a state.
        """
        if self.source is None:
            made = np.zeros(n) if self.constants is None else self.constants
            is_float = values[0].dtype == np.float32
            dtype = np.int64 if vector is None or vector.grid is None else vector.grid.dtype
            return np.asarray(made, np.float32 if is_float else dtype)
        found = values[self.source].reshape(-1)[number * n : (number + 1) * n]
        if self.step is not None:
            return np.asarray((found.astype(np.int64) * self.step + _HALF) >> _FINER)
        return found if vector is None else Finish(self.scale).apply(found, vector)

    def text(self, names: Names, number: int, n: int, table: str, vector: Value | None) -> str:
        """Return the C expression of element j of what `compute` returns.

        Parameters
        ----------
        number, n, vector
            As for :meth:`compute`.
        table
            What the constants are called.
        """
        if self.source is None:
            return "0" if self.constants is None else f"{names.table(f'{table}{number}')}[j]"
        found = f"{names.inputs[self.source]}[{number * n} + j]"
        if self.step is not None:
            return f"start_state({found}, {self.step})"
        return found if vector is None else finished(found, self.scale, vector)
