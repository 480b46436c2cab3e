"""Retrains the network of a pruning run, and judges it again."""

from __future__ import annotations

import dataclasses
import time

from onnx_lobs.calibration.held_out import fitted_and_held
from onnx_lobs.evaluation.final_activation import common_finals
from onnx_lobs.evaluation.one_hot import with_class_labels
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.normalise import to_executable
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.options.rounds import retraining_of
from onnx_lobs.report.progress import Progress
from onnx_lobs.report.record import LayerRecord, OutputRecord, RoundRecord
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.one_run import Run, error_alone, judged_again
from onnx_lobs.run.outcome import Reference
from onnx_lobs.run.retraining.aims import memory_of_targets
from onnx_lobs.run.retraining.opened import OpenedNetworks
from onnx_lobs.run.retraining.resumed import remembering
from onnx_lobs.run.retraining.retrain import RetrainedNetwork, retrain_networks
from onnx_lobs.run.slots import layer_key


def retrain_run(run: Run, reference: Reference, scratch: Scratch, progress: Progress) -> Run:
    """Retrain what a run pruned; its result changes in place, and the records are made anew.

    Parameters
    ----------
    run
        Of options with `retrain`, on what
        :func:`onnx_lobs.run.retraining.checks.check_retrainable` takes.
    reference, scratch
        As for :func:`onnx_lobs.run.outcome.evaluate_run`.

    Returns
    -------
    Run
        With the retrained network, what it does, and one more round.

    Raises
    ------
    ConfigError
        When labels are to be learnt and there are none.
    ModelError
        When nothing can move.

    Notes
    -----
    Learns from the batches that the layers were fitted to; the held-out ones choose the best state.
    """
    started = time.perf_counter()
    setup, networks, log = run.setup, run.networks, run.log
    how = retraining_of(setup.config)
    opened = open_result(networks)
    samples = fitted_and_held(with_class_labels(setup.batches, None))
    found = retrain_networks(
        opened, samples, how, setup.config.seed, progress,
        most_kept=memory_of_targets(setup.memory.activations),
        remember=remembering(setup, opened, samples, how, log),
    )  # fmt: skip
    # put the values into both networks, and judge
    found.write(opened.pruned)
    found.write(Model(networks.result.proto, networks.result.folder))
    log.warn(*found.stopped)
    seconds = time.perf_counter() - started
    before = error_alone(run, reference, scratch, progress)
    after = dataclasses.replace(networks, pruned=opened.pruned)
    now = run
    if how.sparsity is not None:
        now = dataclasses.replace(run, records=_thinned_records(run, found))
    judged = judged_again(now, after, reference, scratch, progress)
    record = _record(now, found, before, judged.output, seconds)
    if how.sparsity is not None:
        record = dataclasses.replace(record, pruned=_sparsity(run))
    return dataclasses.replace(judged, rounds=(*run.rounds, record))


def _thinned_records(run: Run, found: RetrainedNetwork) -> dict[str, LayerRecord]:
    """Return the records of the layers with the zeros that they have now."""
    zeros = {
        layer_key(weight.layer): weight.kept.size - weight.n_kept
        for weight in found.weights
        if weight.layer is not None
    }
    return {
        key: dataclasses.replace(record, zeros=zeros.get(key, record.zeros))
        for key, record in run.records.items()
    }


def open_result(networks: Networks) -> OpenedNetworks:
    """Return the dense network, and an execution copy of the result."""
    result = networks.result
    proto, _ = to_executable(result.proto, result.folder, networks.provider)
    pruned = Model(proto, result.folder)
    finals = common_finals(networks.reference, pruned)
    return OpenedNetworks(pruned, networks.reference, finals, networks.provider, ())


def _sparsity(run: Run) -> float:
    layers = run.records.values()
    return sum(each.zeros for each in layers) / sum(each.weights for each in layers)


def _record(
    run: Run, found: RetrainedNetwork, before: float | None, after: OutputRecord, seconds: float
) -> RoundRecord:
    """Return what a retraining was, and the output errors before and after it."""
    weights = [tensor.n_kept for tensor in found.moved if tensor.layer is not None]
    return RoundRecord(
        sparsity=_sparsity(run),
        towards=found.towards,
        move=found.move,
        weights=sum(weights),
        biases=sum(tensor.n_kept for tensor in found.moved) - sum(weights),
        steps=found.done.losses[-1][0],
        best=found.done.best,
        losses=found.done.losses,
        error_before=before,
        error_after=after.error,
        score_before=run.output.score,
        score_after=after.score,
        seconds=seconds,
    )
