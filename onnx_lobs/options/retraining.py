"""Declares the options of light retraining."""

from __future__ import annotations

import math
from dataclasses import dataclass

from onnx_lobs.errors import ConfigError
from onnx_lobs.options.checks import check_sparsity
from onnx_lobs.options.number_kinds import count, number
from onnx_lobs.options.option import check_options, option
from onnx_lobs.options.prose import documents_options
from onnx_lobs.options.word_kinds import choice

OPTIMISER_NAMES = ("adam", "sgd")
MOVE_NAMES = ("auto", "biases", "observed", "all")
TOWARDS_NAMES = ("auto", "labels", "classes", "outputs")
STEPS, RATE = 200, 0.03


def check_rate(name: str, value: float) -> None:
    """Raise ConfigError unless a relative step lies above 0 and at most at 1."""
    if not (math.isfinite(value) and 0 < value <= 1):
        raise ConfigError(
            f"{name} is {value}; it must be above 0 and at most 1: a part of a weight's size, "
            "such as 0.03"
        )


def check_decay(name: str, value: float) -> None:
    """Raise ConfigError unless a part lies between 0 and 1."""
    if not (math.isfinite(value) and 0 <= value <= 1):
        raise ConfigError(
            f"{name} is {value}; it must be at least 0 and at most 1: a part of a weight, such as "
            "0.05"
        )


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
    decay: float = option(
        0.0,
        "Part of every weight that is taken off by a step of rate 1, and by smaller ones in "
        "proportion: against learning samples by heart. With `sparsity` 0.05 does well.",
        number(check_decay, "D"),
    )
    sparsity: float | None = option(
        None,
        "Prune on to this fraction of zeros while retraining: over the first 60 % of the steps a "
        "few weights at a time go, those that the loss needs least by the gradients so far. Of the "
        "layers that have zeros, or of all where none has any.",
        number(check_sparsity),
        unset="zeros stay as they are",
    )
    optimiser: str = option("adam", "What takes the steps.", choice(OPTIMISER_NAMES, "optimiser"))

    def __post_init__(self) -> None:
        check_options(self)
