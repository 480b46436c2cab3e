"""Traces a weight back to its stored constant, and undoes the steps between the two.

The steps are reversible: Transpose, Reshape and its kin, Cast. A :class:`Chain` takes a tensor from
the form in which it is stored to the one that its node reads, and back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import onnx

from onnx_lobs.arrays import Array
from onnx_lobs.graph.carried import carried_from
from onnx_lobs.graph.files.tensors import array_type
from onnx_lobs.graph.model import (
    DEFAULT_DOMAINS,
    RANDOM,
    Model,
    Scope,
    attributes,
    is_float,
    is_quantiser,
    outer_names,
)
from onnx_lobs.layers.new_shape import constant_integers, new_shape
from onnx_lobs.layers.refusal import Refusal, RefusalKind

REMEDY_QUANTISED = "prune the float model, then quantise it"
RESHAPES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")
PASSING = ("Identity", "Transpose", "Cast", *RESHAPES)


@dataclass(frozen=True)
class Permute:
    """Moves axes, as a Transpose does."""

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
    """Changes the shape and keeps the order of the elements."""

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
    """Casts between floating types; the way back leaves rounding to the end."""

    after: np.dtype[Any]

    def apply(self, x: Array) -> Array:
        """Return what the graph makes of `x`."""
        return x.astype(self.after)

    def invert(self, x: Array) -> Array:
        """Return `x`: rounding to the stored type is left to the end."""
        return x


@dataclass(frozen=True)
class Chain:
    """Holds steps in the order in which the graph takes them; none for a direct constant."""

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
    """Names the stored constant behind a value, and the chain that leads to the value."""

    scope: int
    name: str
    tensor: onnx.TensorProto
    chain: Chain
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Stop:
    """Says where the way back from a value ends without a stored constant, and why.

    Attributes
    ----------
    scope, name
        The value at which it ends.
    refusal
        QUANTISED: what makes the value quantises or dequantises. DYNAMIC: it is another node that
        is no step of a chain, or none (no maker). UNSUITED: it would be such a step with another
        argument or type.
    """

    scope: int
    name: str
    refusal: Refusal

    @property
    def may_be_computed(self) -> bool:
        """Whether a node makes the value that may be computed from constants."""
        kinds = RefusalKind.DYNAMIC, RefusalKind.UNSUITED
        return self.refusal.kind in kinds and self.refusal.maker != ""


def trace(model: Model, scope: Scope, name: str) -> Root | Stop:
    """Follow `name` back to a stored constant, or to where the way ends.

    Of several values at which it would end for what makes them, the last before the reader counts.
    """
    passed: list[tuple[Scope, str, onnx.NodeProto]] = []
    found = _origin(model, scope, name)
    while isinstance(found, tuple):  # chains of thousands of nodes exist
        passed.append(found)
        found = _origin(model, found[0], found[2].input[0])
    for home, made, node in reversed(passed):
        if isinstance(found, Stop) and not found.may_be_computed:
            break
        found = _passed_on(model, home, made, node, found)
    return found


def _origin(
    model: Model, scope: Scope, name: str
) -> Root | Stop | tuple[Scope, str, onnx.NodeProto]:
    """Return the constant of that name, or the node which hands one on under it, or the end."""
    while True:
        home = scope.find(name)
        if home is None:
            refusal = Refusal(RefusalKind.DYNAMIC, f"{name!r} is defined nowhere")
            return Stop(scope.index, name, refusal)
        tensor = model.constant(home, name)
        if tensor is not None:
            return Root(home.index, name, tensor, Chain(), tuple(tensor.dims))
        node = home.producers.get(name)
        if node is not None:
            is_step = node.op_type in PASSING and node.domain in DEFAULT_DOMAINS and node.input
            return (home, name, node) if is_step else Stop(home.index, name, _made(node))
        outer = carried_from(home, name)
        if outer is None or home.parent is None:
            refusal = Refusal(RefusalKind.DYNAMIC, "its weight is an input of the graph")
            return Stop(home.index, name, refusal)
        scope, name = home.parent, outer


def _passed_on(
    model: Model, home: Scope, name: str, node: onnx.NodeProto, found: Root | Stop
) -> Root | Stop:
    """Return what a node of :data:`PASSING` makes of a constant, or of the end of the way."""
    trouble = _trouble(model, home, node)
    if trouble is not None:
        return Stop(home.index, name, Refusal(RefusalKind.UNSUITED, trouble, node.op_type))
    if isinstance(found, Stop):
        return found
    step = _step(model, home, node, found)
    if isinstance(step, str):  # nor can it be computed
        return Stop(home.index, name, Refusal(RefusalKind.UNSUITED, step))
    return found if step is None else _after(found, step)


def _made(node: onnx.NodeProto) -> Refusal:
    """Return why what a node makes is no weight, if it is no step of a chain."""
    if node.op_type == "Constant" and node.domain in DEFAULT_DOMAINS:
        reason = "its weight is a Constant node without a dense tensor"
        return Refusal(RefusalKind.UNSUITED, reason, node.op_type)
    if is_quantiser(node):
        reason = f"its weight is quantised, made by {node.op_type}: {REMEDY_QUANTISED}"
        return Refusal(RefusalKind.QUANTISED, reason, node.op_type)
    reason = f"its weight is dynamic: made by {node.op_type}"
    return Refusal(RefusalKind.DYNAMIC, reason, node.op_type)


def _after(root: Root, step: Permute | Reshape | Convert) -> Root:
    """Return `root` with one more step."""
    shape = step.after if isinstance(step, Reshape) else root.shape
    if isinstance(step, Permute):
        shape = tuple(root.shape[axis] for axis in step.axes)
    return Root(root.scope, root.name, root.tensor, Chain((*root.chain.steps, step)), shape)


def is_computed(model: Model, scope: Scope, name: str, *, or_default: bool = False) -> bool:
    """Whether `name` is made from constants alone; see :func:`makers`.

    With `or_default` inputs of the graph count as constants that have a value of their own.
    """
    home = scope.find(name)
    known = model.computed_or_given if or_default else model.computed
    return home is None or (home.index, name) in known


def makers(model: Model, scope: Scope, name: str) -> list[onnx.NodeProto] | None:
    """Return the nodes that make `name` if they make it from constants alone, else None.

    Random numbers are not constant, nor is what operators of other domains make.
    """
    pending = [(scope, name)]
    seen: set[tuple[int, str]] = set()
    found: list[onnx.NodeProto] = []
    while pending:
        inner, name = pending.pop()
        home = inner.find(name)
        if home is None or (home.index, name) in seen:
            continue
        seen.add((home.index, name))
        if model.constant(home, name) is not None:
            continue
        node = home.producers.get(name)
        if node is None or node.op_type in RANDOM:
            return None
        if node.domain not in DEFAULT_DOMAINS and not is_quantiser(node):
            return None
        found.append(node)
        pending += [(home, source) for source in outer_names(node)]
    return found


def _trouble(model: Model, scope: Scope, node: onnx.NodeProto) -> str | None:
    """Return why a node of :data:`PASSING` is no reversible step, whatever it is given."""
    values = attributes(node)
    if node.op_type == "Cast":
        dtype = array_type(_cast_to(values))
        if dtype is None or is_float(dtype):
            return None
        return f"its weight is cast to {dtype.name}"
    has_default = node.op_type == "Squeeze" and len(node.input) < 2
    if node.op_type not in ("Reshape", "Squeeze", "Unsqueeze") or has_default:
        return None
    if constant_integers(model, scope, node, values) is None:
        return f"its weight passes through a {node.op_type} whose argument is not constant"
    return None


def _cast_to(values: dict[str, object]) -> int:
    return cast(int, values.get("to", onnx.TensorProto.UNDEFINED))


def _step(
    model: Model, scope: Scope, node: onnx.NodeProto, root: Root
) -> Permute | Reshape | Convert | str | None:
    """Return the step of a node that :func:`_trouble` has no objection to, or why it is none.

    Such a model is not valid, and yet passes onnx's checker.
    """
    values = attributes(node)
    if node.op_type == "Identity":
        return None
    if node.op_type == "Transpose":
        axes = cast("list[int]", values.get("perm", list(range(len(root.shape)))[::-1]))
        if sorted(axes) == list(range(len(root.shape))):
            return Permute(tuple(axes))
    elif node.op_type == "Cast":
        dtype = array_type(_cast_to(values))
        if dtype is not None:
            return Convert(dtype)
        return f"its weight is cast to the unknown element type {_cast_to(values)}"
    else:
        after = new_shape(model, scope, node, root.shape, values)
        if (
            after is not None
            and math.prod(after) == math.prod(root.shape)
            and min(after, default=0) >= 0
        ):
            return Reshape(root.shape, after)
    return (
        f"its weight, of shape {list(root.shape)}, passes through a {node.op_type} that does not "
        "fit it"
    )
