"""Carries out a whole run on a model and data that are open: from its checks to its report."""

from __future__ import annotations

import dataclasses
from functools import partial

from onnx_lobs.calibration.not_finite import told_where
from onnx_lobs.evaluation.scoring import collapse_notes
from onnx_lobs.linalg import compiled
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.options.config import (
    PruneConfig,
    has_target,
    is_channels,
    moves_weights,
    removes_first,
)
from onnx_lobs.report.progress import Progress
from onnx_lobs.report.record import Report, TargetRecord
from onnx_lobs.run.channels.drop_empty import check_drop, without_empty
from onnx_lobs.run.doubts import warn_of_data, warn_of_few, warn_of_left
from onnx_lobs.run.guarantee import with_bounds
from onnx_lobs.run.log import Log
from onnx_lobs.run.modes import check_modes, is_compiled
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.one_run import Run, run_once
from onnx_lobs.run.outcome import Reference, score_dense
from onnx_lobs.run.report import make_report
from onnx_lobs.run.retraining.checks import check_retrainable
from onnx_lobs.run.setup import Setup
from onnx_lobs.run.stored_form import check_form
from onnx_lobs.run.unmet import explain_zeros
from onnx_lobs.search.channels.latency import with_latency
from onnx_lobs.search.channels.planner import ChannelPlanner, make_channel_planner
from onnx_lobs.search.clock import Clock
from onnx_lobs.search.fit import Room, search_fit
from onnx_lobs.search.plan import Planner, make_planner
from onnx_lobs.search.targets import check_target, search
from onnx_lobs.search.trials import remember_dense
from onnx_lobs.verbs.c_room import find_room
from onnx_lobs.verbs.channels_first import remove_first
from onnx_lobs.verbs.rounds import move_weights


def run_whole(
    asked: PruneConfig,
    setup: Setup,
    networks: Networks,
    name: str,
    scratch: Scratch,
    progress: Progress,
    log: Log,
) -> tuple[Run, Report]:
    """Run once, or search for a target; return the run that is delivered, and the report of all.

    With channels that go first, on what is left of the model.

    Parameters
    ----------
    asked
        The options as they were given, before the model told more of them.
    setup, networks
        What was opened.
    name
        Of the model, for the report.

    Raises
    ------
    ConfigError, ModelError, DataError, InferenceError, ScoreError, SolverError
        As its steps do.
    """
    clock, channels = Clock(setup.config.time), None
    check_opened(setup, networks)
    if removes_first(setup.config):
        setup, networks, channels = remove_first(asked, setup, networks, scratch, progress, log)
    config = setup.config
    where = told_where(networks.dense, setup.layers, setup.batches, networks.provider)
    with where, compiled.without(not is_compiled(setup)):
        # what can be refused before the work
        if moves_weights(config):
            check_retrainable(setup, networks)
        room = find_room(setup, networks)
        if has_target(config):
            check_target(setup, networks)
        before = score_dense(setup, networks, progress, log)
        warn_of_left(setup, log)
        warn_of_data(setup, networks, before, log)
        observations = warn_of_few(setup, networks, log)
        # prune, once or in a search; then what comes behind it
        reference = Reference(before, remember_dense(setup, networks))
        planner: Planner | ChannelPlanner
        if is_channels(config):
            planner = make_channel_planner(setup, networks, scratch, progress, log)
        else:
            planner = make_planner(
                setup, networks, scratch, progress, log, observations, clock, reference.outputs
            )
        done, target = _pruned(setup, networks, planner, room, reference, scratch, progress, clock)
        if moves_weights(config):
            done = move_weights(done, reference, scratch, progress, log, clock, observations)
        done = _finished(done, progress)
        log.warn(*clock.overrun())
        report = make_report(name, done, target, log, clock.elapsed, observations)
    return done, report if channels is None else dataclasses.replace(report, channels=channels)


def check_opened(setup: Setup, networks: Networks) -> None:
    """Refuse, before any work, what the options ask of a model that has been opened.

    Raises
    ------
    ConfigError, ModelError, InferenceError
        As its steps do.
    """
    check_modes(setup.config)
    check_form(setup, networks)
    if setup.config.drop_empty:
        check_drop(setup, networks)


def _pruned(
    setup: Setup,
    networks: Networks,
    planner: Planner | ChannelPlanner,
    room: Room | None,
    reference: Reference,
    scratch: Scratch,
    progress: Progress,
    clock: Clock,
) -> tuple[Run, TargetRecord | None]:
    """Run once, or as often as a search for a target takes; of rounds the first one."""
    rounds = setup.config.rounds

    def run(part: Setup, copies: Networks, kind: str | None = None) -> Run:
        choose = partial(planner.choose, part.sparsity, kind)
        return run_once(part, copies, choose, reference, scratch, progress)

    if room is not None:
        return search_fit(setup, networks, run, room, *planner.limits()[::-1], clock)
    if has_target(setup.config):
        return search(setup, networks, run, *planner.limits()[::-1], clock)
    return run(setup if rounds is None else setup.at(rounds[0]), networks), None


def _finished(done: Run, progress: Progress) -> Run:
    """Drop what is empty from a result, where that is asked for, and tell the rest of it."""
    config = done.setup.config
    if config.drop_empty:
        smaller, dropped = without_empty(done.setup, done.networks)
        done = dataclasses.replace(done, networks=smaller, dropped=dropped)
    if is_channels(config):
        done = with_latency(done)
    else:
        done.log.warn(*explain_zeros(done))
    if done.output.score is not None:
        done.log.warn(*collapse_notes(done.output.score))
    return with_bounds(done, progress) if config.bound else done
