"""Sums up the gradient of a layer's weight, from its inputs and the gradients at its outputs."""

from __future__ import annotations

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.layers.layer import Layer, Use
from onnx_lobs.linalg.convolution.kernel_sums import sum_pixels, sum_places

SUMMED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
MOST_BYTES = 1 << 26  # of unfolded windows that are held at once


def can_sum(layer: Layer) -> bool:
    """Whether :func:`weight_gradient` knows every use of a layer.

    Not a use inside a branch or loop, one with axes of its own as an Einsum has, or one of a stack
    of matrices.
    """
    return not layer.other_tops and all(
        use.op in SUMMED
        and use.scope == 0
        and use.home is None
        and use.contraction is None
        and (use.unfold is not None or layer.layout.groups == 1)
        for use in layer.uses
    )


def weight_gradient(layer: Layer, use: Use, x: Array, gradient: Array) -> Array:
    """Return the gradient of one use's weight, in the form in which the weight is stored.

    Parameters
    ----------
    layer
        One for which :func:`can_sum` holds.
    use
        One of its uses; the gradients of several are added by the caller.
    x
        Value of the tap, ``use.input``. Not modified.
    gradient
        Gradient at the pre-activation, ``use.output``. Not modified.

    Returns
    -------
    ndarray
        In the stored tensor's shape: the sum of outer products of gradients and observations.

    Notes
    -----
    Cost: one product of the layer's size; windows of several pixels and channels are unfolded, for
    some samples at a time.
    """
    layout = layer.layout
    total = np.zeros((layout.groups, layout.rows, layout.columns), np.float32)
    if use.unfold is None:
        total += _sum(use, x, gradient)
    elif use.unfold.is_pointwise:
        total += sum_pixels(x, gradient, use.groups)
    elif layout.rows == 1 and layout.columns == use.unfold.kernel_size:
        total += sum_places(x, gradient, use.unfold)
    else:
        each = _unfolded_bytes(layer, use, x)
        step = max(1, MOST_BYTES // max(each, 1))
        for start in range(0, len(x), step):
            some = slice(start, start + step)
            total += _sum(use, x[some], gradient[some])
    return layer.chain.invert(layer.layout.from_matrix(total))


def _sum(use: Use, x: Array, gradient: Array) -> Array:
    """Return (groups, rows, columns): outputs' gradients times observations, summed."""
    if use.transposed and gradient.ndim > 1:
        gradient = gradient.swapaxes(-1, -2)
    summed: Array = use.outputs(gradient).swapaxes(1, 2) @ use.observations(x)
    return summed


def _unfolded_bytes(layer: Layer, use: Use, x: Array) -> int:
    """Return the bytes of one sample's observations."""
    one = use.n_observations((1, *x.shape[1:]))
    return one * layer.layout.groups * layer.layout.columns * x.dtype.itemsize
