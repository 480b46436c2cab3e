"""Rates how much at home a dense network is with its inputs, to tell how pixels were scaled.

Where BatchNormalization is still in the network, the mean and the variance that it has kept of each
channel are compared with those of the inputs. Elsewhere outputs that are scores of classes tell: a
network that gets what it was trained on is sure of single samples, and of another class for others.
The rating is then the information that a sample gives about the class, as
Salimans et al. (arXiv 1606.03498) rate generated pictures by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import Array, FloatArray
from onnx_lobs.evaluation.samples import class_scores
from onnx_lobs.graph.model import Model, is_float

FIRST = 3  # normalisations that are looked at; behind them scales make ever less difference
_TINY = 1e-12  # no probability and no variance is less
_NEAR = 1e-3  # that sums of probabilities may differ from 1 by


@dataclass(frozen=True, eq=False)
class KeptMoments:
    """What a BatchNormalization has kept of the value that it reads: (channels,) each."""

    value: str
    mean: FloatArray
    variance: FloatArray


def kept_moments(model: Model) -> list[KeptMoments]:
    """Return those of the first normalisations of the main graph, in its order."""
    found: list[KeptMoments] = []
    for node in model.main.graph.node:
        if node.op_type == "BatchNormalization" and len(found) < FIRST:
            tensors = [model.constant(model.main, name) for name in node.input[3:5]]
            known = [model.value(tensor) for tensor in tensors if tensor is not None]
            if len(known) == 2:
                mean, variance = (value.astype(np.float64) for value in known)
                found.append(KeptMoments(node.input[0], mean, variance))
    return found


def fit_to_moments(kept: Sequence[KeptMoments], values: Mapping[str, Sequence[Array]]) -> float:
    """Return minus the mean Kullback-Leibler divergence of the inputs from what was kept.

    Parameters
    ----------
    kept
        Of some normalisations, at least one.
    values
        What each of them reads, batch by batch, (samples, channels, ...).

    Returns
    -------
    float
        0 where means and variances of all channels agree, else less.
    """
    parts = [_divergence(one, values[one.value]) for one in kept]
    return -float(np.mean(np.concatenate(parts)))


def _divergence(kept: KeptMoments, batches: Sequence[Array]) -> FloatArray:
    rows = [np.moveaxis(batch.astype(np.float64), 1, 0) for batch in batches]
    flat = np.concatenate([row.reshape(len(row), -1) for row in rows], axis=1)
    variance = np.maximum(kept.variance, _TINY)
    own = np.maximum(flat.var(axis=1), _TINY)
    off = (flat.mean(axis=1) - kept.mean) ** 2
    divergence: FloatArray = 0.5 * (np.log(variance / own) + (own + off) / variance - 1)
    return divergence


def informed(outputs: Sequence[Mapping[str, Array]]) -> float | None:
    """Return how much a sample tells of its class, in nats, by the first output that chooses.

    Parameters
    ----------
    outputs
        Of each batch, by name: scores or probabilities of classes along axis 1, or of sequences
        (3 axes) along the last.

    Returns
    -------
    float or None
        The entropy of the mean distribution less the mean entropy, 0 or more; None where no output
        is of that kind, or it is not finite.
    """
    for name in outputs[0]:
        parts = [_distributions(batch[name]) for batch in outputs]
        known = [part for part in parts if part is not None]
        if len(known) == len(parts) and np.isfinite(np.concatenate(known)).all():
            each = np.concatenate(known)
            return float(_entropy(each.mean(axis=0)) - _entropy(each).mean())
    return None


def _entropy(shares: FloatArray) -> FloatArray:
    entropy: FloatArray = -(shares * np.log(np.maximum(shares, _TINY))).sum(axis=-1)
    return entropy


def _distributions(value: Array) -> FloatArray | None:
    """Return (samples and positions, classes) probabilities, or None."""
    if not isinstance(value, np.ndarray) or not is_float(value.dtype) or value.ndim < 2:
        return None
    scores = class_scores(value)
    if scores is None:
        scores = value if value.ndim == 3 else np.moveaxis(value, 1, -1)
    if scores.shape[-1] < 2:
        return None
    flat = scores.reshape(-1, scores.shape[-1]).astype(np.float64)
    if flat.min() >= 0 and np.all(abs(flat.sum(axis=1) - 1) < _NEAR):
        return flat
    powers = np.exp(flat - flat.max(axis=1, keepdims=True))
    shares: FloatArray = powers / powers.sum(axis=1, keepdims=True)
    return shares
