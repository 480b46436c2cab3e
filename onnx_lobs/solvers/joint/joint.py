"""Prunes by the default method: zeros chosen jointly by ADMM, improved by exact elimination.

Objective: the damped layer error of :mod:`onnx_lobs.solvers.problem` over all weights that the
pattern allows. ADMM (:mod:`onnx_lobs.solvers.admm`) finds row budgets and nearly all of the
support; rounds of local search (:mod:`onnx_lobs.solvers.joint.local_search`) let the doubtful
weights in and eliminate them again exactly, which is where greedy elimination is better than ADMM.
A pattern whose zeros go together in no tiles keeps ADMM's mask. Where damping is strong, ADMM's own
mask stays if the search raised the error without damping. The exact refit on the final support
follows.

How long it looks is the effort: ``fast`` 48 steps and one round; ``default`` 96 steps (192 where
a step is cheap, 48 or 72 where one is dear, 144 to 288 where damping is strong, and there the
better of two runs of ADMM if the layer has few rows) and two rounds or four;
``best`` starts from ADMM of 288 steps with two relaxations and from exact elimination, gives each
rounds until they gain less than 0.05 %, and links them (:mod:`onnx_lobs.solvers.joint.linking`), or
keeps a mask from before if damping is strong, that one's error without it is less and with it no
worse than magnitude's; so does
``default`` on tiny layers, where a slower ADMM is another start. The choice and its reason are in
the info.

Papers: Meng et al., ALPS, NeurIPS 2024 (arXiv 2406.07831); Frantar, Alistarh, OBC, NeurIPS 2022.
Cost: 2 m d² flops per step, d³ per penalty, and per round what :mod:`onnx_lobs.solvers.joint.band`
says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from onnx_lobs.arrays import BoolArray
from onnx_lobs.errors import ConfigError
from onnx_lobs.solvers.admm import SLOW, Iterate, Schedule, iterate, make_resolvent
from onnx_lobs.solvers.exact_obs import elimination_costs
from onnx_lobs.solvers.joint.linking import Candidate, damped_gain, link, search
from onnx_lobs.solvers.problem import Problem, error
from onnx_lobs.solvers.refit import refit, refit_nearly
from onnx_lobs.solvers.scaled import Scaled
from onnx_lobs.solvers.solution import Selection, Status

EFFORTS = ("fast", "default", "best")
LAST_PENALTY = 1.2  # in scaled columns; beyond it the support stands still
FIRST_PENALTY = 0.7  # times the least squares' eigenvalue scale 1/median(G̃_jj), at most 0.1
PERIOD = 8
DAMPED_FROM, DAMPED_TO = 0.02, 0.8  # penalties where damping is strong and many weights are kept:
DAMPED_PERIOD = 4  # search gains little there, so ADMM's own mask has to be the best one
DAMPED_STEPS, FEW_DAMPED_STEPS, CHEAP_DAMPED_STEPS = 144, 192, 288  # the second: few are kept
# on narrow layers ADMM's error differs by 0.5 % between schedules, and numbers of threads
OTHER_DAMPED = Schedule(start=0.1, growth=1.033, period=3, still=1e-3, last=240)
MANY_KEPT = 0.2
CHEAP_STEP = 2e8  # flops: below, twice the steps cost less than a second
DEAR_STEP = 1.5e10  # above, fewer steps:
DEAR_STEPS, FEW_DEAR_STEPS = 48, 72  # the second where few are kept and rounds are quick
CHEAP_ROUND = 5  # steps: below, two more rounds
DEAR_ROUND = 5e11  # flops of a round's factorisations from which the band is made narrower
TINY = 2e8  # flops of an exact elimination below which `default` can afford every start
MODEST = 27  # times d³ flops: what more steps may take on layers of few rows
OTHER_RELAX = 1.7  # of the second ADMM: no better than the first, but different
STRONG_DAMP = 5e-3  # of the mean diagonal: from here on the damped error is not all that counts
SHARE, NARROW = 0.3, 0.1  # of the smaller side of a row's support, on both sides of the band


@dataclass(frozen=True)
class EffortPlan:
    """What an effort comes to on one layer, and why; `other` is the schedule of a second ADMM."""

    schedule: Schedule
    other: Schedule | None
    rounds: int
    share: float
    many: bool
    reason: str


def select_joint(problem: Problem, effort: str = "default") -> Selection:
    """Return the best mask found.

    Parameters
    ----------
    problem
        The layer. Not modified.
    effort
        ``fast``, ``default`` or ``best``.
    """
    if problem.n_prune in (0, problem.weight.size):
        return Selection(np.full(problem.shape, problem.n_prune == 0))
    # ADMM finds nearly all of the support, rounds of search the rest
    scaled = Scaled(problem)
    plan = make_plan(scaled, effort)
    end = best_iterate(problem, scaled, plan)
    mask, source = _improve(problem, scaled, end, plan)
    info: dict[str, float | str | int] = {
        "effort": effort,
        "plan": plan.reason,
        "steps": end.steps,
        "penalty": end.penalty,
        "support": source,
    }
    unsettled = end.moved > 0.05 * min(problem.n_prune, problem.weight.size - problem.n_prune)
    status = Status.STALLED if unsettled else Status.SOLVED
    return Selection(mask, None, status, info)


def best_iterate(problem: Problem, scaled: Scaled, plan: EffortPlan) -> Iterate:
    """Return where ADMM ended, of two by different schedules the one with the lower error."""
    if plan.other is None:
        return iterate(problem, scaled, plan.schedule)
    schedules = plan.schedule, plan.other
    resolvent = make_resolvent(scaled, *schedules)
    ends = [iterate(problem, scaled, schedule, resolvent) for schedule in schedules]
    return min(ends, key=lambda end: error(problem, refit_nearly(scaled, end.mask)))


def step_cost(problem: Problem) -> float:
    """Return the flops of one ADMM step."""
    return 2.0 * problem.weight.size * problem.shape[2]


def make_plan(scaled: Scaled, effort: str) -> EffortPlan:
    """Return steps, rounds and band for an effort, by the cost of a step and of a round.

    Raises
    ------
    ConfigError
        When the effort is unknown.
    """
    if effort not in EFFORTS:
        raise ConfigError(f"effort {effort!r} is unknown; choose one of {', '.join(EFFORTS)}")
    # what a step of ADMM costs, and the factorisations of a round
    groups, rows, d = scaled.problem.shape
    step = step_cost(scaled.problem)
    kept = 1 - scaled.problem.n_prune / scaled.problem.weight.size
    side = min(kept, 1 - kept)
    factor = groups * rows * (d * side * (1 + SHARE)) ** 3 / 3
    # steps: more where they are cheap or damping is strong, fewer where they are dear
    steps = {"fast": 48, "default": 96, "best": 288}[effort]
    reason = f"{effort}: {step / 1e9:.2g} GFlop a step, {factor / 1e9:.2g} a round"
    other = None
    if effort == "default":
        steps, why = _default_steps(scaled.problem, step, kept)
        reason += why
        if steps == DAMPED_STEPS and is_narrow(scaled.problem):
            other, reason = OTHER_DAMPED, f"{reason}; two schedules, the layer is narrow"
    # rounds: more where they are cheap, one in a narrow band where they are dear
    rounds = {"fast": 1, "default": 2, "best": 8}[effort]
    if effort == "default" and factor < CHEAP_ROUND * step:
        rounds, reason = 4, reason + "; four rounds, they are cheap"
    share = SHARE
    if effort != "best" and factor > DEAR_ROUND:
        rounds, share, reason = 1, NARROW, reason + "; one round in a narrow band, it is dear"
    # every start where the effort asks for it or the layer is tiny
    many = effort == "best"
    if effort == "default" and _is_tiny(scaled.problem):
        steps, rounds, many, reason = 192, 4, True, reason + "; every start, it is tiny"
        other = None
    return EffortPlan(_schedule(scaled, steps, kept), other, rounds, share, many, reason)


def _is_tiny(problem: Problem) -> bool:
    groups, rows, d = problem.shape
    return float(groups * rows) * d**3 < TINY


def _default_steps(problem: Problem, step: float, kept: float) -> tuple[int, str]:
    """Return the steps of `default` and why they are not 96."""
    if step > DEAR_STEP:
        steps = DEAR_STEPS if kept >= MANY_KEPT else FEW_DEAR_STEPS
        return steps, "; fewer steps, they are dear"
    if problem.damp >= STRONG_DAMP:
        steps = DAMPED_STEPS if kept >= MANY_KEPT else FEW_DAMPED_STEPS
        steps = CHEAP_DAMPED_STEPS if step < CHEAP_STEP else steps
        return steps, "; more steps, damping is strong"
    if step < CHEAP_STEP:
        return 192, "; twice the steps, they are cheap"
    if _is_modest(96 * step, problem):
        return 192, "; twice the steps, the layer has few rows"
    return 96, ""


def is_narrow(problem: Problem) -> bool:
    """Return whether two runs of ADMM take little beside the layer's factorisations.

    Never where windows have a quota of zeros: there the first run is well below exact elimination.
    """
    steps = DAMPED_STEPS + OTHER_DAMPED.last
    return problem.quota is None and _is_modest(steps * step_cost(problem), problem)


def _is_modest(flops: float, problem: Problem) -> bool:
    """Return whether products of so many flops take little beside the layer's factorisations."""
    groups, _, d = problem.shape
    return flops < MODEST * groups * float(d) ** 3


def _schedule(scaled: Scaled, steps: int, kept: float) -> Schedule:
    # from a penalty at the scale of the least squares to one at which the support stands still
    middle = float(np.median(scaled.inverse_diagonal))
    start = float(min(0.1, FIRST_PENALTY / max(middle, 1.0)))
    end, period = LAST_PENALTY, PERIOD
    if scaled.problem.damp >= STRONG_DAMP and kept >= MANY_KEPT:
        start, end, period = min(start, DAMPED_FROM), DAMPED_TO, DAMPED_PERIOD
    changes = max(1, steps // period - 2)
    return Schedule(
        start=start,
        growth=(end / start) ** (1 / changes),
        period=period,
        relax=1.4 if kept < MANY_KEPT else 1.0,
        still=1e-3,
        last=steps,
    )


def _improve(
    problem: Problem, scaled: Scaled, end: Iterate, plan: EffortPlan
) -> tuple[BoolArray, str]:
    """Return the best mask of rounds from ADMM and, if planned, from all other starts."""
    if problem.pattern.tile is None:
        return end.mask, "admm"  # nothing is eliminated exactly
    first, source = _search(problem, scaled, end, plan)
    if not plan.many:
        return first, source
    # other starts: another relaxation, exact elimination, a slow ADMM
    found = [Candidate.of(problem, first, source)]
    other = iterate(problem, scaled, replace(plan.schedule, relax=OTHER_RELAX))
    slow = [iterate(problem, scaled, SLOW)] if _is_tiny(problem) else []
    costs = elimination_costs(problem, scaled)
    exact = problem.pattern.select(costs, problem.n_prune, problem.kernel_size)
    for name, mask, values in (
        ("relaxed admm", other.mask, other.values),
        ("exact elimination", exact, None),
        *(("slow admm", one.mask, one.values) for one in slow),
    ):
        better = search(problem, scaled, mask, values, plan.rounds, plan.share)
        found.append(Candidate.of(problem, better, f"{name} + search"))
    # and magnitude's mask, below which no damping may lead
    large = problem.protect_live(np.square(problem.weight))
    plain = problem.pattern.select(large, problem.n_prune, problem.kernel_size)
    magnitude = Candidate.of(problem, plain, "magnitude")
    found.append(magnitude)
    # where two masks differ one of them is wrong: try both, exactly
    linked, origin = link(problem, scaled, found, plan.share)
    if problem.damp < STRONG_DAMP:
        return linked, origin
    # the least error without damping, of the masks that gain no less than magnitude's with it
    best, least = (linked, origin), error(problem, refit(problem, linked))
    for before, name in (first, source), (end.mask, "admm"), (other.mask, "relaxed admm"):
        weight = refit(problem, before)
        found_error = error(problem, weight)
        if found_error < least and damped_gain(problem, weight) >= magnitude.gain:
            best, least = (before, name), found_error
    return best


def _search(
    problem: Problem, scaled: Scaled, end: Iterate, plan: EffortPlan
) -> tuple[BoolArray, str]:
    """Return ADMM's mask after rounds of search, or as it is where damping leads them astray.

    Rounds lower the damped error. Where damping is strong, that is to a good part the pull
    towards W, and beyond ADMM's mask the error itself may rise: then the first round is undone.
    """
    rounds = plan.rounds if problem.damp < STRONG_DAMP else 1
    found = search(problem, scaled, end.mask, end.values, rounds, plan.share)
    if rounds < plan.rounds:
        weights = [refit_nearly(scaled, mask) for mask in (end.mask, found)]
        if error(problem, weights[1]) > error(problem, weights[0]):
            return end.mask, "admm"
        values = weights[1] * scaled.scale[:, None, :]
        found = search(
            problem, scaled, found, values, plan.rounds - rounds, plan.share, fitted=True
        )
    return found, "admm + search"
