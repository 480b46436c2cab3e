"""Follows values that a Loop or Scan hands from step to step unchanged."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from onnx_lobs.graph.model import DEFAULT_DOMAINS, Scope, attributes

LOOPS = ("Loop", "Scan")


def carried_from(scope: Scope, name: str) -> str | None:
    """Return the outer name of a body's input that is the same in every step, or None.

    Exporters hand weights to a loop so: the body reads an input and gives it back as it is.

    Parameters
    ----------
    scope
        The body of a Loop or Scan.
    name
        One of its inputs; that of a sequence that a Scan cuts up is none that is carried.
    """
    owner = scope.owner
    if owner is None or owner.op_type not in LOOPS or owner.domain not in DEFAULT_DOMAINS:
        return None
    names = [value.name for value in scope.graph.input]
    # in operator set 8, Scan reads the lengths first, and has a batch axis of its own
    if name not in names or len(names) != len(owner.input):
        return None
    place = names.index(name)
    # a Loop's body reads a counter and a condition first, and gives the condition
    first = 2 if owner.op_type == "Loop" else 0
    if not first <= place < first + count_carried(owner, scope.graph):
        return None
    given = scope.graph.output[place - (1 if owner.op_type == "Loop" else 0)].name
    while given != name:
        maker = scope.producers.get(given)
        if maker is None or maker.op_type != "Identity" or maker.domain not in DEFAULT_DOMAINS:
            return None
        given = maker.input[0]
    return str(owner.input[place])


def count_carried(loop: onnx.NodeProto, body: onnx.GraphProto) -> int:
    """Return how many values the body of a Loop or Scan hands from step to step."""
    if loop.op_type == "Loop":
        return len(body.input) - 2
    sequences = attributes(loop)["num_scan_inputs"]
    assert isinstance(sequences, int)
    return len(body.input) - sequences


def handed_on(loop: onnx.NodeProto, body: Scope) -> Iterator[tuple[int, str, str, str]]:
    """Yield what a Loop or Scan hands on unchanged.

    Yields
    ------
    tuple
        Which input of the node it is, the body's input and output, and the node's output, "" where
        it has none.
    """
    first = 2 if loop.op_type == "Loop" else 0
    given = 1 if loop.op_type == "Loop" else 0
    for place, value in enumerate(body.graph.input):
        if carried_from(body, value.name) is not None:
            kept = place - first
            outer = loop.output[kept] if kept < len(loop.output) else ""
            yield place, value.name, body.graph.output[kept + given].name, outer


def handed_back(body: Scope) -> set[str]:
    """Return the outputs of a scope that are inputs of a loop's body which it hands on."""
    if body.owner is None or body.owner.op_type not in LOOPS:
        return set()
    return {given for _, _, given, _ in handed_on(body.owner, body)}
