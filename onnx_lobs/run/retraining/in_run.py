"""Retrains the network of a pruning run, and judges it again."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence

import numpy as np

from onnx_lobs.calibration.held_out import split_held
from onnx_lobs.data.batches import Batches
from onnx_lobs.errors import ConfigError, DataError
from onnx_lobs.evaluation.final_activation import common_finals
from onnx_lobs.evaluation.one_hot import with_class_labels
from onnx_lobs.evaluation.remembered import RememberedOutputs
from onnx_lobs.evaluation.score import MeasuredScore
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.normalise import to_executable
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.options.config import PruneConfig, has_target, is_channels
from onnx_lobs.options.retraining import RetrainOptions
from onnx_lobs.patterns import parse_pattern
from onnx_lobs.report.progress import Progress
from onnx_lobs.report.record import RoundRecord
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.one_run import Run
from onnx_lobs.run.outcome import evaluate_run
from onnx_lobs.run.resume.cache import Cache, Entry
from onnx_lobs.run.resume.fingerprint import data_hash, digest, model_hash, program_hash
from onnx_lobs.run.retraining.aims import MOST_HELD
from onnx_lobs.run.retraining.opened import OpenedNetworks
from onnx_lobs.run.retraining.parameters import MovingTensor
from onnx_lobs.run.retraining.retrain import Remember, RetrainedNetwork, retrain_networks
from onnx_lobs.run.retraining.training import Trained
from onnx_lobs.run.setup import Setup

KEPT_PART = 4  # of the memory for activations, a part for the dense network's outputs


def check_retraining(config: PruneConfig) -> None:
    """Refuse options that retraining, or rounds of it, cannot be combined with.

    Raises
    ------
    ConfigError
        It names them.
    """
    if config.rounds is not None:
        _check_rounds(config)
    if not changes_behind(config):
        return
    asked = "--retrain" if config.retrain is not None else "--refit-blocks"
    if config.values != "fp32":
        raise ConfigError(
            f"{asked} moves weights, and values {config.values} rounds them before it; leave "
            f"out --values, or {asked}"
        )
    if config.bound:
        raise ConfigError(
            f"a bound goes by the layers' errors before {asked}; leave out --bound, or {asked}"
        )


def changes_behind(config: PruneConfig) -> bool:
    """Whether weights move once more behind pruning."""
    return config.retrain is not None or config.refit_blocks


def _check_rounds(config: PruneConfig) -> None:
    if config.retrain is None:
        raise ConfigError(
            "rounds retrain in between; add --retrain 200, or give one --sparsity in their place"
        )
    if config.sparsity is not None or has_target(config):
        raise ConfigError(
            "rounds name all sparsities; leave out --sparsity and limits, or --rounds"
        )
    if is_channels(config) or parse_pattern(config.pattern).own_sparsity is not None:
        raise ConfigError(
            f"pattern {config.pattern} has one round; leave out --rounds, or choose another pattern"
        )
    if config.refit_blocks:
        raise ConfigError("rounds retrain whole networks; leave out --refit-blocks, or --rounds")


def check_retrainable(setup: Setup, networks: Networks) -> None:
    """Refuse a model or data that a run cannot retrain on, before any work.

    Raises
    ------
    ConfigError
        The model runs in stages.
    DataError
        There are no samples, or none can be held out.
    """
    if networks.is_staged or networks.result.is_private:
        raise ConfigError(
            f"the model has {networks.dense.weight_bytes:,} bytes of weights, more than the "
            f"{networks.limit:,} that one session gets, and moving them runs it as a whole; give "
            "more --memory, or leave out --retrain and --refit-blocks"
        )
    if setup.batches.synthetic:
        raise DataError(
            "moving weights behind pruning needs samples, and there are none beside the model; "
            "give them with -d"
        )
    if split_held(setup.batches)[1] is None:
        raise DataError(
            f"{setup.batches.n_samples} samples make one batch, and one is held out; give "
            "more samples, or a smaller batch_size"
        )


def retrain_run(
    run: Run,
    before: MeasuredScore | None,
    dense: RememberedOutputs,
    scratch: Scratch,
    progress: Progress,
) -> Run:
    """Retrain what a run pruned; its result changes in place, and the records are made anew.

    Parameters
    ----------
    run
        Of options with `retrain`, on what :func:`check_retrainable` takes.
    before
        Score of the dense network, or None.
    dense
        What it gives on the batches.
    scratch
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
    how = RetrainOptions.of_run(setup.config)
    opened = open_result(networks)
    samples = _samples(setup)
    remember = _memory_of(run, opened, samples, how)
    found = retrain_networks(
        opened, samples, how, setup.config.seed, progress,
        kept_bytes=min(MOST_HELD, setup.memory.activations // KEPT_PART), remember=remember,
    )  # fmt: skip
    # put the values into both networks, and judge
    found.write(opened.pruned)
    found.write(Model(networks.result.proto, networks.result.folder))
    log.warn(*found.stopped)
    after = dataclasses.replace(networks, pruned=opened.pruned)
    judged = dataclasses.replace(after, dense=networks.reference)
    seconds = time.perf_counter() - started
    was = run.output
    if was.n_fits > 1:  # the delivered fit alone is what was retrained
        was, _ = evaluate_run(
            setup, dataclasses.replace(networks, dense=networks.reference), run.records,
            None, dense, scratch, progress, log, retrained=True,
        )  # fmt: skip
    output, details = evaluate_run(
        setup, judged, run.records, before, dense, scratch, progress, log, retrained=True
    )
    record = _record(run, found, seconds)
    record = dataclasses.replace(
        record, error_before=was.error, error_after=output.error, score_after=output.score
    )
    return dataclasses.replace(
        run, networks=after, output=output, details=details, rounds=(*run.rounds, record)
    )


def open_result(networks: Networks) -> OpenedNetworks:
    """Return the dense network, and an execution copy of the result."""
    result = networks.result
    proto, _ = to_executable(result.proto, result.folder, networks.provider)
    pruned = Model(proto, result.folder)
    finals = common_finals(networks.reference, pruned)
    return OpenedNetworks(pruned, networks.reference, finals, networks.provider, ())


def _samples(setup: Setup) -> tuple[Batches, Batches]:
    """Return the batches that are fitted and those held out."""
    fitted, held = split_held(with_class_labels(setup.batches, None))
    assert held is not None
    return fitted, held


def _record(run: Run, found: RetrainedNetwork, seconds: float) -> RoundRecord:
    layers = run.records.values()
    weights = [tensor.n_kept for tensor in found.moved if tensor.layer is not None]
    return RoundRecord(
        sparsity=sum(each.zeros for each in layers) / sum(each.weights for each in layers),
        towards=found.towards,
        move=found.move,
        weights=sum(weights),
        biases=sum(tensor.n_kept for tensor in found.moved) - sum(weights),
        steps=found.done.losses[-1][0],
        best=found.done.best,
        losses=found.done.losses,
        error_before=None,
        error_after=None,
        score_before=run.output.score,
        score_after=None,
        seconds=seconds,
    )


def _memory_of(
    run: Run, opened: OpenedNetworks, samples: tuple[Batches, Batches], how: RetrainOptions
) -> Remember:
    """Return what takes a retraining from the run's cache, or keeps it there."""
    config = run.setup.config
    if config.cache is None:
        return lambda tensors, make: make()
    cache = Cache(config.cache)
    assert opened.dense is not None
    key = digest(
        "retraining",
        program_hash(),
        model_hash(dataclasses.replace(run.setup.loaded, proto=opened.pruned.proto)),
        model_hash(dataclasses.replace(run.setup.loaded, proto=opened.dense.proto)),
        [data_hash(some) for some in samples],
        [None if some.labels is None else some.labels.tolist() for some in samples],
        dataclasses.asdict(how),
        config.seed,
    )

    def remember(tensors: Sequence[MovingTensor], make: Callable[[], Trained]) -> Trained:
        found = cache.find(key, lambda entry: _to_trained(entry, tensors))
        if found is None:
            found = make()
            cache.save(key, _from_trained(found, tensors))
        run.log.warn(*cache.warnings)
        return found

    return remember


def _from_trained(done: Trained, tensors: Sequence[MovingTensor]) -> Entry:
    arrays = {f"value{i}": done.values[tensor.name] for i, tensor in enumerate(tensors)}
    return Entry(arrays, {"losses": [list(look) for look in done.losses], "best": done.best})


def _to_trained(entry: Entry, tensors: Sequence[MovingTensor]) -> Trained:
    """Return what an entry holds; ValueError where its arrays are none of these tensors'."""
    values = {}
    for i, tensor in enumerate(tensors):
        value = entry.arrays[f"value{i}"]
        if value.shape != tensor.start.shape or not np.isfinite(value).all():
            raise ValueError("it holds values of other tensors")
        values[tensor.name] = value
    losses = tuple((int(step), float(loss)) for step, loss in entry.record["losses"])
    best = int(entry.record["best"])
    if best not in dict(losses):
        raise ValueError("it names a step that was not looked at")
    return Trained(values, losses, best)
