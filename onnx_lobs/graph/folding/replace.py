"""Stores computed values in a model, and drops nodes and constants that nobody reads any more."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import TensorProto

from onnx_lobs.arrays import Array
from onnx_lobs.graph.files.location import external_ref, is_external
from onnx_lobs.graph.files.tensors import raw_size, write_tensor
from onnx_lobs.graph.folding.cone import ConstantPart, Value
from onnx_lobs.graph.model import Model, Scope, free_names


@dataclass(frozen=True)
class Unread:
    """What nobody reads once some values are stored.

    Attributes
    ----------
    nodes
        Numbers in :attr:`~onnx_lobs.graph.folding.cone.ConstantPart.nodes`.
    initializers
        The stored constants.
    inside, external
        Bytes that go, from the model itself and from its external data.
    """

    nodes: frozenset[int]
    initializers: frozenset[Value]
    inside: int
    external: int


def find_unread(part: ConstantPart, values: Collection[Value]) -> Unread:
    """Return what of the cone of `values` nobody reads once they are stored.

    What is an output of any graph, or is named by training information or by an annotation for
    quantisation, counts as read.
    """
    cone = part.cone(tuple(values))
    named = set(_named(part.model))
    dead: set[int] = set()  # identities of nodes

    def is_unread(value: Value) -> bool:
        readers = part.model.scopes[value[0]].readers.get(value[1], [])
        return value not in named and all(id(node) in dead for _, node in readers)

    nodes = set()
    for number in reversed(cone.nodes):  # readers come before what they read
        scope, node = part.nodes[number]
        made = [(scope.index, name) for name in node.output if name]
        if all(value in values or is_unread(value) for value in made):
            nodes.add(number)
            dead.add(id(node))
    gone = [v for v in cone.constants if v in part.makers and part.makers[v] in nodes]
    initializers = [v for v in cone.constants if v not in part.makers and is_unread(v)]
    tensors = [cone.constants[value] for value in (*gone, *initializers)]
    external = sum(raw_size(tensor) for tensor in tensors if is_external(tensor))
    return Unread(
        frozenset(nodes), frozenset(initializers), sum(map(raw_size, tensors)) - external,
        external,
    )  # fmt: skip


def describe(part: ConstantPart, value: Value, array: Array) -> TensorProto:
    """Return the initializer of a computed value, without its numbers.

    Where its largest source lies in an external data file, it belongs there too, at that place,
    as a tensor does that was external before new values were written: see
    :func:`~onnx_lobs.graph.files.tensors.write_tensor`.
    """
    tensor = TensorProto(name=value[1], dims=array.shape)
    tensor.data_type = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    source = max(part.cone([value]).constants.values(), key=raw_size)  # there is one: all begin so
    ref = external_ref(source)
    if ref is not None and is_external(source):
        tensor.external_data.add(key="location", value=ref.location)
        tensor.external_data.add(key="offset", value=str(ref.offset))
    return tensor


def replace(
    part: ConstantPart, folded: Mapping[Value, TensorProto], arrays: dict[Value, Array]
) -> None:
    """Store values as initializers in the model of `part`, in place, under the names they have.

    Nodes and constants that nobody reads then are removed, with what describes them; everything
    else stays as it is. A node that stays for another output gives the folded one a new name. The
    index of the model and `part` are stale afterwards.

    Parameters
    ----------
    folded
        What :func:`describe` returns of them.
    arrays
        Their numbers, which are taken out one by one, so that few are held twice.
    """
    unread = find_unread(part, folded.keys())
    dead = {id(part.nodes[number][1]) for number in unread.nodes}
    gone = {*unread.initializers}
    for scope, node in (part.nodes[number] for number in unread.nodes):
        gone.update((scope.index, name) for name in node.output)
    gone -= folded.keys()
    _rename_outputs(part, unread, folded)
    for scope in part.model.scopes:
        names = {name for index, name in gone if index == scope.index}
        new = [value for value in folded if value[0] == scope.index]
        if new or names:
            _remove(scope.graph.node, [id(node) in dead for node in scope.graph.node])
            for described in (scope.graph.initializer, scope.graph.value_info):
                _remove(described, [entry.name in names for entry in described])
            _list_inputs(part.model, scope, names, [folded[value] for value in new])
        for value in new:
            scope.graph.initializer.append(folded[value])
            write_tensor(scope.graph.initializer[-1], arrays.pop(value))


def _rename_outputs(part: ConstantPart, unread: Unread, folded: Collection[Value]) -> None:
    """Give the folded outputs of nodes that stay names that nothing else has."""
    taken: set[str] = set()
    for scope in part.model.scopes:
        taken |= {*scope.producers, *scope.initializers, *scope.inputs}
    for value in folded:
        number = part.makers[value]
        if number not in unread.nodes:
            name = f"{value[1]}_unread"
            while name in taken:
                name += "_"
            taken.add(name)
            node = part.nodes[number][1]
            node.output[list(node.output).index(value[1])] = name


def _list_inputs(
    model: Model, scope: Scope, gone: Collection[str], new: Collection[TensorProto]
) -> None:
    """List initializers as inputs where IR versions below 4 want it, and those that go no more."""
    if model.proto.ir_version >= 4 or scope.parent is not None:
        return
    _remove(scope.graph.input, [entry.name in gone for entry in scope.graph.input])
    for tensor in new:
        scope.graph.input.append(
            onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        )


def _remove(entries: Any, is_gone: list[bool]) -> None:
    """Delete entries of a repeated field, in place; the others are not copied."""
    for position in reversed([i for i, gone in enumerate(is_gone) if gone]):
        del entries[position]


def _named(model: Model) -> Iterator[Value]:
    """Yield the values that something else than a node's input names."""
    for scope in model.scopes:
        names = [output.name for output in scope.graph.output]
        for annotation in scope.graph.quantization_annotation:
            names.append(annotation.tensor_name)
            names += [entry.value for entry in annotation.quant_parameter_tensor_names]
        for name in names:
            home = scope.find(name)
            if home is not None:
                yield home.index, name
    for training in model.proto.training_info:
        for graph in (training.initialization, training.algorithm):
            yield from ((model.main.index, name) for name in free_names(graph))
        for binding in (*training.initialization_binding, *training.update_binding):
            yield from ((model.main.index, name) for name in (binding.key, binding.value))
