"""Reversible steps (Transpose, Reshape, Cast ...) between a stored constant and its reader."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import onnx

from onnx_lobs.arrays import Array
from onnx_lobs.graph.model import DEFAULT_DOMAINS, Model, Scope, attributes, is_float
from onnx_lobs.layers.refusal import Refusal, RefusalKind

RESHAPES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")
PASSING = ("Identity", "Transpose", "Cast", *RESHAPES)


@dataclass(frozen=True)
class Permute:
    """A Transpose."""

    axes: tuple[int, ...]

    def apply(self, x: Array) -> Array:
        """Return what the graph makes of `x`."""
        moved: Array = x.transpose(self.axes)
        return moved

    def invert(self, x: Array) -> Array:
        """Return the array of which :meth:`apply` makes `x`."""
        moved: Array = x.transpose(np.argsort(self.axes))
        return moved


@dataclass(frozen=True)
class Reshape:
    """A change of shape that keeps the order of the elements."""

    before: tuple[int, ...]
    after: tuple[int, ...]

    def apply(self, x: Array) -> Array:
        """Return what the graph makes of `x`."""
        return x.reshape(self.after)

    def invert(self, x: Array) -> Array:
        """Return the array of which :meth:`apply` makes `x`."""
        return x.reshape(self.before)


@dataclass(frozen=True)
class Convert:
    """A Cast between floating types; inverted without rounding, which is left to the end."""

    after: np.dtype[Any]

    def apply(self, x: Array) -> Array:
        """Return what the graph makes of `x`."""
        return x.astype(self.after)

    def invert(self, x: Array) -> Array:
        """Return `x`: rounding to the stored type is left to the end."""
        return x


@dataclass(frozen=True)
class Chain:
    """Steps in the order in which the graph takes them; empty for a direct constant."""

    steps: tuple[Permute | Reshape | Convert, ...] = ()

    def apply(self, stored: Array) -> Array:
        """Return the tensor that the reader sees."""
        for step in self.steps:
            stored = step.apply(stored)
        return stored

    def invert(self, seen: Array) -> Array:
        """Return the tensor to store so that the reader sees `seen`."""
        for step in reversed(self.steps):
            seen = step.invert(seen)
        return seen

    def move(self, numbers: Array) -> Array:
        """Return `numbers` (one per stored element) where the reader sees those elements."""
        for step in self.steps:
            if not isinstance(step, Convert):
                numbers = step.apply(numbers)
        return numbers

    def dtype(self, stored: np.dtype[Any]) -> np.dtype[Any]:
        """Return the type that the reader sees of a tensor of type `stored`."""
        for step in self.steps:
            if isinstance(step, Convert):
                stored = step.after
        return stored


@dataclass(frozen=True)
class Root:
    """The stored constant behind a name, and the chain that leads to the name."""

    scope: int
    name: str
    tensor: onnx.TensorProto
    chain: Chain
    shape: tuple[int, ...]


def trace(model: Model, scope: Scope, name: str) -> Root | Refusal:
    """Follow `name` back to a stored constant.

    Returns
    -------
    Root or Refusal
        The constant, or why there is none (a dynamic value, a computed one).
    """
    home = scope.find(name)
    if home is None:
        return Refusal(RefusalKind.DYNAMIC, f"{name!r} is defined nowhere")
    tensor = model.constant(home, name)
    if tensor is not None:
        return Root(home.index, name, tensor, Chain(), tuple(tensor.dims))
    node = home.producers.get(name)
    if node is None:
        return Refusal(RefusalKind.DYNAMIC, "its weight is an input of the graph")
    if node.op_type == "Constant" and node.domain in DEFAULT_DOMAINS:
        reason = "its weight is a Constant node without a dense tensor"
        return Refusal(RefusalKind.UNSUITED, reason)
    if node.op_type not in PASSING or node.domain not in DEFAULT_DOMAINS:
        is_quantised = "quantize" in node.op_type.lower()
        kind = RefusalKind.QUANTISED if is_quantised else RefusalKind.DYNAMIC
        word = "quantised" if is_quantised else "dynamic"
        return Refusal(kind, f"its weight is {word}: made by {node.op_type}", node.op_type)
    root = trace(model, home, node.input[0])
    if isinstance(root, Refusal):
        return root
    step = _step(model, home, node, root)
    if isinstance(step, str):
        return Refusal(RefusalKind.UNSUITED, step)
    if step is None:
        return root
    after = step.after if isinstance(step, Reshape) else root.shape
    if isinstance(step, Permute):
        after = tuple(root.shape[a] for a in step.axes)
    return Root(root.scope, root.name, root.tensor, Chain((*root.chain.steps, step)), after)


def is_computed(model: Model, scope: Scope, name: str, *, or_default: bool = False) -> bool:
    """Whether `name` is made from constants alone, by whatever nodes.

    With `or_default` inputs of the graph count as constants that have a value of their own.
    """
    pending = [(scope, name)]
    seen: set[tuple[int, str]] = set()
    while pending:
        inner, name = pending.pop()
        home = inner.find(name)
        if home is None or (home.index, name) in seen:
            continue
        seen.add((home.index, name))
        if model.constant(home, name) is not None or (or_default and name in home.initializers):
            continue
        node = home.producers.get(name)
        if node is None or not (node.input or node.op_type == "Constant"):
            return False  # an input of the graph, or random numbers
        pending += [(home, source) for source in node.input if source]
    return True


def _step(
    model: Model, scope: Scope, node: onnx.NodeProto, root: Root
) -> Permute | Reshape | Convert | str | None:
    values = attributes(node)
    if node.op_type == "Identity":
        return None
    if node.op_type == "Transpose":
        axes = cast("list[int]", values.get("perm", list(range(len(root.shape)))[::-1]))
        return Permute(tuple(axes))
    if node.op_type == "Cast":
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(cast(int, values["to"])))
        return Convert(dtype) if is_float(dtype) else f"its weight is cast to {dtype.name}"
    after = _new_shape(model, scope, node, root.shape, values)
    return after if isinstance(after, str) else Reshape(root.shape, after)


def _new_shape(
    model: Model,
    scope: Scope,
    node: onnx.NodeProto,
    shape: tuple[int, ...],
    values: dict[str, object],
) -> tuple[int, ...] | str:
    if node.op_type == "Flatten":
        axis = cast(int, values.get("axis", 1))
        axis = axis + len(shape) if axis < 0 else axis
        return math.prod(shape[:axis]), math.prod(shape[axis:])
    numbers = _integers(model, scope, node, values)
    if numbers is None and node.op_type == "Squeeze" and len(node.input) < 2:
        return tuple(size for size in shape if size != 1)
    if numbers is None:
        return f"its weight passes through a {node.op_type} whose argument is not constant"
    if node.op_type == "Squeeze":
        dropped = {axis % len(shape) for axis in numbers}
        return tuple(size for i, size in enumerate(shape) if i not in dropped)
    if node.op_type == "Unsqueeze":
        return np.expand_dims(np.empty(shape, np.bool_), tuple(numbers)).shape
    if not values.get("allowzero", 0):
        numbers = [shape[i] if n == 0 else n for i, n in enumerate(numbers)]
    known = math.prod(n for n in numbers if n != -1)
    return tuple(math.prod(shape) // max(known, 1) if n == -1 else n for n in numbers)


def _integers(
    model: Model, scope: Scope, node: onnx.NodeProto, values: dict[str, object]
) -> list[int] | None:
    """Return the shape or axes argument of `node`: an attribute in old opsets, else an input."""
    for key in ("shape", "axes"):
        if key in values:
            return [int(n) for n in cast("list[int]", values[key])]
    if len(node.input) < 2 or not node.input[1]:
        return None
    tensor = model.constant(scope, node.input[1])
    if tensor is not None:
        return [int(n) for n in model.value(tensor).ravel()]
    home = scope.find(node.input[1])
    maker = None if home is None else home.producers.get(node.input[1])
    if maker is None or maker.op_type != "Constant" or maker.domain not in DEFAULT_DOMAINS:
        return None
    written = attributes(maker)
    if "value_int" in written:
        return [cast(int, written["value_int"])]
    if "value_ints" in written:
        return [int(n) for n in cast("list[int]", written["value_ints"])]
    return None
