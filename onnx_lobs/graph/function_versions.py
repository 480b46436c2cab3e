"""Puts a model's own functions into the operator set that the model itself is in.

A function names the versions of its operators by itself, and exporters let them differ from the
model's. Only functions in the model's versions can be inlined.
"""

from __future__ import annotations

import onnx

from onnx_lobs.graph.model import DEFAULT_DOMAINS, subgraphs


def match_versions(model: onnx.ModelProto, function: onnx.FunctionProto) -> str | None:
    """Put a function into the versions that its model is in, in place.

    Returns
    -------
    str or None
        Why it cannot be, in which case the function is not changed.

    Notes
    -----
    Versions of domains that it does not use do not count, nor do those of the model's own
    functions, which have none. Operators must be the same in both versions: onnx's checker refuses
    others, and onnxruntime runs them as the model's, so that nobody knows what is meant.
    """
    versions = {_domain(entry.domain): entry.version for entry in model.opset_import}
    own = {function.domain for function in model.functions}
    used = {_domain(node.domain) for node in _nodes(function)}
    asked = {_domain(entry.domain): entry.version for entry in function.opset_import}
    for domain in sorted(used - own - {""}):
        if asked.get(domain) != versions.get(domain, asked.get(domain)):
            return f"it uses version {asked.get(domain)} of {domain}, the model {versions[domain]}"
    before, after = asked.get("", 0), versions.get("", 0)
    if "" in used and before != after and not _same_schemas(function, before, after):
        return f"its operators are of opset {before}, the model's of {after}, which differ"
    del function.opset_import[:]
    for domain in sorted(used):
        version = versions.get(domain, asked.get(domain, 1))
        function.opset_import.append(onnx.helper.make_opsetid(domain, version))
    return None


def _domain(name: str) -> str:
    return "" if name in DEFAULT_DOMAINS else name


def _nodes(function: onnx.FunctionProto) -> list[onnx.NodeProto]:
    """Return the nodes of a function and of all graphs in them."""
    found, pending = [], list(function.node)
    while pending:
        node = pending.pop()
        found.append(node)
        pending += [inner for graph in subgraphs(node) for inner in graph.node]
    return found


def _same_schemas(function: onnx.FunctionProto, before: int, after: int) -> bool:
    """Whether every operator of a function is defined alike in two versions."""
    names = {node.op_type for node in _nodes(function) if _domain(node.domain) == ""}
    newest = onnx.defs.onnx_opset_version()
    if not 0 < min(before, after) <= max(before, after) <= newest:
        return False
    first, second = (
        {
            name: onnx.defs.get_schema(name, version, "").since_version
            for name in names
            if onnx.defs.has(name, version, "")
        }
        for version in (before, after)
    )
    return first == second and set(first) == names
