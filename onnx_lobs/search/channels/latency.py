"""Adds to the record of a run how much faster the network is without its channels."""

from __future__ import annotations

import dataclasses

from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.latency import latencies
from onnx_lobs.report.record import ChannelsRecord
from onnx_lobs.run.channels.choice import ChannelChoice, few_samples
from onnx_lobs.run.one_run import Run
from onnx_lobs.run.setup import Setup


def with_latency(run: Run) -> Run:
    """Return a run that removed channels, with the latencies before and after in its record."""
    channels = run.choice.channels
    if channels is None:
        return run
    record = timed_record(run.setup, channels, run.networks.result)
    choice = dataclasses.replace(run.choice, channels=dataclasses.replace(channels, record=record))
    return dataclasses.replace(run, choice=choice)


def timed_record(setup: Setup, channels: ChannelChoice, smaller: Model) -> ChannelsRecord:
    """Return the record of channels that went, with the latencies of the model before and after."""
    before = channels.coupling.observed.model.proto
    found = latencies(before, smaller.proto, few_samples(setup, smaller))
    return dataclasses.replace(channels.record, latency=found)
