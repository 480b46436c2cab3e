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
from numpy.typing import NDArray

from onnx_lobs.errors import ModelError
from onnx_lobs.graph.model import Model, outer_names, subgraphs
from onnx_lobs.graph.session import Session
from onnx_lobs.graph.taps import expose


@dataclass(frozen=True)
class Stage:
    """The nodes between two cuts, by index in the main graph, and the values they exchange.

    ``live`` are all values that later stages still need after this one, of which `outputs`
    are made here.
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
        ``{index of a top-level node: names that must be live just before it runs}``.

    Notes
    -----
    Nodes that no stop needs are in no stage. Cost: linear in the size of the graph.
    """
    nodes = model.main.graph.node
    constants = set(model.main.initializers)
    order = sorted(stops)
    live: set[str] = set()
    members: dict[int, list[int]] = {stop: [] for stop in order}
    boundary: dict[int, frozenset[str]] = {}
    for index in range(order[-1], -1, -1):
        made = set(nodes[index].output)
        if live & made:
            members[order[bisect.bisect_right(order, index)]].append(index)
            live = (live - made) | (outer_names(nodes[index]) - constants)
        if index in stops:
            live |= set(stops[index]) - constants
            boundary[index] = frozenset(live)
    return _stages(model, order, members, boundary)


def _stages(
    model: Model,
    order: Sequence[int],
    members: Mapping[int, Sequence[int]],
    boundary: Mapping[int, frozenset[str]],
) -> tuple[Stage, ...]:
    nodes = model.main.graph.node
    stages = []
    for stop in order:
        chosen = tuple(sorted(members[stop]))
        made = {name for i in chosen for name in nodes[i].output}
        read = {name for i in chosen for name in outer_names(nodes[i])}
        inputs = read - made - set(model.main.initializers)
        stages.append(
            Stage(
                chosen,
                tuple(sorted(inputs)),
                tuple(sorted(boundary[stop] & made)),
                boundary[stop],
            )
        )
    return tuple(stages)


def stage_session(
    model: Model,
    stage: Stage,
    example: Mapping[str, NDArray],
    provider: str,
    taps: Sequence[tuple[int, str]] = (),
    types: Mapping[str, int] | None = None,
) -> Session:
    """Return a session that runs the nodes of a stage.

    Parameters
    ----------
    example
        One batch of the stage's inputs: gives their types and ranks.
    taps, types
        (scope, name) of values inside If branches to show too, with their element types.
    """
    source = model.main.graph
    graph = onnx.GraphProto(name=source.name or "stage")
    graph.node.extend(source.node[i] for i in stage.nodes)
    read = {name for node in graph.node for name in outer_names(node)}
    graph.initializer.extend(
        tensor for name, tensor in model.main.initializers.items() if name in read
    )
    for name in stage.inputs:
        graph.input.append(_describe(name, example[name]))
    for name in stage.outputs:
        graph.output.append(onnx.ValueInfoProto(name=name))
    expose(graph, model, taps, dict(types or {}))
    proto = onnx.ModelProto(ir_version=model.proto.ir_version, graph=graph)
    proto.opset_import.extend(model.proto.opset_import)
    proto.functions.extend(model.proto.functions)
    return Session(proto, folder=model.folder, provider=provider)


def _describe(name: str, value: object) -> onnx.ValueInfoProto:
    """Describe a value for a stage's input: its type, and its rank with every axis open."""
    if not isinstance(value, np.ndarray):
        raise ModelError(
            f"{name!r} is a {type(value).__name__}, not a tensor, and a stage cannot begin "
            "with it; use --independent, which needs no stages"
        )
    elem_type = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
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
