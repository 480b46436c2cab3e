"""Adds, subtracts and multiplies two tensors, or a tensor and constants, with broadcasting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import Array, IntArray
from onnx_lobs.targets.c.grid import ByteGrid, Factors
from onnx_lobs.targets.c.program import CCode, Names, Step, Value
from onnx_lobs.targets.c.steps.finish import finished, integer_finish
from onnx_lobs.targets.c.steps.strides import broadcast_strides, merge, nested_loops, strides_of

SUM_SHIFT = 20  # bits behind the point in sums of two grids: products stay below 2^31


@dataclass(frozen=True, eq=False)
class Sum(Step):
    """y = round((first * a + second * b) / 2^20) on a grid; in float32 a and b are 1 or -1.

    Parameters
    ----------
    inputs, output
        Shapes that broadcast to the output's.
    weights
        a and b: whole numbers, or 1.0 and -1.0.
    """

    inputs: tuple[Value, ...]
    output: Value
    weights: tuple[float, float]

    @property
    def multiplications(self) -> int:
        """None by weights."""
        return 0

    def compute(self, *values: Array) -> Array:
        """Return the sums."""
        grid = self.output.grid
        if grid is None:
            a, b = (np.float32(w) for w in self.weights)
            return np.asarray(values[0] * a + values[1] * b, np.float32)
        a, b = (int(w) for w in self.weights)
        return _rounded(values[0].astype(np.int64) * a + values[1].astype(np.int64) * b, grid)

    def code(self, names: Names) -> CCode:
        """Return nested loops."""
        first, second = f"{names.inputs[0]}[{{1}}]", f"{names.inputs[1]}[{{2}}]"
        if self.output.grid is None:
            sign = "+" if self.weights[1] > 0 else "-"
            lead = "" if self.weights[0] > 0 else "-"
            return _loops(self, names, f"{lead}{first} {sign} {second}", ())
        a, b = (int(w) for w in self.weights)
        wide = f"(int64_t){first} * {a} + (int64_t){second} * {b}"
        one = integer_finish(self.output)
        return _loops(self, names, f"finish_{self.output.tag}({wide}, 1, {SUM_SHIFT})", (one,))


@dataclass(frozen=True, eq=False)
class Product(Step):
    """y = first * second, scaled onto the output's grid.

    Parameters
    ----------
    inputs, output
        Shapes that broadcast to the output's.
    factors
        One; None in float32.
    """

    inputs: tuple[Value, ...]
    output: Value
    factors: Factors | None

    @property
    def multiplications(self) -> int:
        """None by weights."""
        return 0

    def compute(self, *values: Array) -> Array:
        """Return the products."""
        if self.factors is None or self.output.grid is None:
            return np.asarray(values[0] * values[1], np.float32)
        wide = values[0].astype(np.int64) * values[1].astype(np.int64)
        return self.factors.apply(wide, self.output.grid)

    def code(self, names: Names) -> CCode:
        """Return nested loops."""
        first, second = f"{names.inputs[0]}[{{1}}]", f"{names.inputs[1]}[{{2}}]"
        if self.factors is None:
            return _loops(self, names, f"{first} * {second}", ())
        product = finished(f"{first} * {second}", self.factors, self.output)
        return _loops(self, names, product, (integer_finish(self.output, self.factors),))


@dataclass(frozen=True, eq=False)
class ScaleShift(Step):
    """y = (x * a + b) / 2^20 on the output's grid, or x * a + b, with constants a and b.

    Parameters
    ----------
    inputs, output
        The input broadcasts to the output's shape.
    scale, shift
        Constants that broadcast to the output's shape; whole numbers (int32), or float32.
    """

    inputs: tuple[Value, ...]
    output: Value
    scale: Array
    shift: Array

    @property
    def multiplications(self) -> int:
        """One for each element."""
        return self.output.size

    def compute(self, *values: Array) -> Array:
        """Return the scaled and shifted elements."""
        grid = self.output.grid
        if grid is None:
            return np.asarray(values[0] * self.scale + self.shift, np.float32)
        return _rounded(values[0].astype(np.int64) * self.scale + self.shift, grid)

    def code(self, names: Names) -> CCode:
        """Return nested loops."""
        shape = self.output.shape
        reads = [broadcast_strides(self.inputs[0].shape, shape)]
        reads += [broadcast_strides(c.shape, shape) for c in (self.scale, self.shift)]
        a, b = names.table("scale"), names.table("offset")
        affine = f"{names.inputs[0]}[{{1}}] * {a}[{{2}}] + {b}[{{3}}]"
        tables = {"scale": self.scale.reshape(-1), "offset": self.shift.reshape(-1)}
        if self.output.grid is None:
            return CCode(_call(names, shape, reads, affine), (), tables)
        affine = f"finish_{self.output.tag}((int64_t){affine}, 1, {SUM_SHIFT})"
        one = integer_finish(self.output)
        return CCode(_call(names, shape, reads, affine), (one,), tables)


def _rounded(wide: IntArray, grid: ByteGrid) -> Array:
    """Return sums / 2^20, rounded (a half goes up), on a grid."""
    scaled = (wide + (1 << (SUM_SHIFT - 1))) >> SUM_SHIFT
    return np.asarray(np.clip(scaled, grid.lowest, grid.highest), grid.dtype)


def _loops(step: Sum | Product, names: Names, expression: str, functions: tuple[str, ...]) -> CCode:
    shape = step.output.shape
    reads = [broadcast_strides(value.shape, shape) for value in step.inputs]
    return CCode(_call(names, shape, reads, expression), functions)


def _call(
    names: Names, shape: tuple[int, ...], reads: list[tuple[int, ...]], expression: str
) -> str:
    """Return loops over the output; the expression numbers what is read from 1."""
    axes = merge(list(zip(shape, strides_of(shape), *reads, strict=True)))
    body = f"{names.output}[{{0}}] = {expression};"
    return nested_loops(axes, body, ["0"] * (1 + len(reads)))
