"""Checks the arrays and numbers of a problem, each with the message that says what is wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from onnx_lobs.arrays import FloatArray
from onnx_lobs.errors import InfeasibleError, SolverError


def check_shapes(arrays: Mapping[str, FloatArray | None], kernel_size: int) -> None:
    """Raise unless weight, hessian, cross and mean fit one another.

    Raises
    ------
    SolverError
        When they do not.
    InfeasibleError
        When `kernel_size` does not divide the columns.
    """
    weight, hessian = arrays["weight"], arrays["hessian"]
    assert weight is not None
    assert hessian is not None
    if weight.ndim != 3 or weight.shape[2] == 0:
        raise SolverError(
            f"weight has shape {weight.shape}; it must be (groups, rows, columns >= 1), "
            "or use Problem.from_matrix for (rows, columns)"
        )
    groups, _, columns = weight.shape
    if hessian.shape != (groups, columns, columns):
        raise SolverError(
            f"hessian has shape {hessian.shape}; for a weight of {weight.shape} it must be "
            f"{(groups, columns, columns)}"
        )
    cross, mean = arrays["cross"], arrays["mean"]
    if cross is not None and cross.shape != weight.shape:
        raise SolverError(f"cross has shape {cross.shape}; it must be the weight's {weight.shape}")
    if mean is not None and mean.shape != (groups, columns):
        raise SolverError(f"mean has shape {mean.shape}; it must be {(groups, columns)}")
    if kernel_size < 1 or columns % kernel_size:
        raise InfeasibleError(f"{kernel_size} kernel position do not divide {columns} columns")


def check_values(arrays: Mapping[str, FloatArray | None], n_prune: int, damp: float) -> None:
    """Raise unless weight, cross and mean are finite and the numbers possible.

    The Hessian is checked where it is factored.

    Raises
    ------
    SolverError
        When a value is not finite or `damp` negative.
    InfeasibleError
        When `n_prune` is out of range.
    """
    for name in ("weight", "cross", "mean"):
        value = arrays[name]
        if value is not None and not np.isfinite(value).all():
            raise SolverError(f"the {name} holds NaN or infinity; no error can be measured")
    weight = arrays["weight"]
    assert weight is not None
    if not 0 <= n_prune <= weight.size:
        raise InfeasibleError(f"n_prune is {n_prune}; it must be between 0 and {weight.size}")
    if not (math.isfinite(damp) and damp >= 0):
        raise SolverError(f"damp is {damp}; it must be a finite number >= 0, e.g. 1e-3")
