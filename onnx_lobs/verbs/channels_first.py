"""Removes the channels of a run whose zeros stand in what is left of the model."""

from __future__ import annotations

import dataclasses
from functools import partial

import onnx

from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.report.progress import Progress
from onnx_lobs.report.record import ChannelsRecord
from onnx_lobs.report.stages import OneStage
from onnx_lobs.run.channel_options import channels_alone
from onnx_lobs.run.log import Log
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.one_run import run_once
from onnx_lobs.run.outcome import Reference
from onnx_lobs.run.setup import Setup, open_run
from onnx_lobs.search.channels.latency import with_latency
from onnx_lobs.search.channels.planner import make_channel_planner
from onnx_lobs.search.trials import remember_dense
from onnx_lobs.verbs.stages import REMOVING


def remove_first(
    asked: PruneConfig,
    setup: Setup,
    networks: Networks,
    scratch: Scratch,
    progress: Progress,
    log: Log,
) -> tuple[Setup, Networks, ChannelsRecord]:
    """Return the same run on the model without its channels, and what became of these.

    Parameters
    ----------
    asked
        The options as they were given: the budget may be that of the channels.
    setup, networks
        The run on the whole model. Not modified.
    log
        Told what `asked` had not said before, of removing channels.

    Returns
    -------
    Setup, Networks, ChannelsRecord
        The data and the score are the same ones. What the networks are compared with is the dense
        network of the whole model.

    Raises
    ------
    NothingToPruneError, ConfigError, InferenceError, SolverError
        As a run that only removes channels does.
    """
    config = dataclasses.replace(setup.config, budget=asked.budget)
    whole, own = onnx.ModelProto(), Log()
    whole.CopyFrom(setup.loaded.proto)
    loaded = dataclasses.replace(setup.loaded, proto=whole)
    first, copies = open_run(loaded, None, None, channels_alone(config), own, opened=setup)
    told = OneStage(progress, REMOVING)
    planner = make_channel_planner(first, copies, scratch, told, own)
    choose = partial(planner.choose, first.sparsity)
    reference = Reference(None, remember_dense(first, copies))
    done = with_latency(run_once(first, copies, choose, reference, scratch, told))
    channels = done.choice.channels
    assert channels is not None
    log.warn(*(text for text in (*own.warnings, *done.log.warnings) if text not in log.warnings))
    result = done.networks.result
    smaller = dataclasses.replace(setup.loaded, proto=result.proto, folder=result.folder)
    after, left = open_run(smaller, None, None, config, Log(), opened=setup)
    record = dataclasses.replace(channels.record, then_zeros=True)
    return after, dataclasses.replace(left, original=networks.dense), record
