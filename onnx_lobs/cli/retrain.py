"""Runs the verb ``retrain``: some hundred steps for what is left of a pruned model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from onnx_lobs.cli.files import DATA_PANEL, OUTPUT_PANEL
from onnx_lobs.cli.repeat import repeat_command
from onnx_lobs.cli.screen import Screen, show_warnings
from onnx_lobs.cli.verb import Verb
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.options.option import argument, for_verb, from_plain, option, options_of
from onnx_lobs.options.retraining import RetrainOptions
from onnx_lobs.options.verb_options import RETRAIN_OPTIONS, RUN_OPTIONS
from onnx_lobs.options.word_kinds import PATH, SWITCH, text


@dataclass(frozen=True, kw_only=True)
class RetrainFiles:
    """What is retrained, on which data, and where it goes."""

    pruned: Path = argument("The pruned model. Never changed.", PATH, metavar="PRUNED")
    dense: Path | None = option(
        None,
        "The model before pruning, whose outputs are learnt where there are no labels.",
        PATH,
        unset="none",
        panel=DATA_PANEL,
        rank=1,
    )
    data: str | None = option(
        None,
        "Samples to learn from, with or without labels, of any kind that prune takes. A tenth is "
        "held out.",
        text("PATH"),
        flags=("-d", "--data"),
        unset="what lies beside PRUNED, as for prune",
        panel=DATA_PANEL,
        rank=2,
    )
    test: str | None = option(
        None,
        "Labelled data for the score before and after.",
        text("PATH"),
        unset="{stem}_test.npz or test.npz beside PRUNED, if there",
        panel=DATA_PANEL,
        rank=3,
    )
    output: Path | None = option(
        None,
        "File written.",
        PATH,
        flags=("-o", "--output"),
        unset="{stem}_retrained.onnx beside PRUNED",
        panel=OUTPUT_PANEL,
        rank=4,
    )
    overwrite: bool = option(False, "Replace an existing output.", SWITCH, panel=OUTPUT_PANEL)


def run(values: Mapping[str, Any]) -> None:
    """Retrain what is not zero in PRUNED, by labels or by the outputs of the dense model."""
    from onnx_lobs.cli.progress import showing
    from onnx_lobs.report.retraining import render_retraining
    from onnx_lobs.report.write import check_reports, write_reports
    from onnx_lobs.verbs.places import check_report_apart
    from onnx_lobs.verbs.retrain import retrain_file

    config = from_plain(PruneConfig, {name: values[name] for name in RUN_OPTIONS})
    files, how = from_plain(RetrainFiles, values), from_plain(RetrainOptions, values)
    screen = from_plain(Screen, values)
    output = files.output or files.pruned.with_name(f"{files.pruned.stem}_retrained.onnx")
    if screen.report:
        check_reports(screen.report, overwrite=files.overwrite)
        models = {"the pruned model": files.pruned}
        models |= {} if files.dense is None else {"the dense model": files.dense}
        check_report_apart(models, files.data, config, screen.report, output)
    with showing(screen) as progress:
        record = retrain_file(
            files.pruned, output, files.data, config, how,
            dense=files.dense, test=files.test, overwrite=files.overwrite, progress=progress,
        )  # fmt: skip
    record = replace(record, command=repeat_command(RETRAIN, values))
    screen.show(render_retraining(record), record.to_json())
    show_warnings(screen, record.warnings)
    write_reports(screen.report, record)


RETRAIN = Verb(
    "retrain",
    run,
    (
        *options_of(RetrainFiles).values(),
        *RETRAIN_OPTIONS.values(),
        *for_verb(options_of(Screen, OUTPUT_PANEL), "retrain").values(),
    ),
    summary="some hundred steps for what is not zero in a pruned model",
)
