"""Measures products of queries and keys: what the logits lose without some of their dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import FloatArray
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.channels.projection import Projection
from onnx_lobs.layers.channels.query_key import QueryKey
from onnx_lobs.linalg.gram import Gram
from onnx_lobs.linalg.moments import Moments
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.run.channels.reduced import ReducedProduct, rows_of
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.setup import Setup
from onnx_lobs.run.slots import layer_key
from onnx_lobs.search.trials import layer_moments
from onnx_lobs.solvers.channels.query_key import LogitBases, logit_bases


@dataclass(frozen=True, eq=False)
class MeasuredProduct:
    """The best bases of a product, and (depth + 1,) its loss without so many dimensions."""

    product: QueryKey
    bases: LogitBases
    loss: FloatArray

    def without(self, count: int) -> ReducedProduct:
        """Return the product without so many dimensions."""
        kept = self.product.depth - count
        return ReducedProduct(self.product, kept, self.bases.query, self.bases.key)


def measure_products(
    setup: Setup, networks: Networks, products: Sequence[QueryKey], scratch: Scratch
) -> tuple[MeasuredProduct, ...]:
    """Return the curve of every product, on the dense network's inputs.

    Keys are taken less their mean, as a Softmax over them does not know it. Losses are those of
    held-out samples where there are any, and no lower than what was fitted.

    Notes
    -----
    Cost: one forward pass and the Grams of what queries and keys are made of; then
    :func:`~onnx_lobs.solvers.channels.query_key.logit_bases`.
    """
    made = [each for product in products for each in (product.query, product.key)]
    part = setup.only({layer_key(each.layer) for each in made}).with_options(sequential=False)
    if not part.layers:
        return ()
    # moments of what is made are small, those of what it is made of need not stay
    roles = {layer_key(p.query.layer): (p.query, False) for p in products}
    roles |= {layer_key(p.key.layer): (p.key, True) for p in products}
    found: dict[str, list[FloatArray | None]] = {}
    for layer, calibration in layer_moments(part, networks.only_dense(), scratch):
        projection, is_key = roles[layer_key(layer)]
        found[layer_key(layer)] = [
            _made_moments(networks.dense, projection, sums, centred=is_key)
            for sums in (calibration.fit, calibration.held)
        ]
    return tuple(_measured(each, found) for each in products)


def _measured(product: QueryKey, found: dict[str, list[FloatArray | None]]) -> MeasuredProduct:
    """Return the bases of a product and its curve."""
    queries, keys = (found[layer_key(each.layer)] for each in (product.query, product.key))
    assert queries[0] is not None
    assert keys[0] is not None
    bases = logit_bases(queries[0], keys[0])
    loss = bases.loss
    if queries[1] is not None and keys[1] is not None:
        kept = range(product.depth - 1, -1, -1)  # with all, nothing is written
        held = [0.0] + [bases.lost_share(queries[1], keys[1], count) for count in kept]
        loss = np.maximum(np.maximum.accumulate(held), loss)
    return MeasuredProduct(product, bases, np.asarray(loss))


def _made_moments(
    dense: Model, made: Projection, moments: Sequence[Moments], *, centred: bool
) -> FloatArray | None:
    """Return (heads, depth, depth) second moments of what a projection makes; None: of nothing."""
    inputs: Gram = moments[0].inputs
    if not inputs.count:
        return None
    rows, bias = rows_of(dense, made)
    spread = inputs.scatter(centred=True)[0] / inputs.count
    around = np.asarray(rows @ spread @ np.swapaxes(rows, -1, -2))
    if centred:
        return around
    mean = rows @ inputs.mean[0] + bias
    return np.asarray(around + mean[:, :, None] * mean[:, None, :])
