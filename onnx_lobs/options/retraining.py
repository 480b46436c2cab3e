"""Declares the options of light retraining."""

from __future__ import annotations

from dataclasses import dataclass

from onnx_lobs.options.config import PruneConfig
from onnx_lobs.options.kinds import choice, count, number
from onnx_lobs.options.limits import SHARED_OPTIONS
from onnx_lobs.options.option import check_options, option, options_of
from onnx_lobs.options.prose import documents_options
from onnx_lobs.options.rounds import (
    MOVE_NAMES,
    OPTIMISER_NAMES,
    RATE,
    STEPS,
    TOWARDS_NAMES,
    check_rate,
)

RETRAINING_PANEL = "Retraining"


@documents_options
@dataclass(frozen=True, kw_only=True)
class RetrainOptions:
    """How a pruned network is retrained.

    Raises
    ------
    ConfigError
        When a value is not possible.
    """

    steps: int = option(STEPS, "Most steps taken, a batch each.", count(1))
    towards: str = option(
        "auto",
        "What is learnt: labels (cross entropy); the dense model's classes (cross entropy with the "
        "softmax of its scores); or its outputs (squared distance, in front of a final Softmax or "
        "Sigmoid). auto: labels where the data have them, else classes "
        "where the model ends in one Softmax for each sample, else outputs.",
        choice(TOWARDS_NAMES, "aim"),
    )
    move: str = option(
        "auto",
        "What may move beside zeros, which never do: biases (and scales, parameters of "
        "normalisations) alone; with them the weights of layers with 10 observations for each "
        "weight kept (observed); or all. auto: by the number of samples.",
        choice(MOVE_NAMES, "move"),
    )
    rate: float = option(
        RATE,
        "Largest step, relative to the size of a tensor's weights.",
        number(check_rate, "R"),
    )
    optimiser: str = option("adam", "What takes the steps.", choice(OPTIMISER_NAMES, "optimiser"))

    def __post_init__(self) -> None:
        check_options(self)

    @classmethod
    def of_run(cls, config: PruneConfig) -> RetrainOptions:
        """Return how a pruning run retrains, which its options say."""
        assert config.retrain is not None
        return cls(
            steps=config.retrain,
            towards=config.retrain_towards,
            move=config.retrain_move,
            rate=config.retrain_rate,
            optimiser=config.retrain_optimiser,
        )


# nothing is put on the disk; memory decides how many samples go through the network at once
RUN_OPTIONS = {n: o for n, o in SHARED_OPTIONS.items() if n != "scratch"}
RETRAIN_OPTIONS = {**options_of(RetrainOptions, RETRAINING_PANEL), **RUN_OPTIONS}
