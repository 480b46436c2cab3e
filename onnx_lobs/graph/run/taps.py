"""Extra outputs that show the values inside a graph, also inside the branches of an If."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import onnx
from onnx import TensorProto

from onnx_lobs.graph.model import Model, Scope, subgraphs


def tap_name(scope: int, name: str) -> str:
    """Return the output under which the value `name` of scope `scope` is shown."""
    return name if scope == 0 else f"{name}__tap{scope}"


def expose(
    graph: onnx.GraphProto,
    model: Model,
    wanted: Iterable[tuple[int, str]],
    types: Mapping[tuple[int, str], int],
) -> None:
    """Add the wanted values to the outputs of `graph`, in place.

    Parameters
    ----------
    graph
        A copy of the main graph of `model`, or of some of its nodes.
    model
        The index of the original.
    wanted
        (scope index, name) of each value; scopes are the main graph or branches of If
        nodes, nested to any depth.
    types
        Element type of each value; float32 where it is missing.

    Notes
    -----
    A branch that is not taken shows an empty tensor.
    """
    present = {output.name for output in graph.output}
    for scope, name in sorted(set(wanted)):
        shown = tap_name(scope, name)
        elem_type = types.get((scope, name), TensorProto.FLOAT)
        if scope:
            _carry_out(graph, model.scopes[scope], name, shown, elem_type)
        if shown not in present:
            graph.output.append(_value(shown, elem_type))


def _value(name: str, elem_type: int) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, elem_type, None)


def _carry_out(graph: onnx.GraphProto, scope: Scope, name: str, shown: str, elem_type: int) -> None:
    """Make an If node (and those around it) return the value `name` of one of its branches."""
    path: list[tuple[str, int]] = []
    inner: Scope | None = scope
    while inner is not None and inner.owner is not None:
        position = next(i for i, g in enumerate(subgraphs(inner.owner)) if g is inner.graph)
        path.append((inner.owner.output[0], position))
        inner = inner.parent
    node_graph = graph
    chain: list[tuple[onnx.NodeProto, int]] = []
    for output, position in reversed(path):
        node = next(n for n in node_graph.node if output in n.output)
        chain.append((node, position))
        node_graph = list(subgraphs(node))[position]
    source = name
    for depth, (node, position) in enumerate(reversed(chain)):
        result = shown if depth == len(chain) - 1 else f"{shown}_depth{depth}"
        for i, branch in enumerate(subgraphs(node)):
            _return(branch, source if i == position else None, f"{result}_branch{i}", elem_type)
        node.output.append(result)
        source = result


def _return(branch: onnx.GraphProto, source: str | None, result: str, elem_type: int) -> None:
    """Append an output to a branch: a copy of `source`, or an empty tensor."""
    if source is None:
        empty = onnx.helper.make_tensor("", elem_type, (0,), b"", raw=True)
        branch.node.append(onnx.helper.make_node("Constant", [], [result], value=empty))
    else:
        branch.node.append(onnx.helper.make_node("Identity", [source], [result]))
    branch.output.append(_value(result, elem_type))
