"""What the layers' errors do to the outputs to first order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import onnx
from onnx import helper

from onnx_lobs.arrays import Array, Feeds
from onnx_lobs.evaluation.bound.pair import Pair, has_subgraphs
from onnx_lobs.graph.model import Model, is_float, outer_names
from onnx_lobs.graph.run.session import Session
from onnx_lobs.graph.writer import Writer

# Of each layer's error. A Softmax that is sure of one class hardly moves at first: with 0.1 a text
# recogniser's error is foreseen 2.1 times too low.
STEP = 0.3


def predict_linearly(
    dense: Model,
    pruned: Model,
    batches: Iterable[Feeds],
    *,
    provider: str,
    step: float = STEP,
    tick: Callable[[int], None] = lambda n: None,
) -> float | None:
    """Return the output error that first-order theory foresees.

    A layer's error is what its changed constants do to its outputs on the inputs that it has in
    the pruned network, where later layers make good what earlier ones did. A part t of it is added
    to the layer's outputs in the dense network, at all layers at once. The change of the network's
    outputs, divided by t, is the sum of all layers' errors times the derivatives of the outputs by
    them, and with t = 1 the true change.

    Parameters
    ----------
    dense, pruned
        Execution copies with the same nodes and initializers. Not modified.
    batches
        Inputs; a few samples will do.
    provider
        Full name of an execution provider.
    step
        The t of above, in (0, 1].
    tick
        Told of every batch.

    Returns
    -------
    The sum of squared changes over the sum of squares of all outputs of a float type, to be
    compared with :func:`onnx_lobs.evaluation.loss.output_loss` on the same batches. None where no
    output has a norm, or a changed constant is read inside a branch.

    Raises
    ------
    ModelError, InferenceError
        When the models differ in more than constants, or onnxruntime cannot load or run one.

    Notes
    -----
    Cost: one forward pass of the pruned network and two of the dense one, whose changed layers run
    twice. Memory: both networks, and the changed layers' inputs and outputs for one batch.
    """
    pair = Pair(dense, pruned)
    layers = _changed_nodes(pair)
    if layers is None:
        return None
    shower = _show_layers(pair, layers, provider)
    mover: _Mover | None = None
    change = energy = 0.0
    for feeds in batches:
        values = shower.run(feeds)
        if mover is None:
            mover = _Mover(dense, layers, values, provider)
        before, after = (mover.run(feeds, values, part) for part in (0.0, step))
        for name, value in before.items():
            # as pair_up has it: what is infinite in either network, a mask for one, is left out
            known = np.isfinite(value) & np.isfinite(after[name])
            energy += float(np.square(value[known]).sum())
            change += float(np.square(after[name][known] - value[known]).sum())
        tick(1)
    predicted = change / (step * step * energy) if energy else math.inf
    return predicted if math.isfinite(predicted) else None


def _changed_nodes(pair: Pair) -> list[onnx.NodeProto] | None:
    """Return the nodes that read changed constants; None where one is inside a branch."""
    found = []
    for node in pair.dense.main.graph.node:
        if pair.perturbed.intersection(node.output) and pair.changed & outer_names(node):
            if has_subgraphs(node):
                return None
            found.append(node)
    return found


def _show_layers(pair: Pair, layers: Iterable[onnx.NodeProto], provider: str) -> Session:
    """Return a session of the pruned network that shows what its layers read and make."""
    proto = onnx.ModelProto()
    proto.CopyFrom(pair.pruned.proto)
    inputs = {value.name for value in proto.graph.input}
    shown = {value.name for value in proto.graph.output}
    for layer in layers:
        for name in (*layer.input, *layer.output):
            if name and name not in pair.constants | shown | inputs:
                proto.graph.output.append(onnx.ValueInfoProto(name=name))
                shown.add(name)
    return Session(proto, folder=pair.pruned.folder, provider=provider)


class _Mover:
    """The dense network, to whose layers' outputs a part of their errors is added."""

    def __init__(
        self, dense: Model, layers: Iterable[onnx.NodeProto], values: Feeds, provider: str
    ) -> None:
        proto = onnx.ModelProto()
        proto.CopyFrom(dense.proto)
        self._outputs = {value.name for value in proto.graph.output}
        self._fed: dict[str, str] = {}
        self._parts: dict[np.dtype[Any], str] = {}
        changed = {layer.output[0]: layer for layer in layers}
        nodes = list(proto.graph.node)
        del proto.graph.node[:]
        self._graph, self._writer = proto.graph, Writer(proto.graph, dense.opset)
        for node in nodes:
            if node.output and node.output[0] in changed:
                self._move(node, values)
            else:
                self._graph.node.append(node)
        self._session = Session(proto, folder=dense.folder, provider=provider)

    def run(self, feeds: Feeds, values: Feeds, part: float) -> dict[str, Array]:
        """Return the outputs of a float type, in float64, with a part of all errors added."""
        pruned = {name: values[own] for own, name in self._fed.items()}
        parts = {name: np.array(part, kind) for kind, name in self._parts.items()}
        outputs = self._session.run({**feeds, **pruned, **parts})
        return {
            name: value.astype(np.float64)
            for name, value in outputs.items()
            if name in self._outputs and isinstance(value, np.ndarray) and is_float(value.dtype)
        }

    def _move(self, node: onnx.NodeProto, values: Feeds) -> None:
        """Write a layer, the same on the pruned network's inputs, and the sum of both."""
        own, still = onnx.NodeProto(), onnx.NodeProto()
        for copy in (own, still):
            copy.CopyFrom(node)
            copy.name = ""
        own.input[:] = [self._pruned(name, values) for name in node.input]
        moved = [name for name in node.output if name in values and is_float(values[name].dtype)]
        fresh = iter(self._writer.names(2 * len(node.output)))
        for place, name in enumerate(node.output):
            own.output[place] = next(fresh) if name else ""
            still.output[place] = next(fresh) if name in moved else name
        self._graph.node.extend([own, still])
        for place, name in enumerate(node.output):
            if name in moved:
                error = self._writer.node("Sub", [self._pruned(name, values), own.output[place]])
                part = self._writer.node("Mul", [error, self._part(values[name].dtype)])
                total = helper.make_node("Add", [still.output[place], part], [name])
                self._graph.node.append(total)

    def _pruned(self, name: str, values: Feeds) -> str:
        """Return the graph's input for a value of the pruned network; constants as they are."""
        if name not in values:
            return name
        if name not in self._fed:
            self._fed[name] = self._input(values[name].dtype)
        return self._fed[name]

    def _part(self, kind: np.dtype[Any]) -> str:
        if kind not in self._parts:
            self._parts[kind] = self._input(kind)
        return self._parts[kind]

    def _input(self, kind: np.dtype[Any]) -> str:
        (name,) = self._writer.names(1)
        elem_type = helper.np_dtype_to_tensor_dtype(kind)
        self._graph.input.append(helper.make_tensor_value_info(name, elem_type, None))
        return name
