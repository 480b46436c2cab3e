"""Says which layers multiply by a fixed transform of signals: those are left dense."""

from __future__ import annotations

from onnx_lobs.graph.model import Model
from onnx_lobs.layers.layer import Layer
from onnx_lobs.layers.refusal import Refusal, RefusalKind
from onnx_lobs.linalg.signal_transforms import find_transform

MOST_WEIGHTS = 1 << 25  # of a weight that is looked at: transforms are smaller, and reading takes


def fixed_transform(model: Model, layer: Layer) -> Refusal | None:
    """Return why a layer is left dense whose weight nobody trained, or None.

    Cost: the weight is read once.
    """
    if layer.size > MOST_WEIGHTS:
        return None
    tensor = model.constant(model.scopes[layer.scope], layer.weight)
    assert tensor is not None
    found = find_transform(layer.chain.apply(model.value(tensor)))
    if found is None:
        return None
    return Refusal(
        RefusalKind.FIXED_TRANSFORM,
        f"a fixed transform, not a trained weight: {found.value}; left dense unless it is "
        "included (--include) or has a sparsity of its own (--layer-sparsity)",
    )
