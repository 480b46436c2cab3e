"""Prunes one layer from arrays, for those who have a weight and a Hessian and no model."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike

from onnx_lobs.errors import ConfigError, SolverError
from onnx_lobs.patterns import Pattern, parse_pattern
from onnx_lobs.solvers.methods import solve
from onnx_lobs.solvers.problem import Problem
from onnx_lobs.solvers.solution import Solution


def prune_layer(
    weight: ArrayLike,
    hessian: ArrayLike,
    *,
    sparsity: float | None = None,
    pattern: str | Pattern = "unstructured",
    method: str = "joint",
    damp: float = 1e-3,
    refit: bool | None = None,
    effort: str = "default",
    kernel_size: int = 1,
    cross: ArrayLike | None = None,
    mean: ArrayLike | None = None,
    seed: int = 0,
    memory: int | None = None,
) -> Solution:
    """Return the layer with a share of its weights at zero and the others at their new optimum.

    Minimises ``½ tr((V - W) H (V - W)ᵀ)``, the mean squared change of the outputs per sample, over
    the V with the wanted zeros.

    Parameters
    ----------
    weight
        W (rows, d), or (groups, rows, d) for grouped layers. Any real type; not modified.
    hessian
        H = (2/n) XᵀX of the inputs X (n, d): (d, d), or (groups, d, d). Not modified.
    sparsity
        Share of zeros in [0, 1], of which the pattern takes the closest count that it can hold;
        None: half of the weights, or under N:M the one share that it has.
    pattern
        ``unstructured``, ``N:M`` (keep N of M), ``RxC`` (blocks), or a Pattern.
    method
        A name in ``METHODS``.
    damp
        Fraction of the mean diagonal of H added to it, >= 0; pulls the weights towards W.
    refit
        Whether the exact refit ends the method; None: as the method was made.
    effort
        ``fast``, ``default`` or ``best``.
    kernel_size
        Kernel size; column = input channel * kernel_size + position. N:M and blocks run along the
        channels.
    cross
        (2/n) TᵀX of other targets T than ``X Wᵀ``, shape of `weight`.
    mean
        E[x] (d,) or (groups, d), for ``apoz``.
    seed
        For ``random``.
    memory
        Bytes that may be allocated beyond these arrays; None: no limit.

    Returns
    -------
    Solution
        `weight` and `mask` in the shape of `weight`, float64 and bool.

    Raises
    ------
    SolverError
        When shapes do not fit or values are not finite; its subclasses when the Hessian is no
        second moment or the pattern cannot hold the sparsity.
    ConfigError
        When the pattern, method or effort is unknown or they do not go together, when N:M has
        another share than `sparsity`, or when `memory` is too little; the message names the least.

    Notes
    -----
    Time and memory are the method's; see the docstring of its module.

    >>> found = prune_layer([[3.0, 1.0], [2.0, 5.0]], [[1.0, 0.0], [0.0, 1.0]], sparsity=0.5)
    >>> found.weight
    array([[3., 0.],
           [0., 5.]])
    """
    w = np.asarray(weight, dtype=np.float64)
    h = np.asarray(hessian, dtype=np.float64)
    flat = w.ndim == 2
    y = None if cross is None else np.asarray(cross, dtype=np.float64)
    if flat:
        w, h, y = w[None], h[None], None if y is None else y[None]
    if w.ndim != 3:
        raise SolverError(f"weight has {w.ndim} dimensions; it must have 2 or 3")
    chosen = parse_pattern(pattern) if isinstance(pattern, str) else pattern
    shape = w.shape[0], w.shape[1], w.shape[2]
    problem = Problem(
        weight=w,
        hessian=h,
        n_prune=chosen.closest(shape, _share(sparsity, chosen), kernel_size),
        cross=y,
        pattern=chosen,
        kernel_size=kernel_size,
        damp=damp,
        seed=seed,
        memory=memory,
        mean=None if mean is None else np.atleast_2d(np.asarray(mean, dtype=np.float64)),
    )
    solution = solve(problem, method, refit, effort)
    if not flat:
        return solution
    return dataclasses.replace(solution, weight=solution.weight[0], mask=solution.mask[0])


def _share(sparsity: float | None, pattern: Pattern) -> float:
    """Return the share of zeros that is asked for."""
    own = pattern.own_sparsity
    if own is None:
        return 0.5 if sparsity is None else sparsity
    if sparsity is not None and not math.isclose(sparsity, own):
        raise ConfigError(
            f"pattern {pattern} has {own:g} zeros, not {sparsity:g}; leave out the sparsity, or "
            "choose another pattern"
        )
    return own
