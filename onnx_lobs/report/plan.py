"""Records what a run will do, with estimates of time and memory, and shows it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.text import Text

from onnx_lobs.report.lines import format_seconds
from onnx_lobs.report.numbers import format_bytes, format_percent
from onnx_lobs.report.parts import fact_grid, warning_panel
from onnx_lobs.report.record import SCHEMA, InputRange, range_words
from onnx_lobs.report.record.as_json import to_json


@dataclass(frozen=True)
class PlannedStage:
    """A stage of a run and the seconds that it will take, about."""

    name: str
    seconds: float


@dataclass(frozen=True)
class RunPlan:
    """What a run will do, known from opening it and from one batch of the dense model.

    Parameters
    ----------
    model, data, samples, batches
        What is pruned, and the calibration data.
    layers, weights, zeros
        Layers that will be pruned, their weights, and how many of these become zero; `zeros` is
        None where a target decides that.
    method, pattern, allocation
        How.
    batch_seconds
        Time of one batch of the dense model.
    stages
        With estimates, in order.
    most_runs
        How often the last stages may be repeated in search of a target; 1 without one.
    memory
        Bytes at the peak, about; None where the system does not tell what is held now.
    output
        The file that a run would write.
    warnings
        What was found while opening.
    inputs
        Ranges of the inputs in the first batch.
    channels
        The share of the multiplications that goes first, as whole channels; or None.
    """

    model: str
    data: str
    samples: int
    batches: int
    layers: int
    weights: int
    zeros: int | None
    method: str
    pattern: str
    allocation: str
    batch_seconds: float
    stages: tuple[PlannedStage, ...]
    most_runs: int
    memory: int | None
    output: str
    warnings: tuple[str, ...] = ()
    inputs: tuple[InputRange, ...] = ()
    channels: float | None = None

    @property
    def seconds(self) -> float:
        """Time of the whole run, about; of a search, of one run."""
        return sum(stage.seconds for stage in self.stages)

    def to_json(self) -> str:
        """Return the record as JSON; ``schema`` is the version of its form."""
        return to_json({"schema": SCHEMA, **dataclasses.asdict(self), "seconds": self.seconds})


def render_plan(plan: RunPlan) -> RenderableType:
    """Return the plan as a renderable."""
    title, facts = Text("what a run would do", "bold"), fact_grid(_rows(plan))
    return Group("", title, facts, *warning_panel(plan.warnings))


def _rows(plan: RunPlan) -> Iterator[tuple[str, str]]:
    yield "calibrate on", range_words(f"{plan.data}, in {plan.batches} batches", plan.inputs)
    if plan.channels is not None:
        share = f"{100 * plan.channels:g} % of what the layers cost that can lose them"
        yield "remove first", f"whole channels, {share}; the figures below are those before"
    share = "" if plan.zeros is None else f", {format_percent(plan.zeros, plan.weights)} to zero"
    yield "prune", f"{plan.weights:,} weights in {plan.layers} layers{share}"
    yield "by", f"{plan.method}, {plan.pattern}, zeros shared by {plan.allocation}"
    yield "one batch", f"{1000 * plan.batch_seconds:.3g} ms of the dense model"
    for number, stage in enumerate(plan.stages, 1):
        yield f"{number} of {len(plan.stages)}", f"{stage.name}: {_about(stage.seconds)}"
    times = "" if plan.most_runs == 1 else f" a run, up to {plan.most_runs} runs"
    yield "time", f"{_about(plan.seconds)}{times}"
    if plan.memory is not None:
        yield "memory", f"about {format_bytes(plan.memory)}"
    yield "write", f"{plan.output} (nothing was written now)"


def _about(seconds: float) -> str:
    return f"about {format_seconds(seconds)}" if seconds >= 1 else "less than a second"
