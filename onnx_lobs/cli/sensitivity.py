"""Runs the verb ``sensitivity``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnx_lobs.cli.files import Files
from onnx_lobs.cli.several_runs import measure_and_show, shared_options
from onnx_lobs.cli.verb import Verb
from onnx_lobs.options.checks import check_sparsity, each
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.options.number_kinds import number_list
from onnx_lobs.options.option import from_plain, option, options_of

if TYPE_CHECKING:
    from onnx_lobs.report.progress import Progress


@dataclass(frozen=True, kw_only=True)
class SensitivityLevels:
    """At which sparsities errors are measured."""

    sparsities: tuple[float, ...] = option(
        (0.3, 0.5, 0.7, 0.8, 0.9, 0.95), "Sparsities at which errors and the score are measured.",
        number_list(each(check_sparsity)), flags=("-s", "--sparsity"), panel="What is measured",
        rank=1,
    )  # fmt: skip


def run(values: Mapping[str, Any]) -> None:
    """Tell errors and the score of MODEL against sparsity, for each layer and the whole network."""
    from onnx_lobs.report.sensitivity import Sensitivity, plot_sensitivity, render_sensitivity
    from onnx_lobs.verbs.sensitivity import sensitivity

    levels = from_plain(SensitivityLevels, values).sparsities

    def measure(files: Files, config: PruneConfig, progress: Progress | None) -> Sensitivity:
        return sensitivity(
            files.model, files.data, config, sparsities=levels, test=files.test, progress=progress
        )

    measure_and_show(values, measure, render_sensitivity, plot_sensitivity)


SENSITIVITY = Verb(
    "sensitivity",
    run,
    (*shared_options("pattern"), *options_of(SensitivityLevels).values()),
    summary="errors and score against sparsity, per layer and in all",
)
