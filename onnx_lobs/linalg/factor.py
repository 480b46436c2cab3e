"""Damps, factors and inverts symmetric positive matrices in batches.

Shapes: H is (groups, d, d), symmetric, (2/n) XᵀX of inputs X (n, d), and not modified.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.linalg import lapack

from onnx_lobs.arrays import BoolArray, FloatArray
from onnx_lobs.errors import NotPositiveDefiniteError
from onnx_lobs.linalg.triangles import is_symmetric, mirror_lower, symmetrise

DEAD = 1e-13  # of the largest diagonal entry: the float64 rounding left by centring a constant
ASYMMETRY = 1e-6  # of the largest entry: a Gram accumulated in float32 stays below this
FIRST_RAISE = 1e-12  # of the mean diagonal; raised tenfold until Cholesky succeeds
LAST_RAISE = 1e-4  # beyond this the negative direction is no rounding error of a Gram
LARGE = 512  # columns: from here on the copies that NumPy's Cholesky makes cost more than calls
LEAST_PIVOT = 1e-14  # of the mean diagonal: smaller pivots carry no correct digit


@dataclass
class Damped:
    """H made safely positive definite: ``matrix = H + diag(strength)``, dead inputs decoupled.

    It holds either the Cholesky factor L (``matrix = L Lᵀ``) or the inverse, which takes the place
    of L, and never gives L itself away. What it does not hold is made again when it is asked for.
    Not to be asked by several threads before one has.

    Attributes
    ----------
    matrix
        (groups, d, d) float64. A dead input has its own diagonal entry and zeros elsewhere.
    strength
        (groups, d) float64: what was added to the diagonal, unit of H.
    dead
        (groups, d) bool: inputs that never vary, True = dead.
    raised
        Largest fraction of the mean diagonal that had to be added on top of `damp`; 0.0 when
        the damping asked for was enough.
    """

    matrix: FloatArray
    strength: FloatArray
    dead: BoolArray
    raised: float
    _lower: FloatArray | None = field(default=None, repr=False)
    _inverse: FloatArray | None = field(default=None, repr=False)

    @property
    def inverse(self) -> FloatArray:
        """``matrix⁻¹`` (groups, d, d) float64, not to be modified; 2/3 d³ flops, once."""
        if self._inverse is None:
            lower, self._lower = self._factor(), None
            self._inverse = inverse(lower, overwrite=True)
        return self._inverse

    def take_inverse(self) -> FloatArray:
        """Return :attr:`inverse` for the caller to modify; it is held here no longer."""
        taken, self._inverse = self.inverse, None
        return taken

    def whiten(self, right: FloatArray) -> FloatArray:
        """Return ``L⁻¹ right`` (groups, d, n), whose squares sum to ``rightᵀ matrix⁻¹ right``."""
        return np.asarray(np.linalg.solve(self._factor(), right))

    def forget_factor(self) -> None:
        """Free the factor, where only :attr:`matrix` is read from now on."""
        self._lower = None

    def _factor(self) -> FloatArray:
        return cholesky(self.matrix) if self._lower is None else self._lower


def dead_inputs(hessian: FloatArray) -> BoolArray:
    """Return which inputs never vary, (groups, d), True = dead: a diagonal of zero."""
    diagonal = np.diagonal(hessian, axis1=1, axis2=2)
    largest = diagonal.max(axis=1, keepdims=True, initial=0.0)
    dead: BoolArray = diagonal <= DEAD * largest
    return dead


def check_gram(hessian: FloatArray) -> None:
    """Raise NotPositiveDefiniteError unless H is finite, symmetric, with diagonal >= 0."""
    if not np.isfinite(hessian.sum()) and not np.isfinite(hessian).all():
        raise NotPositiveDefiniteError(
            "the Hessian holds NaN or infinity; check the calibration data for both"
        )
    largest = max(float(hessian.max(initial=0.0)), -float(hessian.min(initial=0.0)))
    for matrix in hessian:
        fits, worst = is_symmetric(matrix, ASYMMETRY * largest)
        if not fits:
            raise NotPositiveDefiniteError(
                f"the Hessian is not symmetric: entries differ by {worst:.3g}, largest entry "
                f"{largest:.3g}; pass (2/n) XᵀX"
            )
    lowest = float(np.diagonal(hessian, axis1=1, axis2=2).min(initial=0.0))
    if lowest < -ASYMMETRY * largest:
        raise NotPositiveDefiniteError(
            f"the Hessian has the diagonal entry {lowest:.3g} < 0; a second moment has none"
        )


def damp_gram(hessian: FloatArray, damp: float) -> Damped:
    """Return H with its diagonal raised by `damp` times the mean diagonal of the live inputs.

    Should that not suffice (a Gram of rank < d and ``damp = 0``, or one accumulated in float32),
    the diagonal is raised further, by 1e-12 of its mean and tenfold more each time, and the
    result says so in `raised`.

    Parameters
    ----------
    hessian
        (groups, d, d) float64, symmetric. Not modified.
    damp
        Fraction of the mean diagonal, >= 0; each group has its own mean.

    Raises
    ------
    NotPositiveDefiniteError
        When H holds NaN or infinity, is not symmetric, or has a negative direction.

    Notes
    -----
    d³/3 flops and two d x d arrays per group, those returned.
    """
    check_gram(hessian)
    # the mean diagonal of the live inputs is the unit of damping
    dead = dead_inputs(hessian)
    live = ~dead
    diagonal = np.diagonal(hessian, axis1=1, axis2=2)
    total = np.where(live, diagonal, 0.0).sum(axis=1)
    mean = total / np.maximum(live.sum(axis=1), 1)
    mean = np.where(mean > 0, mean, 1.0)  # a group of dead inputs only: any unit will do
    # dead inputs are cut off from the others
    matrix = hessian.copy()
    for one, is_live in zip(matrix, live, strict=True):
        if not is_live.all():
            one *= is_live
            one *= is_live[:, None]
        symmetrise(one)
    # raise the diagonal, and further until Cholesky succeeds
    strength = np.where(dead, mean[:, None], damp * mean[:, None])
    _add_diagonal(matrix, strength)
    lower, raised = _factor_raising(matrix, mean)
    strength += np.where(dead, 0.0, (raised * mean)[:, None])
    _add_diagonal(matrix, np.where(dead, 0.0, (raised * mean)[:, None]))
    return Damped(matrix, strength, dead, float(raised.max(initial=0.0)), lower)


def cholesky(matrix: FloatArray) -> FloatArray:
    """Return L (groups, d, d), lower, with ``matrix = L Lᵀ``; no damping is added.

    Raises
    ------
    NotPositiveDefiniteError
        When a pivot is not positive, or holds no correct digit.
    """
    try:
        is_large = matrix.shape[-1] >= LARGE
        lower = _factor_large(matrix) if is_large else np.asarray(np.linalg.cholesky(matrix))
    except np.linalg.LinAlgError as error:
        raise NotPositiveDefiniteError(
            "the matrix has a direction of zero or negative curvature; raise damp"
        ) from error
    pivots = np.diagonal(lower, axis1=1, axis2=2) ** 2
    mean = np.diagonal(matrix, axis1=1, axis2=2).mean(axis=1) if matrix.size else np.zeros(0)
    smallest = pivots.min(axis=1, initial=np.inf)
    if not (smallest > LEAST_PIVOT * mean).all():
        raise NotPositiveDefiniteError("the matrix is singular to working precision; raise damp")
    return lower


def inverse(lower: FloatArray, *, overwrite: bool = False) -> FloatArray:
    """Return (L Lᵀ)⁻¹ (groups, d, d), symmetric, from its Cholesky factor; 2/3 d³ flops each.

    In place of the factor, if the caller lets it `overwrite` that.
    """
    result: FloatArray = lower if overwrite else lower.copy()
    for one in result:
        # in Fortran's order the transpose of a lower triangle is an upper one
        _, status = lapack.dpotri(one.T, lower=0, overwrite_c=1)
        if status:
            raise NotPositiveDefiniteError(f"pivot {status} is zero; raise damp")
    mirror_lower(result)
    return result


def _factor_large(matrix: FloatArray) -> FloatArray:
    """Return the Cholesky factors, each made in place of one copy."""
    lower: FloatArray = matrix.copy()
    for one in lower:
        _, status = lapack.dpotrf(one.T, lower=0, clean=1, overwrite_a=1)
        if status:
            raise np.linalg.LinAlgError(f"pivot {status} is not positive")
    return lower


def _add_diagonal(matrix: FloatArray, values: FloatArray) -> None:
    """Add `values` (groups, d) to the diagonals of `matrix` in place."""
    each = np.arange(matrix.shape[-1])
    matrix[:, each, each] += values


def _factor_raising(matrix: FloatArray, mean: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return L and the extra damping per group, as a fraction of `mean`."""
    raised = np.zeros(len(matrix))
    try:
        return cholesky(matrix), raised
    except NotPositiveDefiniteError:
        pass  # some group failed: find which, one by one
    lower = np.empty_like(matrix)
    for group in range(len(matrix)):
        one = matrix[group : group + 1]
        lower[group], raised[group] = _factor_one(one, float(mean[group]))
    return lower, raised


def _factor_one(matrix: FloatArray, mean: float) -> tuple[FloatArray, float]:
    extra = 0.0
    while extra <= LAST_RAISE:
        raised = matrix
        if extra:
            raised = matrix.copy()
            _add_diagonal(raised, np.full(raised.shape[:2], extra * mean))
        try:
            return cholesky(raised)[0], extra
        except NotPositiveDefiniteError:
            extra = max(10 * extra, FIRST_RAISE)
    raise NotPositiveDefiniteError(
        f"the Hessian stays indefinite with {LAST_RAISE:g} of its mean diagonal added; "
        "it is no second moment, check how it was accumulated or raise damp"
    )
