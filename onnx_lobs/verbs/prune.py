"""Prunes a model: opens it and the data, runs, and delivers what came of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from onnx_lobs.graph.files.load import PROTOBUF_LIMIT
from onnx_lobs.graph.files.outputs import check_output, model_files
from onnx_lobs.graph.files.source import ModelSource, as_source
from onnx_lobs.graph.run.arena import gives_back
from onnx_lobs.memory.scratch import Scratch, scratch_in
from onnx_lobs.options.call import read_options, takes_options
from onnx_lobs.options.config import OPTIONS, PruneConfig, has_target
from onnx_lobs.options.option import to_plain
from onnx_lobs.report.advice import with_advice
from onnx_lobs.report.command import DATA, MODEL, PROGRAM, command_of, file_word, flag_words
from onnx_lobs.report.progress import Progress, as_progress
from onnx_lobs.report.record import Report
from onnx_lobs.report.showing import Told, telling
from onnx_lobs.report.stages import CountedStages
from onnx_lobs.run.deliver import best_effort, write_model
from onnx_lobs.run.log import Log
from onnx_lobs.run.report import with_file
from onnx_lobs.run.retraining.checks import check_retraining
from onnx_lobs.run.save import Delivery, deliver, plan_delivery
from onnx_lobs.run.setup import open_run
from onnx_lobs.targets.runtimes import fill_options
from onnx_lobs.verbs.deploy import check_beside, check_deploy, deploy, pack
from onnx_lobs.verbs.places import check_places
from onnx_lobs.verbs.stages import stages_of
from onnx_lobs.verbs.whole_run import run_whole

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from onnx_lobs.options.keywords import PruneOptions


@dataclass(frozen=True, repr=False)
class PruneResult:
    """A pruned model and the record of how it came about.

    Parameters
    ----------
    model
        The pruned model.
    report
        What was done and what it cost.
    folder
        Where the model's external data lie, or None for a model given by value. If the pruned
        weights would not fit a protobuf message it is a temporary folder, which is removed with
        this object: copy the data, or use :meth:`save`.
    _kept, _delivery
        What keeps that folder, and what :meth:`save` compares the written file with.
    """

    model: onnx.ModelProto
    report: Report
    folder: Path | None = None
    _kept: Scratch | None = None
    _delivery: Delivery | None = None

    def __repr__(self) -> str:
        """Return one short line; ``report`` and ``model`` hold everything."""
        return repr(self.report).replace("Report", "PruneResult", 1)

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return self.report._repr_html_()

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the model as the command line does: checked, run and compared before it is named.

        Parameters
        ----------
        path
            The file. The option ``storage`` of the run says in which format its weights are.
        overwrite
            Whether an existing file is replaced; never the model that was pruned.

        Raises
        ------
        ConfigError
            When the file exists and may not be overwritten, or cannot be written.
        ModelError
            When the written file does not compute what the model in memory computes.

        Notes
        -----
        Cost: a forward pass of one batch through the model and through the written file.
        """
        assert self._delivery is not None  # only tests make results without a run
        deliver(self.model, self.folder, self._delivery, Path(path), overwrite=overwrite)


@takes_options(OPTIONS)
@gives_back
def prune(
    model: ModelSource,
    data: Any = None,
    *,
    test: Any = None,
    progress: Told = None,
    **options: Unpack[PruneOptions],
) -> PruneResult:
    """Prune an ONNX model in one shot.

    The options are the fields of :class:`onnx_lobs.PruneConfig`; ``help`` lists them below.

    Parameters
    ----------
    model
        Path, bytes or ModelProto, or what :func:`onnx_lobs.graph.files.source.as_source` makes
        one of. Not modified.
    data
        Calibration data: see :func:`onnx_lobs.data.reader.open_data`. None: what lies beside
        the model's file, else synthetic data, with a warning in the report.
    test
        Data for the score before and after (``label`` in an npz: class indices). None: what
        lies beside the model's file with labels, else no score.
    progress
        Told of every step: an object with ``start(phase, total)`` and ``advance(n)``, or a
        function such as print, called with the phase, the steps done and all of them. True shows
        bars or lines on stderr, False nothing; None shows bars in a notebook.

    Returns
    -------
    PruneResult
        A new ModelProto in which only weights and biases differ, and the report; weights that
        were computed from constants are stored: :mod:`onnx_lobs.layers.fold_choice`. External
        data that did not change are still referred to where the input's lie, unless the
        pruned weights exceed 2 GiB: see :class:`PruneResult`.

    Raises
    ------
    ConfigError, ModelError, DataError, InferenceError, ScoreError, SolverError
        As :mod:`onnx_lobs.errors` says; nothing is written in any case.

    Notes
    -----
    Cost: two forward passes over the data, one Gram per layer (n d² flops), the method per
    layer. Memory: :mod:`onnx_lobs.calibration.independent`.
    """
    model = as_source(model)
    given = read_options(options, OPTIONS)
    config, log = PruneConfig(**fill_options(given, given)), Log()
    check_deploy(config)
    check_retraining(config)
    with telling(progress) as told, scratch_in(config.scratch) as scratch:
        setup, networks = open_run(model, data, test, config, log, scratch)
        stages = stages_of(setup, networks, writes=False)
        counted = CountedStages(told, stages)
        run, report = run_whole(config, setup, networks, _name(model), scratch, counted, log)
        result = run.networks.result
        kept = scratch.release() if result.is_private else None
        delivery = plan_delivery(run.setup, run.networks, run.scales)
    told_how = with_advice(report, _command(model, config, data, test))
    return PruneResult(result.proto, told_how, result.folder, kept, delivery)


@gives_back
def prune_file(
    path: Path,
    output: Path,
    config: PruneConfig,
    *,
    data: Any = None,
    test: Any = None,
    overwrite: bool = False,
    report: Sequence[Path] = (),
    progress: Progress | None = None,
    warn: Callable[[str], object] | None = None,
) -> Report:
    """Prune the model at `path` and write it to `output`, checked before it gets that name.

    Parameters
    ----------
    report
        Files to which the caller will write the record; refused where one would replace something.
    warn
        Told at once of what is known before the work begins; the report repeats it.

    Raises
    ------
    ConfigError
        When the output exists and may not be overwritten, or cannot be written, or would replace
        what is read (:mod:`onnx_lobs.verbs.places`); found before the work begins.
    ModelError, DataError, InferenceError, SolverError
        As for :func:`prune`; nothing is left behind.
    """
    progress, log = as_progress(progress), Log(warn)
    check_output(output, inputs=model_files(path), overwrite=overwrite)
    check_places(path, output, config, data=data, test=test, report=report)
    chip = check_deploy(config)
    check_retraining(config)
    check_beside(config, output, overwrite=overwrite)
    if has_target(config):
        check_output(best_effort(output), inputs=model_files(path), overwrite=overwrite)
    with scratch_in(config.scratch) as scratch:
        embed = PROTOBUF_LIMIT if has_target(config) else 0
        progress.start("opening the model and the data", 1)
        setup, networks = open_run(path, data, test, config, log, scratch, embed=embed)
        progress.advance()
        progress = CountedStages(progress, stages_of(setup, networks, writes=True))
        run, record = run_whole(config, setup, networks, str(path), scratch, progress, log)
        if record.target is not None and not record.target.is_met:
            output = best_effort(output)
            check_output(output, inputs=model_files(path), overwrite=overwrite)
        progress.start("writing", 1)
        parcel = pack(run, output)
        sizes, notes = write_model(
            run.setup, run.networks, run.scales, path, output, overwrite=overwrite
        )
        progress.advance()
    given = None if output == path.with_name(f"{path.stem}_pruned.onnx") else output
    written = deploy(with_file(record, output, sizes, notes), run, parcel, chip, output)
    return with_advice(written, _command(path, config, data, test, given))


def _command(
    model: ModelSource, config: PruneConfig, data: Any, test: Any, output: Path | None = None
) -> tuple[str, ...]:
    """Return the command that repeats a run; words in capitals stand for what has no file."""
    path = file_word(str(model)) if isinstance(model, (str, Path)) else MODEL
    head = [PROGRAM, path]
    for flag, source in (("--data", data), ("--test", test), ("--output", output)):
        if source is not None:
            head += flag_words(flag, str(source) if isinstance(source, (str, Path)) else DATA)
    return command_of(head, OPTIONS.values(), to_plain(config))


def _name(model: ModelSource) -> str:
    if isinstance(model, onnx.ModelProto):
        return model.graph.name or "model"
    return "bytes" if isinstance(model, bytes) else str(model)
