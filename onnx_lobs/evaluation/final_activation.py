"""Finds the values in front of a network's final Softmax or Sigmoid, by which it is judged.

A probability near 0 or 1 hardly moves whatever pruning does to the network, so neither an error
nor a comparison of two networks can be read from it. What goes into the last activation still
tells. A Softmax does not change when all scores of a row rise alike, so each row's mean is taken
off.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from onnx_lobs.arrays import Array, BoolArray, FloatArray
from onnx_lobs.evaluation.output_form import RESHAPES, OutputForm, form_behind, keeps_values
from onnx_lobs.graph.model import DEFAULT_DOMAINS, Model, attributes
from onnx_lobs.report.record import JudgedValue

SOFTMAXES = "Softmax", "LogSoftmax"
EACH_ALONE = 13  # opset from which a Softmax looks at one axis; before, at all from it on
RULED_OUT = 5000.0  # below the best score: put there to rule a class out, where
CLOSE = 500.0  # the scores of the other classes differ by less than this


@dataclass(frozen=True)
class Activation:
    """A Softmax, LogSoftmax or Sigmoid.

    Parameters
    ----------
    value
        What goes into it.
    op
        Which of the three it is.
    axis, is_flattened
        Where a softmax has its classes: on one axis, or on that and all behind it.
    """

    value: str
    op: str
    axis: int = -1
    is_flattened: bool = False

    def class_axes(self, n_axes: int) -> tuple[int, ...]:
        """Return the axes of the classes, of a value with `n_axes`; none for a Sigmoid."""
        if self.op not in SOFTMAXES:
            return ()
        axis = self.axis % n_axes
        return tuple(range(axis, n_axes)) if self.is_flattened else (axis,)


@dataclass(frozen=True)
class FinalActivation:
    """An output, the activation that it ends in, and its form behind that."""

    output: str
    activation: Activation
    form: OutputForm

    @property
    def value(self) -> str:
        """What goes into the activation."""
        return self.activation.value

    def judged(self, value: Array, shape: Sequence[int]) -> Array:
        """Return what the output is judged by, in the output's form.

        Parameters
        ----------
        value
            What goes into the activation. Not modified.
        shape
            The output's.
        """
        axes = self.activation.class_axes(value.ndim)
        return self.form.applied(centred(value, axes) if axes else value, shape)


def centred(scores: Array, axes: tuple[int, ...]) -> Array:
    """Return scores less their mean over the classes, in float32 at least.

    A class that is ruled out, by minus infinity or by a score that is far below all others, which
    lie close together, has 0 and no part in the mean. NaN and infinity make a row NaN.
    """
    wide = scores.astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinity less infinity
        is_out = _ruled_out(wide, axes)
        wide[is_out] = 0
        wide -= wide.sum(axes, keepdims=True) / (~is_out).sum(axes, keepdims=True)
    wide[is_out] = 0
    return wide.astype(np.float64 if scores.dtype == np.float64 else np.float32)


def _ruled_out(scores: FloatArray, axes: tuple[int, ...]) -> BoolArray:
    """Return which classes are ruled out.

    Scores that spread far by themselves, as those of a network that is sure of everything do, are
    scores all the same, and so are those behind a single one.
    """
    top = scores.max(axes, keepdims=True)
    is_far = scores < top - RULED_OUT
    spread = top - scores.min(axes, keepdims=True, initial=np.inf, where=~is_far)
    n_near = (~is_far).sum(axes, keepdims=True)
    is_rule = (n_near > 1) & (spread < CLOSE)
    found: BoolArray = (is_far & is_rule) | np.isneginf(scores)
    return found


def final_activations(model: Model) -> tuple[FinalActivation, ...]:
    """Return the outputs that end in a Softmax, LogSoftmax or Sigmoid, in the outputs' order.

    Changes of form may follow the activation: Identity, Cast to a floating type, Transpose, and
    those of RESHAPES, but not two of them with a Transpose in between. A Softmax may be written out
    as exponentials over their sum. Activations inside subgraphs and functions are not looked for.
    """
    found = (_final(model, output.name) for output in model.main.graph.output)
    return tuple(each for each in found if each is not None)


def common_finals(
    one: Model, other: Model
) -> tuple[tuple[FinalActivation, ...], tuple[FinalActivation, ...]]:
    """Return the final activations that outputs of the same name have alike, in both models."""
    found = final_activations(one), final_activations(other)
    kinds = [{(f.output, f.activation.op) for f in finals} for finals in found]
    alike = kinds[0] & kinds[1]
    first, second = (
        tuple(f for f in finals if (f.output, f.activation.op) in alike) for finals in found
    )
    return first, second


def judged_values(finals: Sequence[FinalActivation]) -> tuple[JudgedValue, ...]:
    """Return the records of final activations."""
    return tuple(JudgedValue(each.output, each.value, each.activation.op) for each in finals)


def _final(model: Model, output: str) -> FinalActivation | None:
    """Return the activation that one output ends in, or None."""
    behind: list[onnx.NodeProto] = []
    for node in _upwards(model, output):
        activation = _activation(model, node)
        if activation is not None:
            form = form_behind(behind[::-1])
            is_shown = form is not None and _can_be_shown(model, activation.value)
            return FinalActivation(output, activation, form) if form and is_shown else None
        if not keeps_values(node):
            return None
        behind.append(node)
    return None


def _can_be_shown(model: Model, value: str) -> bool:
    """Whether a value is made by a node or fed, and no constant."""
    is_made = value in model.main.producers or value in model.main.inputs
    return is_made and model.constant(model.main, value) is None


def _upwards(model: Model, name: str) -> Iterator[onnx.NodeProto]:
    """Yield the node of the main graph that makes a value, that which makes its input, and so on.

    Nodes of other domains end it.
    """
    while (node := model.main.producers.get(name)) is not None:
        if node.domain not in DEFAULT_DOMAINS:
            return
        yield node
        if not node.input:
            return
        name = node.input[0]


def _activation(model: Model, node: onnx.NodeProto) -> Activation | None:
    """Return the activation that a node is, or ends."""
    if node.op_type == "Sigmoid":
        return Activation(node.input[0], "Sigmoid")
    if node.op_type in SOFTMAXES:
        is_flattened = model.opset < EACH_ALONE
        axis = attributes(node).get("axis", 1 if is_flattened else -1)
        assert isinstance(axis, int)
        return Activation(node.input[0], node.op_type, axis, is_flattened)
    return _written_out(model, node) if node.op_type == "Div" else None


def _written_out(model: Model, node: onnx.NodeProto) -> Activation | None:
    """Return the Softmax that ends in this division of exponentials by their sum over an axis."""
    maker = model.main.producers.get(node.input[0])
    if maker is None or maker.op_type != "Exp":
        return None
    for above in _upwards(model, node.input[1]):
        if above.op_type == "ReduceSum":
            axes = _axes(model, above)
            is_sum = above.input[0] == node.input[0] and len(axes) == 1
            return Activation(maker.input[0], "Softmax", axes[0]) if is_sum else None
        if above.op_type not in (*RESHAPES, "Expand", "Identity"):
            return None
    return None


def _axes(model: Model, node: onnx.NodeProto) -> tuple[int, ...]:
    """Return the axes that a ReduceSum sums over; none where they are not written down."""
    axes = attributes(node).get("axes")
    if axes is None and len(node.input) > 1 and node.input[1]:
        tensor = model.constant(model.main, node.input[1])
        axes = None if tensor is None else model.value(tensor).reshape(-1).tolist()
    return tuple(int(axis) for axis in axes) if isinstance(axes, list) else ()
