"""Finds the layers that read the same input, which are calibrated together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from onnx_lobs.layers.layer import Layer, Use
from onnx_lobs.linalg.gram import gram_bytes
from onnx_lobs.linalg.moments import Calibration


@dataclass(frozen=True)
class SharedInput:
    """Layers that are calibrated together, and the uses whose inputs are read.

    Either several layers that share one tap (their rows are stacked), or one tied layer
    with several uses or earlier readers, or, mostly, one layer with one use.
    """

    layers: tuple[Layer, ...]
    uses: tuple[Use, ...]

    @property
    def top(self) -> int:
        """Index of the top-level node before which the layers are solved."""
        return min(map(_first_read, self.layers))

    @property
    def is_tied(self) -> bool:
        """Whether the weight is read before all its inputs can be seen."""
        return _is_tied(self.layers[0])

    @property
    def gram_bytes(self) -> int:
        """Bytes of the Grams, while they add up: two per use."""
        layout = self.layers[0].layout
        return 2 * gram_bytes(layout.groups, layout.columns) * len(self.uses)

    def parts(self, calibration: Calibration | None) -> Iterator[tuple[Layer, Calibration | None]]:
        """Yield each layer with its own part of the moments."""
        first = 0
        for layer in self.layers:
            rows = slice(first, first + layer.layout.rows)
            first += layer.layout.rows
            yield layer, None if calibration is None else calibration.rows(rows)


def find_shared_inputs(layers: Sequence[Layer]) -> tuple[SharedInput, ...]:
    """Put layers with the same tap together; a tied layer stands alone. In graph order."""
    by_tap: dict[tuple[object, ...], list[Layer]] = {}
    for layer in layers:
        key = ("tied", layer.scope, layer.weight) if _is_tied(layer) else layer.uses[0].tap
        by_tap.setdefault(key, []).append(layer)
    found = [SharedInput(tuple(members), members[0].uses) for members in by_tap.values()]
    return tuple(sorted(found, key=lambda shared: shared.top))


def _first_read(layer: Layer) -> int:
    """Return the index of the first top-level node that reads a layer's weight."""
    return min((*layer.other_tops, *(use.top for use in layer.uses)))


def _is_tied(layer: Layer) -> bool:
    """Whether something else reads the weight before all its inputs can be seen."""
    return len(layer.uses) > 1 or _first_read(layer) < layer.uses[0].top


def within(shared_inputs: Sequence[SharedInput], budget: int) -> Iterator[list[SharedInput]]:
    """Split shared inputs into parts whose Grams fit a budget of bytes; each part is one pass."""
    part: list[SharedInput] = []
    used = 0
    for shared in shared_inputs:
        size = shared.gram_bytes
        if part and used + size > budget:
            yield part
            part, used = [], 0
        part.append(shared)
        used += size
    if part:
        yield part
