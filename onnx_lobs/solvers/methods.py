"""Holds the table of methods, and runs one of them on a problem.

To add a method, write its function in a file of its own, beside those here, add its line to
``METHODS``, and its name to those of :mod:`onnx_lobs.options.how`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from onnx_lobs.errors import ConfigError, SolverError
from onnx_lobs.linalg.workers import SMALL_LAYER, one_blas_thread
from onnx_lobs.patterns import Pattern
from onnx_lobs.solvers.apoz import select_apoz
from onnx_lobs.solvers.correlation import select_correlation
from onnx_lobs.solvers.exact_obs import select_exact_obs
from onnx_lobs.solvers.iht import select_iht
from onnx_lobs.solvers.joint.joint import EFFORTS, select_joint
from onnx_lobs.solvers.lobs import select_lobs
from onnx_lobs.solvers.lobs_iterative import select_lobs_iterative
from onnx_lobs.solvers.magnitude import select_magnitude
from onnx_lobs.solvers.net_trim import select_net_trim
from onnx_lobs.solvers.obd import select_obd
from onnx_lobs.solvers.problem import Problem
from onnx_lobs.solvers.random_choice import select_random
from onnx_lobs.solvers.refit import refit as refit_mask
from onnx_lobs.solvers.solution import Selection, Solution, conclude, noted
from onnx_lobs.solvers.sparsegpt import select_sparsegpt
from onnx_lobs.solvers.wanda import select_wanda


def takes_any(pattern: Pattern) -> bool:
    """Say that a method chooses by scores alone, which every pattern can do."""
    return True


def takes_tiles(pattern: Pattern) -> bool:
    """Return whether single weights or tiles go, one after the other."""
    return pattern.tile is not None


def takes_columns(pattern: Pattern) -> bool:
    """Return whether a column can be settled without looking at those to its right."""
    return pattern.is_free or pattern.quota(1) is not None


@dataclass(frozen=True)
class Method:
    """One row of the table.

    Attributes
    ----------
    name
        What the user writes.
    function
        Problem -> Selection; with `has_effort`, (Problem, effort) -> Selection.
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
    takes
        Whether it can do a pattern.
    has_effort
        Whether `function` takes the effort.
    is_fit
        Whether its own values are those of the refit, so that there is no bare form.
    """

    name: str
    function: Callable[..., Selection]
    summary: str
    needs_hessian: bool = True
    wants_sequential: bool = True
    refits: bool = True
    prunes_bias: bool = False
    takes: Callable[[Pattern], bool] = takes_any
    has_effort: bool = False
    is_fit: bool = False

    def is_refitted(self, asked: bool | None) -> bool:
        """Return whether the exact refit ends it: as it is asked, or as it was made (None)."""
        return self.refits if asked is None else asked


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            Method(
                "joint",
                select_joint,
                "all zeros chosen jointly by ADMM, improved by exact elimination in a band",
                has_effort=True,
                is_fit=True,
            ),
            Method(
                "exact-obs",
                select_exact_obs,
                "one weight at a time, the cheapest first, all others re-solved exactly",
                takes=takes_tiles,
                is_fit=True,
            ),
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
            Method(
                "lobs-iterative",
                select_lobs_iterative,
                "L-OBS in eight parts, inverses recomputed in between",
                is_fit=True,
            ),
            Method(
                "sparsegpt",
                select_sparsegpt,
                "columns from left to right, errors passed on",
                takes=takes_columns,
            ),
            Method("iht", select_iht, "gradient steps and hard thresholding"),
            Method("net-trim", select_net_trim, "least l1 norm near the layer's outputs"),
            Method("obd", select_obd, "w² H_kk: a diagonal Hessian"),
            Method("wanda", select_wanda, "|w| ||x||, compared inside each row"),
            Method("correlation", select_correlation, "correlation of input and output"),
            Method("apoz", select_apoz, "|E[x] w|: mean contribution to the output"),
            Method(
                "random",
                select_random,
                "drawn by the seed",
                needs_hessian=False,
                wants_sequential=False,
            ),
        )
    }
)


def solve(
    problem: Problem, method: str = "joint", refit: bool | None = None, effort: str = "default"
) -> Solution:
    """Prune one layer.

    Parameters
    ----------
    problem
        The layer. Not modified.
    method
        A name in `METHODS`.
    refit
        Whether the exact refit on the mask ends the method. None: as the method was made, that
        is yes for all but ``lobs``, which is kept as released. ``joint`` and ``exact-obs`` are
        refitted in any case: their own values are that refit.
    effort
        ``fast``, ``default`` or ``best``: how long ``joint`` looks; the others have one way.

    Returns
    -------
    Solution with exactly ``problem.n_prune`` zeros in ``problem.pattern``.

    Raises
    ------
    ConfigError
        When the method or effort is unknown, the method cannot do the pattern, or the problem's
        `memory` holds not even one row at a time.
    InfeasibleError
        When the pattern cannot hold the number of zeros.
    NotPositiveDefiniteError
        When the Hessian is no second moment.
    SolverError
        When the method did not find that many zeros.
    """
    entry = _checked(problem, method, effort)
    normalised, factor = problem.normalised()
    with one_blas_thread(problem.shape[2] < SMALL_LAYER):
        found = _run(normalised, entry, refit, effort)
    if factor == 1:
        return found
    return replace(found, weight=found.weight / factor, error=found.error / factor**2)


def select(problem: Problem, method: str = "joint", effort: str = "default") -> Selection:
    """Return the zeros that a method chooses, for a caller who refits them; as :func:`solve`.

    Its status and info are those of the solution.
    """
    entry = _checked(problem, method, effort)
    normalised, factor = problem.normalised()
    with one_blas_thread(problem.shape[2] < SMALL_LAYER):
        found = noted(normalised, _select(normalised, entry, effort))
    if factor == 1 or found.weight is None:
        return found
    return replace(found, weight=found.weight / factor)


def _select(problem: Problem, entry: Method, effort: str) -> Selection:
    found = entry.function(problem, effort) if entry.has_effort else entry.function(problem)
    zeros = found.mask.size - int(np.count_nonzero(found.mask))
    if zeros != problem.n_prune:
        raise SolverError(
            f"{entry.name} found {zeros} zeros where {problem.n_prune} were asked for: the numbers "
            "of this layer are too far apart for it; use more damping"
        )
    return found


def _run(problem: Problem, entry: Method, refit: bool | None, effort: str) -> Solution:
    selection = _select(problem, entry, effort)
    if entry.is_fit or entry.is_refitted(refit):
        weight = refit_mask(problem, selection.mask)
    elif selection.weight is None:
        weight = problem.weight
    else:
        weight = selection.weight
    return conclude(problem, selection, weight)


def _checked(problem: Problem, method: str, effort: str) -> Method:
    """Return the method; what cannot be done is refused before anything is allocated."""
    entry = _entry(problem, method)
    if effort not in EFFORTS:
        raise ConfigError(f"effort {effort!r} is unknown; choose one of {', '.join(EFFORTS)}")
    if problem.weight.size:
        problem.check_memory()
    return entry


def _entry(problem: Problem, method: str) -> Method:
    if method not in METHODS:
        raise ConfigError(f"method {method!r} is unknown; choose one of {', '.join(METHODS)}")
    entry = METHODS[method]
    if not entry.takes(problem.pattern):
        able = ", ".join(m.name for m in METHODS.values() if m.takes(problem.pattern))
        raise ConfigError(
            f"method {method!r} cannot do pattern {problem.pattern}; choose one of {able}"
        )
    return entry
