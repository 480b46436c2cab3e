"""Cut a graph at chosen nodes into stages that run one after another.

A stage takes the values that are live before its first node and gives those that are live
after its last, so that a network can be run piece by piece, with weights changing between
pieces, at the cost of one forward pass over all stages.
"""

from __future__ import annotations

import bisect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from onnx_lobs.arrays import Array
from onnx_lobs.errors import ModelError
from onnx_lobs.graph.model import (
    DEFAULT_DOMAINS,
    RANDOM,
    Model,
    outer_names,
    subgraphs,
)
from onnx_lobs.graph.run.lending import lend
from onnx_lobs.graph.run.session import Session
from onnx_lobs.graph.run.taps import expose


@dataclass(frozen=True)
class Stage:
    """The nodes between two cuts, by index in the main graph, and the values they exchange.

    Nodes that compute constants (a transposed weight, say) are in every stage that needs
    them, so that no such value is carried along while its weight changes. ``live`` are all
    values that later stages still need after this one, of which `outputs` are made here.
    """

    nodes: tuple[int, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    live: frozenset[str]


def cut(model: Model, stops: Mapping[int, Collection[str]]) -> tuple[Stage, ...]:
    """Return one stage per stop: what must run so that the stop's values are there.

    Parameters
    ----------
    model
        Its nodes must be in topological order, which ONNX requires.
    stops
        ``{index of a top-level node: names that must be live just before it runs}``; the
        number of nodes stands for the end.

    Notes
    -----
    Nodes that no stop needs are in no stage. Cost: linear in the size of the graph.
    """
    nodes = model.main.graph.node
    makers = constant_makers(model)
    constants = set(model.main.initializers) | set(makers)
    order = sorted(stops)
    live: set[str] = set()
    members: dict[int, list[int]] = {stop: [] for stop in order}
    boundary: dict[int, frozenset[str]] = {}
    for index in range(order[-1], -1, -1):
        made = set(nodes[index].output) if index < len(nodes) else set()
        if live & made:  # which no constant is
            members[order[bisect.bisect_right(order, index)]].append(index)
            live = (live - made) | (outer_names(nodes[index]) - constants)
        if index in stops:
            live |= set(stops[index]) - constants
            boundary[index] = frozenset(live)
    return tuple(_stage(model, members[stop], makers, boundary[stop]) for stop in order)


def stage_of(model: Model, top: int) -> Stage:
    """Return the stage of one top-level node, with no outputs."""
    return _stage(model, [top], constant_makers(model), frozenset())


def _stage(
    model: Model, members: Sequence[int], makers: Mapping[str, int], live: frozenset[str]
) -> Stage:
    nodes = model.main.graph.node
    chosen = set(members)
    open_nodes = list(members)
    while open_nodes:
        for name in outer_names(nodes[open_nodes.pop()]):
            maker = makers.get(name)
            if maker is not None and maker not in chosen:
                chosen.add(maker)
                open_nodes.append(maker)
    made = {name for i in chosen for name in nodes[i].output}
    read = {name for i in chosen for name in outer_names(nodes[i])}
    inputs = read - made - set(model.main.initializers)
    return Stage(tuple(sorted(chosen)), tuple(sorted(inputs)), tuple(sorted(live & made)), live)


def join(model: Model, first: Stage, second: Stage) -> Stage:
    """Return one stage that does what two successive ones do."""
    return _stage(model, (*first.nodes, *second.nodes), constant_makers(model), second.live)


def constant_makers(model: Model) -> dict[str, int]:
    """Return the top-level node of every value that is computed from constants alone."""
    makers: dict[str, int] = {}
    known = set(model.main.initializers)
    for index, node in enumerate(model.main.graph.node):
        if node.op_type in (*RANDOM, "Dropout") or node.domain not in DEFAULT_DOMAINS:
            continue
        if any(True for _ in subgraphs(node)) or not known.issuperset(filter(None, node.input)):
            continue
        made = [name for name in node.output if name]
        makers |= dict.fromkeys(made, index)
        known.update(made)
    return makers


def stage_session(
    model: Model,
    stage: Stage,
    example: Mapping[str, Array],
    provider: str,
    taps: Sequence[tuple[int, str]] = (),
    types: Mapping[tuple[int, str], int] | None = None,
    *,
    as_float: bool = False,
) -> Session:
    """Return a session that runs the nodes of a stage.

    Parameters
    ----------
    example
        One batch of the stage's inputs: gives their types and ranks.
    taps, types
        (scope, name) of values inside If branches to show too, with their element types.
    as_float
        As of :class:`~onnx_lobs.graph.run.session.Session`.
    """
    source = model.main.graph
    graph = onnx.GraphProto(name=source.name or "stage")
    graph.node.extend(source.node[i] for i in stage.nodes)
    read = {name for node in graph.node for name in outer_names(node)}
    lent = lend(model.main.initializers.values(), graph, read)
    declared = {info.name: info.type.tensor_type.elem_type for info in source.input}
    for name in stage.inputs:
        graph.input.append(_describe(name, example[name], declared.get(name)))
    for name in stage.outputs:
        graph.output.append(onnx.ValueInfoProto(name=name))
    expose(graph, model, taps, types or {})
    proto = onnx.ModelProto(ir_version=model.proto.ir_version, graph=graph)
    proto.opset_import.extend(model.proto.opset_import)
    proto.functions.extend(model.proto.functions)
    return Session(proto, folder=model.folder, provider=provider, lent=lent, as_float=as_float)


def _describe(name: str, value: object, elem_type: int | None) -> onnx.ValueInfoProto:
    """Describe a value for a stage's input: its type, and its rank with every axis open.

    `elem_type` is what the model declares, which data may be converted to; None: the value's.
    """
    if not isinstance(value, np.ndarray):
        raise ModelError(
            f"{name!r} is a {type(value).__name__}, not a tensor, and a stage cannot begin "
            "with it; use --independent, which needs no stages"
        )
    elem_type = elem_type or onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
    return onnx.helper.make_tensor_value_info(name, elem_type, [None] * value.ndim)


def is_touched(model: Model, stage: Stage, changed: Collection[tuple[int, str]]) -> bool:
    """Whether a stage reads one of the `changed` tensors (scope, name), also in subgraphs."""
    names = {name for scope, name in changed if scope == 0}
    inner = {scope for scope, _ in changed if scope}
    for index in stage.nodes:
        node = model.main.graph.node[index]
        if outer_names(node) & names:
            return True
        if inner and any(True for _ in subgraphs(node)):
            return True
    return False
