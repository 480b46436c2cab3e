"""The score of a run: which one, on which data, and its record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx_lobs.arrays import Feeds
from onnx_lobs.data.batches import Batches
from onnx_lobs.data.files import find_test_beside
from onnx_lobs.data.fixed_inside import cut_as_fixed_inside
from onnx_lobs.data.kinds.request import LabelNeed
from onnx_lobs.data.reader import InputSpec, input_specs, open_data
from onnx_lobs.errors import ConfigError, DataError
from onnx_lobs.evaluation.builtin import SCORES, class_count
from onnx_lobs.evaluation.confidence import upper_drop
from onnx_lobs.evaluation.find import find_score
from onnx_lobs.evaluation.one_hot import with_class_labels
from onnx_lobs.evaluation.score import (
    DenseOutputs,
    MeasuredScore,
    Score,
    check_labels,
    differences,
    standard_error,
)
from onnx_lobs.graph.files.load import LoadedModel
from onnx_lobs.graph.run.staged import Runnable
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.options.data import BATCH_SIZE
from onnx_lobs.report.numbers import format_score
from onnx_lobs.report.record import ScoreRecord


def check_drop(max_drop: float, score: Score) -> None:
    """Raise ConfigError where no network can miss a limit on the drop of a score from 0 to 1."""
    if score.is_fraction and max_drop >= 1:
        raise ConfigError(
            f"max drop is {max_drop:g}, and {score.name} goes from 0 to 1, so it allows all; for "
            f"{max_drop:g} % write {max_drop / 100:g}"
        )


@dataclass(frozen=True)
class Scoring:
    """A score and the data that it is measured on.

    Parameters
    ----------
    score
        What is measured.
    test
        Test data; None only where the score needs none.
    is_asked
        Whether the user named the score or the data; False: the data were found beside the
        model, and whether they can be scored is not known before the model ran.
    """

    score: Score
    test: Batches | None
    is_asked: bool

    @property
    def n_batches(self) -> int:
        """Batches of the test data."""
        return 0 if self.test is None else len(self.test)

    def measure(
        self,
        model: Runnable,
        dense: Runnable | None = None,
        tick: Callable[[int], None] = lambda n: None,
    ) -> MeasuredScore:
        """Return the score of `model`; `dense` is what it is compared with, None: itself.

        Raises
        ------
        DataError, ScoreError
            As :meth:`onnx_lobs.evaluation.score.Score.compute`.

        Notes
        -----
        Cost: one forward pass over the test data, and one of `dense` for scores that compare.
        """
        known = None
        if dense is not None and self.score.needs_reference and self.test is not None:
            known = DenseOutputs(dense, self.test)
        return self.score.compute(model, self.test, known, tick)


def open_scoring(
    loaded: LoadedModel,
    test: Any,
    config: PruneConfig,
    run: Callable[[Feeds], object] | None = None,
) -> tuple[Scoring | None, list[str]]:
    """Return the score that a run is to be judged by, and warnings.

    Parameters
    ----------
    loaded
        The dense model.
    test
        Test data of any kind; None: what lies beside the model's file, if it has labels.
    config
        ``score`` and ``batch_size`` are read.
    run
        Runs the dense model, to see how many samples it takes a call; None: as they are.

    Returns
    -------
    Scoring or None
        None where nothing was asked for and nothing was found.

    Raises
    ------
    ConfigError
        When the score is not known or needs data that are not there.
    DataError
        When data that were given do not fit, or lack the labels that the score needs.
    """
    score = None if config.score is None else find_score(config.score)
    n_classes = class_count(loaded.proto)
    batches, notes = open_test(loaded.path, input_specs(loaded.proto), test, config, n_classes)
    if batches is not None and run is not None:
        batches = cut_as_fixed_inside(batches, run)
    if batches is not None:
        batches = with_class_labels(batches, score)
        notes = [*notes, *(f"test data: {note}" for note in batches.notes)]
    if score is None:
        if batches is None:
            return None, notes
        check_labels(SCORES["top1"], batches)
        return Scoring(SCORES["top1"], batches, is_asked=test is not None), notes
    if batches is None and score.needs_data:
        raise ConfigError(f"score {score.name!r} needs test data; give them with --test")
    if batches is not None:
        check_labels(score, batches)
    return Scoring(score, batches, is_asked=True), notes


def open_test(
    path: Path | None,
    inputs: Sequence[InputSpec],
    test: Any,
    config: PruneConfig,
    n_classes: int | None = None,
    samples: int | None = None,
) -> tuple[Batches | None, list[str]]:
    """Open the test set: the one given, or a labelled one found beside the model.

    One that was found and does not fit is left with a warning.

    Raises
    ------
    DataError
        When the one that was given does not fit, or the one that was found is damaged.
    """
    options: dict[str, Any] = {
        "samples": samples,
        "batch_size": config.batch_size or BATCH_SIZE,
        "seed": config.seed,
        "options": config,
        "input_shapes": config.input_shapes,
        "n_classes": n_classes,
        "labels": LabelNeed.NEEDED if needs_labels(config) else LabelNeed.WELCOME,
    }
    if test is not None:
        return open_data(test, inputs, **options), []
    found = None if path is None else find_test_beside(path)
    if found is None:
        return None, []
    try:
        return open_data(found, inputs, **options), []
    except DataError as error:
        return None, [f"{found.name}, found beside the model, was not used to score: {error}"]


def needs_labels(config: PruneConfig) -> bool:
    """Whether the score that is asked for, top1 if none is, needs labels."""
    return config.score is None or find_score(config.score).needs_labels


def collapse_notes(score: ScoreRecord) -> list[str]:
    """Return a warning where the pruned network has lost much of the dense one's score."""
    if not score.is_collapsed:
        return []
    before, after = (
        format_score(value, None, is_fraction=score.is_fraction)
        for value in (score.before, score.after)
    )
    return [
        f"the score {score.name} collapsed from {before} to {after}: the pruned network is of "
        "little use; ask for a lower sparsity, give more calibration samples, and check that they "
        "are of the kind and the scale that the test data have"
    ]


def score_record(score: Score, before: MeasuredScore, after: MeasuredScore) -> ScoreRecord:
    """Return the record of a score measured before and after."""
    lost = differences(before, after)
    upper = None
    if before.outcomes is not None and after.outcomes is not None and lost is not None:
        upper = upper_drop(before.outcomes, after.outcomes)
    return ScoreRecord(
        name=score.name,
        before=before.value,
        after=after.value,
        drop=before.value - after.value,
        before_error=before.standard_error,
        after_error=after.standard_error,
        drop_error=standard_error(lost),
        n=after.n,
        is_fraction=score.is_fraction,
        drop_below=None if upper is None else upper.drop,
        unchanged_below=None if upper is None else upper.unchanged,
    )
