"""Finds what a model computes from constants alone, and cuts it out as a model of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper

from onnx_lobs.graph.files.location import is_external
from onnx_lobs.graph.files.sparse import densify
from onnx_lobs.graph.files.tensors import copy_header, read_tensor, write_tensor
from onnx_lobs.graph.model import DEFAULT_DOMAINS, RANDOM, Model, Scope, is_quantiser

Value = tuple[int, str]
"""index of the scope that defines a value, and its name"""

NOT_FOLDED = (*RANDOM, "Dropout")
# graphsurgeon drops attributes of other types without a word
PLAIN = (
    AttributeProto.FLOAT, AttributeProto.INT, AttributeProto.STRING, AttributeProto.TENSOR,
    AttributeProto.FLOATS, AttributeProto.INTS, AttributeProto.STRINGS,
)  # fmt: skip
CONSTANT_TYPES = {
    "value_float": np.float32, "value_floats": np.float32,
    "value_int": np.int64, "value_ints": np.int64,
}  # fmt: skip
OLDEST_IR = 4  # in which initializers are no inputs


@dataclass(frozen=True)
class Cone:
    """The nodes and the stored constants from which some values are computed.

    Attributes
    ----------
    nodes
        Their numbers in :attr:`ConstantPart.nodes`, ascending: the order in which they run.
    constants
        Initializers and the tensors of Constant nodes; the latter are in `nodes` too.
    """

    nodes: tuple[int, ...]
    constants: dict[Value, TensorProto]


class ConstantPart:
    """The nodes of a model that work on constants alone, in the order in which they run.

    Not among them: nodes that draw random numbers, quantise or dequantise, read text, hold
    subgraphs, or are of another domain than ONNX's own.

    Notes
    -----
    Cost: one pass over all nodes. It is made for one structure, as the index of `model` is.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.nodes: list[tuple[Scope, onnx.NodeProto]] = []
        self.makers: dict[Value, int] = {}
        self._inner: dict[int, list[Scope]] = {}
        for scope in model.scopes[1:]:
            self._inner.setdefault(id(scope.owner), []).append(scope)
        self._add(model.main)

    def _add(self, scope: Scope) -> None:
        for node in scope.graph.node:
            if _is_foldable(node) and all(self._knows(scope, name) for name in node.input if name):
                made = [(scope.index, name) for name in node.output if name]
                self.makers |= dict.fromkeys(made, len(self.nodes))
                self.nodes.append((scope, node))
            for inner in self._inner.get(id(node), ()):
                self._add(inner)

    def _knows(self, scope: Scope, name: str) -> bool:
        home = scope.find(name)
        if home is None:
            return False
        if (home.index, name) in self.makers:
            return True
        if self.model.is_default(home, name):
            return False  # what is fed in its place would be lost
        tensor = self.model.constant(home, name)
        return tensor is not None and tensor.data_type != TensorProto.STRING

    def cone(self, values: Sequence[Value]) -> Cone:
        """Return what some of the values in :attr:`makers` are computed from."""
        pending = list(values)
        nodes: set[int] = set()
        constants: dict[Value, TensorProto] = {}
        while pending:
            value = pending.pop()
            number = self.makers.get(value)
            if number in nodes or value in constants:
                continue
            if number is None:
                scope = self.model.scopes[value[0]]
                constants[value] = scope.initializers[value[1]]
                continue
            nodes.add(number)
            scope, node = self.nodes[number]
            if node.op_type == "Constant":
                constants[value] = _dense(node, self.model)
            pending += self.inputs(number)
        return Cone(tuple(sorted(nodes)), constants)

    def inputs(self, number: int) -> Iterator[Value]:
        """Yield the values that a node reads."""
        scope, node = self.nodes[number]
        for name in node.input:
            home = scope.find(name)
            if home is not None:
                yield home.index, name

    def extract(self, values: Sequence[Value]) -> onnx.ModelProto:
        """Return a model that computes `values`, and holds nothing else.

        Its outputs are called as :func:`label` says. All constants are inside and dense.
        """
        cone = self.cone(values)
        graph = onnx.GraphProto(name="constants")
        for value, tensor in cone.constants.items():
            graph.initializer.append(_inside(tensor, label(value), self.model))
        for number in cone.nodes:
            if self.nodes[number][1].op_type != "Constant":
                graph.node.append(self._renamed(number))
        graph.output.extend(onnx.ValueInfoProto(name=label(value)) for value in values)
        version = max(self.model.proto.ir_version, OLDEST_IR)
        opsets = [o for o in self.model.proto.opset_import if o.domain in DEFAULT_DOMAINS]
        return onnx.ModelProto(ir_version=version, graph=graph, opset_import=opsets)

    def _renamed(self, number: int) -> onnx.NodeProto:
        """Return a copy of a node that tells values of one name in two scopes apart."""
        scope, node = self.nodes[number]
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        homes = [scope.find(name) for name in node.input]
        copy.input[:] = [
            "" if home is None else label((home.index, name))
            for home, name in zip(homes, node.input, strict=True)
        ]
        copy.output[:] = [label((scope.index, name)) if name else "" for name in node.output]
        copy.name = str(number)
        return copy


def label(value: Value) -> str:
    """Return what :meth:`ConstantPart.extract` calls a value."""
    return f"{value[0]}/{value[1]}"


def _is_foldable(node: onnx.NodeProto) -> bool:
    if node.domain not in DEFAULT_DOMAINS or node.op_type in NOT_FOLDED or is_quantiser(node):
        return False
    if node.op_type == "Constant":
        return node.attribute[0].name in ("value", "sparse_value", *CONSTANT_TYPES)
    return all(attribute.type in PLAIN for attribute in node.attribute)


def _dense(node: onnx.NodeProto, model: Model) -> TensorProto:
    """Return the tensor of a Constant node, whichever attribute holds it."""
    attribute = node.attribute[0]
    tensor: TensorProto
    if attribute.name == "value":
        tensor = attribute.t
        return tensor
    if attribute.name == "sparse_value":
        return densify(attribute.sparse_tensor, model.folder)
    written = np.array(helper.get_attribute_value(attribute), CONSTANT_TYPES[attribute.name])
    tensor = onnx.numpy_helper.from_array(written)
    return tensor


def _inside(tensor: TensorProto, name: str, model: Model) -> TensorProto:
    """Return a copy of a tensor under another name, with its values inside."""
    copy = TensorProto(dims=tensor.dims)
    if is_external(tensor):
        copy_header(tensor, copy)
        copy.ClearField("external_data")
        write_tensor(copy, read_tensor(tensor, model.folder))
    else:
        copy.CopyFrom(tensor)
        copy.ClearField("external_data")
    copy.name = name
    return copy
