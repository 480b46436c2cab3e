"""Measures, once for all sparsities, what zeros are chosen by, and what trials may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnx_lobs.allocation.rules import RULES
from onnx_lobs.errors import LobsError
from onnx_lobs.evaluation.remembered import RememberedOutputs
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.report.progress import Progress
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.setup import Setup
from onnx_lobs.search.allowance import Allowance
from onnx_lobs.search.candidates import MIXTURES
from onnx_lobs.search.clock import Clock
from onnx_lobs.search.costs import LayerCosts
from onnx_lobs.search.measure import MeasuredLayers, by_layer, measure_layers
from onnx_lobs.search.trial_samples import (
    MOST_FITTED,
    samples_needed,
    samples_scored,
    trial_flops,
)
from onnx_lobs.search.trials import Trials
from onnx_lobs.search.work import estimate_work

STEPS = {"fast": 0, "default": 4, "best": 24}
CHEAP_STEPS = {"fast": 0, "default": 12, "best": 24}
CHEAP_TRIAL = 1e10  # flops of a trial, a few tenths of a second
ENOUGH_SCORED = 512  # samples that score a trial: on fewer, more steps fit their noise


class NoTimeError(LobsError):
    """The time of a run does not suffice for measurements."""


@dataclass(frozen=True)
class Measured:
    """What is measured once, for choices at every sparsity.

    Parameters
    ----------
    layers
        Curves and sensitivities.
    trials
        What makes trials; it keeps what the dense network gave them.
    steps
        Random steps that they can afford.
    allowance
        What they may take.
    """

    layers: MeasuredLayers
    trials: Trials
    steps: int
    allowance: Allowance


def measure(
    setup: Setup,
    networks: Networks,
    costs: LayerCosts,
    scratch: Scratch,
    progress: Progress,
    dense: RememberedOutputs,
    clock: Clock | None = None,
) -> Measured:
    """Measure the layers of a run, on as many samples as trials need.

    Raises
    ------
    NoTimeError
        When the clock leaves no time for it.
    NothingToCompareError
        When no output of the network says what pruning did to it.
    """
    by_key = by_layer(setup.layers, costs.observations)
    needed = samples_needed(setup, by_key)
    scored = samples_scored(setup, by_key, needed)
    work = estimate_work(setup, by_key, needed, scored)
    clock = Clock(None) if clock is None else clock
    if not clock.has_time(work.measuring, work.run):
        raise NoTimeError("there is no time to measure the layers")
    trials, started = Trials(setup, networks, needed, scored, scratch, dense), clock.elapsed
    layers = measure_layers(trials, costs, setup.sparsity, progress)
    clock.note(work.measuring, clock.elapsed - started)
    share = min(needed / setup.batches.n_samples, MOST_FITTED)
    allowance = Allowance(work, setup.config.effort != "best", share, clock)
    return Measured(layers, trials, _steps(setup, by_key, needed), allowance)


def n_trials(setup: Setup, observations: Mapping[str, float]) -> int:
    """Return about how many trials a run makes; `observations` are those of each layer's key."""
    if setup.config.allocation != "auto":
        return 0
    needed = samples_needed(setup, observations)
    wanted = len(RULES) + len(MIXTURES) + _steps(setup, observations, needed)
    scored = samples_scored(setup, observations, needed)
    work = estimate_work(setup, observations, needed, scored)
    return Allowance(work, setup.config.effort != "best", MOST_FITTED, Clock(None)).n_trials(wanted)


def _steps(setup: Setup, observations: Mapping[str, float], needed: int) -> int:
    """Return the random steps that trials on so many samples can afford."""
    scored = samples_scored(setup, observations, needed)
    is_cheap = trial_flops(setup, observations, needed, scored) <= CHEAP_TRIAL
    steps: Mapping[str, int] = CHEAP_STEPS if is_cheap and scored >= ENOUGH_SCORED else STEPS
    return steps[setup.config.effort]
