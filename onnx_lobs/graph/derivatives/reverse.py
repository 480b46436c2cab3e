"""Walks a graph backwards and appends the nodes that make gradients.

From the values whose gradients are given (of a loss: :mod:`onnx_lobs.graph.derivatives.losses`)
the walk goes from node to node against their order. Each node's rule appends what makes the
gradients of its inputs from those of its outputs; where a value has several readers, their
gradients are added. Only nodes on a way from a wanted value to a given gradient are visited.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import onnx

from onnx_lobs.errors import ModelError
from onnx_lobs.graph.derivatives.observed import ObservedValues
from onnx_lobs.graph.derivatives.rules import RULES
from onnx_lobs.graph.derivatives.step import BackwardStep, NoDerivativeError
from onnx_lobs.graph.model import DEFAULT_DOMAINS, Model, outer_names, subgraphs
from onnx_lobs.graph.writer import Writer

OLDEST_OPSET = 11  # the first in which Pad, Slice and Clip take inputs, as rules write them
PREFIX = "gradient__"


@dataclass(frozen=True)
class StoppedGradient:
    """A node through which no gradient goes, and why; gradients before it lack its part."""

    node: str
    op: str
    reason: str

    def __str__(self) -> str:
        """Return it as messages have it."""
        return f"{self.op} {self.node!r}: {self.reason}"


@dataclass(frozen=True)
class Gradients:
    """Names of the gradients that were appended, by the name of their value, and what stopped.

    A value that is wanted and has no entry does not change what was differentiated, or all ways
    from it stop.
    """

    names: Mapping[str, str]
    stopped: tuple[StoppedGradient, ...]


def gradient_writer(model: Model) -> Writer:
    """Return what appends nodes of gradients to a model.

    Raises
    ------
    ModelError
        When the model's opset is too old.
    """
    if model.opset < OLDEST_OPSET:
        raise ModelError(
            f"gradients need opset {OLDEST_OPSET} at least, the model has {model.opset}; convert "
            "it with onnx.version_converter.convert_version"
        )
    return Writer(model.main.graph, model.opset, PREFIX)


def append_gradients(
    model: Model,
    writer: Writer,
    given: Mapping[str, str],
    wanted: Collection[str],
    values: ObservedValues,
) -> Gradients:
    """Append the gradients of the wanted values to the main graph, in place.

    Parameters
    ----------
    model
        A private execution copy; its index is stale afterwards. Nodes with subgraphs have no rule.
    writer
        From :func:`gradient_writer`.
    given
        Names of the gradients to begin with, by the name of their value.
    wanted
        Names of values of the main graph: activations, biases, scales.
    values
        What a batch told (:func:`onnx_lobs.graph.derivatives.observed.observe`). The gradients
        hold for batches of the same shapes.

    Notes
    -----
    Cost: linear in the size of the graph. A run of the gradients costs about one to three forward
    passes.
    """
    nodes = [*model.main.graph.node]
    moving = _moving(nodes, wanted)
    found: dict[str, list[str]] = defaultdict(list)
    for value, name in given.items():
        found[value].append(name)
    totals: dict[str, str] = {}
    stopped: list[StoppedGradient] = []
    for node in reversed(nodes):
        made = tuple(_total(writer, found, totals, name) for name in node.output)
        positions = frozenset(i for i, name in enumerate(node.input) if name in moving)
        inner = moving & outer_names(node)
        if not any(made) or not inner:
            continue
        try:
            for position, name in _rule(node)(BackwardStep(node, writer, values, made, positions)):
                if position in positions:
                    found[node.input[position]].append(name)
        except NoDerivativeError as error:
            stopped.append(StoppedGradient(node.name or node.output[0], node.op_type, str(error)))
    for name in wanted:
        _total(writer, found, totals, name)
    return Gradients({n: totals[n] for n in wanted if n in totals}, tuple(stopped))


def _rule(node: onnx.NodeProto):  # type: ignore[no-untyped-def]
    """Return the rule of a node's operator."""
    rule = RULES.get(node.op_type)
    if rule is None or node.domain not in DEFAULT_DOMAINS or any(subgraphs(node)):
        domain = "" if node.domain in DEFAULT_DOMAINS else f" of {node.domain}"
        raise NoDerivativeError(f"the operator{domain} has no rule")
    return rule


def _moving(nodes: list[onnx.NodeProto], wanted: Collection[str]) -> set[str]:
    """Return the values that change when a wanted one does."""
    moving = set(wanted)
    for node in nodes:
        if moving & outer_names(node):
            moving.update(name for name in node.output if name)
    return moving


def _total(
    writer: Writer, found: Mapping[str, list[str]], totals: dict[str, str], name: str
) -> str | None:
    """Return the sum of the gradients that were found for a value, None where there are none."""
    parts = found.get(name)
    if not parts:
        return None
    if name not in totals:
        totals[name] = parts[0] if len(parts) == 1 else writer.node("Sum", parts)
    return totals[name]
