"""What a rule sees of one place in the two networks, and the figures that it may ask for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import onnx

from onnx_lobs.arrays import Array
from onnx_lobs.evaluation.bound.pair import Pair, Unit
from onnx_lobs.graph.model import attributes
from onnx_lobs.graph.writer import Writer

Figures = Mapping[str, Array]
"""what the twin network showed for one batch"""
Step = Callable[[Figures, Sequence[float]], float]
"""from the figures and the errors of the inputs to the error of the output"""


@dataclass(frozen=True)
class BoundSite:
    """One unit in the network that runs both models on the same inputs.

    Parameters
    ----------
    pair, unit
        The two models, and the nodes at this place.
    node
        The node that the rule is for: the unit's first.
    shapes
        Of every value, dense or pruned, by its name in the dense model.
    names
        From a name in the pruned model to its name in the twin, where it differs.
    write
        Appends nodes to the twin.
    """

    pair: Pair
    unit: Unit
    node: onnx.NodeProto
    shapes: Mapping[str, tuple[int, ...]]
    names: Mapping[str, str]
    write: Writer

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the node's first output."""
        return self.shapes[self.node.output[0]]

    def input_shape(self, position: int) -> tuple[int, ...]:
        """Return the shape of an input."""
        return self.shapes[self.node.input[position]]

    def moves(self, position: int) -> bool:
        """Whether an input is there and may differ between the networks."""
        return self.has(position) and self.node.input[position] in self.pair.perturbed

    def has(self, position: int) -> bool:
        """Whether an input is given."""
        return position < len(self.node.input) and self.node.input[position] != ""

    def constant(self, position: int) -> Array | None:
        """Return an input of the pruned model that is a constant, else None."""
        if not self.has(position) or self.node.input[position] not in self.pair.constants:
            return None
        return self.pair.value(self.node.input[position])

    def attribute(self, name: str, default: Any) -> Any:
        """Return an attribute of the node."""
        return attributes(self.node).get(name, default)

    def integers(self, name: str, default: Sequence[int]) -> tuple[int, ...]:
        """Return an attribute that is a list of integers."""
        return tuple(cast("Sequence[int]", self.attribute(name, default)))

    def pruned(self, position: int) -> str:
        """Return the twin's name of an input of the pruned network."""
        name = self.node.input[position]
        return self.names.get(name, name)

    def dense(self, position: int) -> str:
        """Return the twin's name of an input of the dense network; a constant's is the pruned."""
        name = self.node.input[position]
        return self.names.get(name, name) if name in self.pair.constants else name

    def both(self, position: int) -> tuple[str, str]:
        """Return the twin's names of an input, of the dense network and of the pruned."""
        return self.dense(position), self.pruned(position)

    def wide(self, name: str) -> str:
        """Return a value in float32, so that sums of half precision do not overflow."""
        return self.write.node("Cast", [name], to=onnx.TensorProto.FLOAT)

    def make(self, op: str, *inputs: str) -> str:
        """Append a node and return its output."""
        return self.write.node(op, list(inputs))

    def show(self, name: str) -> str:
        """Have the twin show a value in float32; return the key of the figure."""
        self.write.show(name, onnx.TensorProto.FLOAT, None)
        return name

    def largest(self, wide: str) -> str:
        """Show the largest absolute element of a float32 value."""
        return self.show(self.write.reduce("ReduceMax", self.make("Abs", wide)))

    def smallest(self, wide: str) -> str:
        """Show the smallest element of a float32 value."""
        return self.show(self.write.reduce("ReduceMin", wide))

    def spread(self, wide: str, shape: Sequence[int], source: Sequence[int]) -> str:
        """Show how far a product with `wide` can stretch a value of shape `source`.

        That is the largest, over the elements of the source, of the root of the sum of the
        squares of all factors (in `wide`, of the given shape) that the element meets.
        """
        rank = max(len(shape), len(source))
        stretched = (1,) * (rank - len(source)) + tuple(source)
        axes = [
            axis
            for axis, size in enumerate(shape)
            if size > 1 and stretched[rank - len(shape) + axis] == 1
        ]
        value = self.write.reduce("ReduceL2", wide, *axes) if axes else wide
        return self.largest(value)

    def repeats(self, position: int) -> float:
        """Return how often broadcasting repeats an element of an input in the output."""
        return math.prod(self.shape) / max(math.prod(self.input_shape(position)), 1)


def number(figures: Figures, key: str) -> float:
    """Return a figure that is one number."""
    return float(figures[key].reshape(-1)[0])


def total(*gains: float) -> Step:
    """Return the step whose error is at most the sum of the inputs' errors times their gains.

    An error of an input that has no gain makes it infinite.
    """

    def step(figures: Figures, errors: Sequence[float]) -> float:
        if any(errors[len(gains) :]):
            return math.inf
        pairs = zip(gains, errors, strict=False)
        return sum(gain * error for gain, error in pairs if error)

    return step


def capped(step: Step, most: float) -> Step:
    """Return a step whose error is at most `most` in any case."""
    return lambda figures, errors: min(step(figures, errors), most)
