"""Retrains behind pruning, and goes on to the next rounds: prune, retrain, prune, retrain."""

from __future__ import annotations

import dataclasses
from functools import partial

from onnx_lobs.arrays import FloatArray
from onnx_lobs.evaluation.remembered import RememberedOutputs
from onnx_lobs.evaluation.score import MeasuredScore
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.report.progress import Progress
from onnx_lobs.run.log import Log
from onnx_lobs.run.one_run import Run, run_once
from onnx_lobs.run.retraining.in_run import retrain_run
from onnx_lobs.run.setup import reopen
from onnx_lobs.search.clock import Clock
from onnx_lobs.search.plan import make_planner
from onnx_lobs.search.trials import remember_dense


def retrain_in_rounds(
    first: Run,
    before: MeasuredScore | None,
    dense: RememberedOutputs,
    scratch: Scratch,
    progress: Progress,
    log: Log,
    clock: Clock,
    observations: FloatArray | None,
) -> Run:
    """Retrain what a run pruned; then, for each further round, prune that and retrain it.

    Each round calibrates on the network that the one before left, and its layers aim at that
    network's outputs: they, not the dense ones, are what retraining found to go with the zeros.
    Output errors and scores are those against the original network.

    Parameters
    ----------
    first
        Of the first round, with options that have `retrain`.
    before, dense
        Score of the original network, and what it gives on the batches.
    log
        Takes what earlier rounds told.
    clock, observations
        As :func:`onnx_lobs.search.plan.make_planner` takes them.

    Returns
    -------
    Run
        The last round, with the records of all.
    """
    done = retrain_run(first, before, dense, scratch, progress)
    for sparsity in (first.setup.config.rounds or ())[1:]:
        log.warn(*done.log.warnings)
        setup, networks = reopen(done.setup, done.networks, sparsity)
        planner = make_planner(
            setup, networks, scratch, progress, log, observations, clock,
            remember_dense(setup, networks),
        )  # fmt: skip
        choose = partial(planner.choose, sparsity)
        pruned = run_once(setup, networks, choose, before, dense, scratch, progress)
        pruned = dataclasses.replace(pruned, rounds=done.rounds)
        done = retrain_run(pruned, before, dense, scratch, progress)
    return done
