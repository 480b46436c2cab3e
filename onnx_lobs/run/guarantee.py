"""What a run can promise about its outputs: a bound, and what first-order theory foresees."""

from __future__ import annotations

import dataclasses

from onnx_lobs.errors import InferenceError, ModelError
from onnx_lobs.evaluation.bound.linear import predict_linearly
from onnx_lobs.evaluation.bound.propagate import bound_outputs
from onnx_lobs.report.progress import Progress
from onnx_lobs.report.record import BoundRecord, OutputRecord
from onnx_lobs.run.workspace import Workspace


def with_bounds(
    work: Workspace, output: OutputRecord, progress: Progress
) -> tuple[OutputRecord, tuple[str, ...]]:
    """Return the record with bounds and prediction on the calibration data, and warnings.

    A model whose weights exceed their share of memory gets none, nor does one that onnxruntime
    cannot run beside its pruned copy; a warning says so. Layers inside branches have no first-order
    prediction.
    """
    if work.dense.weight_bytes > work.room.weights:
        warning = (
            "no bound was computed: it needs the dense and the pruned network in memory at once, "
            "and the weights exceed their share of --memory"
        )
        return output, (warning,)
    progress.start("bounding", len(work.batches))
    try:
        found = bound_outputs(
            work.dense, work.pruned, work.batches, provider=work.provider, tick=progress.advance
        )
        linear = None
        if all(layer.scope == 0 for layer in work.layers):
            progress.start("predicting", len(work.batches))
            linear = predict_linearly(
                work.dense, work.pruned, work.batches, provider=work.provider, tick=progress.advance
            )
    except (ModelError, InferenceError) as error:  # of two networks at once: the run is done
        return output, (f"no bound was computed: {error}",)
    bounds = tuple(
        BoundRecord(each.output, each.bound, each.measured, dict(each.layers), each.missing)
        for each in found
    )
    return dataclasses.replace(output, linear=linear, bounds=bounds), ()
