"""Finds the tensors of a model that are stored anew, and puts the nodes that restore them.

Weights are known by name, in whatever graph they are: a name that two branches of an If share is
stored anew in both, which changes no value.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from onnx_lobs.graph.files.walk import iter_graphs
from onnx_lobs.graph.model import DEFAULT_DOMAINS

INITIALIZERS_APART = 4  # IR version from which initializers need not be inputs too
FRAME = 4  # bytes around a message
RESTORES = "onnx_lobs restores "  # begins the name of the node that makes a weight


@dataclass
class Restoring:
    """What takes the place of a tensor: the constants that hold it, and nodes that restore it."""

    constants: list[TensorProto] = field(default_factory=list)
    nodes: list[NodeProto] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes in the model's file, but for the few that frame each message."""
        sizes = [one.ByteSize() for one in self.constants] + [one.ByteSize() for one in self.nodes]
        return int(sum(sizes)) + FRAME * len(sizes)


class FreshNames:
    """Gives names that nothing in a model has, in whatever graph."""

    def __init__(self, proto: ModelProto) -> None:
        self._taken: set[str] = set()
        self._prefixes = itertools.count()
        for graph in iter_graphs(proto):
            self._taken.update(_names(graph))

    def fresh(self, wanted: str) -> str:
        """Return `wanted`, or something like it, which is then taken."""
        name, count = wanted, 0
        while name in self._taken:
            count += 1
            name = f"{wanted}_{count}"
        self._taken.add(name)
        return name

    def prefix(self) -> str:
        """Return how no other name begins: short, since it begins many."""
        for number in self._prefixes:
            wanted = f"u{number}."
            if not any(name.startswith(wanted) for name in self._taken):
                return wanted
        raise AssertionError("numbers do not end")


def _names(graph: GraphProto) -> Iterator[str]:
    for value in (*graph.input, *graph.output, *graph.initializer):
        yield value.name
    for sparse in graph.sparse_initializer:
        yield sparse.values.name
    for node in graph.node:
        yield node.name
        yield from node.output


def lift_constants(proto: ModelProto, names: Collection[str]) -> None:
    """Make initializers of the Constant nodes that hold weights, in place, under their names.

    Nothing that the model computes changes. Models whose initializers have to be inputs too stay.
    """
    if proto.ir_version < INITIALIZERS_APART:
        return
    for graph in iter_graphs(proto):
        for position in reversed(range(len(graph.node))):
            node = graph.node[position]
            if node.op_type != "Constant" or node.domain not in DEFAULT_DOMAINS:
                continue
            if node.output[0] not in names or node.attribute[0].name != "value":
                continue
            tensor = graph.initializer.add()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = node.output[0]
            del graph.node[position]


def find_stored(
    proto: ModelProto, names: Collection[str]
) -> Iterator[tuple[GraphProto, TensorProto]]:
    """Yield the initializers of these names, in all graphs, that are no inputs too."""
    for graph in iter_graphs(proto):
        inputs = {value.name for value in graph.input}
        for tensor in graph.initializer:
            if tensor.name in names and tensor.name not in inputs:
                yield graph, tensor


def put_in_place(graph: GraphProto, restored: dict[str, Restoring]) -> None:
    """Replace initializers of a graph, by name, by what restores them, in front of its nodes."""
    if not restored:
        return
    for position in reversed(range(len(graph.initializer))):
        if graph.initializer[position].name in restored:
            del graph.initializer[position]
    added = [node for one in restored.values() for node in one.nodes]
    insert_first(graph, added)
    for one in restored.values():
        graph.initializer.extend(one.constants)


def insert_first(graph: GraphProto, nodes: Sequence[NodeProto]) -> None:
    """Put nodes in front of all others."""
    for place, node in enumerate(nodes):
        graph.node.insert(place, node)
