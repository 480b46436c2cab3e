"""Retrains a pruned model lightly: opens it, chooses what moves, trains, scores, writes."""

from __future__ import annotations

import dataclasses
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from onnx_lobs.data.batches import Batches
from onnx_lobs.evaluation.scoring import open_scoring
from onnx_lobs.graph.files.load import LoadedModel, load_model
from onnx_lobs.graph.files.outputs import check_output, model_files
from onnx_lobs.graph.files.save import save_model
from onnx_lobs.graph.files.source import ModelSource, as_source
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.arena import gives_back
from onnx_lobs.graph.run.session import Session
from onnx_lobs.memory.shares import share_out
from onnx_lobs.options.call import read_options, takes_options
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.options.option import take
from onnx_lobs.options.retraining import RetrainOptions
from onnx_lobs.options.verb_options import RETRAIN_OPTIONS, RUN_OPTIONS
from onnx_lobs.report.progress import Progress, as_progress
from onnx_lobs.report.retraining import RetrainedScore, Retraining
from onnx_lobs.report.showing import Told, telling
from onnx_lobs.run.retraining.aims import memory_of_targets
from onnx_lobs.run.retraining.opened import OpenedNetworks, open_networks, open_samples
from onnx_lobs.run.retraining.retrain import RetrainedNetwork, retrain_networks
from onnx_lobs.storage.expand import count_rounded, expand_weights

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

    With `sparsity` more of them become zero on the way.

    Parameters
    ----------
    pruned
        Path, bytes or ModelProto. Not modified.
    data
        Samples as for :func:`onnx_lobs.prune`, with labels or without. A tenth of them is held
        out: the model returned is the best on these, and never worse on them than before. With
        `sparsity`: the best of those with as many zeros.
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
        When an option is unknown or not possible, neither labels nor a dense model are there, or
        `sparsity` is there already or cannot be reached.
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
    unpacked = expand_weights(loaded, to_float=False).unpacked
    reference = None if sources[1] is None else load_model(as_source(sources[1]))
    networks = open_networks(loaded, reference, config)
    fitted, held, notes = open_samples(loaded, networks, data, config)
    found = retrain_networks(
        networks, (fitted, held), how, config.seed, told,
        most_kept=memory_of_targets(share_out(config.memory).activations),
        gathers=config.batch_size is None,
    )  # fmt: skip
    scores, score_notes = _scores(loaded, networks, test, config, found)
    found.write(Model(loaded.proto, loaded.folder))
    moved = [tensor for tensor in found.moved if tensor.layer is not None]
    small = [tensor for tensor in found.moved if tensor.layer is None]
    record = Retraining(
        model=str(loaded.path or "the model given"),
        data=_origin(fitted),
        samples=fitted.n_samples,
        held_samples=held.n_samples,
        towards=found.towards,
        move=found.move,
        layers=len(moved),
        weights=sum(tensor.n_kept for tensor in moved),
        biases=sum(tensor.n_kept for tensor in small),
        zeros=sum(tensor.kept.size - tensor.n_kept for tensor in found.weights),
        zeros_before=sum(int((tensor.start == 0).sum()) for tensor in found.weights),
        of_weights=sum(tensor.kept.size for tensor in found.weights),
        steps=found.done.losses[-1][0],
        best=found.done.best,
        losses=found.done.losses,
        scores=scores,
        seconds=time.perf_counter() - started,
        warnings=(
            *notes,
            *networks.notes,
            *score_notes,
            *found.stopped,
            *_form_notes(loaded, len(unpacked)),
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


def _scores(
    loaded: LoadedModel,
    networks: OpenedNetworks,
    test: Any,
    config: PruneConfig,
    found: RetrainedNetwork,
) -> tuple[tuple[RetrainedScore, ...], list[str]]:
    """Return the score on test data, before and after, if there are any; and notes."""
    scoring, notes = open_scoring(loaded, test, config)
    if scoring is None:
        return (), notes
    after = networks.pruned.copied()
    found.write(after)

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


def _form_notes(loaded: LoadedModel, n_packed: int) -> list[str]:
    """Return notes on weights that are stored in another form than before, and on what int8 is."""
    counts = {"sparse": len(loaded.sparse), "packed": n_packed}
    notes = [
        f"{count} {form} tensors are written as dense ones; their zeros are the same"
        for form, count in counts.items()
        if count
    ]
    if rounded := count_rounded(loaded.proto):
        notes.append(
            f"{rounded} weights are stored as int8 and stay as they are; retrain the model before "
            "they are rounded, or `onnx-lobs expand --values fp32` first"
        )
    return notes
