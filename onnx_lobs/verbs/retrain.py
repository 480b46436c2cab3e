"""Retrains a pruned model lightly: opens it, chooses what moves, trains, scores, writes."""

from __future__ import annotations

import dataclasses
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from onnx_lobs.data.batches import Batches
from onnx_lobs.errors import ModelError
from onnx_lobs.evaluation.scoring import open_scoring
from onnx_lobs.graph.files.load import LoadedModel, load_model
from onnx_lobs.graph.files.outputs import check_output, model_files
from onnx_lobs.graph.files.save import save_model
from onnx_lobs.graph.files.source import ModelSource, as_source
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.arena import gives_back
from onnx_lobs.graph.run.session import Session
from onnx_lobs.layers.find import LayerFilter, find_layers
from onnx_lobs.options.call import read_options, takes_options
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.options.option import take
from onnx_lobs.options.retraining import RETRAIN_OPTIONS, RUN_OPTIONS, RetrainOptions
from onnx_lobs.report.progress import Progress, as_progress
from onnx_lobs.report.retraining import RetrainedScore, Retraining
from onnx_lobs.report.showing import Told, telling
from onnx_lobs.run.retraining.aims import Targets
from onnx_lobs.run.retraining.moving import chosen_move, moving_weights
from onnx_lobs.run.retraining.network import TrainedNetwork
from onnx_lobs.run.retraining.opened import (
    OpenedNetworks,
    chosen_aim,
    find_aims,
    open_networks,
    open_samples,
)
from onnx_lobs.run.retraining.parameters import MovingTensor, find_small, find_weights
from onnx_lobs.run.retraining.training import Course, Trained, TrainingSet, train

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from onnx_lobs.options.keywords import RetrainKeywords


@dataclass(frozen=True, repr=False)
class RetrainResult:
    """A retrained model, and the record of how it came about.

    Parameters
    ----------
    model
        The pruned model with other values of the weights that are not zero.
    record
        Losses, scores, counts.
    folder
        Where external data of the model lie, or None.
    """

    model: onnx.ModelProto
    record: Retraining
    folder: Path | None = None

    def __repr__(self) -> str:
        """Return one short line."""
        losses = f"{self.record.loss_before:.4g} -> {self.record.loss_after:.4g}"
        return f"RetrainResult(held-out loss {losses}, {self.record.steps} steps)"

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> int:
        """Write the model, loaded by onnxruntime before the file gets its name; return its bytes.

        Parameters
        ----------
        path
            The file.
        overwrite
            Whether an existing file is replaced.

        Returns
        -------
        int
            Bytes written.

        Raises
        ------
        ConfigError
            When the file exists and may not be overwritten, or cannot be written.
        """

        def verify(written: Path) -> None:
            load_model(written)
            Session(written, light=True)

        return save_model(
            self.model, Path(path), folder=self.folder, overwrite=overwrite, verify=verify
        )


@takes_options(RETRAIN_OPTIONS)
def retrain(
    pruned: ModelSource,
    data: Any = None,
    *,
    dense: ModelSource | None = None,
    test: Any = None,
    progress: Told = None,
    **options: Unpack[RetrainKeywords],
) -> RetrainResult:
    """Retrain a pruned model lightly; weights that are zero stay zero, exactly.

    Parameters
    ----------
    pruned
        Path, bytes or ModelProto. Not modified.
    data
        Samples as for :func:`onnx_lobs.prune`, with labels or without. A tenth of them is held
        out: the model returned is the best on these, and never worse on them than before.
    dense
        The model before pruning, whose outputs are learnt where there are no labels.
    test
        Labelled data for the score before and after. None: a labelled test set beside the file.
    progress
        Told of every step, as :func:`onnx_lobs.prune`.

    Returns
    -------
    RetrainResult
        The model with the best weights, and the record.

    Raises
    ------
    ConfigError
        When an option is unknown or not possible, or neither labels nor a dense model are there.
    ModelError
        When a model cannot be read or run, or nothing in it can move.
    DataError, InferenceError
        When the data do not fit, or are too few to hold some out.

    Notes
    -----
    Cost: `steps` forward and backward passes of one batch, 20 forward passes over the held-out
    tenth. Memory: the activations of one batch.
    """
    read = read_options(options, RETRAIN_OPTIONS)
    config = take(PruneConfig, {name: v for name, v in read.items() if name in RUN_OPTIONS})
    with telling(progress) as told:
        how = take(RetrainOptions, read)
        return retrain_model((pruned, dense), data, config, how, test=test, progress=told)


@gives_back
def retrain_model(
    sources: tuple[ModelSource, ModelSource | None],
    data: Any,
    config: PruneConfig,
    how: RetrainOptions,
    *,
    test: Any = None,
    progress: Progress | None = None,
) -> RetrainResult:
    """Retrain as :func:`retrain` does, with its options in their records."""
    started, told = time.perf_counter(), as_progress(progress)
    loaded = load_model(as_source(sources[0]))
    reference = None if sources[1] is None else load_model(as_source(sources[1]))
    networks = open_networks(loaded, reference, config)
    fitted, held, notes = open_samples(loaded, networks, data, config)
    # what is learnt, and what may move
    aims, session, values = find_aims(networks, fitted, how.towards)
    layers, _ = find_layers(networks.pruned, LayerFilter(depthwise=True))
    weights = find_weights(networks.pruned, layers)
    move = chosen_move(how.move, weights, fitted.n_samples)
    observations = {w.name: _observations(w, values.shapes, fitted.sizes[0]) for w in weights}
    moved = moving_weights(move, weights, fitted.n_samples, observations)
    tensors = (*moved, *find_small(networks.pruned, layers))
    if not tensors:
        raise ModelError(f"nothing in the model can move ({move}); name more with --move all")
    # train, and put the best values into the model
    network = TrainedNetwork(networks.pruned, aims, tensors, networks.provider)
    sets = [TrainingSet(some, Targets(aims, some, session)) for some in (fitted, held)]
    course = Course(how.steps, how.rate, how.optimiser, config.seed)
    done = train(network, sets[0], sets[1], course, told)
    stopped = network.shaped(fitted.load(0)).stopped
    result = Model(loaded.proto, loaded.folder)
    scores, score_notes = _scores(loaded, networks, test, config, tensors, done)
    _write(result, tensors, done)
    record = Retraining(
        model=str(loaded.path or "the model given"),
        data=_origin(fitted),
        samples=fitted.n_samples,
        held_samples=held.n_samples,
        towards=chosen_aim(networks, fitted, how.towards),
        move=move,
        layers=len(moved),
        weights=sum(tensor.n_kept for tensor in moved),
        biases=sum(tensor.n_kept for tensor in tensors[len(moved) :]),
        zeros=sum(tensor.kept.size - tensor.n_kept for tensor in weights),
        of_weights=sum(tensor.kept.size for tensor in weights),
        steps=done.losses[-1][0],
        best=done.best,
        losses=done.losses,
        scores=scores,
        seconds=time.perf_counter() - started,
        warnings=(
            *notes,
            *networks.notes,
            *score_notes,
            *(f"the gradient stops at {stop}" for stop in stopped),
            *_sparse_notes(loaded),
        ),
    )
    return RetrainResult(loaded.proto, record, loaded.folder)


def retrain_file(
    pruned: Path,
    output: Path,
    data: Any,
    config: PruneConfig,
    how: RetrainOptions,
    *,
    dense: Path | None = None,
    test: Any = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Retraining:
    """Retrain the model of a file into another file; the record says where and how large.

    Raises
    ------
    ConfigError, ModelError, DataError, InferenceError
        As :func:`retrain`; also when the output exists and may not be overwritten.
    """
    inputs = [*model_files(pruned), *(() if dense is None else model_files(dense))]
    check_output(output, inputs=inputs, overwrite=overwrite)
    found = retrain_model((pruned, dense), data, config, how, test=test, progress=progress)
    n_bytes = found.save(output, overwrite=overwrite)
    return dataclasses.replace(found.record, output=str(output), file_bytes=n_bytes)


def _origin(fitted: Batches) -> str:
    """Return where the samples come from, without the number of batches that were picked."""
    return fitted.origin.partition(" batches of ")[2] or fitted.origin


def _observations(weight: MovingTensor, shapes: Any, batch: int) -> int:
    """Return how many observations a sample gives the layer of a weight."""
    assert weight.layer is not None
    uses = weight.layer.uses
    return sum(use.n_observations(shapes[use.input]) for use in uses) // batch


def _write(model: Model, tensors: tuple[MovingTensor, ...], done: Trained) -> None:
    """Put the values into a model, in the types in which it stores them; zeros stay zeros."""
    for tensor in tensors:
        stored = model.constant(model.main, tensor.name)
        assert stored is not None
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(stored.data_type))
        if done.best:
            model.write(stored, done.values[tensor.name].astype(dtype))


def _scores(
    loaded: LoadedModel,
    networks: OpenedNetworks,
    test: Any,
    config: PruneConfig,
    tensors: tuple[MovingTensor, ...],
    done: Trained,
) -> tuple[tuple[RetrainedScore, ...], list[str]]:
    """Return the score on test data, before and after, if there are any; and notes."""
    scoring, notes = open_scoring(loaded, test, config)
    if scoring is None:
        return (), notes
    after = networks.pruned.copied()
    _write(after, tensors, done)

    def session(model: Model) -> Session:
        return Session(model.proto, folder=model.folder, provider=networks.provider)

    reference = None if networks.dense is None else session(networks.dense)
    measured = [scoring.measure(session(model), reference) for model in (networks.pruned, after)]
    dense = None if reference is None else scoring.measure(reference, reference).value
    score = RetrainedScore(
        scoring.score.name,
        dense,
        measured[0].value,
        measured[1].value,
        measured[1].standard_error,
        measured[1].n,
        scoring.score.is_fraction,
    )
    return (score,), notes


def _sparse_notes(loaded: LoadedModel) -> list[str]:
    """Return a note where weights were stored as sparse tensors, which they are no longer."""
    if not loaded.sparse:
        return []
    return [
        f"{len(loaded.sparse)} sparse tensors are written as dense ones; their zeros are the same"
    ]
