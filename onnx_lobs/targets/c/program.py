"""Describes a network as a list of steps, each of which a C function and NumPy can do alike.

A program works on 8-bit integers on grids, or on float32. Each step knows what it computes
(:meth:`Step.compute`, in the same whole numbers as the C code) and the C code that computes it
(:meth:`Step.code`). One file in ``steps/`` holds one family of them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.targets.c.grid import ByteGrid


@dataclass(frozen=True)
class Value:
    """A tensor that steps make and read; `grid` is None in a float32 program."""

    name: str
    shape: tuple[int, ...]
    grid: ByteGrid | None

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def c_type(self) -> str:
        """The C type of its elements."""
        return "float" if self.grid is None else f"{self.grid.dtype.name}_t"

    @property
    def tag(self) -> str:
        """What names of C functions call the type: ``u8``, ``i8`` or ``f32``."""
        return "f32" if self.grid is None else ("i8" if self.grid.is_signed else "u8")

    @property
    def n_bytes(self) -> int:
        """Bytes of the tensor on the device."""
        return self.size * (4 if self.grid is None else 1)


@dataclass(frozen=True)
class Names:
    """The C expressions with which a step calls its function; `others` are its further outputs."""

    inputs: tuple[str, ...]
    output: str
    table: Callable[[str], str]
    scratch: str = "sums"
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class CCode:
    """The C code of one step.

    Parameters
    ----------
    functions
        Texts of the functions that it calls, in order; equal texts of steps are written once.
    tables
        Constants by suffix, one-dimensional.
    call
        Statements.
    scratch
        Sums of 32 bits (int32 or float) that it needs beside its values.
    windows
        Initialisers of constant windows by suffix.
    shared
        Constants by their whole names, in front of the functions; steps share those of one name.
    """

    call: str
    functions: tuple[str, ...] = ()
    tables: Mapping[str, Array] = field(default_factory=dict)
    scratch: int = 0
    windows: Mapping[str, str] = field(default_factory=dict)
    shared: Mapping[str, Array] = field(default_factory=dict)


class Step(ABC):
    """One step of a program."""

    inputs: tuple[Value, ...]
    output: Value

    @property
    def outputs(self) -> tuple[Value, ...]:
        """All values that it makes, `output` first."""
        return (self.output,)

    @property
    @abstractmethod
    def multiplications(self) -> int:
        """Multiplications by weights that are not zero, of one inference."""

    @abstractmethod
    def compute(self, *values: Array) -> Array:
        """Return what the C code computes, element for element.

        Parameters
        ----------
        values
            Of the inputs, in their types (8-bit integers or float32) and shapes.
        """

    def compute_all(self, *values: Array) -> tuple[Array, ...]:
        """Return all outputs, as :meth:`compute` returns the first."""
        return (self.compute(*values),)

    @abstractmethod
    def code(self, names: Names) -> CCode:
        """Return the C code."""


@dataclass(frozen=True)
class Program:
    """Steps in the order in which they run.

    Parameters
    ----------
    inputs, outputs
        Values that the caller hands over and gets; each output is made by a step.
    steps
        In order.
    views
        Names of values that are others in another shape, by the name of the value whose
        elements they share.
    """

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    steps: tuple[Step, ...]
    views: Mapping[str, str]

    @property
    def multiplications(self) -> int:
        """Multiplications by weights that are not zero, of one inference."""
        return sum(step.multiplications for step in self.steps)

    def compute(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Return the outputs by name, in the types of the program.

        Parameters
        ----------
        feeds
            Values of the inputs by name: 8-bit integers on their grids, or float32.
        """
        made = {value.name: np.asarray(feeds[value.name]) for value in self.inputs}
        for step in self.steps:
            arrays = [made[self.root(v.name)].reshape(v.shape) for v in step.inputs]
            for value, array in zip(step.outputs, step.compute_all(*arrays), strict=True):
                made[value.name] = array.reshape(value.shape)
        return {v.name: made[self.root(v.name)].reshape(v.shape) for v in self.outputs}

    def root(self, name: str) -> str:
        """Return the value whose elements a name shares: itself where it is no view."""
        while name in self.views:
            name = self.views[name]
        return name
