"""What a run did to the network: its score before, its outputs and its score after."""

from __future__ import annotations

from onnx_lobs.data.synthetic import guesses
from onnx_lobs.errors import ConfigError, DataError
from onnx_lobs.evaluation.output import output_change
from onnx_lobs.evaluation.score import DenseOutputs, MeasuredScore
from onnx_lobs.evaluation.scoring import score_record
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.staged import Runnable, open_session
from onnx_lobs.report.progress import Progress
from onnx_lobs.report.record import OutputRecord
from onnx_lobs.run.workspace import Workspace


def score_dense(work: Workspace, progress: Progress) -> MeasuredScore | None:
    """Score the dense network, so that a score that cannot be had is known before the work.

    Data found beside the model are left with a warning when they cannot be scored.

    Raises
    ------
    ConfigError
        When a limit on the drop needs them.
    DataError, ScoreError
        When data that were given, or the score that was named, cannot be had.
    """
    scoring = work.scoring
    if scoring is None:
        return None
    progress.start("scoring", scoring.n_batches)
    try:
        return scoring.measure(_open(work, work.dense), tick=progress.advance)
    except DataError as error:
        if scoring.is_asked:
            raise
        reason = f"the labelled data found beside the model were not used: {error}"
        if work.config.max_drop is not None:
            raise ConfigError(f"max drop needs a score, and there is none: {reason}") from error
        work.warnings.append(reason)
        return None


def evaluate_run(work: Workspace, before: MeasuredScore | None, progress: Progress) -> OutputRecord:
    """Return the output error on the calibration data, and the score beside the dense one's.

    Raises
    ------
    ConfigError
        When there is a limit on the output error, which cannot be measured on this network.
    """
    dense, pruned = _open(work, work.dense), _open(work, work.pruned)
    progress.start("evaluating", len(work.batches))
    reference = DenseOutputs(dense, work.batches)
    with guesses(work.batches):
        change = output_change(reference, pruned, work.batches, progress.advance)
    if change.error is None and work.config.max_output_error is not None:
        why = "; ".join(change.notes) or "no output is floating"
        raise ConfigError(f"max output error needs an output error, and there is none: {why}")
    work.warnings.extend(change.notes)
    if work.scoring is None or before is None:
        return OutputRecord(change.error)
    progress.start("scoring", work.scoring.n_batches)
    after = work.scoring.measure(pruned, dense, progress.advance)
    return OutputRecord(change.error, score_record(work.scoring.score, before, after))


def _open(work: Workspace, model: Model) -> Runnable:
    return open_session(model, provider=work.provider, limit=work.room.weights)
