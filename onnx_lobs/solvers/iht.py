"""Prunes by iterative hard thresholding: a gradient step on the layer error, then the projection.

A pruned weight comes back where the gradient pulls it above the smallest that is kept: so the zeros
are found together with the values, by products with the Hessian alone.

Objective: the damped layer error of :mod:`onnx_lobs.solvers.problem`, in columns scaled to a unit
diagonal::

    V <- project(V - (V Ã - R̃) / L)        L the largest eigenvalue of Ã

with the scaled largest weights of the pattern kept, from W until the support has stood still for
ten steps. It needs no factorisation.

Paper: Blumensath, Davies 2009 (arXiv 0805.0510); for networks with calibration data only, Jin et
al. 2016 (arXiv 1607.05423) without its retraining. Cost: 2 m d² flops a step, at most 200.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse.linalg import eigsh

from onnx_lobs.arrays import RealArray
from onnx_lobs.solvers.admm import project
from onnx_lobs.solvers.problem import Problem
from onnx_lobs.solvers.scaled import Scaled
from onnx_lobs.solvers.solution import Selection, Status

STEPS = 200
STILL = 10
SMALL = 96  # inputs: up to here all eigenvalues take less time than one by Lanczos' method
CLOSE = 1e-3  # which approaches it from below to within this, relatively
MARGIN = 1.01


def select_iht(problem: Problem) -> Selection:
    """Return the last support and its values."""
    scaled = Scaled(problem)
    shape = problem.shape
    target = scaled.target.reshape(shape)
    # a step of this length never raises the error
    rate = 1 / (MARGIN * largest_eigenvalue(scaled.matrix))[:, None, None]
    value = scaled.weight.reshape(shape)
    mask = project(problem, value)
    value = value * mask
    still = step = 0
    while still < STILL and step < STEPS:
        step += 1
        # along the gradient, then onto the pattern
        moved = value - rate * (value @ scaled.matrix - target)
        before, mask = mask, project(problem, moved)
        value = moved * mask
        still = still + 1 if np.array_equal(mask, before) else 0
    status = Status.SOLVED if still >= STILL else Status.STALLED
    weight = value.astype(np.float64) / scaled.scale[:, None, :]
    return Selection(mask, weight, status, {"steps": step})


def largest_eigenvalue(matrix: RealArray) -> RealArray:
    """Return each matrix's largest eigenvalue, (groups,): by Lanczos' method if it is large.

    That starts from a random direction: any vector made from the matrix's own entries may be
    orthogonal to the eigenvector sought, and a step too long diverges.
    """
    if matrix.shape[1] <= SMALL:
        return np.asarray(np.linalg.eigvalsh(matrix)[:, -1])
    start = np.random.default_rng(0).standard_normal(matrix.shape[1:2]).astype(matrix.dtype)
    found = [eigsh(one, 1, which="LA", v0=start, tol=CLOSE)[0][0] for one in matrix]
    return np.asarray(found, dtype=matrix.dtype)
