"""Plans which trials are made: all, or those that may win and that are in proportion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnx_lobs.options.config import PruneConfig
from onnx_lobs.options.texts import write_duration
from onnx_lobs.search.allowance import Allowance
from onnx_lobs.search.candidates import names, plain_name, worth_trying
from onnx_lobs.search.measure import MeasuredLayers


@dataclass(frozen=True)
class TrialPlan:
    """Which trials are made: allocations by name, the likeliest first, then random steps.

    ``allowance`` tells whether there is time; with ``is_race`` a trial that cannot win is stopped.
    """

    names: Sequence[str]
    steps: int
    allowance: Allowance
    is_race: bool


def plan_trials(
    layers: MeasuredLayers, sparsity: float, steps: int, allowance: Allowance, effort: str
) -> TrialPlan:
    """Return the trials of an effort: all of `best`, else those that may win and are affordable."""
    if effort == "best":
        return TrialPlan(names(layers, sparsity), steps, allowance, False)
    likely, plain = worth_trying(layers, sparsity), plain_name(layers, sparsity)
    n = allowance.n_trials(len(likely) + steps)
    others = [name for name in likely if name != plain][: max(n - 1, 1)]
    # where few are affordable, steps are as many as fit behind the candidates
    steps = max(min(steps, n - len(others) - 1), 0)
    return TrialPlan([*others, plain], steps, allowance, True)


def cut_words(config: PruneConfig, left_out: str) -> str:
    """Return a warning of what there was no time for."""
    assert config.time is not None
    return (
        f"--time {write_duration(config.time)} left no time for {left_out}; give "
        "more, and better zeros may be found"
    )
