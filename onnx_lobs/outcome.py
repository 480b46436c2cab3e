"""What a run did to the network: its score before, its outputs and its score after."""

from __future__ import annotations

from onnx_lobs.data.synthetic import guesses
from onnx_lobs.errors import DataError
from onnx_lobs.evaluation.output import output_change
from onnx_lobs.evaluation.score import Measured, Reference
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.staged import Runnable, open_session
from onnx_lobs.phases import Progress
from onnx_lobs.report.record import OutputRecord
from onnx_lobs.scoring import score_record
from onnx_lobs.workspace import Workspace


def score_dense(work: Workspace, progress: Progress) -> Measured | None:
    """Score the dense network, so that a score that cannot be had is known before the work.

    Data found beside the model are left with a warning when they cannot be scored.
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
        work.warnings.append(f"the labelled data found beside the model were not used: {error}")
        return None


def evaluate_run(work: Workspace, before: Measured | None, progress: Progress) -> OutputRecord:
    """Return the output error on the calibration data, and the score beside the dense one's."""
    dense, pruned = _open(work, work.dense), _open(work, work.pruned)
    progress.start("evaluating", len(work.batches))
    reference = Reference(dense, work.batches)
    with guesses(work.batches):
        change = output_change(reference, pruned, work.batches, progress.advance)
    work.warnings.extend(change.notes)
    if work.scoring is None or before is None:
        return OutputRecord(change.error)
    progress.start("scoring", work.scoring.n_batches)
    after = work.scoring.measure(pruned, dense, progress.advance)
    return OutputRecord(change.error, score_record(work.scoring.score, before, after))


def _open(work: Workspace, model: Model) -> Runnable:
    return open_session(model, provider=work.provider, limit=work.room.weights)
