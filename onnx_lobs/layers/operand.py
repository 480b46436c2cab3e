"""Finds the constant operand of a product, which is its weight, or says why there is none."""

from __future__ import annotations

from onnx_lobs.graph.model import is_quantiser
from onnx_lobs.layers.chain import REMEDY_QUANTISED, Root, Stop, is_computed, makers, trace
from onnx_lobs.layers.place import NodePlace
from onnx_lobs.layers.refusal import Refusal, RefusalKind

BOTH_CONSTANT = Refusal(RefusalKind.BOTH_CONSTANT, "both operands are constant")
NO_WEIGHTS = Refusal(RefusalKind.NO_WEIGHT, "both operands are dynamic: it has no weights")


def constant_weight(place: NodePlace, position: int = 1) -> Root | Refusal:
    """Return the weight that stands at one position, beside data at the first, or why not."""
    if _is_fixed(place, place.node.input[0]):
        return BOTH_CONSTANT
    root = trace(place.model, place.scope, place.node.input[position])
    return root if isinstance(root, Root) else _computed(place, root) or root.refusal


def one_constant(place: NodePlace) -> tuple[Root, bool] | Refusal:
    """Return the one constant operand of a product and whether it is the right one, or why not."""
    left = trace(place.model, place.scope, place.node.input[0])
    right = trace(place.model, place.scope, place.node.input[1])
    if isinstance(right, Root) and not isinstance(left, Root):
        return BOTH_CONSTANT if _is_fixed(place, place.node.input[0]) else (right, True)
    if isinstance(left, Root) and not isinstance(right, Root):
        return BOTH_CONSTANT if _is_fixed(place, place.node.input[1]) else (left, False)
    return _pair(place, left, right)


def _is_fixed(place: NodePlace, name: str) -> bool:
    """Return whether an operand is the same for all data, so that nothing can be calibrated."""
    return is_computed(place.model, place.scope, name, or_default=True)


def _pair(place: NodePlace, left: Root | Stop, right: Root | Stop) -> Refusal:
    """Return why a product is not taken whose operands are both dynamic or both constant."""
    for found in (right, left):
        if isinstance(found, Root):
            return BOTH_CONSTANT
        computed = _computed(place, found)
        if found.refusal.kind is RefusalKind.QUANTISED or computed is not None:
            return computed or found.refusal
    return NO_WEIGHTS


def _computed(place: NodePlace, stop: Stop) -> Refusal | None:
    """Return why a weight made from constants alone is not taken; None if it is not so made."""
    scope = place.model.scopes[stop.scope]
    if not is_computed(place.model, scope, stop.name):  # the makers of what is not are many
        return None
    nodes = makers(place.model, scope, stop.name) or []
    found = stop.refusal
    quantiser = next((node.op_type for node in nodes if is_quantiser(node)), None)
    if quantiser is not None and found.kind is not RefusalKind.QUANTISED:
        reason = (
            f"its weight is quantised, computed from what {quantiser} makes: {REMEDY_QUANTISED}"
        )
        return Refusal(RefusalKind.QUANTISED, reason, quantiser)
    if found.kind is not RefusalKind.DYNAMIC or not found.maker:
        return found
    return Refusal(
        RefusalKind.COMPUTED,
        f"its weight is computed from constants by {found.maker}; fold constants first to prune it",
        found.maker,
    )
