"""Writes queries and keys of fewer dimensions, with zeros behind them until these are sliced."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import FloatArray
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.channels.projection import Projection
from onnx_lobs.layers.channels.query_key import QueryKey
from onnx_lobs.layers.write import round_weight, write_bias, write_weight


@dataclass(frozen=True, eq=False)
class ReducedProduct:
    """A product of queries and keys of fewer dimensions.

    Parameters
    ----------
    product
        It.
    kept
        How many stay.
    query, key
        (heads, depth, depth) bases, of which the first `kept` columns count.
    """

    product: QueryKey
    kept: int
    query: FloatArray
    key: FloatArray

    @property
    def top(self) -> int:
        """The first top-level node that reads one of the weights."""
        return min(made.layer.uses[0].top for made in (self.product.query, self.product.key))

    def write(self, model: Model) -> None:
        """Write both weights and biases into a model that still has the dense ones."""
        _write(model, self.product.query, self.query, self.kept)
        _write(model, self.product.key, self.key, self.kept)


def rows_of(model: Model, made: Projection) -> tuple[FloatArray, FloatArray]:
    """Return (heads, depth, columns) and (heads, depth): a weight and its bias, zeros for none."""
    layer, slot = made.layer, made.layer.uses[0].bias
    tensor = model.constant(model.main, layer.weight)
    assert tensor is not None
    matrix = layer.matrix(model.value(tensor))[0]
    heads = made.heads
    rows = matrix.reshape(heads, -1, matrix.shape[1])
    bias = np.zeros(rows.shape[:2])
    held = None if slot is None else model.constant(model.main, slot.name)
    if slot is not None and held is not None:
        bias += slot.factor * model.value(held).astype(np.float64).reshape(bias.shape)
    return rows, bias


def _write(model: Model, made: Projection, bases: FloatArray, kept: int) -> None:
    """Multiply what a projection makes by the first columns of its bases."""
    rows, bias = rows_of(model, made)
    basis = np.array(bases)
    basis[..., kept:] = 0
    layer, use = made.layer, made.layer.uses[0]
    new = np.einsum("hde,hdc->hec", basis, rows).reshape(1, -1, rows.shape[2])
    write_weight(model, layer, round_weight(layer, new))
    if bias.any():
        change = np.einsum("hde,hd->he", basis, bias) - bias
        write_bias(model, use, layer, change.reshape(1, -1))
