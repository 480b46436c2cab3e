"""Tells what a run will do: opens everything, runs one batch, estimates time and memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from onnx_lobs.arrays import FloatArray
from onnx_lobs.evaluation.input_ranges import input_ranges
from onnx_lobs.graph.run.arena import gives_back
from onnx_lobs.memory.scratch import scratch_in
from onnx_lobs.options.config import PruneConfig, has_target, moves_weights, removes_first
from onnx_lobs.report.plan import PlannedStage, RunPlan
from onnx_lobs.run.blocks.steps import STEPS
from onnx_lobs.run.doubts import warn_of_data, warn_of_few, warn_of_left
from onnx_lobs.run.estimate import (
    batch_seconds,
    flops_per_second,
    peak_bytes,
    solve_seconds,
    trial_seconds,
)
from onnx_lobs.run.log import Log
from onnx_lobs.run.modes import is_sequential
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.observations import observations_of
from onnx_lobs.run.retraining.checks import check_retrainable, check_retraining
from onnx_lobs.run.retraining.opened import samples_of_step
from onnx_lobs.run.retraining.training import LOOKS
from onnx_lobs.run.setup import Setup, open_run
from onnx_lobs.search.bracket import RUNS
from onnx_lobs.search.groundwork import n_trials
from onnx_lobs.search.measure import by_layer
from onnx_lobs.search.plan import has_finals
from onnx_lobs.search.targets import check_target
from onnx_lobs.search.trial_samples import samples_needed, samples_scored
from onnx_lobs.verbs.c_room import find_room
from onnx_lobs.verbs.deploy import check_deploy
from onnx_lobs.verbs.stages import (
    BLOCKS,
    CHOOSING,
    JUDGING,
    JUDGING_AGAIN,
    JUDGING_BLOCKS,
    REMOVING,
    RETRAINING,
    SCORING,
    SOLVING,
    stages_of,
)
from onnx_lobs.verbs.whole_run import check_opened

FINAL_RUNS, FINAL_PART = 0.75, 0.75  # runs that finals take, if held at all, on this part
BACKWARD = 3  # forward passes that a step takes, itself included
MEASURED_TRIALS = 8  # trials that take as long as measuring the layers


@gives_back
def dry_run(
    path: Path, output: Path, config: PruneConfig, *, data: Any = None, test: Any = None
) -> RunPlan:
    """Return what a run with these options will do; nothing is written.

    Raises
    ------
    ConfigError, ModelError, DataError, InferenceError
        As :func:`onnx_lobs.verbs.prune.prune_file` before its work begins.
    """
    log = Log()
    check_deploy(config)
    check_retraining(config)
    with scratch_in(config.scratch) as scratch:
        setup, networks = open_run(path, data, test, config, log, scratch)
        check_opened(setup, networks)
        if moves_weights(config):
            check_retrainable(setup, networks)
        if not removes_first(config):  # else C code is made of what they leave
            find_room(setup, networks)
        if has_target(config):
            check_target(setup, networks)
        warn_of_left(setup, log)
        warn_of_data(setup, networks, None, log)
        warn_of_few(setup, networks, log)
        weights = sum(layer.size for layer in setup.layers)
        observations = observations_of(setup, networks)
        seconds = batch_seconds(setup, networks)
        stages = _stages(setup, networks, observations, seconds)
        return RunPlan(
            model=str(path),
            data=setup.batches.origin,
            samples=setup.batches.n_samples,
            batches=len(setup.batches),
            layers=len(setup.layers),
            weights=weights,
            zeros=None if has_target(config) else round(setup.sparsity * weights),
            method=config.method,
            pattern=config.pattern,
            allocation=config.allocation,
            batch_seconds=seconds,
            stages=stages,
            most_runs=RUNS if has_target(config) else 1,
            memory=peak_bytes(setup, networks, list(observations)),
            output=str(output),
            warnings=log.warnings,
            inputs=() if setup.batches.synthetic else input_ranges(setup.batches),
            channels=config.channels,
        )


def _stages(
    setup: Setup, networks: Networks, observations: FloatArray, batch: float
) -> tuple[PlannedStage, ...]:
    """Return the stages that the run will have, each with its seconds."""
    speed = flops_per_second()
    calibrating = batch * len(setup.batches)
    test = 0.0
    if setup.scoring is not None and setup.scoring.test is not None:
        test = batch * setup.scoring.test.n_samples / max(setup.batches.sizes[0], 1)
    passes = 2 if is_sequential(setup.config) else 1
    solving = passes * calibrating + solve_seconds(setup, observations, speed)
    seconds = {
        SCORING.name: test,
        # measuring all layers, and solving those that lose inputs
        REMOVING.name: 2 * solving + 2 * calibrating,
        SOLVING.name: solving,
        JUDGING.name: 2 * calibrating + (0.0 if setup.scoring is None else test),
    }
    judging, fitted = seconds[JUDGING.name], 0.9 * setup.batches.n_samples
    if setup.config.refit_blocks:  # pieces for parts, then for the whole: about a batch a step
        seconds |= {BLOCKS.name: BACKWARD * STEPS * batch, JUDGING_BLOCKS.name: judging}
    if setup.config.retrain is not None:
        batches = max(1.0, samples_of_step(int(fitted)) / max(setup.batches.sizes))
        steps = setup.config.retrain * len(setup.config.rounds or (1,))
        looks = LOOKS * calibrating / 10
        seconds |= {
            RETRAINING.name: BACKWARD * steps * batches * batch + looks,
            JUDGING_AGAIN.name: judging,
        }
    found = stages_of(setup, networks, writes=True)
    if CHOOSING in found:
        seconds[CHOOSING.name] = _choosing(setup, observations, speed, calibrating)
    return tuple(PlannedStage(stage.name, seconds.get(stage.name, 0.0)) for stage in found)


def _choosing(setup: Setup, observations: FloatArray, speed: float, calibrating: float) -> float:
    """Return the seconds of measuring, trials and finals."""
    by_key = by_layer(setup.layers, observations)
    needed = samples_needed(setup, by_key)
    scored = samples_scored(setup, by_key, needed)
    share = min((2 * needed + scored) / max(setup.batches.n_samples, 1), 1.0)
    trial = share * calibrating + trial_seconds(setup, observations, needed, speed)
    measured = MEASURED_TRIALS * trial
    finals = 0.0
    if has_finals(setup.config):
        one = 3 * calibrating + solve_seconds(
            setup.with_options(effort="fast"), observations, speed, FINAL_PART
        )
        finals = FINAL_RUNS * one
    return measured + n_trials(setup, by_key) * trial + finals
