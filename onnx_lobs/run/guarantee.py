"""Adds what a run can promise of its outputs: a bound, and what first-order theory foresees."""

from __future__ import annotations

import dataclasses

from onnx_lobs.errors import InferenceError, ModelError
from onnx_lobs.evaluation.bound.linear import predict_linearly
from onnx_lobs.evaluation.bound.propagate import bound_outputs
from onnx_lobs.report.progress import Progress
from onnx_lobs.report.record import BoundRecord
from onnx_lobs.run.one_run import Run


def with_bounds(run: Run, progress: Progress) -> Run:
    """Return the run with bounds and prediction on the calibration data in its record.

    A model whose weights exceed their share of memory gets none, nor does one that onnxruntime
    cannot run beside its pruned copy; the run's log has a warning. Layers inside branches have no
    first-order prediction.
    """
    networks, batches = run.networks, run.setup.batches
    if networks.is_staged:
        run.log.warn(
            "no bound was computed: it needs the dense and the pruned network in memory at once, "
            "and the weights exceed their share of --memory"
        )
        return run
    both, provider, tick = (networks.dense, networks.pruned), networks.provider, progress.advance
    progress.start("bounding", len(batches))
    try:
        found = bound_outputs(*both, batches, provider=provider, tick=tick)
        linear = None
        if all(layer.scope == 0 for layer in run.setup.layers):
            progress.start("predicting", len(batches))
            linear = predict_linearly(*both, batches, provider=provider, tick=tick)
    except (ModelError, InferenceError) as error:  # of two networks at once: the run is done
        run.log.warn(f"no bound was computed: {error}")
        return run
    bounds = tuple(
        BoundRecord(each.output, each.bound, each.measured, dict(each.layers), each.missing)
        for each in found
    )
    output = dataclasses.replace(run.output, linear=linear, bounds=bounds)
    return dataclasses.replace(run, output=output)
