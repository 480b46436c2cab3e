"""Finds the nodes whose constants pruning changed, and runs both networks so that errors show.

A node's error is what its changed constants do to its output on the inputs that it has in the
pruned network: f(x'; c') - f(x'; c), c the dense constants, c' and x' the pruned network's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from onnx import helper

from onnx_lobs.arrays import Array, Feeds
from onnx_lobs.evaluation.bound.gains import SIZED
from onnx_lobs.graph.model import Model, is_float, outer_names, subgraphs
from onnx_lobs.graph.run.session import Session
from onnx_lobs.graph.run.stages import constant_makers
from onnx_lobs.graph.writer import Writer

Values = dict[str, Array]
AFFINE = ("Add", "Sub", "Mul", "Div", "BatchNormalization")


class Changes:
    """Where two execution copies with the same nodes differ; they may not change meanwhile.

    ``layers`` holds the layer of every node whose error can be told, by the node's output;
    ``hidden`` the outputs of others that differ, inside subgraphs or in several outputs; ``makers``
    the values that nodes compute from constants alone, ``changed`` the constants that differ.

    The argument `layers` gives the layer of a node by the node's output, or by the name of a
    constant that it reads. Affine steps behind it that change, a bias for one, belong to it. Other
    nodes are named themselves.
    """

    def __init__(self, dense: Model, pruned: Model, layers: Mapping[str, str]) -> None:
        self.dense, self.pruned = dense, pruned
        self.makers = constant_makers(dense).keys()
        self.changed, *inside = (_changed(dense, pruned, i) for i in range(len(dense.scopes)))
        self.layers: dict[str, str] = {}
        self.hidden: set[str] = set()
        constants, near = dense.main.initializers.keys() | self.makers, dict(layers)
        for node in dense.main.graph.node:
            first, has_graphs = node.output[0], any(True for _ in subgraphs(node))
            if first in self.makers:
                self.changed |= {*node.output} if self.changed & {*node.input} else set()
                continue
            layer = next((near[name] for name in (first, *node.input) if name in near), None)
            if layer and node.op_type in AFFINE and len({*node.input} - constants) == 1:
                near[first] = layer
            if self.changed & outer_names(node) or (has_graphs and any(inside)):
                if has_graphs or len(node.output) > 1:
                    self.hidden |= {*node.output}
                else:
                    self.layers[first] = layer or node.name or f"{node.op_type}_{first}"


def _changed(dense: Model, pruned: Model, scope: int) -> set[str]:
    """Return the names of a graph's initializers that differ."""
    before, after = dense.scopes[scope].initializers, pruned.scopes[scope].initializers
    values = ((n, dense.value(tensor), pruned.value(after[n])) for n, tensor in before.items())
    return {name for name, one, other in values if one.tobytes() != other.tobytes()}


class PrunedRun:
    """The pruned network, which also shows the errors."""

    def __init__(self, changes: Changes, provider: str) -> None:
        proto, home = changes.pruned.copied().proto, changes.dense.main
        self._outputs = [value.name for value in proto.graph.output]
        writer, self._errors = Writer(proto.graph, changes.pruned.opset), dict[str, str]()
        names = {
            name: writer.constant(changes.dense.value(home.initializers[name]))
            for name in sorted(changes.changed & home.initializers.keys())
        }
        for node, first in ((node, node.output[0]) for node in home.graph.node):
            if first in changes.layers or first in changes.changed:
                copy = proto.graph.node.add()
                copy.CopyFrom(node)
                copy.name = ""
                copy.input[:] = [name and names.get(name, name) for name in node.input]
                copy.output[:] = writer.names(len(node.output))
                if first in changes.layers:
                    self._errors[first] = writer.node("Sub", [first, copy.output[0]])
                else:
                    names |= zip(node.output, copy.output, strict=True)
        proto.graph.output.extend(onnx.ValueInfoProto(name=n) for n in self._errors.values())
        self._session = Session(proto, folder=changes.pruned.folder, provider=provider)

    def run(self, feeds: Feeds) -> tuple[Values, Values]:
        """Return the network's floating outputs, and the errors by the nodes' outputs."""
        values = self._session.run(feeds)
        errors = {node: values[name] for node, name in self._errors.items()}
        return _floating(values, self._outputs), errors


class DenseRun:
    """The dense network, to whose nodes' outputs errors of the types of `errors` can be added."""

    def __init__(self, changes: Changes, errors: Values, provider: str) -> None:
        proto = changes.dense.copied().proto
        graph, nodes = proto.graph, list(proto.graph.node)
        writer, self._outputs = Writer(graph, changes.dense.opset), [v.name for v in graph.output]
        self._added = dict(zip(errors, writer.names(len(errors)), strict=True))
        self._nothing = {self._added[n]: np.zeros((), e.dtype) for n, e in errors.items()}
        for name, zero in self._nothing.items():
            kind = helper.np_dtype_to_tensor_dtype(zero.dtype)
            graph.input.append(helper.make_tensor_value_info(name, kind, None))
        del graph.node[:]
        for node in nodes:
            graph.node.append(node)
            name = node.output[0]
            if name in self._added:
                (graph.node[-1].output[0],) = still = writer.names(1)
                graph.node.append(helper.make_node("Add", [*still, self._added[name]], [name]))
        moving = [node for node in nodes if node.output[0] not in changes.makers]
        sized = {n for node in moving if node.op_type in SIZED for n in (*node.input, *node.output)}
        made = changes.makers & {name for node in moving for name in node.input}
        stored = changes.dense.main.initializers.keys()
        self._sizes = {n: writer.node("Shape", [n]) for n in sorted(sized - stored - {""})}
        self._made = {n: writer.node("Identity", [n]) for n in sorted(made)}
        shown = [*self._sizes.values(), *self._made.values()]
        graph.output.extend(onnx.ValueInfoProto(name=name) for name in shown)
        self._session = Session(proto, folder=changes.dense.folder, provider=provider)

    def run(self, feeds: Feeds, errors: Values) -> tuple[Values, Values, Values]:
        """Return the floating outputs with errors added, shapes of values, computed constants."""
        added = self._nothing | {self._added[name]: error for name, error in errors.items()}
        values = self._session.run({**feeds, **added})
        sizes, made = ({n: values[k] for n, k in x.items()} for x in (self._sizes, self._made))
        return _floating(values, self._outputs), sizes, made


def _floating(values: Mapping[str, Array], names: Iterable[str]) -> Values:
    chosen = ((name, values[name]) for name in names)
    return {n: v for n, v in chosen if isinstance(v, np.ndarray) and is_float(v.dtype)}
