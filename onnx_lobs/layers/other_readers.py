"""Finds who reads a stored weight besides the nodes that multiply by it as one layer."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import onnx

from onnx_lobs.graph.carried import LOOPS, handed_back, handed_on
from onnx_lobs.graph.model import DEFAULT_DOMAINS, Model, Scope
from onnx_lobs.layers.chain import PASSING

OF_SHAPES = ("Shape", "Size")  # what they read of a weight does not change with its values


@dataclass(frozen=True)
class OtherReader:
    """What reads a weight, through reversible steps, and is no part of its layer.

    Parameters
    ----------
    label
        How a sentence names it.
    node
        The node, or None for an output of a graph.
    """

    label: str
    node: onnx.NodeProto | None


def other_readers(
    model: Model, home: Scope, name: str, known: Collection[int]
) -> Iterator[OtherReader]:
    """Yield what reads the value `name` of `home` besides the nodes whose ids are `known`.

    Cost: linear in the number of readers, those in the bodies of loops included.
    """
    pending = [(home, name)]
    while pending:  # chains of thousands of nodes exist
        scope, name = pending.pop()
        if scope.is_output(name) and name not in handed_back(scope):
            yield OtherReader("the graph's outputs", None)
        readers = scope.readers.get(name, [])
        for inner, node in readers:
            if id(node) in known or _reads_shape(node):
                continue
            if node.op_type in LOOPS:
                yield from _in_loop(model, inner, node, name, known)
            elif node.op_type not in PASSING or node.input[0] != name:
                yield OtherReader(_label(node), node)
            else:
                pending.append((inner, node.output[0]))
        if any(inner.is_output(name) for inner, _ in readers if inner is not scope):
            yield OtherReader("a subgraph's outputs", None)


def _in_loop(
    model: Model, scope: Scope, loop: onnx.NodeProto, name: str, known: Collection[int]
) -> Iterator[OtherReader]:
    """Yield what reads a weight that is handed to a Loop or Scan, in its body or behind it."""
    body = next(s for s in model.scopes if s.owner is loop)
    same = {place: (inner, outer) for place, inner, _, outer in handed_on(loop, body)}
    for place in (i for i, source in enumerate(loop.input) if source == name):
        if place not in same:
            yield OtherReader(_label(loop), loop)
            continue
        inner, outer = same[place]
        if outer and (scope.readers.get(outer) or scope.is_output(outer)):
            yield OtherReader(f"what reads it behind {_label(loop)}", None)
        yield from other_readers(model, body, inner, known)


def _reads_shape(node: onnx.NodeProto) -> bool:
    return node.op_type in OF_SHAPES and node.domain in DEFAULT_DOMAINS


def _label(node: onnx.NodeProto) -> str:
    return f"{node.op_type} {node.name or node.output[0]!r}"
