"""Retrains behind pruning, and goes on to the next rounds: prune, retrain, prune, retrain."""

from __future__ import annotations

import dataclasses
from functools import partial

from onnx_lobs.arrays import FloatArray
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.report.progress import Progress
from onnx_lobs.run.blocks.in_run import refit_blocks
from onnx_lobs.run.log import Log
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.one_run import Run, run_once
from onnx_lobs.run.outcome import Reference
from onnx_lobs.run.retraining.in_run import retrain_run
from onnx_lobs.run.setup import Setup, open_run
from onnx_lobs.search.clock import Clock
from onnx_lobs.search.plan import make_planner
from onnx_lobs.search.trials import remember_dense


def move_weights(
    first: Run,
    reference: Reference,
    scratch: Scratch,
    progress: Progress,
    log: Log,
    clock: Clock,
    observations: FloatArray | None,
) -> Run:
    """Fit parts of what a run pruned, and retrain it; then prune and retrain for further rounds.

    Each round calibrates on the network that the one before left, and its layers aim at that
    network's outputs: they, not the dense ones, are what retraining found to go with the zeros.
    Output errors and scores are those against the original network.

    Parameters
    ----------
    first
        Of the first round, with options that have `refit_blocks` or `retrain`.
    reference
        What the original network gives.
    log
        Takes what earlier rounds told.
    clock, observations
        As :func:`onnx_lobs.search.plan.make_planner` takes them.

    Returns
    -------
    Run
        The last round, with the records of all.
    """
    config, done = first.setup.config, first
    if config.refit_blocks:
        done = refit_blocks(done, reference, scratch, progress)
    if config.retrain is None:
        return done
    done = retrain_run(done, reference, scratch, progress)
    for sparsity in (config.rounds or ())[1:]:
        log.warn(*done.log.warnings)
        setup, networks = _next(done, sparsity)
        planner = make_planner(
            setup, networks, scratch, progress, log, observations, clock,
            remember_dense(setup, networks),
        )  # fmt: skip
        choose = partial(planner.choose, sparsity)
        pruned = run_once(setup, networks, choose, reference, scratch, progress)
        pruned = dataclasses.replace(pruned, rounds=done.rounds)
        done = retrain_run(pruned, reference, scratch, progress)
    return done


def _next(done: Run, sparsity: float) -> tuple[Setup, Networks]:
    """Return a run that goes on with the result of another, as if that were dense.

    Its zeros stay; what outputs and scores are compared with stays too.
    """
    setup, networks = done.setup, done.networks
    loaded = dataclasses.replace(setup.loaded, proto=networks.result.proto)
    again, own = open_run(loaded, None, None, setup.config, Log(), opened=setup)
    return again.at(sparsity), dataclasses.replace(own, original=networks.reference)
