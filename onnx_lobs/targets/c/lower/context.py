"""Holds what the rules of all operators need: constants, shapes, grids, and the steps so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from onnx_lobs.arrays import Array
from onnx_lobs.errors import ModelError
from onnx_lobs.graph.model import attributes
from onnx_lobs.targets.c.grid import ByteGrid, grid_of
from onnx_lobs.targets.c.network import Network
from onnx_lobs.targets.c.program import Step, Value
from onnx_lobs.targets.c.ranges import Ranges


@dataclass(eq=False)
class Lowering:
    """A program while it is made.

    Parameters
    ----------
    network
        What is turned into steps.
    ranges
        Of every floating value; None makes a float32 program.
    optimise
        ``size`` or ``speed``.
    limits
        Lowest and highest value of what a fused Relu or Clip makes.
    grids, views, steps
        What was made so far.
    """

    network: Network
    ranges: Ranges | None
    optimise: str
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    grids: dict[str, ByteGrid] = field(default_factory=dict)
    views: dict[str, str] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)

    @property
    def is_integer(self) -> bool:
        """Whether values lie on 8-bit grids."""
        return self.ranges is not None

    def constant(self, node: onnx.NodeProto, index: int, what: str) -> Array:
        """Return a constant input of a node.

        Raises
        ------
        ModelError
            It is computed while the network runs.
        """
        name = node.input[index]
        if name not in self.network.constants:
            raise refusal(node, f"{what} {name!r} is no constant")
        return self.network.constants[name]

    def optional(self, node: onnx.NodeProto, index: int, what: str) -> Array | None:
        """Return a constant input that may be left out."""
        if len(node.input) <= index or not node.input[index]:
            return None
        return self.constant(node, index, what)

    def is_constant(self, name: str) -> bool:
        """Whether a value never changes."""
        return name in self.network.constants

    def is_read(self, name: str) -> bool:
        """Whether a node or the caller reads a value."""
        read = self.network.readers.get(name) or name in self.network.outputs
        return bool(name) and bool(read)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a value.

        Raises
        ------
        ModelError
            It is a constant, where a rule takes what is computed.
        """
        if name in self.network.constants:
            node = self.network.readers[name][0]
            raise refusal(node, f"its input {name!r} is constant")
        return self.network.shapes[name]

    def value(self, name: str) -> Value:
        """Return a value with its grid: that of the value it views, or of its own range."""
        return Value(name, self.shape(name), self.grid(name))

    def grid(self, name: str) -> ByteGrid | None:
        """Return the grid of a value; None in a float32 program."""
        if self.ranges is None:
            return None
        root = name
        while root in self.views:
            root = self.views[root]
        if root not in self.grids:
            if root not in self.ranges:
                raise ModelError(
                    f"the values of {root!r} are not float32, and only such get 8-bit grids; take "
                    "--values fp32, or cut the model behind them"
                )
            self.grids[root] = grid_of(root, *self.ranges[root])
        return self.grids[root]

    def share_grid(self, name: str, source: str) -> None:
        """Give a value the grid of another, whose elements it takes over as they are."""
        grid = self.grid(source)
        if grid is not None:
            self.grids[name] = grid

    def add(self, step: Step) -> None:
        """Append a step."""
        self.steps.append(step)


def refusal(node: onnx.NodeProto, reason: str) -> ModelError:
    """Return the error for a node that has no C code."""
    name = node.name or (node.output[0] if node.output else "")
    return ModelError(
        f"{node.op_type} {name!r} has no C code: {reason}; change the model, or deploy it with a "
        "runtime (--target onnxruntime)"
    )


def node_attributes(node: onnx.NodeProto, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of a node with their defaults."""
    return {**defaults, **attributes(node)}


def window_sizes(
    node: onnx.NodeProto,
    kernel: Sequence[int],
    size_in: Sequence[int],
    size_out: Sequence[int],
    *,
    is_transposed: bool = False,
) -> dict[str, list[int]]:
    """Return strides, dilations and front pads of a node, whatever way it pads.

    Raises
    ------
    ModelError
        More than two dimensions.
    """
    if len(kernel) > 2:
        raise refusal(node, f"{len(kernel)} dimensions; at most 2 are written")
    n = len(kernel)
    given = node_attributes(node, {"auto_pad": "NOTSET"})
    strides = list(given.get("strides", [1] * n))
    dilations = list(given.get("dilations", [1] * n))
    pads = list(given.get("pads", [0] * (2 * n)))[:n]
    if given["auto_pad"] in ("SAME_UPPER", "SAME_LOWER"):
        for i in range(n):
            reach = (kernel[i] - 1) * dilations[i] + 1
            slid, whole_size = size_out[i], size_in[i]
            if is_transposed:
                slid, whole_size = whole_size, slid
            whole = (slid - 1) * strides[i] + reach - whole_size
            whole = max(whole, 0)
            pads[i] = whole // 2 if given["auto_pad"] == "SAME_UPPER" else whole - whole // 2
    elif given["auto_pad"] == "VALID":
        pads = [0] * n
    return {"strides": strides, "dilations": dilations, "pads": pads}


def scalar(constant: Array) -> float:
    """Return the one number that a constant holds."""
    return float(np.asarray(constant).reshape(()))


def as_float(array: Array) -> Array:
    """Return an array in float64."""
    return np.asarray(array, np.float64)
