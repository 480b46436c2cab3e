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
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cache

from onnx_lobs.allocation.choice import is_measured
from onnx_lobs.allocation.rules import RULES, Slot, check_limits, limits
from onnx_lobs.arrays import FloatArray
from onnx_lobs.evaluation.remembered import RememberedOutputs
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.options.config import PruneConfig, has_target
from onnx_lobs.report.progress import Progress
from onnx_lobs.report.record import AllocationRecord
from onnx_lobs.run.log import Log
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.setup import Setup
from onnx_lobs.run.zeros import Choice, by_rule, usual_rule
from onnx_lobs.search.candidates import GLOBAL, candidate, names, plain_name
from onnx_lobs.search.clock import Clock
from onnx_lobs.search.contest import (
    Entrant,
    Finalists,
    Tried,
    half_way,
    hold_finals,
    is_promising,
    needs_finals,
    settle_half_way,
    try_all,
)
from onnx_lobs.search.costs import LayerCosts, observe_costs
from onnx_lobs.search.groundwork import Measured, NoTimeError, measure
from onnx_lobs.search.measure import MeasuredLayers, by_layer
from onnx_lobs.search.plan_words import not_compared, too_large
from onnx_lobs.search.trial_judge import NothingToCompareError
from onnx_lobs.search.trial_plan import cut_words, plan_trials
from onnx_lobs.search.trials import make_finals, remember_dense


class Basis(Enum):
    """What zeros are chosen by."""

    SHAPES = "a rule that looks at shapes"
    COSTS = "a rule that looks at what weights cost too"
    LOSSES = "measured losses"


@dataclass(frozen=True)
class Planner:
    """Chooses zeros for one sparsity or several of one run.

    Parameters
    ----------
    setup, networks
        The run, not pruned. Not modified.
    basis
        What zeros are chosen by.
    costs
        Observes what weights cost when it is first asked, and returns the same from then on.
    measured
        Measures when it is first asked, and returns the same from then on: None where nothing can
        be compared, or there is nothing to choose.
    scratch
        Where values go that do not fit memory.
    progress
        Told of every step.
    log
        Warned of what there was no time for.
    dense
        What the dense network gives on the batches of the run.
    """

    setup: Setup
    networks: Networks
    basis: Basis
    costs: Callable[[], LayerCosts]
    measured: Callable[[], Measured | None]
    scratch: Scratch
    progress: Progress
    log: Log
    dense: RememberedOutputs

    def limits(self) -> tuple[float, float]:
        """Return the least and the largest sparsity that the limits of the layers allow."""
        return limits(self._slots())

    def choose(self, sparsity: float, kind: str | None = None) -> Choice:
        """Return the zeros for a sparsity.

        Parameters
        ----------
        sparsity
            Fraction of the budget that zeros save.
        kind
            What an earlier choice found to be the best kind of allocation. Then no candidates are
            tried, only finals are held between that and ``uniform``. None: it is not known.

        Raises
        ------
        ConfigError
            When the limits of the layers do not allow a saving of bytes or multiplications.
        """
        config, started = self.setup.config, time.perf_counter()
        if config.budget != "weights" and not has_target(config):
            check_limits(self._slots(), sparsity)
        least = self.limits()[0]
        if sparsity <= least:  # there is nothing to share
            return self._by_rule("uniform", self._slots(), sparsity, kind)
        if kind is None and config.allocation != "auto":
            kind = config.allocation
        if self.basis is Basis.SHAPES:
            return self._by_rule(usual_rule(config, sparsity), self.setup.slots, sparsity, kind)
        if kind is not None and kind in RULES and not has_finals(config):
            return self._by_rule(kind, self.costs().slots, sparsity, kind)
        measured = self.measured()
        if measured is None:
            return self._by_rule("uniform", self.costs().slots, sparsity, "uniform")
        return self._by_losses(measured, sparsity, kind, started)

    def _by_rule(
        self, rule: str, slots: tuple[Slot, ...], sparsity: float, kind: str | None
    ) -> Choice:
        zeros = by_rule(self.setup.layers, slots, sparsity, rule, self.setup.pattern)
        return Choice(zeros, None, kind)

    def _by_losses(
        self, measured: Measured, sparsity: float, kind: str | None, started: float
    ) -> Choice:
        """Return the best zeros by trials, or of a kind that is known, and by finals."""
        layers, config = measured.layers, self.setup.config
        if kind is None:
            trial_plan = plan_trials(
                layers, sparsity, measured.steps, measured.allowance, config.effort
            )
            tried = try_all(
                layers, sparsity, measured.trials, trial_plan, config.seed, self.progress
            )
        else:
            tried = _of_kind(layers, sparsity, kind)
        tried, finals = self._finals(measured, sparsity, tried)
        left_out = [f"{tried.n_cut} trials"] if tried.n_cut else []
        left_out += ["the finals"] if finals.is_cut else []
        if left_out:
            self.log.warn(cut_words(config, " and ".join(left_out)))
        record = AllocationRecord(
            chosen=finals.best.name,
            budget=str(config.budget),
            losses={each: loss.value for each, loss in tried.losses.items()},
            finals={each: dataclasses.asdict(loss) for each, loss in finals.losses.items()},
            sensitivity=by_layer(layers.layers, layers.sensitivity),
            trials=tried.n_run,
            stopped=tried.n_stopped,
            left_out=" and ".join(left_out),
            seconds=time.perf_counter() - started,
        )
        return Choice(finals.best.zeros, record, tried.kind)

    def _finals(self, measured: Measured, sparsity: float, tried: Tried) -> tuple[Tried, Finalists]:
        """Hold finals where they are needed, or what is left of them; return what was tried too."""
        layers, best, allowance = measured.layers, tried.best, measured.allowance
        config, plain = self.setup.config, plain_name(layers, sparsity)
        is_needed = has_finals(config) and needs_finals(tried.losses, best.name, plain)
        is_worth = is_promising(tried.losses, best.name, plain)
        is_worth &= allowance.affords_finals(tried.n_run)
        is_short = allowance.is_bounded and plain in tried.losses and not is_worth
        share = allowance.final_share(tried.n_run)
        has_time = allowance.has_time_to_try() if is_short else allowance.has_time_for_finals(share)
        if is_needed and has_time and is_short:
            tried = settle_half_way(layers, sparsity, tried, measured.trials)
        measured.trials.release()  # what follows needs the memory
        if is_needed and not has_time:  # half-way was safe wherever it was looked at
            return tried, Finalists(half_way(layers, sparsity, best), {}, is_cut=True)
        if not is_needed or is_short:
            return tried, Finalists(tried.best, {})
        runs = make_finals(self.setup, self.networks, self.scratch, self.dense, share)
        return tried, hold_finals(layers, sparsity, best, runs, self.progress)

    def _slots(self) -> tuple[Slot, ...]:
        """Return the layers, with what their weights cost where the zeros go by that."""
        if self.setup.config.budget == "weights" or self.basis is Basis.SHAPES:
            return self.setup.slots
        return self.costs().slots


def make_planner(
    setup: Setup,
    networks: Networks,
    scratch: Scratch,
    progress: Progress,
    log: Log,
    observations: FloatArray | None = None,
    clock: Clock | None = None,
    dense: RememberedOutputs | None = None,
) -> Planner:
    """Return what chooses the zeros of a run, for one sparsity or several.

    Parameters
    ----------
    setup, networks
        The run, not pruned. Not modified.
    log
        Warned where zeros cannot be chosen as the options ask.
    observations
        That a sample gives each layer, where they are known already.
    clock
        The time that the run may take; None: there is always time.
    dense
        What the dense network gives on the batches; None: nothing is known of it yet.
    """
    clock = Clock(None) if clock is None else clock
    known = remember_dense(setup, networks) if dense is None else dense
    costs = cache(lambda: observe_costs(setup, networks, observations))

    def measured() -> Measured | None:
        try:
            found = measure(setup, networks, costs(), scratch, progress, known, clock)
        except NoTimeError:
            log.warn(cut_words(setup.config, "measuring the layers, and all trials"))
            return None
        except NothingToCompareError as error:
            log.warn(not_compared(setup.config, error))
            return None
        return found if found.layers.n_free >= 2 else None

    basis = choose_basis(setup, networks, log)
    return Planner(setup, networks, basis, costs, cache(measured), scratch, progress, log, known)


def choose_basis(setup: Setup, networks: Networks, log: Log) -> Basis:
    """Return what the zeros of a run are chosen by."""
    config = setup.config
    measures = is_measured(config, setup.pattern)
    asks = measures or (config.allocation in RULES and config.budget != "weights")
    n_free = sum(slot.fixed is None for slot in setup.slots)
    if not asks or n_free < 2 or setup.pattern.own_sparsity is not None:
        return Basis.SHAPES
    if networks.is_staged:
        log.warn(too_large(config))
        return Basis.SHAPES
    return Basis.LOSSES if measures else Basis.COSTS


def has_finals(config: PruneConfig) -> bool:
    """Whether finals are held, where uniform zeros are not far behind."""
    return config.allocation == "auto" and config.effort != "fast"


def _of_kind(layers: MeasuredLayers, sparsity: float, kind: str) -> Tried:
    """Return the zeros of a kind of allocation, or the plain ones where it has none."""
    name = GLOBAL if kind == "global" else kind
    if name not in names(layers, sparsity):
        name = plain_name(layers, sparsity)
    return Tried(Entrant(name, candidate(layers, sparsity, name)), kind, {}, 0)
