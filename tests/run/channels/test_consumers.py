"""What is told of every layer that reads removed channels is what onnxruntime shows of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import coupled_networks as nets
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import ModelProto

from onnx_lobs.arrays import Array
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.session import Session
from onnx_lobs.layers.layer import Layer
from onnx_lobs.memory.scratch import scratch_in
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.report.progress import as_progress
from onnx_lobs.run.log import Log
from onnx_lobs.run.one_run import Run, run_once
from onnx_lobs.run.outcome import Reference
from onnx_lobs.run.setup import open_run
from onnx_lobs.run.slots import layer_key
from onnx_lobs.search.channels.planner import make_channel_planner
from onnx_lobs.search.trials import remember_dense

PREDICTED = 1e-5  # absolute, on relative errors: float32 sums of some 100 terms


def run_on(proto: ModelProto, rank: int, folder: Path) -> Run:
    """Remove channels by the steps of a run, and return it with its networks."""
    config = PruneConfig(pattern="channels", align=1, positions=None, sparsity=0.3)
    progress, log = as_progress(None), Log()
    with scratch_in(folder) as scratch:
        setup, networks = open_run(proto, nets.batches_with_mean(rank), None, config, log, scratch)
        planner = make_channel_planner(setup, networks, scratch, progress, log)
        reference = Reference(None, remember_dense(setup, networks))
        return run_once(setup, networks, lambda: planner.choose(0.3), reference, scratch, progress)


def outputs(model: Model, name: str, rank: int) -> Array:
    session = Session(model.proto, shown=[] if name in model.main.outputs else [name])
    found = [session.run(feeds)[name].astype(np.float64) for feeds in nets.batches_with_mean(rank)]
    return np.concatenate(found)


def measured(run: Run, layer: Layer, rank: int) -> float:
    """Return the relative error of a layer's outputs behind its bias, as onnxruntime has it."""
    use = layer.uses[0]
    name = use.output if use.bias is None else use.bias.node
    before, after = (
        outputs(model, name, rank) for model in (run.networks.dense, run.networks.pruned)
    )
    centred = before
    if use.bias is not None:  # which takes the mean of every row
        rows = 1 if before.ndim == 4 and use.unfold is not None else before.ndim - 1
        axes = tuple(axis for axis in range(before.ndim) if axis != rows)
        centred = before - before.mean(axis=axes, keepdims=True)
    return float(np.square(after - before).sum() / np.square(centred).sum())


def check_every_consumer(proto: ModelProto, folder: Path, rank: int = 4) -> None:
    run = run_on(proto, rank, folder)
    assert run.choice.channels is not None
    assert run.choice.channels.gone
    layers = {layer_key(layer): layer for layer in run.setup.layers}
    for key, record in run.records.items():
        assert record.error is not None
        found = measured(run, layers[key], rank)
        assert abs(record.error - found) <= PREDICTED * max(1.0, found), key


@pytest.mark.slow
@pytest.mark.parametrize("middle", nets.MIDDLES, ids=lambda middle: middle.__name__)
def test_every_consumer_has_the_error_that_is_told(middle: nets.Middle, tmp_path: Path) -> None:
    check_every_consumer(nets.between(middle), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("build", "rank"), nets.WHOLE_NETWORKS)
def test_so_it_is_for_flattened_channels_and_heads(
    build: Callable[[], ModelProto], rank: int, tmp_path: Path
) -> None:
    check_every_consumer(build(), tmp_path, rank)


@pytest.mark.slow
@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(nets.rows_of_middles(), st.integers(0, 99))
def test_so_it_is_in_random_networks(tmp_path: Path, middles: list[nets.Middle], seed: int) -> None:
    check_every_consumer(nets.in_a_row(middles, seed), tmp_path)
