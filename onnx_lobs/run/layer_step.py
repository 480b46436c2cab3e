"""Takes one layer's step in a run: poses its task, solves it, writes the result, records it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import ml_dtypes
import numpy as np

from onnx_lobs.arrays import Array, FloatArray, RealArray
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.layer import Layer
from onnx_lobs.layers.output_axis import output_axis
from onnx_lobs.layers.write import round_weight, write_bias, write_weight
from onnx_lobs.linalg.moments import Calibration
from onnx_lobs.memory.shares import LEAST_SOLVER
from onnx_lobs.report.record import LayerRecord
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.setup import Setup
from onnx_lobs.run.slots import layer_key
from onnx_lobs.solvers import Status
from onnx_lobs.solvers.layerwise import (
    ErrorMeter,
    LayerTask,
    Outcome,
    magnitude_weight,
    round_layer,
    solve_layer,
    within_range,
)
from onnx_lobs.solvers.memory import least_memory

# of a weight that other nodes read too. On two language models whose table is their head the error
# on others is 4 and 12 % below that at 0, about as much at .1 and 1, and nothing at 3
READ_ALONE = 0.3

UNTOUCHED = "left dense", "already sparse"  # statuses of layers whose weights stay as they are
ROUNDED = "rounded"  # status of those whose zeros do, but not their values


@dataclass(frozen=True)
class Solved:
    """A solved layer: its record, its tensor as stored (None: unchanged), its biases' changes.

    ``scales`` are those of which its weights are multiples, where they were rounded so.
    """

    record: LayerRecord
    weight: Array | None
    changes: tuple[FloatArray | None, ...]
    scales: RealArray | None = None


def solve_one(
    setup: Setup, networks: Networks, layer: Layer, calibration: Calibration, n_prune: int
) -> Solved:
    """Solve a layer on its moments for `n_prune` zeros. The networks are not modified.

    Raises
    ------
    SolverError
        When the layer's problem has no solution.
    """
    started = time.perf_counter()
    task = make_task(setup, networks, layer, calibration, n_prune)
    zeros_before = int((task.weight == 0).sum())
    none = (None,) * len(layer.uses)
    if task.n_prune and not task.is_sparse_already:
        outcome, status = within_range(task, solve_layer(task)), None
    elif setup.config.values == "fp32":
        status = UNTOUCHED[1 if task.n_prune else 0]
        return Solved(_untouched(layer, zeros_before, calibration, status), None, none)
    else:
        outcome, status = _only_rounded(task), ROUNDED
    stored = round_weight(layer, outcome.weight, setup.config.values)
    exact = layer.matrix(stored)
    record = _record(layer, task, outcome, exact, time.perf_counter() - started)
    record = record if status is None else replace(record, status=status, remedy="", method="")
    return Solved(record, stored, outcome.bias_change, outcome.scales)


def _only_rounded(task: LayerTask) -> Outcome:
    """Return a layer whose zeros stay as they are, and whose values are to be rounded."""
    if task.scale_of is not None:
        return round_layer(task)
    none = (None,) * len(task.centred)
    return Outcome(task.weight, none, Status.SOLVED, None, None, None, {})


def write_one(networks: Networks, layer: Layer, solved: Solved) -> None:
    """Write a layer's new weights and biases into the pruned network and the result."""
    for model in (networks.pruned, networks.result):
        if solved.weight is not None:
            write_weight(model, layer, solved.weight)
        for use, change in zip(layer.uses, solved.changes, strict=True):
            if change is not None:
                write_bias(model, use, layer, change)


def solver_memory(memory: int | None, layer: Layer) -> int | None:
    """Return the bytes that a layer's solver gets: half, but at least what it must have."""
    if memory is None:
        return None
    layout = layer.layout
    least = least_memory((layout.groups, layout.rows, layout.columns + 1))
    return max(memory // 2, LEAST_SOLVER, least)


def make_task(
    setup: Setup, networks: Networks, layer: Layer, calibration: Calibration, n_prune: int
) -> LayerTask:
    """Return what is asked of a layer: `n_prune` zeros, with the options of the run."""
    config, stored = setup.config, networks.result
    kept = setup.kept.get(layer_key(layer))
    scale_of = None
    if config.values == "int8":
        tensor = stored.constant(stored.scopes[layer.scope], layer.weight)
        assert tensor is not None
        scale_of = output_axis(layer, tuple(tensor.dims), stored.opset).of_row
    return LayerTask(
        weight=stored_matrix(networks, layer),
        scale_of=scale_of,
        calibration=calibration,
        centred=tuple(use.bias is not None for use in layer.uses),
        n_prune=n_prune,
        bias=_present_bias(networks.dense, layer),
        pattern=setup.pattern if kept is None else kept,
        kernel_size=layer.kernel_size,
        method=config.method if kept is None else "magnitude",  # there is nothing left to choose
        effort=config.effort,
        memory=solver_memory(config.memory, layer),
        refit=config.refit,
        damp=config.damp,
        seed=config.seed,
        read_alone=READ_ALONE if layer.other_tops else 0.0,
        largest=float(ml_dtypes.finfo(layer.dtype).max),  # type: ignore[no-untyped-call]
        n_samples=setup.batches.n_samples,
    )


def stored_matrix(networks: Networks, layer: Layer) -> FloatArray:
    """Return a layer's weights (groups, rows, columns) as the result stores them now, float64."""
    stored = networks.result
    tensor = stored.constant(stored.scopes[layer.scope], layer.weight)
    assert tensor is not None
    return layer.matrix(stored.value(tensor))


def _present_bias(model: Model, layer: Layer) -> np.ndarray | None:
    """Return the bias (groups, rows) of a layer's only use, or None if it has no such one."""
    slot = layer.uses[0].bias
    if slot is None or len(layer.uses) > 1:
        return None
    tensor = model.constant(model.scopes[slot.scope], slot.name)
    assert tensor is not None
    values = model.value(tensor).astype(np.float64)
    if values.size != layer.layout.groups * layer.layout.rows:
        return None
    return values.reshape(layer.layout.groups, layer.layout.rows) * slot.factor


def _untouched(layer: Layer, zeros: int, calibration: Calibration, status: str) -> LayerRecord:
    return LayerRecord(
        name=layer.name,
        op=layer.op,
        weights=layer.size,
        zeros=zeros,
        error=0.0,
        magnitude_error=0.0,
        status=status,
        seconds=0.0,
        columns=layer.layout.columns,
        samples=sum(moments.inputs.count for moments in calibration.fit),
    )


def _record(
    layer: Layer,
    task: LayerTask,
    outcome: Outcome,
    exact: np.ndarray,
    seconds: float,
) -> LayerRecord:
    none, errors = (None,) * len(task.centred), ErrorMeter(task)
    return LayerRecord(
        name=layer.name,
        op=layer.op,
        weights=layer.size,
        zeros=int((exact == 0).sum()),
        error=errors.relative_error(exact, outcome.bias_change),
        magnitude_error=errors.relative_error(magnitude_weight(task), none),
        status=outcome.status.value,
        remedy=outcome.status.remedy,
        seconds=seconds,
        held_error=outcome.held_error,
        method=task.method,
        columns=layer.layout.columns,
        samples=sum(
            moments.inputs.count for moments in (*task.calibration.fit, *task.calibration.held)
        ),
        damp=outcome.damp,
        target=outcome.target,
        info=dict(outcome.info),
    )
