"""Adds what a run can promise of its outputs: a bound, and the first-order prediction."""

from __future__ import annotations

from dataclasses import replace

from onnx_lobs.errors import InferenceError, ModelError
from onnx_lobs.evaluation.bound.network import WHOLE, bound_network
from onnx_lobs.report.progress import Progress
from onnx_lobs.run.one_run import Run
from onnx_lobs.run.slots import layer_key


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
    keys = {layer.weight: layer_key(layer) for layer in setup.layers}
    keys |= {use.output: layer_key(layer) for layer in setup.layers for use in layer.uses}
    progress.start("bounding", len(setup.batches))
    try:
        bounds, found = bound_network(
            networks.dense, networks.pruned, keys, setup.batches,
            provider=networks.provider, tick=progress.advance,
        )  # fmt: skip
    except (ModelError, InferenceError) as error:  # of two networks at once: the run is done
        run.log.warn(f"no bound was computed: {error}")
        return run
    records = {key: replace(r, first_order=found.get(key)) for key, r in run.records.items()}
    output = replace(run.output, first_order=found.get(WHOLE), bounds=bounds)
    return replace(run, output=output, records=records)
