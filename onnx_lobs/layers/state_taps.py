"""Shows what the weights of recurrent nodes are multiplied by, in an execution copy.

An LSTM, GRU or RNN multiplies its weights W by its input and R by the state before each step, which
no value of the graph holds. In front of each such node, a twin of it gives all states; they are
moved by a step, behind the first one. In this way R is seen on the states that the pruned W leaves.
Steps behind the end of a sequence are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from onnx_lobs.graph.model import (
    DEFAULT_DOMAINS,
    TAP_PREFIX,
    Model,
    Scope,
    attributes,
    first_output,
)
from onnx_lobs.graph.writer import Writer
from onnx_lobs.layers.chain import Root, trace
from onnx_lobs.layers.misfit import recurrent_misfit

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
BIAS, LENGTHS, FIRST_STATE = 3, 4, 5  # places of inputs
LEAST_OPSET = 11  # Range, Where and Compress are there
ALL = 2**31 - 1  # the end of an axis in Slice


def is_recurrent(node: onnx.NodeProto) -> bool:
    """Whether a node is an LSTM, GRU or RNN."""
    return node.op_type in GATES and node.domain in DEFAULT_DOMAINS


def states_name(node: onnx.NodeProto) -> str:
    """Return the value that shows what R is multiplied by: (matrices, observations, columns)."""
    return f"{first_output(node)}__states"


def inputs_name(node: onnx.NodeProto) -> str:
    """Return the value that shows what W is multiplied by, (..., columns)."""
    return f"{first_output(node)}__inputs" if has_input(node, LENGTHS) else str(node.input[0])


def twin_name(node: onnx.NodeProto) -> str:
    """Return the output of a node's twin."""
    return f"{first_output(node)}__twin"


def has_input(node: onnx.NodeProto, place: int) -> bool:
    """Whether a node has the optional input at this place."""
    return len(node.input) > place and bool(node.input[place])


def resets_before(node: onnx.NodeProto) -> bool:
    """Whether a GRU multiplies the state by its reset gate before R, not behind it."""
    return node.op_type == "GRU" and not attributes(node).get("linear_before_reset", 0)


def inputs_trouble(model: Model, node: onnx.NodeProto) -> str | None:
    """Return why the inputs of a recurrent node cannot be shown, or None."""
    if attributes(node).get("layout", 0):
        return "its layout 1 is one that onnxruntime does not run"
    if has_input(node, LENGTHS) and model.opset < LEAST_OPSET:
        return f"its sequences end before others do, and opset {model.opset} is below {LEAST_OPSET}"
    return None


def states_trouble(model: Model, node: onnx.NodeProto) -> str | None:
    """Return why the states of a recurrent node cannot be shown, or None."""
    values = attributes(node)
    if trouble := inputs_trouble(model, node):
        return trouble
    if model.opset < LEAST_OPSET:
        return f"its states cannot be shown: opset {model.opset} is below {LEAST_OPSET}"
    if not resets_before(node):
        return None
    named = values.get("activations", [])
    assert isinstance(named, list)
    gates = {name.decode("utf-8", "replace").lower() for name in named[::2]}
    if "clip" in values or not gates <= {"sigmoid"}:
        return "its reset gate is no plain sigmoid, and what the gate lets through cannot be shown"
    return None


def add_state_taps(proto: onnx.ModelProto, folder: Path | None) -> None:
    """Add the nodes that show inputs and states, in place, in front of their recurrent nodes."""
    model = Model(proto, folder)
    for scope in reversed(model.scopes):  # inner graphs first: the outer nodes are copied
        made = {
            index: _tap_nodes(model, scope, node)
            for index, node in enumerate(scope.graph.node)
            if is_recurrent(node)
        }
        if not any(made.values()):
            continue
        nodes = []
        for index, node in enumerate(scope.graph.node):
            nodes += [*made.get(index, ()), onnx.NodeProto.FromString(node.SerializeToString())]
        del scope.graph.node[:]
        scope.graph.node.extend(nodes)


def _tap_nodes(model: Model, scope: Scope, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Return the nodes that show what the constant weights of a recurrent node read."""
    roots = [trace(model, scope, name) for name in node.input[1:3]]
    if not any(isinstance(root, Root) for root in roots) or inputs_trouble(model, node):
        return []
    gates = GATES[node.op_type]
    if any(isinstance(root, Root) and recurrent_misfit(root.shape, gates) for root in roots):
        return []
    # the writer appends to a copy without nodes, which has the names of the graph
    draft = onnx.GraphProto()
    writer = Writer(draft, model.opset, prefix=f"{TAP_PREFIX}{first_output(node)}_")
    taps = _Taps(writer, node)
    if has_input(node, LENGTHS):  # before the twin, which reads W
        writer.alias(taps.inputs(), inputs_name(node))
    if isinstance(roots[1], Root) and not states_trouble(model, node):
        dtype = roots[1].chain.dtype(_dtype(roots[1].tensor))
        taps.show_states(roots[1].shape[-1], dtype)
    scope.graph.initializer.extend(draft.initializer)
    return list(draft.node)


def _dtype(tensor: onnx.TensorProto) -> np.dtype[np.generic]:
    return np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))


def _tell_apart(twin: onnx.NodeProto) -> None:
    """Let a twin clip where nothing is changed by it.

    onnxruntime runs two equal nodes as one, and fails where the one that it keeps lacks an output.
    """
    named = next((a for a in twin.attribute if a.name == "clip"), None)
    if named is None:
        largest = float(np.finfo(np.float32).max)
        twin.attribute.append(helper.make_attribute("clip", largest))
    else:
        named.f = float(np.nextafter(np.float32(named.f), np.float32(np.inf)))


class _Taps:
    """Writes what shows the inputs and states of one recurrent node.

    Its helper values are (steps, batch, hidden) of one direction, or observations of them.
    """

    def __init__(self, writer: Writer, node: onnx.NodeProto) -> None:
        self.writer, self.node = writer, node
        both = {"bidirectional": [False, True], "reverse": [True]}
        self.is_reverse = both.get(str(attributes(node).get("direction", "")), [False])
        self._mask: str | None = None

    def show_states(self, hidden: int, dtype: np.dtype[np.generic]) -> None:
        """Write all states, and those before each step."""
        twin = onnx.NodeProto.FromString(self.node.SerializeToString())
        twin.name = f"{self.writer.prefix}twin"
        del twin.output[:]
        twin.output.append(twin_name(self.node))
        if not self.node.output[0]:
            _tell_apart(twin)
        self.writer.graph.node.append(twin)
        found = [
            self.writer.unsqueeze(value, 0)
            for direction in range(len(self.is_reverse))
            for value in self._read(direction, hidden, dtype)
        ]
        shown = self.writer.node("Concat", found, axis=0)
        self.writer.alias(shown, states_name(self.node))

    def inputs(self) -> str:
        """Write the inputs of the steps that count, (observations, columns)."""
        shape = self.writer.node("Shape", [self.node.input[0]])
        last = self._slice(shape, 2, ALL)
        wanted = self.writer.node("Concat", [self.writer.integers(-1), last], axis=0)
        return self._counted(self.writer.node("Reshape", [self.node.input[0], wanted]))

    def _read(self, direction: int, hidden: int, dtype: np.dtype[np.generic]) -> Iterator[str]:
        """Yield what each matrix of R reads in one direction, (observations, hidden)."""
        before = self.writer.reshape(self._before(direction, dtype), (-1, hidden))
        before = self._counted(before)
        yield before
        if resets_before(self.node):  # a matrix a gate: of update, of reset, of the candidate
            yield before
            gate = self._reset_gate(direction, hidden, before)
            yield self.writer.node("Mul", [gate, before])

    def _before(self, direction: int, dtype: np.dtype[np.generic]) -> str:
        """Write the state before each step, (steps, batch, hidden)."""
        writer = self.writer
        states = self._of(twin_name(self.node), direction, axis=1)
        if has_input(self.node, FIRST_STATE):
            first = writer.unsqueeze(self._of(self.node.input[FIRST_STATE], direction), 0)
        else:
            shape = writer.node("Shape", [self._slice(states, 0, 1)])
            first = writer.node("Expand", [writer.constant(np.zeros((), dtype)), shape])
        if not self.is_reverse[direction]:
            return writer.node("Concat", [first, self._slice(states, 0, -1)], axis=0)
        moved = writer.node("Concat", [self._slice(states, 1, ALL), first], axis=0)
        if not has_input(self.node, LENGTHS):
            return moved
        last = writer.node("Sub", [self._lengths(), writer.integers(1)])
        is_first = writer.unsqueeze(writer.node("Equal", [self._steps(), last]), 2)
        return writer.node("Where", [is_first, first, moved])

    def _reset_gate(self, direction: int, hidden: int, before: str) -> str:
        """Write a GRU's reset gate, (observations, hidden)."""
        writer = self.writer
        sums = []
        for value, weight in zip((self.inputs(), before), self.node.input[1:3], strict=True):
            own = self._slice(self._of(weight, direction), hidden, 2 * hidden)
            turned = writer.node("Transpose", [own], perm=[1, 0])
            sums.append(writer.node("MatMul", [value, turned]))
        if has_input(self.node, BIAS):
            bias = self._of(self.node.input[BIAS], direction)
            sums += [self._slice(bias, n * hidden, (n + 1) * hidden) for n in (1, 4)]
        total = sums[0]
        for value in sums[1:]:
            total = writer.node("Add", [total, value])
        return writer.node("Sigmoid", [total])

    def _counted(self, observations: str) -> str:
        """Keep what belongs to steps within their sequences."""
        if not has_input(self.node, LENGTHS):
            return observations
        if self._mask is None:
            is_counted = self.writer.node("Less", [self._steps(), self._lengths()])
            self._mask = self.writer.reshape(is_counted, (-1,))
        return self.writer.node("Compress", [observations, self._mask], axis=0)

    def _steps(self) -> str:
        """Write the numbers of the steps, (steps, 1)."""
        writer = self.writer
        shape = writer.node("Shape", [self.node.input[0]])
        count = writer.node("Gather", [shape, writer.scalar(0)], axis=0)
        steps = writer.node("Range", [writer.scalar(0), count, writer.scalar(1)])
        return writer.unsqueeze(steps, 1)

    def _lengths(self) -> str:
        """Write the lengths of the sequences, (1, batch)."""
        lengths = self.node.input[LENGTHS]
        wide = self.writer.node("Cast", [lengths], to=onnx.TensorProto.INT64)
        return self.writer.unsqueeze(wide, 0)

    def _of(self, value: str, direction: int, axis: int = 0) -> str:
        return self.writer.node("Gather", [value, self.writer.scalar(direction)], axis=axis)

    def _slice(self, value: str, begin: int, end: int) -> str:
        """Write a part of the first axis."""
        bounds = [self.writer.integers(n) for n in (begin, end, 0)]
        return self.writer.node("Slice", [value, *bounds])
