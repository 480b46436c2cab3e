"""States the layer problem that every solver gets.

Objective, for V (groups, rows, d) in place of the weight W::

    E(V) = 1/2 sum_g [ tr(V H Vᵀ) - 2 tr(V Yᵀ) ] + c      mean squared change per sample

with H (groups, d, d) = (2/n) XᵀX of the n inputs X the pruned layer will see, Y (groups, rows, d)
= (2/n) TᵀX of the pre-activations T it should give, c = (1/n) ||T||². By default T = X Wᵀ, so
``Y = W H`` and ``E(V) = 1/2 tr((V - W) H (V - W)ᵀ)``.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from onnx_lobs.arrays import Array, FloatArray
from onnx_lobs.errors import NotPositiveDefiniteError
from onnx_lobs.linalg.factor import Damped, damp_gram
from onnx_lobs.patterns import Pattern, Quota, Unstructured
from onnx_lobs.solvers.checks import check_shapes, check_values
from onnx_lobs.solvers.memory import LARGE_SQUARE, Batching, make_batching

MODERATE = 2.0**-24, 2.0**24  # outputs whose squares, and errors, float32 holds


@dataclass
class _Computed:
    """What was computed from the fields of a problem, and is kept until it is forgotten."""

    batching: Batching | None = None
    damped: Damped | None = None
    target: FloatArray | None = None
    energy: float | None = None


@dataclass(frozen=True)
class Problem:
    """One layer to prune. Arrays are converted to float64 and never modified.

    Parameters
    ----------
    weight
        W (groups, rows, d); see :meth:`from_matrix` for two dimensions.
    hessian
        H (groups, d, d) = (2/n) XᵀX.
    n_prune
        Zeros over all groups together; ``pattern.closest(weight.shape, sparsity, kernel_size)``.
    cross
        Y (groups, rows, d) = (2/n) TᵀX, or None for ``W H``: aim at the weight's own outputs.
    pattern
        Where zeros may stand.
    kernel_size
        Product of the kernel's sizes; column = channel * kernel_size + position.
    damp
        lambda as a fraction of the mean diagonal of H: solvers minimise
        ``E(V) + lambda/2 ||V - W||²``, so damping pulls towards W and never towards zero.
    target_energy
        c = (1/n) ||T||², output² per sample. None: ``1/2 tr(W H Wᵀ)`` without `cross`; with it,
        the least c that any T with this Y can have, so that errors count from the
        unconstrained optimum and the part of T that no weight reaches is left out.
    seed
        For methods that draw.
    mean
        E[x] (groups, d) of the inputs, for ``apoz``; whether or not H is about it.
    memory
        Bytes that a solve may allocate beyond these arrays, by the estimates of
        :mod:`onnx_lobs.solvers.memory`; None: batches as large as they are fastest.

    Raises
    ------
    SolverError
        When shapes do not fit or values are not finite.
    InfeasibleError
        When `n_prune` or `kernel_size` is out of range.
    """

    weight: FloatArray
    hessian: FloatArray
    n_prune: int
    cross: FloatArray | None = None
    pattern: Pattern = field(default_factory=Unstructured)
    kernel_size: int = 1
    damp: float = 1e-3
    target_energy: float | None = None
    seed: int = 0
    mean: FloatArray | None = None
    memory: int | None = None
    _computed: _Computed = field(default_factory=_Computed, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        arrays: dict[str, FloatArray | None] = {}
        for name in ("weight", "hessian", "cross", "mean"):
            value = getattr(self, name)
            arrays[name] = None if value is None else np.asarray(value, dtype=np.float64)
            object.__setattr__(self, name, arrays[name])  # while it is made, never later
        check_shapes(arrays, self.kernel_size)
        check_values(arrays, self.n_prune, self.damp)

    @classmethod
    def from_matrix(
        cls,
        weight: ArrayLike,
        hessian: ArrayLike,
        n_prune: int,
        cross: ArrayLike | None = None,
        **options: Any,
    ) -> Problem:
        """Return the problem of one group: weight (rows, d), hessian (d, d), cross (rows, d)."""
        return cls(
            np.asarray(weight, dtype=np.float64)[None],
            np.asarray(hessian, dtype=np.float64)[None],
            n_prune,
            None if cross is None else np.asarray(cross, dtype=np.float64)[None],
            **options,
        )

    def variant(self, **changes: Any) -> Problem:
        """Return the problem with some fields changed; what stays as it is is not computed again.

        Parameters
        ----------
        changes
            Any fields but `hessian`.
        """
        other = dataclasses.replace(self, **changes)
        if other.damp == self.damp:
            other._computed.damped = self._computed.damped
        return other

    @property
    def shape(self) -> tuple[int, int, int]:
        """(groups, rows, d)."""
        groups, rows, columns = self.weight.shape
        return groups, rows, columns

    @property
    def batching(self) -> Batching:
        """How rows are cut into batches so that `memory` is kept.

        Raises
        ------
        ConfigError
            When not even one row at a time fits.
        """
        if self._computed.batching is None:
            self._computed.batching = make_batching(self.shape, self.memory)
        return self._computed.batching

    @property
    def quota(self) -> Quota | None:
        """How many zeros each window of columns gives up in every row; None: no windows."""
        return self.pattern.quota(self.shape[2], self.kernel_size)

    def check_memory(self) -> None:
        """Raise ConfigError when not even one row at a time fits `memory`."""
        make_batching(self.shape, self.memory)

    @property
    def damped(self) -> Damped:
        """A = H + lambda I, factored, with dead inputs decoupled. Computed once."""
        if self._computed.damped is None:
            self._computed.damped = damp_gram(self.hessian, self.damp)
        return self._computed.damped

    @property
    def is_tight(self) -> bool:
        """Whether no d x d array is held longer than it is read: `memory` is bounded, or H large.

        What is read again is computed again, which costs a large layer a tenth of its time.
        """
        groups, _, d = self.shape
        return self.memory is not None or 8 * groups * d**2 >= LARGE_SQUARE

    def normalised(self) -> tuple[Problem, float]:
        """Return the problem with outputs near 1, and the power of two that does it.

        Beyond what float32 can square, all weights would cost nothing, or infinity. It is 1 within
        a wide range; times a power of two nothing else is rounded.
        """
        diagonal = np.diagonal(self.hessian, axis1=1, axis2=2)
        width = math.sqrt(max(float(diagonal.max(initial=0.0)), 0.0))
        size = float(np.abs(self.weight).max(initial=0.0)) * width
        if not MODERATE[0] <= size <= MODERATE[1] and 0 < size < math.inf:
            factor = 2.0 ** -round(math.log2(size))
            cross = None if self.cross is None else factor * self.cross
            energy = None if self.target_energy is None else factor**2 * self.target_energy
            changes = {"weight": factor * self.weight, "cross": cross, "target_energy": energy}
            return self.variant(**changes), factor
        return self, 1.0

    def forget(self) -> None:
        """Free what was computed from H; whoever asks for it again has it computed again."""
        self._computed.damped = None

    @property
    def target(self) -> FloatArray:
        """R (groups, rows, d): ``Y + W lambda``; the damped optimum is ``R A⁻¹``.

        On a dead input R = W A, so a kept weight there keeps W's value.
        """
        if self._computed.target is None:
            self._computed.target = self._target()
        return self._computed.target

    def _target(self) -> FloatArray:
        pull = self.weight * self.damped.strength[:, None, :]
        if self.cross is None:
            fit = self.weight @ self.hessian
        else:
            fit = self.cross
        return np.where(self.damped.dead[:, None, :], 0.0, fit) + pull

    @property
    def inverse(self) -> FloatArray:
        """A⁻¹ (groups, d, d), computed once."""
        return self.damped.inverse

    @property
    def energy(self) -> float:
        """c of the objective: what an all-zero weight costs, output² per sample."""
        if self.target_energy is not None:
            return self.target_energy
        if self._computed.energy is None:
            self._computed.energy = self._energy()
        return self._computed.energy

    def _energy(self) -> float:
        if self.cross is None:
            return 0.5 * float(np.vdot(self.weight @ self.hessian, self.weight))
        live = np.where(self.damped.dead[:, None, :], 0.0, self.cross)
        try:
            plain = damp_gram(self.hessian, 0.0)  # damping would make it too small
        except NotPositiveDefiniteError:
            plain = self.damped  # which repairs what is indefinite by rounding
        return 0.5 * float(np.square(plain.whiten(live.swapaxes(1, 2))).sum())

    def protect_live(self, scores: Array) -> Array:
        """Return `scores` (>= 0) with dead inputs at exactly 0 and all others above it.

        A weight on a dead input changes no output, so it goes first. Not modified.
        """
        dead = np.broadcast_to(self.damped.dead[:, None, :], scores.shape)
        tiny = np.finfo(scores.dtype).tiny
        result: Array = np.where(dead, scores.dtype.type(0), np.maximum(scores, tiny))
        return result


def error(problem: Problem, weight: FloatArray) -> float:
    """Return E(weight), mean squared change per sample; damping is no part of it.

    With `cross` it is a difference of large numbers, so it may be as low as minus the rounding,
    about 1e-13 of the energy; and lower when `target_energy` is too small for the cross.

    Parameters
    ----------
    problem
        The layer. Not modified.
    weight
        (groups, rows, d). Not modified.

    Notes
    -----
    2 m d² flops.
    """
    value = np.asarray(weight, dtype=np.float64)
    if problem.cross is None:
        change = value - problem.weight
        own = 0.5 * float(np.vdot(change @ problem.hessian, change))
        return own + (0.0 if problem.target_energy is None else problem.energy - _own(problem))
    gradient = 0.5 * (value @ problem.hessian) - problem.cross
    return float(np.vdot(gradient, value)) + problem.energy


def _own(problem: Problem) -> float:
    return 0.5 * float(np.vdot(problem.weight @ problem.hessian, problem.weight))
