"""Moves elements: Transpose, Slice, Pad, Concat, Split, Expand and Resize to nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.targets.c.program import CCode, Names, Step, Value
from onnx_lobs.targets.c.steps.strides import merge, nested_loops
from onnx_lobs.targets.c.text import float_text


@dataclass(frozen=True, eq=False)
class Part:
    """One source of a move: where its elements come from, and where they go.

    Parameters
    ----------
    sizes
        Of the axes walked through.
    reads, writes
        Strides of the source and of the output along them, in elements; a stride of 0 repeats.
    read_from, write_from
        Places of the first elements.
    table
        (256,) elements of the output by the byte of the source; None: as they are.
    """

    sizes: tuple[int, ...]
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    read_from: int = 0
    write_from: int = 0
    table: Array | None = None

    def places(self) -> tuple[Array, Array]:
        """Return the places that are read and written, in order."""
        index = np.indices(self.sizes).reshape(len(self.sizes), -1)
        reads = self.read_from + np.asarray(self.reads, np.int64) @ index
        return reads, self.write_from + np.asarray(self.writes, np.int64) @ index


@dataclass(frozen=True, eq=False)
class Move(Step):
    """y[writes] = x[reads] for each part, `fill` elsewhere.

    Parameters
    ----------
    inputs, output
        One input a part.
    parts
        In the order of the inputs.
    fill
        Element of the output where nothing is written; None: everything is.
    """

    inputs: tuple[Value, ...]
    output: Value
    parts: tuple[Part, ...]
    fill: float | None = None

    @property
    def multiplications(self) -> int:
        """None."""
        return 0

    def compute(self, *values: Array) -> Array:
        """Return the elements in their new places."""
        dtype = np.float32 if self.output.grid is None else self.output.grid.dtype
        made = np.full(self.output.size, 0 if self.fill is None else self.fill, dtype)
        for part, value in zip(self.parts, values, strict=True):
            reads, writes = part.places()
            found = value.reshape(-1)[reads]
            made[writes] = found if part.table is None else part.table[found.view(np.uint8)]
        return made

    def code(self, names: Names) -> CCode:
        """Return nested loops."""
        calls, tables = [], {}
        if self.fill is not None:
            integer = self.output.grid is not None
            value = str(int(self.fill)) if integer else float_text(self.fill)
            size = self.output.size
            calls.append(f"for (int i = 0; i < {size}; i++)\n        {names.output}[i] = {value};")
        for number, (part, source) in enumerate(zip(self.parts, names.inputs, strict=True)):
            read = f"{source}[{{1}}]"
            if part.table is not None:
                tables[f"table{number}"] = part.table
                read = f"{names.table(f'table{number}')}[(uint8_t){read}]"
            axes = merge(list(zip(part.sizes, part.writes, part.reads, strict=True)))
            offsets = [str(part.write_from), str(part.read_from)]
            calls.append(nested_loops(axes, f"{names.output}[{{0}}] = {read};", offsets))
        return CCode("\n    ".join(calls), (), tables)
