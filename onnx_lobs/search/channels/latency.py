"""Adds to a run's record how much faster the network is without its channels."""

from __future__ import annotations

import dataclasses

from onnx_lobs.graph.run.latency import latencies
from onnx_lobs.run.channels.choice import few_samples
from onnx_lobs.run.one_run import Run


def with_latency(run: Run) -> Run:
    """Return a run that removed channels, with the latencies before and after in its record."""
    channels = run.choice.channels
    if channels is None:
        return run
    before, after = channels.coupling.observed.model.proto, run.networks.result.proto
    found = latencies(before, after, few_samples(run.setup, run.networks.result))
    record = dataclasses.replace(channels.record, latency=found)
    choice = dataclasses.replace(run.choice, channels=dataclasses.replace(channels, record=record))
    return dataclasses.replace(run, choice=choice)
