"""Carries the errors of nodes along the graph by operator norms, to all values that they reach.

Dong, Chen and Pan (2017) bound the output error of a chain of layers by the sum of the layers'
errors, each times the norms of the layers behind it. Here every value has a bound e of the distance
between the networks: for y = f(x; c) with constants c, and c' and x' in the pruned network,

    e(y) <= gain of f(.; c) * e(x) + |f(x'; c') - f(x'; c)|,

whose last term is the node's own error; errors of several inputs add.
"""

from __future__ import annotations

import numpy as np
import onnx

from onnx_lobs.arrays import FloatArray
from onnx_lobs.evaluation.bound.changes import Changes, Values
from onnx_lobs.evaluation.bound.gains import RULES, SIZED, BoundSite
from onnx_lobs.graph.model import DEFAULT_DOMAINS, attributes, outer_names

Factors = dict[str, FloatArray]
Reasons = dict[str, tuple[str, ...]]
FORGETFUL = ("Shape", "Size")  # depend on nothing but the shape of what they read


class ErrorPaths:
    """The ways that errors take; gains, once computed, are kept."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._gains: dict[object, float | None] = {}

    def follow(self, sizes: Values, made: Values) -> tuple[Factors, Reasons]:
        """Return, by value, a factor for every node's error; and for others why there is none.

        The sum of factors times Euclidean norms of errors bounds how far the value is from the
        dense network's. `sizes` are shapes and `made` the computed constants.
        """
        changes, factors, missing = self._changes, Factors(), Reasons()
        own = dict(zip(changes.layers, np.eye(len(changes.layers)), strict=True))
        for node in changes.dense.main.graph.node:
            first, op, reads = node.output[0], node.op_type, sorted(outer_names(node))
            reasons = tuple(dict.fromkeys(r for name in reads for r in missing.get(name, ())))
            is_reached = op not in FORGETFUL and not factors.keys().isdisjoint(reads)
            if not reasons and (is_reached or first in changes.hidden):
                error = self._error(node, factors, sizes, made)
                if error is None:
                    kind = op if node.domain in DEFAULT_DOMAINS else f"{node.domain}.{op}"
                    of = " of these inputs" if kind in RULES else ""
                    reasons = (f"{node.name or f'{op}_{first}'}: {kind}{of} has no rule",)
                else:
                    factors |= dict.fromkeys(node.output, error)
            if reasons:
                missing |= dict.fromkeys(node.output, reasons)
            elif first in own:
                factors[first] = factors.get(first, 0.0) + own[first]
        return factors, missing

    def _error(
        self, node: onnx.NodeProto, factors: Factors, sizes: Values, made: Values
    ) -> FloatArray | None:
        """Return the factors of a node's outputs from those of its inputs; None without a rule."""
        changes, first, op = self._changes, node.output[0], node.op_type
        has_rule = op in RULES and node.domain in DEFAULT_DOMAINS and first not in changes.hidden
        if not has_rule or (len(node.output) > 1 and op != "Split"):
            return None
        total = np.zeros(len(changes.layers))
        for i, name in ((i, name) for i, name in enumerate(node.input) if name in factors):
            repeats = sizes[first].prod() / max(sizes[name].prod(), 1) if op in SIZED else 0.0
            key = first, i, repeats
            if key not in self._gains:
                value, stored = changes.dense.value, changes.dense.main.initializers
                known = made | {n: value(stored[n]) for n in node.input if n in stored}
                wide = {k: known[n].astype("f8") for k, n in enumerate(node.input) if n in known}
                site = BoundSite(op, attributes(node).get, i, wide, wide.get(1 - i), repeats)
                self._gains[key] = RULES[op](site)
            if (gain := self._gains[key]) is None:
                return None
            total = total + gain * factors[name]
        return total
