"""Defines what is pruned: a stored weight (Layer), nodes that multiply by it (Use), or a Skip."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnx_lobs.arrays import Array, FloatArray
from onnx_lobs.layers.bias_slot import BiasSlot
from onnx_lobs.layers.chain import Chain
from onnx_lobs.layers.contraction import Contraction
from onnx_lobs.layers.layout import WeightLayout
from onnx_lobs.layers.refusal import Refusal
from onnx_lobs.layers.stored_weight import StoredWeight
from onnx_lobs.linalg.convolution.geometry import Unfold, n_positions, output_sizes, resolve
from onnx_lobs.linalg.convolution.unfold import Chosen, pixels_as_observations, unfold


@dataclass(frozen=True)
class Use:
    """One node that multiplies a tapped activation by the layer's weight.

    Parameters
    ----------
    node, op
        Label for messages, and the operator.
    scope, output
        Index of the scope of the tap, which is the node's too unless it is in a loop, and the
        node's first output.
    top
        Index of the top-level node that is this node or contains it.
    input
        Name of the tapped activation.
    groups, batch
        Groups of a convolution; batch axes of a MatMul weight.
    unfold
        Geometry of a convolution, None for Gemm and MatMul.
    contraction
        What the axes of the activation are, where they do not stand as in a MatMul.
    transposed
        Whether samples run along the last axis of the input rather than the one before.
    scale
        Factor of the product (Gemm's alpha).
    bias
        Where a mean correction goes, or None if nowhere.
    home
        Index of the node's scope where that is not the tap's; else None.
    """

    node: str
    op: str
    scope: int
    output: str
    top: int
    input: str
    groups: int
    batch: tuple[int, ...] = ()
    unfold: Unfold | None = None
    transposed: bool = False
    scale: float = 1.0
    bias: BiasSlot | None = None
    home: int | None = None
    contraction: Contraction | None = None

    @property
    def tap(self) -> tuple[object, ...]:
        """Key of the Gram: uses with equal keys see the same observations."""
        return (
            self.scope, self.input, self.groups, self.batch, self.unfold, self.transposed,
            self.scale, self.contraction,
        )  # fmt: skip

    def n_observations(self, shape: tuple[int, ...]) -> int:
        """Return how many observations an activation of `shape` gives."""
        if 0 in shape:  # (0,): the tap of a branch that is not taken
            return 0
        if self.unfold is not None:
            return n_positions(shape, self.unfold)
        if self.contraction is not None:
            return self.contraction.n_observations(shape)
        if len(shape) == 1:
            return 1
        lead = np.broadcast_shapes(shape[:-2], self.batch)
        return math.prod(lead) // self.groups * shape[-1 if self.transposed else -2]

    def output_sizes(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return a convolution's output along its spatial axes, for an activation of `shape`.

        () for a product.
        """
        if self.unfold is None:
            return ()
        return output_sizes(shape[2:], resolve(self.unfold, shape[2:]))

    def outputs(self, y: Array, chosen: Chosen = None) -> Array:
        """Return the use's own output as observations (groups, n, rows).

        Of a convolution, at the `chosen` positions that :meth:`observations` takes; it is a copy.
        Of a product with a matrix, all.
        """
        if self.unfold is None:
            return y.reshape(1, -1, y.shape[-1])
        return pixels_as_observations(y, self.groups, chosen)

    def observations(self, x: Array, chosen: Chosen = None) -> Array:
        """Return the activation as observations (groups, n, columns).

        `chosen` holds ascending indices in 0 .. n_observations(x.shape) - 1, or is None for all,
        or what :func:`~onnx_lobs.linalg.convolution.unfold.unfold` takes. With the layer's
        matrices M,
        ``observations(x) @ M.transpose(0, 2, 1)`` are the pre-activations.
        """
        if self.unfold is not None:
            return unfold(x, self.unfold, self.groups, chosen)
        if self.transposed and x.ndim > 1:
            x = x.swapaxes(-1, -2)
        flat = self._stack(x)
        if chosen is not None:
            flat = flat[:, np.asarray(chosen, np.int64)]
        if self.scale == 1:
            return flat
        wide = np.result_type(flat.dtype, np.float32)  # half precision would round the product
        scaled: Array = flat * np.asarray(self.scale, wide)
        return scaled

    def _stack(self, x: Array) -> Array:
        """Return (groups, observations, columns), whatever axes the weight and `x` have."""
        if self.contraction is not None:
            return self.contraction.observations(x)
        if not any(size > 1 for size in self.batch):
            return x.reshape(1, -1, x.shape[-1])
        x = np.atleast_2d(x)
        lead = np.broadcast_shapes(x.shape[:-2], self.batch)
        fixed = (1,) * (len(lead) - len(self.batch)) + self.batch
        # axes that only the weight has are groups; axes that only x has are observations
        wanted = tuple(f if f > 1 else s for f, s in zip(fixed, lead, strict=True))
        x = np.broadcast_to(x, (*wanted, *x.shape[-2:]))
        group_axes = [i for i, f in enumerate(fixed) if f > 1]
        other = [i for i in range(x.ndim) if i not in group_axes]
        stacked: Array = x.transpose(*group_axes, *other)
        return stacked.reshape(self.groups, -1, x.shape[-1])


@dataclass(frozen=True)
class Layer:
    """One stored weight and every node that multiplies by it.

    Parameters
    ----------
    name, op
        Shown in the report: the first node's name, or the weight's; its operator.
    scope, weight
        Where the stored tensor lies: index of the scope, name of the initializer or of the
        Constant node's output.
    chain
        From the stored tensor to the tensor that the nodes see.
    layout
        From that tensor to the matrices of the layer problem.
    dtype
        Stored type.
    uses
        At least one; several for a tied weight, all with the same layout.
    other_tops
        Indices of the top-level nodes that are, or contain, other readers of the weight, in order.
        They see the pruned weight; nothing is measured of what they make of it.
    """

    name: str
    op: str
    scope: int
    weight: str
    chain: Chain
    layout: WeightLayout
    dtype: np.dtype[Any]
    uses: tuple[Use, ...]
    other_tops: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """Number of weights."""
        return math.prod(self.layout.shape)

    @property
    def stored(self) -> StoredWeight:
        """The weight as a constant of the file."""
        return StoredWeight(self.scope, self.weight, self.size)

    @property
    def kernel_size(self) -> int:
        """Kernel positions per input channel; 1 for Gemm and MatMul."""
        geometry = self.uses[0].unfold
        return 1 if geometry is None else geometry.kernel_size

    @property
    def is_depthwise(self) -> bool:
        """Whether it is a convolution with one input channel per group."""
        is_conv = self.uses[0].unfold is not None
        return is_conv and self.layout.groups > 1 and self.layout.columns == self.kernel_size

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that include and exclude patterns are matched with."""
        return (self.name, self.weight, *(use.node for use in self.uses))

    def matrix(self, stored: Array) -> FloatArray:
        """Return the stored tensor as (groups, rows, columns) in float64."""
        return self.layout.to_matrix(self.chain.apply(stored)).astype(np.float64)


@dataclass(frozen=True)
class Skip:
    """A node with weights that was not taken, why, and the constants that it multiplies by."""

    node: str
    op: str
    refusal: Refusal
    held: tuple[StoredWeight, ...] = ()

    @property
    def reason(self) -> str:
        """Why, in a sentence."""
        return self.refusal.reason
