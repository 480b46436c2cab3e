"""Layer solvers: arrays in, a Solution out. ``METHODS`` is the table, ``solve`` the door."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from onnx_lobs.errors import ConfigError
from onnx_lobs.pattern import NM, Block, Pattern, Unstructured
from onnx_lobs.solvers.joint import select_joint
from onnx_lobs.solvers.lobs import select_lobs
from onnx_lobs.solvers.magnitude import select_magnitude
from onnx_lobs.solvers.problem import Problem, Selection, Solution, Status, conclude, error
from onnx_lobs.solvers.refit import refit as refit_mask

ALL_PATTERNS: tuple[type[Pattern], ...] = (Unstructured, NM, Block)


@dataclass(frozen=True)
class Method:
    """One row of the table.

    Attributes
    ----------
    name
        What the user writes.
    function
        Problem -> Selection.
    summary
        One line for lists and help.
    needs_hessian
        Whether the *choice* of zeros looks at the data.
    wants_sequential
        Whether it was made for the pruned network's inputs and the dense target (`cross`).
    refits
        Whether it ends in the exact refit unless told otherwise.
    prunes_bias
        Whether the caller should append the bias as one more column of W and H.
    patterns
        Pattern classes it can do.
    """

    name: str
    function: Callable[[Problem], Selection]
    summary: str
    needs_hessian: bool = True
    wants_sequential: bool = True
    refits: bool = True
    prunes_bias: bool = False
    patterns: tuple[type[Pattern], ...] = ALL_PATTERNS


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            Method("joint", select_joint, "all zeros chosen jointly by ADMM, then the exact refit"),
            Method(
                "magnitude",
                select_magnitude,
                "smallest weights of the layer",
                needs_hessian=False,
                wants_sequential=False,
            ),
            Method(
                "lobs",
                select_lobs,
                "L-OBS of the 2017 paper, exactly as released",
                wants_sequential=False,
                refits=False,
                prunes_bias=True,
            ),
        )
    }
)


def solve(problem: Problem, method: str = "joint", refit: bool | None = None) -> Solution:
    """Prune one layer.

    Parameters
    ----------
    problem
        The layer. Not modified.
    method
        A name in `METHODS`.
    refit
        Whether the exact refit on the mask ends the method. None: as the method was made, that
        is yes for all but ``lobs``, which is kept as released.

    Returns
    -------
    Solution with exactly ``problem.n_prune`` zeros in ``problem.pattern``.

    Raises
    ------
    ConfigError
        When the method is unknown or cannot do the pattern.
    InfeasibleError
        When the pattern cannot hold the number of zeros.
    NotPositiveDefiniteError
        When the Hessian is no second moment.
    """
    entry = _entry(problem, method)
    selection = entry.function(problem)
    if entry.refits if refit is None else refit:
        weight = refit_mask(problem, selection.mask)
    elif selection.weight is None:
        weight = problem.weight
    else:
        weight = selection.weight
    return conclude(problem, selection, weight)


def _entry(problem: Problem, method: str) -> Method:
    if method not in METHODS:
        raise ConfigError(f"method {method!r} is unknown; choose one of {', '.join(METHODS)}")
    entry = METHODS[method]
    if not isinstance(problem.pattern, entry.patterns):
        able = ", ".join(
            m.name for m in METHODS.values() if isinstance(problem.pattern, m.patterns)
        )
        raise ConfigError(
            f"method {method!r} cannot do pattern {problem.pattern}; choose one of {able}"
        )
    return entry


__all__ = [
    "METHODS",
    "Method",
    "Problem",
    "Selection",
    "Solution",
    "Status",
    "error",
    "refit_mask",
    "solve",
]
