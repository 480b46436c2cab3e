"""Prunes a layer in front of a ReLU by Net-Trim's own program, on activations.

``min ||U||_1  s.t.  ||(U X - Y)_O||_F <= xi ||Y||_F,  (U X)_N <= 0``, where O are the entries of Y
above 0 and N the others: an inactive output may be anything negative. Solved by ADMM with the
outputs, the weights and their sparse copy as three variables. Method ``net-trim`` of the package
works on moments and so on the linear part alone.

Aghasi, Abdi, Nguyen, Romberg 2017 (arXiv 1611.05162). Cost of a step: four products of the weight
with all activations.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from onnx_lobs.arrays import FloatArray

STEPS = 600


def net_trim(
    weight: FloatArray, bias: FloatArray, inputs: FloatArray, xi: float, penalty: float = 100.0
) -> tuple[FloatArray, FloatArray, float]:
    """Return sparse weights, their bias, and the relative error of the ReLU's outputs.

    Parameters
    ----------
    weight
        (rows, columns) of the dense layer.
    bias
        (rows,); moves too, and is not made sparse.
    inputs
        (n, columns).
    xi
        Error allowed, relative to the norm of the dense outputs behind the ReLU.
    penalty
        Of ADMM, on weights; the larger it is, the smaller the steps towards zero.
    """
    x = np.append(inputs, np.ones((len(inputs), 1)), axis=1).T
    scale = np.sqrt(np.mean(np.square(x)) * x.shape[1])  # makes X Xᵀ as large as the identity
    x = x / scale
    start = np.append(weight, bias[:, None], axis=1) * scale
    dense = np.maximum(start @ x, 0)
    active, radius = dense > 0, xi * float(np.linalg.norm(dense))
    factor = cho_factor(x @ x.T + np.eye(len(x)))
    outputs, sparse = start @ x, start.copy()
    drift_outputs, drift = np.zeros_like(outputs), np.zeros_like(sparse)
    step_size = np.abs(start[:, :-1]).mean() * 10 / penalty
    for _ in range(STEPS):
        # the weights nearest to both copies
        wanted = (outputs - drift_outputs) @ x.T + (sparse - drift)
        free = cho_solve(factor, wanted.T).T
        made = free @ x
        # outputs within the ball about the dense ones, or negative
        outputs = _allowed(made + drift_outputs, dense, active, radius)
        before = free + drift
        shrunk = np.maximum(np.abs(before[:, :-1]) - step_size, 0)
        sparse = np.append(np.sign(before[:, :-1]) * shrunk, before[:, -1:], axis=1)
        drift_outputs += made - outputs
        drift += free - sparse
    error = np.linalg.norm(np.maximum(sparse @ x, 0) - dense) / np.linalg.norm(dense)
    return sparse[:, :-1] / scale, sparse[:, -1] / scale, float(error)


def _allowed(made: FloatArray, dense: FloatArray, active: np.ndarray, radius: float) -> FloatArray:
    """Return the nearest outputs that the program allows."""
    away = np.where(active, made - dense, 0.0)
    norm = float(np.linalg.norm(away))
    near = dense + away * min(1.0, radius / max(norm, 1e-300))
    return np.where(active, near, np.minimum(made, 0.0))
