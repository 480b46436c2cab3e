"""Adds what a run can promise of its outputs: a bound, and the first-order prediction."""

from __future__ import annotations

from dataclasses import replace

from onnx_lobs.errors import InferenceError, ModelError
from onnx_lobs.evaluation.bound.network import WHOLE, bound_network
from onnx_lobs.report.progress import Progress
from onnx_lobs.run.one_run import Run


def with_bounds(run: Run, progress: Progress) -> Run:
    """Return the run with bounds and predictions on the calibration data in its records.

    A model whose weights exceed their share of memory gets none, nor does one that onnxruntime
    cannot run beside its pruned copy; the run's log has a warning.
    """
    setup, networks = run.setup, run.networks
    if networks.is_staged:
        run.log.warn(
            "no bound was computed: it needs the dense and the pruned network in memory at once, "
            "and the weights exceed their share of --memory"
        )
        return run
    names = {layer.weight: layer.name for layer in setup.layers}
    names |= {use.output: layer.name for layer in setup.layers for use in layer.uses}
    progress.start("bounding", len(setup.batches))
    try:
        bounds, found = bound_network(
            networks.dense, networks.pruned, names, setup.batches,
            provider=networks.provider, tick=progress.advance,
        )  # fmt: skip
    except (ModelError, InferenceError) as error:  # of two networks at once: the run is done
        run.log.warn(f"no bound was computed: {error}")
        return run
    records = tuple(replace(record, first_order=found.get(record.name)) for record in run.records)
    output = replace(run.output, first_order=found.get(WHOLE), bounds=bounds)
    return replace(run, output=output, records=records)
