"""Declares the options of retraining behind pruning, in one run, once or in several rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from onnx_lobs.errors import ConfigError
from onnx_lobs.options.checks import check_sparsity
from onnx_lobs.options.number_kinds import numbers_of
from onnx_lobs.options.option import Affects, option, options_of
from onnx_lobs.options.retraining import RetrainOptions

_OF_VERB = options_of(RetrainOptions)
_HOW = {f"retrain_{name}": name for name in _OF_VERB if name != "steps"}


def check_rounds(name: str, values: Sequence[float]) -> None:
    """Raise ConfigError unless sparsities rise."""
    for value in values:
        check_sparsity(name, value)
    if not values or list(values) != sorted(set(values)):
        raise ConfigError(
            f"{name} are {', '.join(map(str, values)) or 'none'}; each must be above the one "
            "before, such as 0.93,0.985"
        )


def _as_verb(name: str, what: str = "") -> Any:
    """Declare an option that has the values, and the default, that the verb retrain has."""
    declared = _OF_VERB[name]
    text = f"As the verb retrain's --{name}{what and ': '}{what}."
    return option(declared.default, text, declared.kind, unset=declared.unset, affects=Affects.RUN)


@dataclass(frozen=True, kw_only=True)
class RoundOptions:
    """The options of retraining behind pruning."""

    retrain: int | None = option(
        None,
        "Behind pruning, retrain what is not zero for so many steps at most, as the verb retrain.",
        _OF_VERB["steps"].kind,
        unset="nothing is retrained",
        more="Of `data`: what is held out in pruning chooses the best state here. The guide's page "
        "on retraining tells more.",
        affects=Affects.RUN,
    )
    rounds: tuple[float, ...] | None = option(
        None,
        "Prune and retrain at each of these sparsities, one after the other, in place of "
        "`sparsity`. Zeros stay from round to round; `retrain` steps are taken in each.",
        numbers_of(
            check_rounds,
            "S,S",
            "sparsities such as (0.93, 0.985)",
            "a tuple such as `(0.93, 0.985)`",
        ),
        unset="one round, at `sparsity`",
        affects=Affects.RUN,
        aliases=("stages", "iterations", "iterative", "schedule"),
    )
    retrain_towards: str = _as_verb("towards", "labels, or the dense model's classes or outputs")
    retrain_move: str = _as_verb("move", "what may move beside zeros, which never do")
    retrain_rate: float = _as_verb("rate", "the largest step, relative to a tensor's size")
    retrain_decay: float = _as_verb("decay", "what a step takes off every weight")
    retrain_sparsity: float | None = _as_verb(
        "sparsity", "`sparsity` is pruned to at once, and on to this one while retraining"
    )
    retrain_optimiser: str = _as_verb("optimiser")


def retraining_of(options: RoundOptions) -> RetrainOptions:
    """Return how a pruning run retrains, as the verb takes it."""
    assert options.retrain is not None
    how = {name: getattr(options, field) for field, name in _HOW.items()}
    return RetrainOptions(steps=options.retrain, **how)


def changed_retraining(options: RoundOptions) -> list[str]:
    """Return the flags of those options that say how to retrain and have not their defaults."""
    return [
        f"--retrain-{name}"
        for field, name in _HOW.items()
        if getattr(options, field) != _OF_VERB[name].default
    ]
