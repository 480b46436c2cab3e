"""A ModelProto with an index: which scope defines a name, who makes it, who reads it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from onnx_lobs.arrays import Array
from onnx_lobs.graph.files.external import patch_tensor, shared_places, stored_bytes
from onnx_lobs.graph.files.location import external_ref, is_external
from onnx_lobs.graph.files.tensors import read_tensor, write_tensor

DEFAULT_DOMAINS = ("", "ai.onnx")
RANDOM = (
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
    "RandomUniformLike",
)  # fmt: skip

TAP_PREFIX = "__shown_"
"""begins the name of a node that only shows values: its reading changes nothing"""


@dataclass(eq=False)
class Scope:
    """One graph (the main one or a subgraph) and the names that it defines.

    ``owner`` is the node of ``parent`` that holds this graph; both None for the main graph.
    ``index`` counts scopes in depth-first order and is stable for one model structure.
    """

    graph: onnx.GraphProto
    index: int
    parent: Scope | None = None
    owner: onnx.NodeProto | None = None
    initializers: dict[str, onnx.TensorProto] = field(default_factory=dict)
    producers: dict[str, onnx.NodeProto] = field(default_factory=dict)
    inputs: set[str] = field(default_factory=set)
    outputs: set[str] = field(default_factory=set)
    readers: dict[str, list[tuple[Scope, onnx.NodeProto]]] = field(default_factory=dict)

    def find(self, name: str) -> Scope | None:
        """Return the innermost scope, from here outward, that defines `name`."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.initializers or name in scope.producers or name in scope.inputs:
                return scope
            scope = scope.parent
        return None

    def is_output(self, name: str) -> bool:
        """Whether `name` is an output of this scope's graph."""
        return name in self.outputs


class Model:
    """An indexed model; the index is made once and follows the structure it was made for.

    Parameters
    ----------
    proto
        Kept, not copied. Values of tensors may change; nodes must not be added or removed
        while the index is in use.
    folder
        Where external data lie, or None.
    is_private
        Whether the files in `folder` are a copy that may be changed.
    """

    def __init__(
        self, proto: onnx.ModelProto, folder: Path | None, *, is_private: bool = False
    ) -> None:
        self.proto = proto
        self.folder = folder
        self.is_private = is_private
        self._shared = shared_places(proto) if is_private else frozenset()
        self.scopes: list[Scope] = []
        self.functions = {(f.domain, f.name): f for f in proto.functions}
        self._shown: list[tuple[onnx.GraphProto, Scope, onnx.NodeProto]] = []
        self._add_scope(proto.graph, None, None)
        for scope in self.scopes:
            self._index_readers(scope)
        # behind all others, whose numbers are those of a model without such nodes
        while self._shown:
            self._add_scope(*self._shown.pop(0))

    def copied(self) -> Model:
        """Return a copy whose tensors change by themselves; external data are not copied."""
        proto = onnx.ModelProto()
        proto.CopyFrom(self.proto)
        return Model(proto, self.folder)

    @property
    def main(self) -> Scope:
        """The scope of the main graph."""
        return self.scopes[0]

    @property
    def opset(self) -> int:
        """Version of the default operator set; 0 in a model that imports none."""
        return opset_of(self.proto)

    def value(self, tensor: onnx.TensorProto) -> Array:
        """Return a tensor's array, read only, from the model or its external data."""
        return read_tensor(tensor, self.folder)

    def write(self, tensor: onnx.TensorProto, array: Array) -> None:
        """Put new values into a tensor, in place.

        They go into its external data file where that is private and no other tensor shares
        the bytes; else into the model, see :func:`onnx_lobs.graph.files.tensors.write_tensor`.
        """
        if self.is_private and is_external(tensor) and external_ref(tensor) not in self._shared:
            patch_tensor(tensor, self.folder, array)
        else:
            write_tensor(tensor, array)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all initializers of all graphs."""
        return sum(stored_bytes(t) for scope in self.scopes for t in scope.initializers.values())

    def constant(self, scope: Scope, name: str) -> onnx.TensorProto | None:
        """Return the tensor behind `name` if it is an initializer or a Constant node's value.

        So is an initializer that is also a graph input: from IR version 4 on it is what a user
        gets who feeds nothing else there, and below 4 every initializer is listed so.
        """
        home = scope.find(name)
        if home is None:
            return None
        if name in home.initializers:
            return home.initializers[name]
        node = home.producers.get(name)
        if node is None or node.op_type != "Constant" or node.domain not in DEFAULT_DOMAINS:
            return None
        return next((a.t for a in node.attribute if a.name == "value"), None)

    def is_default(self, scope: Scope, name: str) -> bool:
        """Whether `name` is the default of an input, which a user may feed: from IR 4 on."""
        home = scope.find(name)
        is_both = home is not None and name in home.initializers and name in home.inputs
        return is_both and self.proto.ir_version >= 4

    @cached_property
    def computed(self) -> frozenset[tuple[int, str]]:
        """Values (scope index, name) that are made from constants alone.

        Random numbers are not constant, nor is what operators of other domains make.
        """
        return self._computed(or_given=False)

    @cached_property
    def computed_or_given(self) -> frozenset[tuple[int, str]]:
        """The same where inputs count as constants that have a value of their own."""
        return self._computed(or_given=True)

    def _computed(self, *, or_given: bool) -> frozenset[tuple[int, str]]:
        """Walk the nodes once, in the order in which they run; linear in the size of the graph."""
        by_graph = {id(scope.graph): scope for scope in self.scopes}
        found = {
            (scope.index, name)
            for scope in self.scopes
            for name in scope.initializers
            if or_given or self.constant(scope, name) is not None
        }

        def walk(scope: Scope) -> None:
            for node in scope.graph.node:
                for graph in subgraphs(node):
                    walk(by_graph[id(graph)])
                is_known = node.domain in DEFAULT_DOMAINS or is_quantiser(node)
                homes = ((scope.find(name), name) for name in outer_names(node))
                if (
                    node.op_type not in RANDOM
                    and is_known
                    and all(home is None or (home.index, name) in found for home, name in homes)
                ):
                    found.update((scope.index, name) for name in node.output)

        walk(self.main)
        return frozenset(found)

    def _add_scope(
        self, graph: onnx.GraphProto, parent: Scope | None, owner: onnx.NodeProto | None
    ) -> None:
        scope = Scope(graph, len(self.scopes), parent, owner)
        scope.initializers = {t.name: t for t in graph.initializer}
        scope.inputs = {i.name for i in graph.input}
        scope.outputs = {o.name for o in graph.output}
        self.scopes.append(scope)
        for node in graph.node:
            for name in node.output:
                scope.producers[name] = node
            for subgraph in subgraphs(node):
                if node.name.startswith(TAP_PREFIX):
                    self._shown.append((subgraph, scope, node))
                else:
                    self._add_scope(subgraph, scope, node)

    def _index_readers(self, scope: Scope) -> None:
        for node in scope.graph.node:
            if node.name.startswith(TAP_PREFIX):
                continue
            for name in node.input:
                home = scope.find(name)
                if home is not None:
                    home.readers.setdefault(name, []).append((scope, node))


def opset_of(proto: onnx.ModelProto) -> int:
    """Return the version of the default operator set; 0 in a model that imports none."""
    versions = [o.version for o in proto.opset_import if o.domain in DEFAULT_DOMAINS]
    return int(versions[0]) if versions else 0


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Yield the graphs in a node's attributes."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == onnx.AttributeProto.GRAPHS:
            yield from attribute.graphs


def outer_names(node: onnx.NodeProto) -> set[str]:
    """Return every name that a node reads from its own graph or further out.

    Its inputs, and what its subgraphs read without defining it themselves.
    """
    names = {name for name in node.input if name}
    for graph in subgraphs(node):
        names |= free_names(graph)
    return names


def free_names(graph: onnx.GraphProto) -> set[str]:
    """Return the names that a subgraph reads but does not define."""
    defined = {t.name for t in graph.initializer} | {i.name for i in graph.input}
    read: set[str] = set()
    for node in graph.node:
        read |= outer_names(node) - defined
        defined.update(node.output)
    read |= {o.name for o in graph.output} - defined
    return read


def first_output(node: onnx.NodeProto) -> str:
    """Return the first output that a node has: a recurrent one may lack all but the last."""
    return str(next(filter(None, node.output)))


def attributes(node: onnx.NodeProto) -> dict[str, object]:
    """Return a node's attributes as Python values; strings are decoded, if need be with escapes."""
    values: dict[str, object] = {}
    for attribute in node.attribute:
        value = onnx.helper.get_attribute_value(attribute)
        values[attribute.name] = _text(value) if isinstance(value, bytes) else value
    return values


def is_quantiser(node: onnx.NodeProto) -> bool:
    """Whether a node quantises or dequantises, in whatever domain."""
    return "quantize" in node.op_type.lower()


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def is_float(dtype: np.dtype[Any]) -> bool:
    """Whether `dtype` is a floating type of 16 bits or more, bfloat16 included."""
    return dtype.name in ("float16", "bfloat16", "float32", "float64")
