"""Finds spans: parts of a network between two cuts, with layers and a nonlinearity between."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import onnx

from onnx_lobs.graph.model import DEFAULT_DOMAINS, Model, outer_names
from onnx_lobs.graph.run.stages import constant_makers
from onnx_lobs.layers.layer import Layer

LEAST_LAYERS, MOST_LAYERS = 2, 12
LINEAR = frozenset(
    {
        "Add", "AveragePool", "BatchNormalization", "Cast", "Concat", "Conv", "ConvTranspose",
        "Dropout", "Expand", "Flatten", "Gather", "Gemm", "GlobalAveragePool", "Identity", "MatMul",
        "Mul", "Pad", "ReduceMean", "ReduceSum", "Reshape", "Resize", "Slice", "Split", "Squeeze",
        "Sub", "Sum", "Transpose", "Unsqueeze",
    }
)  # fmt: skip
"""operators that are linear in each of their inputs; of two that move, a product is not"""


@dataclass(frozen=True)
class Span:
    """A part of a network that one value enters and one leaves, beside what pruning cannot change.

    Parameters
    ----------
    start, stop
        Top-level nodes: the first of it, and the first behind it.
    inputs
        All values that it reads: the one that enters, and those that pruning cannot change.
    output
        The value that leaves.
    n_layers
        Uses of layers in it.
    """

    start: int
    stop: int
    inputs: tuple[str, ...]
    output: str
    n_layers: int


def find_spans(model: Model, layers: Sequence[Layer], last: str) -> tuple[Span, ...]:
    """Return the spans of a network, in order; they do not overlap.

    Parameters
    ----------
    model
        Execution copy. Not modified.
    layers
        Those that were pruned.
    last
        The value that the network is judged by; no span reaches behind it.

    Notes
    -----
    A cut is a place where one value alone is live of those that depend on a layer. A span is the
    shortest part between two cuts that has LEAST_LAYERS layers and behind the first of them
    something that is not linear; the last one goes to the last cut. One with more than MOST_LAYERS
    is left out.
    """
    nodes = model.main.graph.node
    moved = _moved(model, layers)
    uses = {use.output for layer in layers for use in layer.uses if use.scope == 0}
    end = next((i + 1 for i, node in enumerate(nodes) if last in node.output), 0)
    live = _live(model, end, last)
    stops = [stop for stop in range(1, end + 1) if len(live[stop] & moved) == 1]
    parts: list[tuple[int, int]] = []
    start = 0
    for stop in stops:
        inside = nodes[start:stop]
        if _count(inside, uses) >= LEAST_LAYERS and _is_bent(inside, moved, uses):
            parts.append((start, stop))
            start = stop
    if parts and stops[-1] > start and _count(nodes[start : stops[-1]], uses):
        parts[-1] = (parts[-1][0], stops[-1])  # what is left is too little for one of its own
    return tuple(
        Span(start, stop, tuple(sorted(live[start])), min(live[stop] & moved), n_layers)
        for start, stop in parts
        if (n_layers := _count(nodes[start:stop], uses)) <= MOST_LAYERS
    )


def _count(nodes: Sequence[onnx.NodeProto], uses: Collection[str]) -> int:
    """Return how many uses of layers there are among nodes."""
    return sum(name in uses for node in nodes for name in node.output)


def part_of(model: Model, span: Span, types: dict[str, int]) -> Model:
    """Return a model of a span alone.

    Parameters
    ----------
    model
        The execution copy that it was found in. Not modified.
    span
        The span.
    types
        ONNX element types of its inputs, by name.
    """
    makers = constant_makers(model)
    nodes = model.main.graph.node
    chosen = set(range(span.start, span.stop))
    open_nodes = [*chosen]
    while open_nodes:  # and what computes its constants
        for name in outer_names(nodes[open_nodes.pop()]):
            maker = makers.get(name)
            if maker is not None and maker not in chosen:
                chosen.add(maker)
                open_nodes.append(maker)
    read = {name for i in chosen for name in outer_names(nodes[i])}
    proto = onnx.ModelProto()
    proto.ir_version = model.proto.ir_version
    proto.opset_import.extend(model.proto.opset_import)
    graph = proto.graph
    graph.name = "span"
    graph.node.extend(nodes[i] for i in sorted(chosen))
    graph.initializer.extend(t for t in model.main.graph.initializer if t.name in read)
    graph.input.extend(
        onnx.helper.make_tensor_value_info(name, types[name], None) for name in span.inputs
    )
    graph.output.append(onnx.ValueInfoProto(name=span.output))
    return Model(proto, model.folder)


def _moved(model: Model, layers: Sequence[Layer]) -> set[str]:
    """Return the values that change when a layer does."""
    moved = {use.output for layer in layers for use in layer.uses if use.scope == 0}
    inner = {use.top for layer in layers for use in layer.uses if use.scope != 0}
    for index, node in enumerate(model.main.graph.node):
        if index in inner or moved & outer_names(node):
            moved.update(name for name in node.output if name)
    return moved


def _live(model: Model, end: int, last: str) -> dict[int, set[str]]:
    """Return what is live in front of each node, of what the last value needs."""
    nodes = model.main.graph.node
    constants = {*model.main.initializers, *constant_makers(model)}
    outputs = {output.name for output in model.main.graph.output}
    live = {end: {last}}
    for index in range(end - 1, -1, -1):
        node, behind = nodes[index], live[index + 1]
        made = set(node.output)
        # an output that is not the last value is live to the end, so that no span hides it
        kept = behind - made
        needed = bool(behind & made) or bool(made & outputs)
        live[index] = kept | ((outer_names(node) - constants) if needed else set())
    return live


def _is_bent(nodes: Sequence[onnx.NodeProto], moved: Collection[str], uses: set[str]) -> bool:
    """Whether something behind the first layer is not linear."""
    seen = False
    for node in nodes:
        n_moved = sum(name in moved for name in node.input)
        is_product = node.op_type in ("MatMul", "Mul") and n_moved > 1
        is_linear = node.op_type in LINEAR and node.domain in DEFAULT_DOMAINS and not is_product
        if seen and n_moved and not is_linear:
            return True
        seen = seen or any(name in uses for name in node.output)
    return False
