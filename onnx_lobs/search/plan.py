"""Chooses the zeros of a run.

Every layer's error against its zeros is known from one exact elimination on the dense network's
inputs, and what the network's outputs make of that error from pruning this layer alone. Sums of
the first, weighted by powers of the second, give allocations between "equal slope of the layers'
own errors" and "equal slope of the outputs' error"; which is best depends on how much of an error
later layers repair, which nothing but a trial tells. So all are tried, with ``uniform`` and
``erk``, and the best is varied at random and kept where it gains. Trials are quick and can mislead,
so if ``uniform`` is not far behind, runs with the method itself on most of the data tell how far to
go from what ``uniform`` does towards the winner: all the way, half-way, or not at all.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping

import numpy as np

from onnx_lobs.allocation.choice import is_measured
from onnx_lobs.allocation.rules import RULES, Slot, check_limits, limits
from onnx_lobs.arrays import FloatArray
from onnx_lobs.evaluation.loss import OutputLoss, is_clearly_lower
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.options.config import has_target
from onnx_lobs.report.progress import Progress
from onnx_lobs.report.record import AllocationRecord
from onnx_lobs.run.schedule import is_staged
from onnx_lobs.run.slots import make_slots, wanted_sparsity
from onnx_lobs.run.workspace import Workspace
from onnx_lobs.search.candidates import (
    GLOBAL,
    between,
    by_rule,
    candidate,
    candidates,
    moved,
    names,
    plain_name,
    with_price,
)
from onnx_lobs.search.measure import MeasuredLayers, by_layer, measure, observations_of
from onnx_lobs.search.trial_judge import NothingToCompareError
from onnx_lobs.search.trial_samples import samples_needed, samples_scored, trial_flops
from onnx_lobs.search.trials import Trials
from onnx_lobs.search.trials import finals as make_finals

REACH = 3.0  # times the best trial's loss: beyond, uniform zeros need no final to be the worse ones
# of the loss half-way to uniform zeros, at most, in the final, for the winner to go on: it was
# chosen among many by losses on few samples, and no loss is the user's score
PROVEN = 0.8
STEPS = {"fast": 0, "default": 4, "best": 24}
CHEAP_STEPS = {"fast": 0, "default": 12, "best": 24}
CHEAP_TRIAL = 1e10  # flops of a trial, a few tenths of a second
ENOUGH_SCORED = 512  # samples that score a trial: on fewer, more steps fit their noise


class Planner:
    """Chooses the zeros of every layer, for one sparsity or several.

    Parameters
    ----------
    work
        The run. A warning may be added to it; nothing else is changed.
    scratch
        Where values go that do not fit memory.
    progress
        Told of every step.

    Notes
    -----
    Layers are measured once, when the first choice needs it, and candidates are tried once: later
    choices hold finals between the kind of allocation that won the trials and ``uniform``.
    """

    def __init__(self, work: Workspace, scratch: Scratch, progress: Progress) -> None:
        self.work, self.scratch, self.progress = work, scratch, progress
        config = work.config
        free = sum(slot.fixed is None for slot in make_slots(work.layers, config))
        by_cost = config.allocation in RULES and config.budget != "weights"
        asks = is_measured(config, work.pattern) or by_cost
        self.has_choice = asks and free >= 2 and work.pattern.own_sparsity is None
        if self.has_choice and is_staged(work):
            work.warnings.append(_too_large(work))
            self.has_choice = False
        self.kind = None if config.allocation == "auto" else config.allocation
        self.has_finals = self.kind is None and config.effort != "fast"
        self._trials: Trials | None = None
        self._measured: MeasuredLayers | None = None
        self._steps = STEPS[config.effort]

    def choose(self, work: Workspace) -> AllocationRecord | None:
        """Put the zeros for the sparsity of `work` into its budgets.

        Returns
        -------
        AllocationRecord or None
            How the choice was made; None where there is none to make: the options name a rule,
            the pattern has its own count, data reach only one free layer, or nothing can be
            measured.

        Raises
        ------
        ConfigError
            When the limits of the layers do not allow a saving of bytes or multiplications.
        """
        if work.config.budget != "weights" and not has_target(self.work.config):
            check_limits(self._priced_slots(), wanted_sparsity(work.config, work.pattern))
        if not self.has_choice:
            return None
        started = time.perf_counter()
        if self.kind not in RULES or self.has_finals:
            try:
                trials, measured = self._measure()
            except NothingToCompareError as error:
                work.warnings.append(_not_compared(work, error))
                self.kind, self.has_finals = "uniform", False
            else:
                if sum(slot.fixed is None for slot in measured.slots) < 2:  # that data reach
                    self.kind, self.has_finals = "uniform", False
        if self.kind is not None and self.kind in RULES and not self.has_finals:
            work.budgets = by_rule(work, self._slots(observations_of(work)), self.kind)
            return None
        before = trials.n_run
        tried: dict[str, OutputLoss] = {}
        if self.kind is None:
            name, zeros = self._search(work, measured, trials, tried)
        else:
            name = GLOBAL if self.kind == "global" else self.kind
            if name not in names(work, measured):  # at this sparsity
                name = plain_name(work, measured)
            zeros = candidate(work, measured, name)
        finals: dict[str, OutputLoss] = {}
        if self.has_finals and _is_near(tried, name, plain_name(work, measured)):
            name, zeros, finals = self._finals(work, measured, name, zeros)
        work.budgets = zeros
        return AllocationRecord(
            chosen=name,
            budget=work.config.budget,
            losses={each: loss.value for each, loss in tried.items()},
            finals={each: dataclasses.asdict(loss) for each, loss in finals.items()},
            sensitivity=by_layer(work.layers, measured.sensitivity),
            trials=trials.n_run - before,
            seconds=time.perf_counter() - started,
        )

    def limits(self) -> tuple[float, float]:
        """Return the least and the largest sparsity that the limits of the layers allow."""
        return limits(self._priced_slots())

    def _priced_slots(self) -> list[Slot]:
        """Return the layers, with what their weights cost where the zeros go by that."""
        config = self.work.config
        if config.budget == "weights" or not self.has_choice:
            return make_slots(self.work.layers, config)
        return self._slots(observations_of(self.work))

    def _measure(self) -> tuple[Trials, MeasuredLayers]:
        if self._trials is None or self._measured is None:
            work = self.work
            columns = observations_of(work)
            by_key = by_layer(work.layers, columns)
            needed = samples_needed(work, by_key)
            scored = samples_scored(work, by_key, needed)
            is_cheap = trial_flops(work, by_key, needed, scored) <= CHEAP_TRIAL
            if is_cheap and scored >= ENOUGH_SCORED:
                self._steps = CHEAP_STEPS[work.config.effort]
            self._trials = Trials(work, needed, scored, self.scratch)
            slots = self._slots(columns)
            self._measured = measure(
                work, slots, columns, self._trials, self.scratch, self.progress
            )
        return self._trials, self._measured

    def _search(
        self,
        work: Workspace,
        measured: MeasuredLayers,
        trials: Trials,
        tried: dict[str, OutputLoss],
    ) -> tuple[str, dict[str, int]]:
        """Try every candidate, then random steps from the best; return the best, with its name.

        A step multiplies what some layers keep by random factors, scales all to the budget again,
        and stays if the network's loss falls.
        """
        self.progress.start("trying allocations", len(names(work, measured)) + self._steps)
        name, zeros, least = "", dict[str, int](), math.inf
        for other, found in candidates(work, measured):
            tried[other] = trials.loss(found)
            if tried[other].value < least:
                name, zeros, least = other, found, tried[other].value
            self.progress.advance()
        self.kind = name
        rng = np.random.default_rng(work.config.seed)
        for step in range(self._steps):
            found = moved(work, measured, zeros, rng)
            loss = trials.loss(found)
            if loss.value < least:
                name, zeros, least = f"{self.kind}, step {step + 1}", found, loss.value
                tried[name] = loss
            self.progress.advance()
        trials.release()  # what follows needs the memory
        return name, zeros

    def _finals(
        self, work: Workspace, measured: MeasuredLayers, winner: str, zeros: dict[str, int]
    ) -> tuple[str, dict[str, int], dict[str, OutputLoss]]:
        """Run allocations on most of the data: the winner of the trials, half-way, the plain one.

        Each has to show that the next is worse, or that one goes on. Returns it with its name, and
        the losses of all that were run; none if the winner is the plain one.
        """
        plain = plain_name(work, measured)
        even = candidate(work, measured, plain)
        if zeros == even:
            return plain, even, {}
        middle = f"half-way from {plain} to {winner}"
        entrants = {winner: zeros, middle: between(work, measured, even, zeros), plain: even}
        if entrants[middle] in (zeros, even):
            del entrants[middle]
        runs = make_finals(work, self.scratch)
        self.progress.start("comparing allocations", len(entrants))
        finals: dict[str, OutputLoss] = {}
        best = winner
        for name, each in entrants.items():
            finals[name] = runs.loss(each)
            self.progress.advance()
            if name != best and _is_proven(finals[best], finals[name], best == winner):
                break
            best = name
        return best, entrants[best], finals

    def _slots(self, columns: FloatArray) -> list[Slot]:
        """Return the layers with what one of their weights costs."""
        slots = make_slots(self.work.layers, self.work.config)
        pairs = zip(self.work.layers, slots, columns, strict=True)
        return [with_price(self.work, layer, slot, n) for layer, slot, n in pairs]


def _is_near(tried: Mapping[str, OutputLoss], name: str, plain: str) -> bool:
    """Whether the plain allocation was not far behind in the trials, or there were none."""
    return not tried or tried[plain].value <= REACH * tried[name].value


def _is_proven(one: OutputLoss, other: OutputLoss, is_winner: bool) -> bool:
    """Whether a loss is lower, and clearly if it is that of the winner of many trials."""
    return is_clearly_lower(one, other, PROVEN) if is_winner else one.value < other.value


def _not_compared(work: Workspace, error: NothingToCompareError) -> str:
    return (
        f"allocation {work.config.allocation!r} tries what pruning does to the outputs, but "
        f"{error}: zeros were shared evenly (uniform); give a model with a floating output"
    )


def _too_large(work: Workspace) -> str:
    return (
        f"allocation {work.config.allocation!r} and budgets other than weights need the whole "
        "model in one session, but its weights exceed their share of --memory: zeros were shared "
        "by a rule; give more --memory, or choose --allocation uniform or erk"
    )
