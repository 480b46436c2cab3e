"""Takes the target of one shared input from the dense network: its inputs, or its own outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx

from onnx_lobs.arrays import Array, Feeds
from onnx_lobs.calibration.observation_choice import ObservationChoice
from onnx_lobs.calibration.shared_inputs import SharedInput
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.taps import tap_name
from onnx_lobs.layers.bias import bias_values
from onnx_lobs.layers.layer import Layer, Use
from onnx_lobs.layers.operators import OPERATORS
from onnx_lobs.linalg.accumulator import TargetObservations

# rows per column, up to which outputs cost no more than inputs: 2 n m d flops against 3 n d²
MOST_ROWS = 1.5
WIDE_TYPES = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)  # others round sums


class DenseTarget:
    """Takes what one shared input aims at from the dense network's values.

    Parameters
    ----------
    dense
        For the bias that the network's outputs hold.
    choice
        Which observations of the shared input are read.
    types
        Element type of every tap, by scope and name.

    Attributes
    ----------
    is_output
        Whether the layer's outputs are taken rather than its inputs.
    """

    def __init__(
        self, dense: Model, choice: ObservationChoice, types: Mapping[tuple[int, str], int]
    ) -> None:
        self.choice = choice
        self.use = choice.shared.uses[0]
        self.key = key_of(self.use)
        self.is_output = _gives_outputs(choice.shared, types)
        self.is_conv = self.use.unfold is not None
        self._bias = _bias(dense, choice.shared.layers[0]) if self.is_output else None

    @property
    def name(self) -> tuple[int, str]:
        """The value to be tapped, by scope and name."""
        return (0, self.use.output) if self.is_output else (self.use.scope, self.use.input)

    def read(self, batch: int, tapped: Feeds) -> Array:
        """Return the observations as they are stored: of convolutions, each column in one run."""
        values = tapped[tap_name(*self.name)]
        if values.size == 0:  # of a branch that is not taken
            return np.empty((self.use.groups, 0, 0), values.dtype)
        if not self.is_output:
            sizes = self.use.output_sizes(values.shape)
            return self._chosen(batch, values, sizes, self.use.observations)
        sizes = values.shape[2:] if self.is_conv else ()
        outputs = self._chosen(batch, values, sizes, self.use.outputs)
        if self._bias is not None:
            outputs -= self._bias
        return outputs

    def _chosen(
        self,
        batch: int,
        values: Array,
        sizes: tuple[int, ...],
        lay_out: Callable[..., Array],
    ) -> Array:
        """Return the observations of a batch that are chosen, laid out by a method of the use."""
        pieces = self.choice.pieces(self.use, len(values), sizes, batch)
        found = [lay_out(values[piece], chosen) for piece, chosen in pieces]
        if not self.is_conv:
            return found[0]
        turned = [some.swapaxes(1, 2) for some in found]
        return turned[0] if len(turned) == 1 else np.concatenate(turned, axis=2)

    def restore(self, stored: Array) -> TargetObservations:
        """Return what :meth:`read` stored."""
        return TargetObservations(stored.swapaxes(1, 2) if self.is_conv else stored, self.is_output)


def key_of(use: Use) -> str:
    """Return the name under which the target of a shared input with this first use is stored."""
    return f"{use.scope}:{use.output}:{use.input}"


def _gives_outputs(shared: SharedInput, types: Mapping[tuple[int, str], int]) -> bool:
    """Whether a layer's own outputs are taken: they are W z in full precision, and no more."""
    use, layout = shared.uses[0], shared.layers[0].layout
    if (
        use.scope
        or use.home is not None
        or len(shared.layers) > 1
        or layout.rows > MOST_ROWS * layout.columns
    ):
        return False
    if types[use.scope, use.input] not in WIDE_TYPES:
        return False
    if use.unfold is not None:
        return use.bias is not None
    is_matrix = not use.transposed and layout.groups == 1 and len(layout.shape) == 2
    return OPERATORS[use.op].is_bare and is_matrix


def _bias(dense: Model, layer: Layer) -> Array | None:
    """Return what a convolution adds to W z, (groups, rows, 1); None if nothing."""
    slot = layer.uses[0].bias
    if layer.uses[0].unfold is None or slot is None or slot.source is None:
        return None
    values = bias_values(dense, slot, np.dtype(np.float32))
    return values.reshape(layer.layout.groups, layer.layout.rows, 1)
