"""Compares a pruned model with the dense one, and says whether that will do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from onnx_lobs.data.batches import Batches
from onnx_lobs.data.fixed_inside import cut_as_fixed_inside
from onnx_lobs.data.inputs import input_specs
from onnx_lobs.data.kinds.request import LabelNeed
from onnx_lobs.data.kinds.table import check_read
from onnx_lobs.data.synthetic import guesses
from onnx_lobs.errors import ConfigError, DataError
from onnx_lobs.evaluation.builtin import SCORES, class_count, class_indices, find_scores
from onnx_lobs.evaluation.final_activation import common_finals, judged_values
from onnx_lobs.evaluation.find import find_score
from onnx_lobs.evaluation.input_ranges import input_ranges
from onnx_lobs.evaluation.judge import Judgement, judge
from onnx_lobs.evaluation.judged_network import JudgedNetwork, open_judged
from onnx_lobs.evaluation.one_hot import with_class_labels
from onnx_lobs.evaluation.plausible_data import doubtful_outputs
from onnx_lobs.evaluation.plausible_labels import doubtful_labels
from onnx_lobs.evaluation.score import Score
from onnx_lobs.evaluation.scoring import (
    check_drop,
    collapse_notes,
    needs_labels,
    open_test,
    score_record,
)
from onnx_lobs.graph.files.external import external_bytes
from onnx_lobs.graph.files.load import LoadedModel, load_model
from onnx_lobs.graph.files.sizes import Sizes, file_sizes
from onnx_lobs.graph.files.source import ModelSource, as_source
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.normalise import to_executable
from onnx_lobs.graph.run.arena import gives_back
from onnx_lobs.graph.run.session import find_provider
from onnx_lobs.graph.run.staged import Runnable
from onnx_lobs.memory.shares import share_out
from onnx_lobs.options.call import read_options, takes_options
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.options.limits import Limits
from onnx_lobs.options.option import take
from onnx_lobs.options.verb_options import COMPARE_OPTIONS, SHARED_OPTIONS
from onnx_lobs.report.evaluation import Evaluation, SideRecord
from onnx_lobs.report.progress import Progress, as_progress
from onnx_lobs.report.showing import Told, telling
from onnx_lobs.run.calibration_data import open_calibration
from onnx_lobs.run.preset_choice import choose_preset
from onnx_lobs.verbs.inspect import Inspection, inspect
from onnx_lobs.verbs.interface import check_outputs, common_inputs

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from onnx_lobs.options.keywords import EvaluateOptions


SWAPPED = 0.01  # of the weights: more zeros than the pruned model has


@takes_options(COMPARE_OPTIONS)
def evaluate(
    dense: ModelSource,
    pruned: ModelSource,
    data: Any = None,
    *,
    score: str | Callable[..., Any] | None = None,
    progress: Told = None,
    **options: Unpack[EvaluateOptions],
) -> Evaluation:
    """Compare a pruned model with the dense one on data.

    The options are listed below. A limit that is missed is in the record, and no error.

    Parameters
    ----------
    dense, pruned
        Path, bytes or ModelProto of models with the same inputs and outputs; the names of
        weights and nodes do not matter. Not modified.
    data
        As for :func:`onnx_lobs.prune`, with labels or without. None: a labelled test set
        beside the dense model's file, or else what ``prune`` takes.
    score
        A name, ``FILE.py:FUNCTION``, or a function as :mod:`onnx_lobs.evaluation.script` has
        it. None: top1, and top5 of more than five classes, where the data have labels.
    progress
        Told of every batch, as :func:`onnx_lobs.prune`.

    Returns
    -------
    Evaluation
        The figures of both models, and which limits are missed.

    Raises
    ------
    ConfigError
        When an option is unknown or not possible, or `max_drop` has no score.
    ModelError
        When a model cannot be read or run, or the two take or give different things.
    DataError, InferenceError, ScoreError
        When the data do not fit, or onnxruntime or the user's function fails on them.

    Notes
    -----
    Cost: one forward pass of each model, and what the user's function runs.
    """
    read = read_options(options, COMPARE_OPTIONS)
    limits = take(Limits, read)
    shared = {name: value for name, value in read.items() if name in SHARED_OPTIONS}
    config = take(PruneConfig, shared)
    with telling(progress) as told:
        return compare((dense, pruned), data, config, limits, score=score, progress=told)


@gives_back
def compare(
    sources: tuple[ModelSource, ModelSource],
    data: Any,
    config: PruneConfig,
    limits: Limits,
    *,
    score: str | Callable[..., Any] | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Compare models as :func:`evaluate` does, with its options in their records."""
    started = time.perf_counter()
    wanted = None if score is None else find_score(score)
    sources = as_source(sources[0]), as_source(sources[1])
    models = load_model(sources[0]), load_model(sources[1])
    check_read(config, (data,))
    config, notes = choose_preset(models[0], (data,), config)
    batches, data_notes = _open_data(models, data, config)
    (before, after), run_notes = _open_sessions(models, config)
    progress = as_progress(progress)
    with guesses(batches):
        batches = with_class_labels(cut_as_fixed_inside(batches, before.run), wanted)
        scores, score_notes = _choose(wanted, limits, before, batches)
        if scores and limits.max_drop is not None:
            check_drop(limits.max_drop, scores[0])
        progress.start("comparing", len(batches))
        found = judge(before, after, batches, scores, progress.advance)
        doubts = _doubts(before, batches, scores, found)
    records = tuple(score_record(s, *m) for s, m in zip(scores, found.scores, strict=True))
    seen = inspect(sources[0]), inspect(sources[1])
    sides = _side(seen[0]), _side(seen[1])
    sizes = _sizes(models, seen)
    return Evaluation(
        dense=sides[0],
        pruned=sides[1],
        data=batches.origin,
        samples=batches.n_samples,
        error=found.change.error,
        outputs=found.change.outputs,
        scores=records,
        file_bytes=sizes.file_bytes,
        gzip_bytes=sizes.gzip_bytes,
        limits=limits,
        seconds=time.perf_counter() - started,
        warnings=(
            *(*notes, *data_notes, *batches.notes, *run_notes, *score_notes, *doubts),
            *_swapped(*sides),
            *found.change.notes,
        ),
        judged=judged_values(before.finals),
        details=found.details,
        inputs=input_ranges(batches),
    )


def _open_data(
    models: tuple[LoadedModel, LoadedModel], data: Any, config: PruneConfig
) -> tuple[Batches, list[str]]:
    """Open the data given, or the labelled test set, or what a pruning run would take."""
    inputs = common_inputs(*(input_specs(model.proto) for model in models))
    check_outputs(models)
    path = models[0].path
    notes: list[str] = []
    if data is None:
        batches, notes = open_test(path, inputs, None, config, samples=config.samples)
        if batches is not None:
            return batches, notes
    wants = (
        LabelNeed.NEEDED if config.score is not None and needs_labels(config) else LabelNeed.WELCOME
    )
    n_classes = class_count(models[0].proto)
    batches, more = open_calibration(path, inputs, data, config, n_classes, wants)
    return batches, notes + more


def _open_sessions(
    models: tuple[LoadedModel, LoadedModel], config: PruneConfig
) -> tuple[tuple[JudgedNetwork, JudgedNetwork], list[str]]:
    """Return what runs the models, in stages where they are large, and notes."""
    provider, limit = find_provider(config.provider), share_out(config.memory).weights
    opened: list[Model] = []
    notes = []
    for word, loaded in zip(("dense", "pruned"), models, strict=True):
        is_large = external_bytes(loaded.proto) > limit
        executable, note = to_executable(loaded.proto, loaded.folder, provider, light=is_large)
        opened.append(Model(executable, loaded.folder))
        if note is not None:
            notes.append(f"the {word} model is {note}")
    before, after = (
        open_judged(model, finals, provider=provider, limit=limit)
        for model, finals in zip(opened, common_finals(*opened), strict=True)
    )
    return (before, after), notes


def _choose(
    wanted: Score | None, limits: Limits, dense: Runnable, batches: Batches
) -> tuple[list[Score], list[str]]:
    """Return the score that was asked for, or those that labels allow, and warnings."""
    if wanted is not None:
        return [wanted], []
    if batches.labels is None:
        if limits.max_drop is not None:
            raise ConfigError(
                f"max_drop is {limits.max_drop:g}, but there is no score: {batches.origin} has no "
                "labels; add an array `label`, or name a score"
            )
        return [], []
    try:
        feeds, labels = next(iter(batches.labelled()))
        scores = find_scores(dense.run(feeds))
        n_classes = scores.shape[1]
        class_indices(labels, *scores.shape)
        class_indices(batches.labels, batches.n_samples, n_classes)
    except DataError as error:
        if limits.max_drop is not None:
            raise
        return [], [f"the labels were not used: {error}"]
    return [SCORES["top1"], *([SCORES["top5"]] if n_classes > 5 else [])], []


def _doubts(
    dense: JudgedNetwork, batches: Batches, scores: Sequence[Score], found: Judgement
) -> list[str]:
    """Return what is doubtful about data and labels, and whether the first score collapsed."""
    doubts = [] if batches.synthetic else doubtful_outputs(dense, batches, most=1)
    if scores:
        before, after = found.scores[0]
        if batches.labels is not None:
            doubts += doubtful_labels(dense, batches, scores[0], before)
        doubts += collapse_notes(score_record(scores[0], before, after))
    return doubts


def _sizes(models: tuple[LoadedModel, LoadedModel], seen: tuple[Inspection, Inspection]) -> Sizes:
    before, after = (model.path for model in models)
    if before is None or after is None:
        return Sizes((seen[0].file_bytes, seen[1].file_bytes), None)
    return file_sizes(before, after)


def _swapped(dense: SideRecord, pruned: SideRecord) -> Iterator[str]:
    """Yield a warning where the first model has more zeros than the second."""
    if dense.sparsity > pruned.sparsity + SWAPPED:
        yield (
            f"the model named first has more zeros ({dense.zeros:,} of {dense.weights:,}) than "
            f"the second ({pruned.zeros:,} of {pruned.weights:,}); the dense one is named first: "
            "were they swapped?"
        )


def _side(seen: Inspection) -> SideRecord:
    """Return weights, zeros and work of one model: of what can be pruned, and quantised ones."""
    weights, zeros = (sum(getattr(row, n) for row in seen.layers) for n in ("weights", "zeros"))
    whole, work = seen.weights, [row.work_left for row in seen.layers]
    known = [n for n in work if n is not None]
    is_known = len(known) == len(work) > 0 and not whole.quantised
    return SideRecord(
        seen.model,
        weights + whole.quantised,
        zeros + (whole.quantised_zeros or 0),
        sum(known) if is_known else None,
    )
