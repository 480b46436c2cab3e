"""Runs the verb ``compare``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnx_lobs.cli.files import Files
from onnx_lobs.cli.several_runs import measure_and_show, shared_options
from onnx_lobs.cli.verb import Verb
from onnx_lobs.options.checks import check_sparsity, each
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.options.how import METHOD_NAMES
from onnx_lobs.options.number_kinds import number_list
from onnx_lobs.options.option import from_plain, option, options_of
from onnx_lobs.options.word_kinds import choices, text_list

if TYPE_CHECKING:
    from onnx_lobs.report.progress import Progress

_PANEL = "What is compared"


@dataclass(frozen=True, kw_only=True)
class ComparedWays:
    """The ways in which the model is pruned: all combinations."""

    sparsities: tuple[float, ...] = option(
        (0.5, 0.7, 0.9), "Sparsities.", number_list(each(check_sparsity)),
        flags=("-s", "--sparsity"), panel=_PANEL, rank=1,
    )  # fmt: skip
    methods: tuple[str, ...] = option(
        ("joint", "magnitude"), f"Methods: {', '.join(METHOD_NAMES)}.",
        choices(METHOD_NAMES, "method", "NAME,NAME"), flags=("--method",), panel=_PANEL, rank=2,
        brief="Methods, as prune has them.",
    )  # fmt: skip
    patterns: tuple[str, ...] = option(
        ("unstructured",), "Patterns; one of the form N:M has a sparsity of its own.",
        text_list("PATTERN,..."), flags=("--pattern",), panel=_PANEL, rank=3,
    )  # fmt: skip


def run(values: Mapping[str, Any]) -> None:
    """Prune MODEL in several ways, and show what came out side by side; write no model."""
    from onnx_lobs.report.comparison import Comparison, plot_comparison, render_comparison
    from onnx_lobs.verbs.compare import compare_runs

    ways = from_plain(ComparedWays, values)

    def measure(files: Files, config: PruneConfig, progress: Progress | None) -> Comparison:
        return compare_runs(
            files.model, files.data, config, methods=ways.methods, patterns=ways.patterns,
            sparsities=ways.sparsities, test=files.test, progress=progress,
        )  # fmt: skip

    measure_and_show(values, measure, render_comparison, plot_comparison)


COMPARE = Verb(
    "compare",
    run,
    (
        *shared_options("effort", "allocation", "budget", "refit", "sequential", "correct", "gram"),
        *options_of(ComparedWays).values(),
    ),
    summary="several methods, patterns or sparsities side by side",
)
