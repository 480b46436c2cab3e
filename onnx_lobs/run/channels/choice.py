"""Holds which channels of a run go, and opens what goes together in its model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnx_lobs.arrays import Array
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.channels.columns import refit_reasons
from onnx_lobs.layers.channels.coupling import Coupling, find_coupling
from onnx_lobs.layers.channels.observed import Observed, observe
from onnx_lobs.patterns.whole_columns import WholeColumns
from onnx_lobs.report.record import ChannelsRecord
from onnx_lobs.run.channels.reduced import ReducedProduct
from onnx_lobs.run.log import Log
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.setup import Setup

SAMPLES = 2  # that a model is observed on: with one, the axis of samples merges into any other


@dataclass(frozen=True, eq=False)
class ChannelChoice:
    """The channels that go.

    Parameters
    ----------
    coupling
        What goes together in the model, before anything changed.
    gone
        Their classes.
    kept
        The columns that each layer keeps, by its key; layers that lose none are not named.
    record
        For the report.
    products
        Products of queries and keys that lose dimensions.
    """

    coupling: Coupling
    gone: tuple[int, ...]
    kept: Mapping[str, WholeColumns]
    record: ChannelsRecord
    products: tuple[ReducedProduct, ...] = ()


def open_coupling(setup: Setup, networks: Networks, log: Log) -> Coupling:
    """Return what goes together in the model of a run. Cost: a run of it on a few samples."""
    model = networks.result
    skipped = {skip.node: skip.reason for skip in log.skips}
    observed = observed_in(setup, model)
    return find_coupling(observed, refit_reasons(model, setup.layers, skipped))


def observed_in(setup: Setup, model: Model) -> Observed:
    """Return the shapes of a model's values on the first samples of a run's data."""
    return observe(model, few_samples(setup, model))


def few_samples(setup: Setup, model: Model) -> dict[str, Array]:
    """Return the first samples of a batch, where a model leaves the number of samples open."""
    feeds, size = next(iter(setup.batches)), setup.batches.sizes[0]
    first = {
        info.name: info.type.tensor_type.shape.dim[0]
        for info in model.proto.graph.input
        if info.name in feeds and len(info.type.tensor_type.shape.dim)
    }
    is_open = all(
        name in first and not first[name].HasField("dim_value") and value.shape[:1] == (size,)
        for name, value in feeds.items()
    )
    return {name: value[:SAMPLES] if is_open else value for name, value in feeds.items()}
