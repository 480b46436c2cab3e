"""Drops empty channels from the result of a run, without loss."""

from __future__ import annotations

import dataclasses

import numpy as np

from onnx_lobs.graph.model import Model
from onnx_lobs.layers.channels.costs import channel_costs
from onnx_lobs.layers.channels.drop import DroppedChannels, drop_empty
from onnx_lobs.report.record import DroppedRecord
from onnx_lobs.run.channels.choice import few_samples, observed_in
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.setup import Setup


def without_empty(setup: Setup, networks: Networks) -> tuple[Networks, DroppedRecord]:
    """Return the networks with another result, which lacks what is empty, and what that was.

    Cost and errors: :func:`~onnx_lobs.layers.channels.drop.drop_empty`.
    """
    model = networks.result
    dropped = drop_empty(model, few_samples(setup, model))
    record = DroppedRecord(dict(dropped.counts), _costs(dropped, "macs"), _costs(dropped, "bytes"))
    if not record.count:
        return networks, record
    proto = dropped.after.observed.model.proto
    result = Model(proto, model.folder, is_private=model.is_private)
    return dataclasses.replace(networks, result=result), record


def check_drop(setup: Setup, networks: Networks) -> None:
    """Raise at once, before any work, where onnxruntime cannot show all values of the model.

    Raises
    ------
    ModelError, InferenceError
        As :func:`~onnx_lobs.layers.channels.observed.observe` does.
    """
    observed_in(setup, networks.result)


def _costs(dropped: DroppedChannels, budget: str) -> tuple[int, int]:
    """Return what a network costs before and after."""
    before, after = (
        channel_costs(each, budget).left(np.zeros(len(each.groups), np.int64))
        for each in (dropped.before, dropped.after)
    )
    return round(before), round(after)
