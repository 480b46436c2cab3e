"""Declares the options of retraining behind pruning, in one run, once or in several rounds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from onnx_lobs.errors import ConfigError
from onnx_lobs.options.checks import check_sparsity
from onnx_lobs.options.kinds import choice, count, number, numbers_of
from onnx_lobs.options.option import Affects, option

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


def check_rounds(name: str, values: Sequence[float]) -> None:
    """Raise ConfigError unless sparsities rise."""
    for value in values:
        check_sparsity(name, value)
    if not values or list(values) != sorted(set(values)):
        raise ConfigError(
            f"{name} are {', '.join(map(str, values)) or 'none'}; each must be above the one "
            "before, such as 0.93,0.985"
        )


ROUNDS = dataclasses.replace(
    numbers_of(check_rounds),
    metavar="S,S",
    words="sparsities such as (0.93, 0.985)",
    in_python="a tuple such as `(0.93, 0.985)`",
)


@dataclass(frozen=True, kw_only=True)
class RoundOptions:
    """The options of retraining behind pruning."""

    retrain: int | None = option(
        None,
        "Behind pruning, retrain what is not zero for so many steps at most, as the verb retrain.",
        count(1),
        unset="nothing is retrained",
        more="Of `data`: what is held out in pruning chooses the best state here. The guide's page "
        "on retraining tells more.",
        affects=Affects.RUN,
    )
    rounds: tuple[float, ...] | None = option(
        None,
        "Prune and retrain at each of these sparsities, one after the other, in place of "
        "`sparsity`. Zeros stay from round to round; `retrain` steps are taken in each.",
        ROUNDS,
        unset="one round, at `sparsity`",
        affects=Affects.RUN,
        aliases=("stages", "iterations", "iterative", "schedule"),
    )
    retrain_towards: str = option(
        "auto",
        "As the verb retrain's --towards: labels, or the dense model's classes or outputs.",
        choice(TOWARDS_NAMES, "aim"),
        affects=Affects.RUN,
    )
    retrain_move: str = option(
        "auto",
        "As the verb retrain's --move: what may move beside zeros, which never do.",
        choice(MOVE_NAMES, "move"),
        affects=Affects.RUN,
    )
    retrain_rate: float = option(
        RATE,
        "As the verb retrain's --rate: the largest step, relative to a tensor's size.",
        number(check_rate, "R"),
        affects=Affects.RUN,
    )
    retrain_optimiser: str = option(
        "adam",
        "As the verb retrain's --optimiser.",
        choice(OPTIMISER_NAMES, "optimiser"),
        affects=Affects.RUN,
    )
