"""Reads products inside the body of a Loop or Scan as layers, and shows their inputs.

A value of a body has one content a step, and no output of the node gives them all. In an execution
copy, a twin of the node stands in front of it and collects, as rows, what each product in its body
reads: a Loop in sequences that it carries along, whatever their sizes; a Scan in outputs of its
own. Layers of one body are calibrated together, on the states that its dense weights leave.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, helper

from onnx_lobs.graph.carried import LOOPS, count_carried
from onnx_lobs.graph.model import DEFAULT_DOMAINS, TAP_PREFIX, Model, Scope, first_output
from onnx_lobs.graph.writer import Writer
from onnx_lobs.layers.operators import match
from onnx_lobs.layers.place import Match, NodePlace
from onnx_lobs.layers.refusal import Refusal, RefusalKind

LEAST_OPSET = 13  # a Loop carries sequences from here on


@dataclass(frozen=True)
class Collected:
    """One value of a body that is shown: its name there, as rows of `columns`, and outside."""

    inner: str
    outer: str
    columns: int
    elem_type: int


def is_loop(scope: Scope) -> bool:
    """Whether a scope is the body of a Loop or Scan."""
    owner = scope.owner
    return owner is not None and owner.op_type in LOOPS and owner.domain in DEFAULT_DOMAINS


def in_loop(place: NodePlace, found: Match) -> Match | Refusal:
    """Return a product as it is read where it stands: outside of the loop that it may be in.

    Whatever else is in a loop is refused, with the reason.
    """
    loop = _loop_around(place.scope)
    if loop is None:
        return found
    trouble = _trouble(place, found.use.unfold is not None, loop)
    use = found.use
    if trouble is None and (use.transposed or use.batch or use.contraction or found.part):
        trouble = "and its inputs are no rows of a matrix"
    if trouble is not None:
        assert loop.owner is not None
        return Refusal(RefusalKind.LOOP, f"inside a {loop.owner.op_type}, {trouble}")
    assert loop.parent is not None
    outside = dataclasses.replace(
        use, scope=loop.parent.index, input=_shown(loop, use.input), home=place.scope.index
    )
    return dataclasses.replace(found, use=outside)


def _loop_around(scope: Scope | None) -> Scope | None:
    """Return the innermost body of a loop that a scope is or is in."""
    while scope is not None and not is_loop(scope):
        if scope.owner is not None and scope.owner.op_type != "If":
            return scope
        scope = scope.parent
    return scope


def _trouble(place: NodePlace, is_conv: bool, loop: Scope) -> str | None:
    """Return why what is in a loop cannot be shown."""
    assert loop.owner is not None
    if not is_loop(loop):
        return "an operator whose graph runs as it likes"
    if is_conv:
        return "where convolutions are not shown step by step"
    if place.scope is not loop:
        return "in a branch that not every step takes"
    if loop.parent is not None and _loop_around(loop.parent) is not None:
        return "which is inside another one"
    if len(loop.owner.input) != len(loop.graph.input):
        return "whose inputs are of an old operator set"
    if loop.owner.op_type == "Loop" and place.model.opset < LEAST_OPSET:
        return f"whose steps cannot be shown: opset {place.model.opset} is below {LEAST_OPSET}"
    return None


def _shown(loop: Scope, name: str) -> str:
    """Return the value outside that shows what a value of a body is in all steps."""
    assert loop.owner is not None
    return f"{first_output(loop.owner)}__{name}__steps"


def add_loop_taps(proto: onnx.ModelProto, folder: Path | None) -> None:
    """Add the nodes that show the inputs of products in loops, in place, in front of the loops."""
    model = Model(proto, folder)
    wanted: dict[int, dict[str, Collected]] = {}
    bodies = [scope for scope in model.scopes if is_loop(scope)]
    for body in bodies:
        for node in body.graph.node:
            for found in match(NodePlace(model, body, node, 0)):
                if isinstance(found, Match) and isinstance(
                    in_loop(NodePlace(model, body, node, 0), found), Match
                ):
                    shown = _collected(body, found)
                    wanted.setdefault(body.index, {})[shown.inner] = shown
    for scope in reversed(model.scopes):  # inner graphs first: the outer nodes are copied
        inside = {id(b.owner): wanted[b.index] for b in bodies
                  if b.parent is scope and b.index in wanted}  # fmt: skip
        if inside:
            _put_in_front(model, scope, inside)


def _collected(body: Scope, found: Match) -> Collected:
    stored = np.dtype(helper.tensor_dtype_to_np_dtype(found.root.tensor.data_type))
    elem_type = helper.np_dtype_to_tensor_dtype(found.root.chain.dtype(stored))
    name = found.use.input
    return Collected(name, _shown(body, name), found.layout.columns, elem_type)


def _put_in_front(
    model: Model, scope: Scope, inside: Mapping[int, Mapping[str, Collected]]
) -> None:
    nodes: list[onnx.NodeProto] = []
    for node in scope.graph.node:
        if id(node) in inside:
            nodes += _twin(model, scope, node, list(inside[id(node)].values()))
        nodes.append(onnx.NodeProto.FromString(node.SerializeToString()))
    del scope.graph.node[:]
    scope.graph.node.extend(nodes)


def _twin(
    model: Model, scope: Scope, node: onnx.NodeProto, shown: list[Collected]
) -> Iterator[onnx.NodeProto]:
    """Yield a twin of a loop, and the nodes around it that show what it collects."""
    draft = onnx.GraphProto()
    writer = Writer(draft, model.opset, prefix=f"{TAP_PREFIX}{first_output(node)}_")
    twin = onnx.NodeProto.FromString(node.SerializeToString())
    twin.name = f"{writer.prefix}twin"
    twin.output[:] = [f"{twin.name}_{i}" for i in range(_count_outputs(node))]
    body = next(a.g for a in twin.attribute if a.type == AttributeProto.GRAPH)
    made = [_collect(writer, twin, body, each, i) for i, each in enumerate(shown)]
    draft.node.append(twin)
    for name, each in zip(made, shown, strict=True):
        if node.op_type == "Loop":
            name = writer.node("ConcatFromSequence", [name], axis=0)
        writer.alias(name, each.outer)
    scope.graph.initializer.extend(draft.initializer)
    yield from draft.node


def _count_outputs(node: onnx.NodeProto) -> int:
    """Return how many outputs a loop can have: all that its body gives, but for the condition."""
    body = next(a.g for a in node.attribute if a.type == AttributeProto.GRAPH)
    return len(body.output) - (node.op_type == "Loop")


def _collect(
    writer: Writer, twin: onnx.NodeProto, body: onnx.GraphProto, shown: Collected, number: int
) -> str:
    """Let a twin collect a value; return the output that gives all of it."""
    rows, given = (f"{twin.name}_{kind}{number}" for kind in ("rows", "given"))
    shape = helper.make_tensor("", onnx.TensorProto.INT64, [2], [-1, shown.columns])
    body.node.extend([
        helper.make_node("Constant", [], [f"{rows}_shape"], value=shape),
        helper.make_node("Reshape", [shown.inner, f"{rows}_shape"], [rows]),
    ])  # fmt: skip
    if twin.op_type == "Scan":
        for attribute in twin.attribute:
            if attribute.name in ("scan_output_axes", "scan_output_directions"):
                attribute.ints.append(0)
        body.output.append(helper.make_tensor_value_info(rows, shown.elem_type, None))
        twin.output.append(given)
        return given
    # the sequence begins with no rows, which also is what no steps give
    dtype = helper.tensor_dtype_to_np_dtype(shown.elem_type)
    empty = writer.constant(np.zeros((0, shown.columns), dtype))
    twin.input.append(writer.node("SequenceConstruct", [empty]))
    before, after = f"{rows}_before", f"{rows}_after"
    body.node.append(helper.make_node("SequenceInsert", [before, rows], [after]))
    place = count_carried(twin, body)
    _insert(body.output, place + 1, _sequence(after, shown.elem_type))
    body.input.append(_sequence(before, shown.elem_type))
    twin.output.insert(place, given)
    return given


def _sequence(name: str, elem_type: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_sequence_value_info(name, elem_type, None)


def _insert(values: object, place: int, value: onnx.ValueInfoProto) -> None:
    """Put a value at some place of a graph's outputs."""
    assert hasattr(values, "insert")
    values.insert(place, value)
