"""What is noted of the dense network for one group: its inputs, or its own outputs, where read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from onnx_lobs.arrays import Array, Feeds
from onnx_lobs.calibration.reading import Reading
from onnx_lobs.calibration.shared_inputs import SharedInput
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.taps import tap_name
from onnx_lobs.layers.bias import bias_values
from onnx_lobs.layers.layer import Layer, Use

# rows per column, up to which outputs cost no more than inputs: 2 n m d flops against 3 n d²
MOST_ROWS = 1.5
WIDE_TYPES = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)  # others round sums


@dataclass(frozen=True)
class DenseObservations:
    """Observations of the dense network: what a use read there, or what it gave.

    ``data`` is (groups, n, columns), or (groups, n, rows) if it ``is_output``: the pre-activations
    without the bias.
    """

    data: Array
    is_output: bool

    @property
    def count(self) -> int:
        """Number of observations."""
        return int(self.data.shape[1])


class Note:
    """How the observations of one group are taken from the dense network's values.

    Parameters
    ----------
    dense
        For the bias that the network's outputs hold.
    reading
        Of the group: which columns.
    types
        Element type of every tap, by scope and name.

    Attributes
    ----------
    is_output
        Whether the layer's outputs are noted rather than its inputs.
    """

    def __init__(
        self, dense: Model, reading: Reading, types: Mapping[tuple[int, str], int]
    ) -> None:
        self.reading = reading
        self.use = reading.group.uses[0]
        self.key = key_of(self.use)
        self.is_output = _gives_outputs(reading.group, types)
        self.is_conv = self.use.unfold is not None
        self._bias = _bias(dense, reading.group.layers[0]) if self.is_output else None

    @property
    def name(self) -> tuple[int, str]:
        """The value to be shown, by scope and name."""
        return (0, self.use.output) if self.is_output else (self.use.scope, self.use.input)

    def read(self, batch: int, shown: Feeds) -> Array:
        """Return the observations as they are stored: of convolutions, each in one run."""
        values = shown[tap_name(*self.name)]
        if values.size == 0:  # of a branch that is not taken
            return np.empty((self.use.groups, 0, 0), values.dtype)
        if not self.is_output:
            return self._columns(
                batch, values, self.use.output_sizes(values.shape), self.use.columns
            )
        sizes = values.shape[2:] if self.is_conv else ()
        outputs = self._columns(batch, values, sizes, self.use.outputs)
        if self._bias is not None:
            outputs -= self._bias
        return outputs

    def _columns(
        self,
        batch: int,
        values: Array,
        sizes: tuple[int, ...],
        columns: Callable[..., Array],
    ) -> Array:
        pieces = self.reading.pieces(self.use, len(values), sizes, batch)
        found = [columns(values[piece], chosen) for piece, chosen in pieces]
        if not self.is_conv:
            return found[0]
        turned = [some.swapaxes(1, 2) for some in found]
        return turned[0] if len(turned) == 1 else np.concatenate(turned, axis=2)

    def restore(self, stored: Array) -> DenseObservations:
        """Return what :meth:`read` stored."""
        return DenseObservations(stored.swapaxes(1, 2) if self.is_conv else stored, self.is_output)


def key_of(use: Use) -> str:
    """Return the name under which the columns of a group with this first use are noted."""
    return f"{use.scope}:{use.output}"


def _gives_outputs(group: SharedInput, types: Mapping[tuple[int, str], int]) -> bool:
    """Whether a layer's own outputs are noted: they are W z in full precision, and no more."""
    use, layout = group.uses[0], group.layers[0].layout
    if use.scope or len(group.layers) > 1 or layout.rows > MOST_ROWS * layout.columns:
        return False
    if types[use.scope, use.input] not in WIDE_TYPES:
        return False
    if use.op in ("Conv", "ConvTranspose"):
        return use.bias is not None
    return (
        use.op == "MatMul" and not use.transposed and layout.groups == 1 and len(layout.shape) == 2
    )


def _bias(dense: Model, layer: Layer) -> Array | None:
    """Return what a convolution adds to W z, (groups, rows, 1); None if nothing."""
    slot = layer.uses[0].bias
    if layer.uses[0].unfold is None or slot is None or slot.source is None:
        return None
    values = bias_values(dense, slot, np.dtype(np.float32))
    return values.reshape(layer.layout.groups, layer.layout.rows, 1)
