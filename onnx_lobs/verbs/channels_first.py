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
from onnx_lobs.run.channels.remove import without_channels
from onnx_lobs.run.log import Log
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.one_run import prune_networks
from onnx_lobs.run.setup import Setup, open_run
from onnx_lobs.search.channels.latency import timed_record
from onnx_lobs.search.channels.planner import make_channel_planner
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
        Told what it does not know yet: of removing channels, and of layers that are skipped in what
        is left alone.

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
    made = prune_networks(
        first, copies, partial(planner.choose, first.sparsity), scratch, told, own
    )
    channels = made.choice.channels
    assert channels is not None
    result = without_channels(first, copies, channels).result
    record = dataclasses.replace(timed_record(first, channels, result), then_zeros=True)
    smaller = dataclasses.replace(setup.loaded, proto=result.proto, folder=result.folder)
    again = Log()
    after, left = open_run(smaller, None, None, config, again, opened=setup)
    known = {skip.node for skip in log.skips}
    log.warn(*(text for text in own.warnings if text not in log.warnings))
    log.skip(*(skip for skip in again.skips if skip.node not in known))
    return after, dataclasses.replace(left, original=networks.dense), record
