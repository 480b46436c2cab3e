"""Lets allocations compete: quick trials of many, then finals of the best with the run's method."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from onnx_lobs.evaluation.loss import OutputLoss, is_clearly_lower
from onnx_lobs.report.progress import Progress
from onnx_lobs.run.log import LOGGER
from onnx_lobs.run.zeros import Zeros
from onnx_lobs.search.candidates import between, candidate, candidates, moved, names, plain_name
from onnx_lobs.search.measure import MeasuredLayers
from onnx_lobs.search.trials import Runs, Trials

REACH = 3.0  # times the best trial's loss: beyond, uniform zeros need no final to be the worse ones
# of the loss half-way to uniform zeros, at most, in the final, for the winner to go on: it was
# chosen among many by losses on few samples, and no loss is the user's score
PROVEN = 0.8


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
        The winner.
    kind
        The allocation that it began as, before random steps.
    losses
        By name, of all kinds and of the steps that gained.
    n_run
        Trials made.
    """

    best: Entrant
    kind: str
    losses: Mapping[str, OutputLoss]
    n_run: int


@dataclass(frozen=True)
class Finalists:
    """What finals found: the allocation that goes on, and the losses of all that were run."""

    best: Entrant
    losses: Mapping[str, OutputLoss]


def try_all(
    measured: MeasuredLayers,
    sparsity: float,
    trials: Trials,
    steps: int,
    seed: int,
    progress: Progress,
) -> Tried:
    """Try every candidate, then random steps from the best.

    A step multiplies what some layers keep by random factors, scales all to the budget again,
    and stays if the network's loss falls.
    """
    n_run = len(names(measured, sparsity)) + steps
    progress.start("trying allocations", n_run)
    losses: dict[str, OutputLoss] = {}
    best, least = Entrant("", {}), math.inf
    for name, zeros in candidates(measured, sparsity):
        losses[name] = trials.loss(zeros)
        LOGGER.info("trial of %s: loss %.4g", name, losses[name].value)
        if losses[name].value < least:
            best, least = Entrant(name, zeros), losses[name].value
        progress.advance()
    kind = best.name
    rng = np.random.default_rng(seed)
    for step in range(steps):
        zeros = moved(measured, sparsity, best.zeros, rng)
        loss = trials.loss(zeros)
        if loss.value < least:
            best, least = Entrant(f"{kind}, step {step + 1}", zeros), loss.value
            losses[best.name] = loss
        progress.advance()
    return Tried(best, kind, losses, n_run)


def needs_finals(losses: Mapping[str, OutputLoss], winner: str, plain: str) -> bool:
    """Whether the plain allocation was not far behind in the trials, or there were none."""
    return not losses or losses[plain].value <= REACH * losses[winner].value


def hold_finals(
    measured: MeasuredLayers, sparsity: float, winner: Entrant, runs: Runs, progress: Progress
) -> Finalists:
    """Run allocations on most of the data: the winner of the trials, half-way, the plain one.

    Each has to show that the next is worse, or that one goes on. None is run if the winner is the
    plain one.
    """
    plain = plain_name(measured, sparsity)
    even = candidate(measured, sparsity, plain)
    if winner.zeros == even:
        return Finalists(Entrant(plain, even), {})
    middle = between(measured, sparsity, even, winner.zeros)
    entrants = [winner, Entrant(f"half-way from {plain} to {winner.name}", middle)]
    if middle in (winner.zeros, even):
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
