"""Lets allocations compete: quick trials of many, then finals of the best with the run's method."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from onnx_lobs.evaluation.loss import OutputLoss, is_clearly_lower
from onnx_lobs.report.progress import Progress
from onnx_lobs.run.log import LOGGER
from onnx_lobs.run.zeros import Zeros
from onnx_lobs.search.candidates import between, candidate, moved, plain_name
from onnx_lobs.search.measure import MeasuredLayers
from onnx_lobs.search.race import Scored
from onnx_lobs.search.trial_plan import TrialPlan
from onnx_lobs.search.trials import Runs, Trials

REACH = 3.0  # times the best trial's loss: beyond, uniform zeros need no final to be the worse ones
# of the loss half-way to uniform zeros, at most, in the final, for the winner to go on: it was
# chosen among many by losses on few samples, and no loss is the user's score
PROVEN = 0.8
FAR_BELOW = PROVEN**2  # the same in a trial, which tells less


@dataclass(frozen=True)
class Entrant:
    """An allocation by its name, and its zeros."""

    name: str
    zeros: Zeros


@dataclass(frozen=True)
class Tried:
    """What trials found.

    Parameters
    ----------
    best
        The winner; the likeliest where there was no time for a trial.
    kind
        The allocation that it began as, before random steps.
    losses
        By name, of all kinds that were tried to the end and of the steps that gained.
    n_run
        Trials made.
    n_stopped
        Of them, those that were stopped because they could not win.
    n_cut
        Trials for which there was no time.
    """

    best: Entrant
    kind: str
    losses: Mapping[str, OutputLoss]
    n_run: int
    n_stopped: int = 0
    n_cut: int = 0


@dataclass(frozen=True)
class Finalists:
    """What finals found: the allocation that goes on, and the losses of all that were run.

    With ``is_cut`` there was no time for them.
    """

    best: Entrant
    losses: Mapping[str, OutputLoss]
    is_cut: bool = False


def try_all(
    measured: MeasuredLayers,
    sparsity: float,
    trials: Trials,
    plan: TrialPlan,
    seed: int,
    progress: Progress,
) -> Tried:
    """Try the candidates, then random steps from the best.

    A step multiplies what some layers keep by random factors, scales all to the budget again,
    and stays if the network's loss falls.
    """
    contest = _Contest(trials, plan)
    progress.start("trying allocations", len(plan.names) + plan.steps)
    plain = plain_name(measured, sparsity)
    for name in plan.names:
        entrant = Entrant(name, candidate(measured, sparsity, name))
        contest.enter(entrant, to_end=name == plain)
        progress.advance()
    if contest.best is None:  # no time for one
        first = Entrant(plan.names[0], candidate(measured, sparsity, plan.names[0]))
        return Tried(first, first.name, {}, 0, n_cut=contest.n_cut + plan.steps)
    kind, rng = contest.best.name, np.random.default_rng(seed)
    for step in range(plan.steps):
        zeros = moved(measured, sparsity, contest.best.zeros, rng)
        contest.enter(Entrant(f"{kind}, step {step + 1}", zeros), is_step=True)
        progress.advance()
    return Tried(
        contest.best, kind, contest.losses, contest.n_run, contest.n_stopped, contest.n_cut
    )


class _Contest:
    """The best of the trials made so far, and how many there were."""

    def __init__(self, trials: Trials, plan: TrialPlan) -> None:
        self.trials, self.plan = trials, plan
        self.best: Entrant | None = None
        self.losses: dict[str, OutputLoss] = {}
        self.n_run = self.n_stopped = self.n_cut = 0
        self._score: Scored | None = None

    def enter(self, entrant: Entrant, *, to_end: bool = False, is_step: bool = False) -> None:
        """Try an allocation, if there is time; it is the best one if its loss is the lowest."""
        allowance = self.plan.allowance
        if not allowance.has_time_to_try():
            self.n_cut += 1
            return
        started = allowance.clock.elapsed
        rival = self._score if self.plan.is_race and not to_end else None
        score = self.trials.score(entrant.zeros, rival)
        if not score.is_stopped:
            allowance.clock.note(allowance.work.trial, allowance.clock.elapsed - started)
        LOGGER.info("trial of %s: loss %.4g", entrant.name, score.loss.value)
        self.n_run += 1
        self.n_stopped += score.is_stopped
        is_best = not score.is_stopped and self._is_best(score.loss.value, may_equal=to_end)
        if is_best:
            self.best, self._score = entrant, score
        if is_best or not (is_step or score.is_stopped):
            self.losses[entrant.name] = score.loss

    def _is_best(self, value: float, *, may_equal: bool) -> bool:
        """Whether a loss is the lowest; where all are equal, the plain allocation wins."""
        if self._score is None:
            return True
        least = self._score.loss.value
        return value <= least if may_equal else value < least


def needs_finals(losses: Mapping[str, OutputLoss], winner: str, plain: str) -> bool:
    """Whether the plain allocation was not far behind in the trials, or that is not known."""
    if plain not in losses or winner not in losses:
        return True
    return losses[plain].value <= REACH * losses[winner].value


def is_promising(losses: Mapping[str, OutputLoss], winner: str, plain: str) -> bool:
    """Whether the winner of the trials may prove itself in a final.

    There its loss has to be PROVEN times that of half-way. Who was not even so much below the plain
    allocation in the trials, which flatter their winner, cannot be expected to.
    """
    if plain not in losses or winner not in losses:
        return True
    return losses[winner].value <= PROVEN * losses[plain].value


def settle_half_way(
    measured: MeasuredLayers, sparsity: float, tried: Tried, trials: Trials
) -> Tried:
    """Try half-way, in place of finals that cannot gain much or cost too much.

    The winner goes on if its loss is FAR_BELOW times that of half-way, and no more choices changed;
    half-way if its loss is below that of the plain one.
    """
    plain = plain_name(measured, sparsity)
    if tried.best.name == plain:
        return tried
    middle = half_way(measured, sparsity, tried.best)
    loss = trials.loss(middle.zeros)
    best = middle
    if is_clearly_lower(tried.losses[tried.best.name], loss, FAR_BELOW):
        best = tried.best
    elif loss.value >= tried.losses[plain].value:
        best = Entrant(plain, candidate(measured, sparsity, plain))
    losses = {**tried.losses, middle.name: loss}
    return dataclasses.replace(tried, best=best, losses=losses, n_run=tried.n_run + 1)


def half_way(measured: MeasuredLayers, sparsity: float, winner: Entrant) -> Entrant:
    """Return the allocation between the winner of the trials and the plain one."""
    plain = plain_name(measured, sparsity)
    zeros = between(measured, sparsity, candidate(measured, sparsity, plain), winner.zeros)
    return Entrant(f"half-way from {plain} to {winner.name}", zeros)


def hold_finals(
    measured: MeasuredLayers,
    sparsity: float,
    winner: Entrant,
    runs: Runs,
    progress: Progress,
) -> Finalists:
    """Run allocations on most of the data: the winner of the trials, half-way, the plain one.

    Each has to show that the next is worse, or that one goes on. None is run if the winner is the
    plain one.
    """
    plain = plain_name(measured, sparsity)
    even = candidate(measured, sparsity, plain)
    if winner.zeros == even:
        return Finalists(Entrant(plain, even), {})
    middle = half_way(measured, sparsity, winner)
    entrants = [winner, middle]
    if middle.zeros in (winner.zeros, even):
        del entrants[1]
    entrants.append(Entrant(plain, even))
    progress.start("comparing allocations", len(entrants))
    losses: dict[str, OutputLoss] = {}
    best = winner
    for entrant in entrants:
        losses[entrant.name] = runs.loss(entrant.zeros)
        LOGGER.info("final of %s: loss %.4g", entrant.name, losses[entrant.name].value)
        progress.advance()
        if entrant is not best and _is_proven(
            losses[best.name], losses[entrant.name], is_winner=best is winner
        ):
            break
        best = entrant
    return Finalists(best, losses)


def _is_proven(one: OutputLoss, other: OutputLoss, *, is_winner: bool) -> bool:
    """Whether a loss is lower, and clearly if it is that of the winner of many trials."""
    return is_clearly_lower(one, other, PROVEN) if is_winner else one.value < other.value
