"""Reduces what queries and keys have in common, with the least change of their products.

A head's logits are q kᵀ, with D numbers in each query and key. With A and B (D, r), queries q A
and keys k B have r numbers, and their products change by q (I - A Bᵀ) kᵀ. Over all pairs the mean
square of that is ``|Cq^½ (I - A Bᵀ) Ck^½|²`` in the Frobenius norm, with the second moments Cq and
Ck. The best product of rank r is the truncated singular value decomposition of ``Cq^½ Ck^½``
(Eckart, Young 1936), whose factors are nested: one pair of bases holds the optimum of every r in
its first columns. arXiv 2602.05243 reduces queries and keys in closed form like this.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import FloatArray


@dataclass(frozen=True, eq=False)
class LogitBases:
    """Bases of queries and keys, for every number of dimensions at once.

    Parameters
    ----------
    query, key
        (heads, D, D); the first r columns are A and B. Columns that no data reach are zero.
    energy
        (heads, D) the mean square of the logits that each dimension brings, descending.
    """

    query: FloatArray
    key: FloatArray
    energy: FloatArray

    @property
    def loss(self) -> FloatArray:
        """(D + 1,) what is lost of all heads' logits without so many dimensions, as a share."""
        by_dimension = self.energy.sum(axis=0)
        total = by_dimension.sum()
        lost = np.concatenate([[0.0], np.cumsum(by_dimension[::-1])])
        return np.asarray(lost / total if total > 0 else lost)

    def lost_share(self, query: FloatArray, key: FloatArray, kept: int) -> float:
        """Return what is lost of the logits of other moments (heads, D, D), as a share."""
        change = _identity(query) - self.query[..., :kept] @ _turned(self.key[..., :kept])
        # tr(Cq M Ck Mᵀ), no squares of roots
        lost = np.einsum("hij,hij->", query @ change @ key, change)
        energy = np.einsum("hij,hij->", query, key)
        return float(lost / energy) if energy > 0 else 0.0


def logit_bases(query: FloatArray, key: FloatArray) -> LogitBases:
    """Return the best bases for moments of queries and keys.

    Parameters
    ----------
    query, key
        (heads, D, D) second moments; they may be singular. Not modified.

    Notes
    -----
    With ``Cq^½ Ck^½ = U S Vᵀ``, A is ``Ck^½ V S^-½`` and B is ``Cq^½ U S^-½``, which takes no
    inverse of a moment. Cost: some 50 D³ flops per head.
    """
    query_root, key_root = _root(query), _root(key)
    left, sizes, right = np.linalg.svd(query_root @ key_root)
    # below rounding nothing is left of a dimension
    limit = sizes.max(axis=-1, keepdims=True) * query.shape[-1] * np.finfo(np.float64).eps
    is_there = sizes > limit
    scale = np.zeros_like(sizes)
    scale[is_there] = sizes[is_there] ** -0.5
    return LogitBases(
        key_root @ _turned(right) * scale[:, None],
        query_root @ left * scale[:, None],
        np.where(is_there, sizes**2, 0.0),
    )


def _root(moments: FloatArray) -> FloatArray:
    """Return the symmetric root; what rounding made negative is zero."""
    values, vectors = np.linalg.eigh(moments)
    scaled = vectors * np.sqrt(np.maximum(values, 0.0))[:, None]
    return np.asarray(scaled @ _turned(vectors))


def _turned(matrices: FloatArray) -> FloatArray:
    return np.swapaxes(matrices, -1, -2)


def _identity(matrices: FloatArray) -> FloatArray:
    return np.broadcast_to(np.eye(matrices.shape[-1]), matrices.shape)
