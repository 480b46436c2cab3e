"""Runs an LSTM, GRU or RNN over all steps of time, in one direction or both.

In integers, input and hidden vectors are bytes on grids, as other values are, and weights have a
scale a row. Sums of gates, the state of a GRU and the cell of an LSTM count in steps of 2^-16 in
32 bits, so that what changes slowly is not lost in the rounding of bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import Template

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.targets.c.grid import Factors
from onnx_lobs.targets.c.program import CCode, Names, Step, Value
from onnx_lobs.targets.c.steps.cells import CellParts, RecurrentCell
from onnx_lobs.targets.c.steps.finish import (
    Finish,
    finish_tag,
    finished,
    integer_finish,
    one_factor,
)
from onnx_lobs.targets.c.steps.gate_product import GATE_SUM, GateProduct
from onnx_lobs.targets.c.steps.gates import FLOATING, WHOLE, GateArithmetic
from onnx_lobs.targets.c.steps.start import START_STATE, Start

_RUN = Template(
    """{
        $A *const state = $SUMS + $STATE_AT;
        $H *const h = ($H *)($SUMS + $H_AT);
        for (int j = 0; j < $N; j++) {
            state[j] = $STATE;
            h[j] = $VECTOR;
        }
        for (int t = 0; t < $TIMES; t++) {
            $CALLS
        }$CELLS
    }"""
)


@dataclass(frozen=True, eq=False)
class Direction:
    """What one direction of time multiplies by, and where it begins.

    Parameters
    ----------
    products
        Of the input, and of the vector that the last step made.
    bias
        Of the sums, (n_sums,) int32 in steps of 2^-16, or float32.
    state, vector
        Where they begin.
    is_reverse
        Whether it begins at the last step of time.
    """

    products: tuple[GateProduct, ...]
    bias: Array
    state: Start
    vector: Start
    is_reverse: bool


@dataclass(frozen=True, eq=False)
class Recurrent(Step):
    """y[t] = cell(x[t], y[t - 1]).

    Parameters
    ----------
    inputs
        (steps, 1, columns), and what `Start.source` numbers: (directions, 1, n).
    output
        All vectors (steps, directions, 1, n), or the last ones (directions, 1, n).
    cell, directions
        What is computed.
    element
        From steps of 2^-16 to elements of the output; None in float32.
    keeps_all
        Whether the output holds the vectors of all steps.
    cells, cell_element
        The last states as a second output, (directions, 1, n), and their factors; or None.
    """

    inputs: tuple[Value, ...]
    output: Value
    cell: RecurrentCell
    directions: tuple[Direction, ...]
    element: Factors | None
    keeps_all: bool
    cells: Value | None = None
    cell_element: Factors | None = None

    @property
    def outputs(self) -> tuple[Value, ...]:
        """The vectors, and the last states where they are read."""
        return (self.output,) if self.cells is None else (self.output, self.cells)

    @property
    def multiplications(self) -> int:
        """Multiplications by weights that are not zero; those by gates are none."""
        rows = [p.rows for direction in self.directions for p in direction.products]
        return self._times * sum(int(np.count_nonzero(r)) for r in rows)

    @property
    def _times(self) -> int:
        return self.inputs[0].shape[0]

    @property
    def _n(self) -> int:
        return self.output.shape[-1]

    @property
    def _numbers(self) -> GateArithmetic:
        return FLOATING if self.element is None else WHOLE

    def compute(self, *values: Array) -> Array:
        """Return the vectors."""
        return self.compute_all(*values)[0]

    def compute_all(self, *values: Array) -> tuple[Array, ...]:
        """Return the vectors, and the last states where they are read."""
        ran = [self._run(number, values) for number in range(len(self.directions))]
        made = [np.stack([vectors for vectors, _ in ran], axis=1)]
        if not self.keeps_all:
            last = [0 if direction.is_reverse else -1 for direction in self.directions]
            made = [np.stack([ran[number][0][at] for number, at in enumerate(last)])]
        if self.cells is not None:
            states = np.stack([state for _, state in ran])
            made.append(Finish(self.cell_element).apply(states, self.cells))
        return tuple(made)

    def _run(self, number: int, values: tuple[Array, ...]) -> tuple[Array, Array]:
        """Return the vectors of one direction by time, and its last state."""
        direction, finish = self.directions[number], Finish(self.element)
        parts = CellParts(
            self._numbers,
            direction.products,
            direction.bias,
            lambda sums: finish.apply(sums, self.output),
        )
        x = values[0].reshape(self._times, -1)
        state = direction.state.compute(values, number, self._n, None)
        h = direction.vector.compute(values, number, self._n, self.output)
        vectors = np.zeros((self._times, self._n), h.dtype)
        times = range(self._times)
        for t in reversed(times) if direction.is_reverse else times:
            h, state = self.cell.advance(parts, x[t], h, state)
            vectors[t] = h
        return vectors, state

    def code(self, names: Names) -> CCode:
        """Return one block a direction, and the functions that it calls."""
        numbers, vector = self._numbers, self.output
        functions = [numbers.functions[name] for name in self.cell.needs]
        for direction in self.directions:
            sources = (self.inputs[0], *[vector] * len(self.cell.recurrent_parts))
            functions += [p.function(x) for p, x in zip(direction.products, sources, strict=True)]
        if vector.grid is not None:
            if any(direction.state.step is not None for direction in self.directions):
                functions.insert(0, START_STATE)
            functions = [GATE_SUM, *self._finishes(), *functions]
        functions += [self._filled(text) for text in self.cell.texts]
        runs = [self._block(number, names) for number in range(len(self.directions))]
        tables = {
            f"{key}{number}": table
            for number, direction in enumerate(self.directions)
            for key, table in _direction_tables(direction).items()
        }
        n_h = self._n if vector.grid is None else -(-self._n // 4)
        scratch = (self.cell.n_sums + 1) * self._n + n_h
        call = "\n    ".join(runs)
        return CCode(call, tuple(functions), tables, scratch, shared=numbers.tables)

    def _finishes(self) -> list[str]:
        """Return the functions that make elements of the vectors and the last states."""
        pairs = [(self.output, self.element)]
        pairs += [(self.output, direction.vector.scale) for direction in self.directions]
        pairs += [] if self.cells is None else [(self.cells, self.cell_element)]
        return [integer_finish(value, scale) for value, scale in pairs if scale is not None]

    def _filled(self, text: str) -> str:
        """Return a C text of the cell with the types of this step."""
        for mark, what in (("ELEMENT_OF_SUM", "sum"), ("ELEMENT_OF_STATE", "state[j]")):
            made = finished(what, self.element, self.output, "factor, shift")
            text = text.replace(f"${mark}", made)
        parameters = "" if self.element is None else ", uint32_t factor, int shift"
        tag = self.output.tag + finish_tag(self.element)
        text = text.replace("$FINISH", parameters).replace("$tag", tag)
        text = text.replace("$T", self._numbers.tag).replace("$A", self._numbers.c_type)
        return text.replace("$H", self.output.c_type)

    def _block(self, number: int, names: Names) -> str:
        """Return the C block of one direction."""
        direction, n, sums = self.directions[number], self._n, names.scratch
        at = f"{self._times - 1} - t" if direction.is_reverse else "t"
        columns, width = self.inputs[0].shape[-1], len(self.directions) * n
        x = f"{names.inputs[0]} + ({at}) * {columns}"
        y = f"{names.output} + {number * n}" + (f" + ({at}) * {width}" if self.keeps_all else "")
        bias = names.table(f"bias{number}")

        def product(which: int, place: int, added: str) -> str:
            source = (self.inputs[0], x) if which == 0 else (self.output, "h")
            added = added.replace("bias", bias).replace("sums", sums)
            return direction.products[which].call(
                *source,
                added,
                f"{sums} + {place}" if place else sums,
                lambda key: names.table(f"p{which}_{key}{number}"),
            )

        factors = "" if self.element is None else f", {one_factor(self.element)}"
        after = f"{sums}, state, h, {y}, {n}{factors}"
        calls = self.cell.calls(product, n)
        filled = [self._filled(call.replace("$AFTER", after)) for call in calls]
        filled = [call.replace("$N", str(n)).replace("$FACTORS", factors) for call in filled]
        return _RUN.substitute(
            A=self._numbers.c_type,
            H=self.output.c_type,
            SUMS=sums,
            STATE_AT=self.cell.n_sums * n,
            H_AT=(self.cell.n_sums + 1) * n,
            N=n,
            TIMES=self._times,
            STATE=direction.state.text(names, number, n, "state", None),
            VECTOR=direction.vector.text(names, number, n, "vector", self.output),
            CALLS="\n            ".join(filled),
            CELLS=self._cells_text(names, number),
        )

    def _cells_text(self, names: Names, number: int) -> str:
        """Return the loop that writes the last states, or nothing."""
        if self.cells is None:
            return ""
        made, n = finished("state[j]", self.cell_element, self.cells), self._n
        loop = f"\n        for (int j = 0; j < {n}; j++)\n            "
        return f"{loop}{names.others[0]}[{number * n} + j] = {made};"


def _direction_tables(direction: Direction) -> dict[str, Array]:
    """Return the constants of one direction."""
    found = {"bias": direction.bias}
    for which, product in enumerate(direction.products):
        found |= {f"p{which}_{key}": table for key, table in product.tables.items()}
    for key, start in (("state", direction.state), ("vector", direction.vector)):
        if start.constants is not None:
            found[key] = start.constants
    return found
