"""Where two models of one structure differ: constants, values, and the nodes between them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import onnx

from onnx_lobs.arrays import Array
from onnx_lobs.errors import ModelError
from onnx_lobs.graph.model import DEFAULT_DOMAINS, Model, outer_names, subgraphs
from onnx_lobs.graph.run.session import Session
from onnx_lobs.graph.run.stages import constant_makers

FORGETFUL = ("Shape", "Size")
"""operators whose output depends on the shape of what they read, and on nothing else"""
LOOSE = ("Compress", "ConstantOfShape", "NonMaxSuppression", "NonZero", "OneHot", "Range", "Unique")
"""operators whose output's shape depends on the values that they read"""
AFFINE = ("Add", "Sub", "Mul", "Div", "BatchNormalization")
PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class Unit:
    """Nodes whose joint error is measured: one, or a product and the affine steps behind it.

    ``source`` is the position of the operand of a product that is no constant; None where the
    first node is no product of one value and constants.
    """

    nodes: tuple[onnx.NodeProto, ...]
    source: int | None = None

    @property
    def label(self) -> str:
        """The first node's name, or operator and output where it has none."""
        node = self.nodes[0]
        return str(node.name) or f"{node.op_type}_{first_output(node)}"

    @property
    def output(self) -> str:
        """The first output of the last node that has a name."""
        return first_output(self.nodes[-1])


class Pair:
    """Two execution copies with the same nodes, of which some constants differ.

    Parameters
    ----------
    dense, pruned
        Not modified; their values must not change while this object is in use.

    Raises
    ------
    ModelError
        When the models differ in more than the values of constants.
    """

    def __init__(self, dense: Model, pruned: Model) -> None:
        _check_same_nodes(dense, pruned)
        self.dense, self.pruned = dense, pruned
        self.makers = constant_makers(dense)
        self.constants = frozenset(dense.main.initializers) | frozenset(self.makers)
        self.norms: dict[tuple[str, bytes], float] = {}
        """norms of products that were computed, by their unit's output and the channels' factors"""
        self._values: dict[str, Array] = {}

    @cached_property
    def changed(self) -> frozenset[str]:
        """Names of the constants that differ, computed ones included."""
        names = {
            name
            for name, tensor in self.dense.main.initializers.items()
            if not _is_same(self.dense.value(tensor), self._pruned_tensor(name))
        }
        for node in self.dense.main.graph.node:
            if node.output and node.output[0] in self.makers and names.intersection(node.input):
                names.update(node.output)
        return frozenset(names)

    @cached_property
    def perturbed(self) -> frozenset[str]:
        """Names of the values, not constant, that may differ."""
        found: set[str] = set()
        loose: set[str] = set()  # whose shapes may differ
        for node in self.dense.main.graph.node:
            if node.output and node.output[0] in self.makers:
                continue
            read, made = outer_names(node), {name for name in node.output if name}
            is_loose = bool(loose & read)
            if node.op_type in FORGETFUL and not is_loose:
                continue
            if read & (found | self.changed) or self._holds_changes(node):
                found |= made
                if is_loose or node.op_type in LOOSE or has_subgraphs(node):
                    loose |= made
        return frozenset(found)

    def units(self) -> Iterable[Unit]:
        """Yield the nodes that differ or carry a difference, in order, in units."""
        pending: dict[str, Unit] = {}
        for node in self.dense.main.graph.node:
            if not self.perturbed.intersection(node.output):
                continue
            before = next((pending.pop(name) for name in node.input if name in pending), None)
            unit = Unit((node,), self._source(node))
            if before is not None:
                unit = Unit((*before.nodes, node), before.source)
            if unit.source is not None and self._goes_on(node):
                pending[unit.output] = unit
            else:
                yield unit

    def value(self, name: str) -> Array:
        """Return a constant of the pruned model, computed ones included."""
        if name in self.pruned.main.initializers:
            return self._pruned_tensor(name)
        if name not in self._values:
            self._values[name] = _compute(self.pruned, self.makers, name)
        return self._values[name]

    def _pruned_tensor(self, name: str) -> Array:
        return self.pruned.value(self.pruned.main.initializers[name])

    def _holds_changes(self, node: onnx.NodeProto) -> bool:
        """Whether a tensor inside a node's subgraphs differs."""
        inner = [s for s in self.dense.scopes if s.owner is not None and _is_inside(s, node)]
        return any(
            not _is_same(
                self.dense.value(tensor),
                self.pruned.value(self.pruned.scopes[scope.index].initializers[name]),
            )
            for scope in inner
            for name, tensor in scope.initializers.items()
        )

    def _source(self, node: onnx.NodeProto) -> int | None:
        """Return which operand of a product is no constant, if the others are."""
        if node.op_type not in PRODUCTS or node.domain not in DEFAULT_DOMAINS:
            return None
        moving = [i for i, name in enumerate(node.input) if name and name not in self.constants]
        return moving[0] if len(moving) == 1 and moving[0] < 2 else None

    def _goes_on(self, node: onnx.NodeProto) -> bool:
        """Whether an affine step with constants alone reads this output, and nobody else."""
        home, name = self.dense.main, node.output[0]
        readers = home.readers.get(name, [])
        if len(readers) != 1 or home.is_output(name) or readers[0][0] is not home:
            return False
        reader = readers[0][1]
        others = [other for other in reader.input if other and other != name]
        return (
            reader.op_type in AFFINE
            and reader.domain in DEFAULT_DOMAINS
            and len(others) == sum(1 for other in reader.input if other) - 1
            and self.constants.issuperset(others)
            and not (reader.op_type == "Div" and reader.input[0] != name)
            and not (reader.op_type == "BatchNormalization" and reader.input[0] != name)
        )


def _check_same_nodes(dense: Model, pruned: Model) -> None:
    pairs = itertools.zip_longest(dense.main.graph.node, pruned.main.graph.node)
    for a, b in pairs:
        if a is None or b is None or _without_graphs(a) != _without_graphs(b):
            place = next(name for node in (a, b) if node is not None for name in node.output)
            raise ModelError(
                f"the models differ in the node that makes {place!r}, not only in constants, so "
                "their outputs have no bound; compare a model with what was made of it"
            )
    missing = set(dense.main.initializers) - set(pruned.main.initializers)
    if missing:
        raise ModelError(
            f"the pruned model has no constant {min(missing)!r}, which the dense one has; "
            "compare a model with what was made of it"
        )


def _without_graphs(node: onnx.NodeProto) -> tuple[object, ...]:
    """Return all of a node but its subgraphs, whose constants may differ."""
    kinds = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
    plain = [a.SerializeToString(deterministic=True) for a in node.attribute if a.type not in kinds]
    return node.op_type, node.domain, *node.input, "", *node.output, *sorted(plain)


def _is_inside(scope: Any, node: onnx.NodeProto) -> bool:
    while scope is not None and scope.owner is not None:
        if scope.owner is node:
            return True
        scope = scope.parent
    return False


def _is_same(a: Array, b: Array) -> bool:
    return a is b or (a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())


def _compute(model: Model, makers: dict[str, int], name: str) -> Array:
    """Run the nodes that make one constant."""
    chosen: set[int] = set()
    pending = [name]
    while pending:
        index = makers.get(pending.pop())
        if index is not None and index not in chosen:
            chosen.add(index)
            pending += model.main.graph.node[index].input
    graph = onnx.GraphProto(name="constants")
    graph.node.extend(model.main.graph.node[i] for i in sorted(chosen))
    read = {other for node in graph.node for other in node.input}
    graph.initializer.extend(t for n, t in model.main.initializers.items() if n in read)
    graph.output.append(onnx.ValueInfoProto(name=name))
    proto = onnx.ModelProto(ir_version=model.proto.ir_version, graph=graph)
    proto.opset_import.extend(model.proto.opset_import)
    value: Array = Session(proto, folder=model.folder).run({})[name]
    return value


def first_output(node: onnx.NodeProto) -> str:
    """Return the first output of a node that has a name."""
    return next((str(name) for name in node.output if name), "")


def has_subgraphs(node: onnx.NodeProto) -> bool:
    """Whether a node holds graphs of its own."""
    return any(True for _ in subgraphs(node))
