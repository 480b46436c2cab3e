"""Finds the nodes that an output of the model depends on."""

from __future__ import annotations

import onnx

from onnx_lobs.graph.model import Model, Scope, first_output, subgraphs


def live_nodes(model: Model) -> frozenset[tuple[int, str]]:
    """Return the nodes, by scope and first output, that some output of the model depends on.

    Parameters
    ----------
    model
        Not modified.

    Returns
    -------
    frozenset of (int, str)
        Of a live node with subgraphs, all that the subgraphs' outputs depend on is live.

    Notes
    -----
    Cost: every node and name once.
    """
    by_graph = {id(scope.graph): scope for scope in model.scopes}
    pending: list[tuple[Scope, str]] = [(model.main, out.name) for out in model.main.graph.output]
    seen: set[tuple[int, str]] = set()
    live: set[tuple[int, str]] = set()
    while pending:
        scope, name = pending.pop()
        home = scope.find(name) if name else None
        if home is None or (home.index, name) in seen:
            continue
        seen.add((home.index, name))
        node = home.producers.get(name)
        if node is None or (home.index, first_output(node)) in live:
            continue
        live.add((home.index, first_output(node)))
        pending += [(home, source) for source in node.input]
        pending += _inner_outputs(node, by_graph)
    return frozenset(live)


def _inner_outputs(node: onnx.NodeProto, by_graph: dict[int, Scope]) -> list[tuple[Scope, str]]:
    """Return the outputs of a node's subgraphs, each with its scope."""
    return [(by_graph[id(graph)], out.name) for graph in subgraphs(node) for out in graph.output]
