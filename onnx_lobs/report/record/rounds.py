"""Records what retraining behind pruning did, round by round."""

from __future__ import annotations

from dataclasses import dataclass

from onnx_lobs.report.record.score import ScoreRecord


@dataclass(frozen=True)
class RoundRecord:
    """One round: the network was pruned, then retrained.

    Parameters
    ----------
    sparsity
        Share of zeros among the prunable weights.
    towards, move
        What was learnt, and what might move: as the options of retraining have them.
    weights, biases
        How many weights moved, and how many biases and scales.
    steps, best
        Steps taken, and after which the network is the one that went on; 0: as it was pruned.
    losses
        On the held-out samples: step and loss, from step 0 on.
    error_before, error_after
        Output error on the held-out samples, pruned and then retrained, of the delivered fit; None
        where there is no floating output.
    score_before, score_after
        Scores on test data of the pruned and the retrained network, each beside the dense one's;
        None without such data.
    seconds
        That retraining took.
    pruned
        The share before weights went in retraining, which `error_before` is of; None: none did.
    """

    sparsity: float
    towards: str
    move: str
    weights: int
    biases: int
    steps: int
    best: int
    losses: tuple[tuple[int, float], ...]
    error_before: float | None
    error_after: float | None
    score_before: ScoreRecord | None
    score_after: ScoreRecord | None
    seconds: float
    pruned: float | None = None
