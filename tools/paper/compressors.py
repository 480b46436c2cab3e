"""Compresses weights without zeros: low rank, shared values, predicted weights.

Each function takes one weight matrix and a number of bytes, and returns the matrix that can be had
from so many. Low rank: Tai et al. 2015 (arXiv 1511.06067). Shared values and product quantisation:
Gong et al. 2014 (arXiv 1412.6115). Prediction: Denil et al. 2013 (arXiv 1306.0543). None of them
trains here, as the networks that they are compared with are not trained either.
"""

from __future__ import annotations

import math

import numpy as np

from onnx_lobs.arrays import Array, FloatArray

FLOAT = 4  # bytes of a value
SUB_VECTORS = (1, 2, 4, 8)
MOST_BITS = 10
ITERATIONS = 25
RIDGE = 1e-3  # of the mean diagonal of a kernel


def sparse_bytes(size: int, kept: int, value_bytes: int = FLOAT) -> int:
    """Return the bytes of a pruned weight: its values, and a bitmap or 16-bit gaps.

    The less of both is taken; two bytes a gap are enough up to 65,535 zeros in a row.
    """
    return kept * value_bytes + min(math.ceil(size / 8), 2 * kept)


def low_rank(weight: Array, n_bytes: int) -> Array:
    """Return the closest matrix of the rank that the bytes hold, stored as two factors."""
    rows, columns = weight.shape
    return _truncated(weight, n_bytes // (FLOAT * (rows + columns)))


def low_rank_filters(weight: Array, n_bytes: int) -> Array:
    """Return a convolution's weight as vertical filters followed by horizontal ones.

    (outputs, inputs, d, d) is seen as the matrix (inputs d, d outputs), whose truncated singular
    value decomposition is the best pair of (d x 1) and (1 x d) convolutions of a rank.
    """
    outputs, inputs, high, wide = weight.shape
    matrix = weight.transpose(1, 2, 3, 0).reshape(inputs * high, wide * outputs)
    rank = n_bytes // (FLOAT * sum(matrix.shape))
    return _truncated(matrix, rank).reshape(inputs, high, wide, outputs).transpose(3, 0, 1, 2)


def _truncated(matrix: Array, rank: int) -> Array:
    left, values, right = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    found: Array = (left[:, :rank] * values[:rank]) @ right[:rank]
    return found


def cluster(vectors: Array, k: int, seed: int = 0) -> Array:
    """Return the vectors (n, m), each replaced by its nearest of k means; Lloyd's iterations.

    Means begin at values spread evenly over one component, at random vectors otherwise.
    """
    if vectors.shape[1] == 1:
        means = np.linspace(vectors.min(), vectors.max(), k)[:, None]
    else:
        means = vectors[np.random.default_rng(seed).choice(len(vectors), k, replace=False)]
    nearest = np.zeros(len(vectors), np.int64)
    for _ in range(ITERATIONS):
        nearest = _nearest(vectors, means)
        counts = np.bincount(nearest, minlength=k)
        sums = np.stack([np.bincount(nearest, column, minlength=k) for column in vectors.T], axis=1)
        means = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], means)
    return means[_nearest(vectors, means)]


def _nearest(vectors: Array, means: Array) -> Array:
    """Return the index of each vector's nearest mean, some vectors at a time."""
    half = 0.5 * np.square(means).sum(1)
    step = max(1, (1 << 22) // len(means))
    parts = [
        np.argmax(vectors[start : start + step] @ means.T - half, axis=1)
        for start in range(0, len(vectors), step)
    ]
    return np.concatenate(parts)


def shared_values(weight: Array, n_bytes: int) -> tuple[Array, str]:
    """Return the weight from a codebook that fits, and what that was.

    Sub-vectors of 1, 2, 4 or 8 inputs of a row, and as many means as the bytes hold for indices and
    codebook; of these the one nearest to the weight. Of one component that is k-means on single
    weights; of more, product quantisation with one codebook. Too few bytes for any: zeros.
    """
    best, name = np.zeros(weight.shape), "nothing fits"
    for length in SUB_VECTORS:
        bits = _bits(weight.size, length, n_bytes)
        if weight.shape[1] % length or not bits:
            continue
        k = min(1 << bits, weight.size // length)
        found = cluster(weight.reshape(-1, length).astype(np.float64), k).reshape(weight.shape)
        if np.square(found - weight).sum() < np.square(best - weight).sum():
            best, name = found, f"{k} means of {length}"
    return best, name


def _bits(size: int, length: int, n_bytes: int) -> int:
    """Return the most bits an index may have; 0 where none fits."""
    n = math.ceil(size / length)
    fitting = [
        bits
        for bits in range(1, MOST_BITS + 1)
        if math.ceil(n * bits / 8) + FLOAT * length * (1 << bits) <= n_bytes
    ]
    return max(fitting, default=0)


def distance_kernel(high: int, wide: int, width: float = 1.0) -> FloatArray:
    """Return exp(-d²/2 width²) between all pixels of an image, for weights that are smooth."""
    places = np.stack(np.meshgrid(np.arange(high), np.arange(wide), indexing="ij"), -1)
    flat = places.reshape(-1, 2).astype(np.float64)
    squares = np.square(flat[:, None] - flat[None]).sum(-1)
    kernel: FloatArray = np.exp(-squares / (2 * width**2))
    return kernel


def predicted(
    weight: Array,
    kernel: FloatArray,
    n_bytes: int,
    seed: int = 0,
    hessian: FloatArray | None = None,
) -> Array:
    """Return a weight of which a random part of the inputs is stored and the rest predicted.

    Every row w is ``U v`` with ``U = K_a (K_aa + ridge)⁻¹`` for the stored inputs a, the same for
    all rows. Without a Hessian v is w at these inputs; with one, the v that changes the layer's
    outputs least. K is taken to be known, so its bytes do not count.
    """
    rows, columns = weight.shape
    n_stored = min(columns, n_bytes // (FLOAT * rows))
    if not n_stored:
        return np.zeros(weight.shape)
    stored = np.sort(np.random.default_rng(seed).permutation(columns)[:n_stored])
    own = kernel[np.ix_(stored, stored)]
    own = own + RIDGE * np.trace(own) / n_stored * np.eye(n_stored)
    basis = np.linalg.solve(own, kernel[stored]).T
    if hessian is None:
        return weight[:, stored] @ basis.T
    pull = RIDGE * np.trace(hessian) / columns * np.eye(columns)
    normal = basis.T @ (hessian + pull) @ basis
    values = np.linalg.lstsq(normal, basis.T @ (hessian + pull) @ weight.T, rcond=None)[0]
    return values.T @ basis.T
