"""prune(): the one place that knows the order of the steps."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from onnx_lobs.graph.files.load import PROTOBUF_LIMIT
from onnx_lobs.graph.files.save import check_output, model_files
from onnx_lobs.graph.run.arena import gives_back
from onnx_lobs.linalg import compiled
from onnx_lobs.memory.scratch import Scratch, interruptible
from onnx_lobs.options.call import check_names, takes_options
from onnx_lobs.options.config import OPTIONS, PruneConfig, has_target
from onnx_lobs.report.progress import Progress, Silent
from onnx_lobs.report.record import (
    Report,
    Totals,
)
from onnx_lobs.run.deliver import write_model
from onnx_lobs.run.guarantee import with_bounds
from onnx_lobs.run.outcome import score_dense
from onnx_lobs.run.schedule import is_compiled, uses_graph
from onnx_lobs.run.workspace import ModelSource, Workspace, open_workspace
from onnx_lobs.search.one_run import run_once
from onnx_lobs.search.plan import Planner
from onnx_lobs.search.targets import check_target, search

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from onnx_lobs.options.keywords import PruneOptions


@dataclass(frozen=True)
class PruneResult:
    """A pruned model and the record of how it came about.

    ``folder`` is where the model's external data lie, or None for a model given by value. If
    the pruned weights would not fit a protobuf message it is a temporary folder, which is
    removed with this object: copy the data, or use :func:`prune_file`.
    """

    model: onnx.ModelProto
    report: Report
    folder: Path | None = None
    _kept: Scratch | None = field(default=None, repr=False)


@takes_options(OPTIONS)
@gives_back
def prune(
    model: ModelSource,
    data: Any = None,
    *,
    test: Any = None,
    progress: Progress | None = None,
    **options: Unpack[PruneOptions],
) -> PruneResult:
    """Prune an ONNX model in one shot.

    Parameters
    ----------
    model
        Path, bytes or ModelProto. Not modified.
    data
        Calibration data: see :func:`onnx_lobs.data.reader.open_data`. None: what lies beside
        the model's file, else synthetic data, with a warning in the report.
    test
        Data for the score before and after (``label`` in an npz: class indices). None: what
        lies beside the model's file with labels, else no score.
    progress
        Told of every step.
    options
        Those listed below, which :class:`onnx_lobs.PruneConfig` holds.

    Returns
    -------
    PruneResult
        A new ModelProto in which only weights and biases differ, and the report. External
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
    check_names(options, OPTIONS)
    config = PruneConfig(**options)
    with _scratch(config) as scratch:
        work = open_workspace(model, data, test, config, scratch)
        work, report = _prune(work, scratch, _name(model), progress or Silent())
        kept = scratch.release() if work.result.is_private else None
    return PruneResult(work.result.proto, report, work.result.folder, kept)


@gives_back
def prune_file(
    path: Path,
    output: Path,
    config: PruneConfig,
    *,
    data: Any = None,
    test: Any = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Prune the model at `path` and write it to `output`, checked before it gets that name.

    Raises
    ------
    ConfigError
        When the output exists and may not be overwritten, or cannot be written; found
        before the work begins.
    ModelError, DataError, InferenceError, SolverError
        As for :func:`prune`; nothing is left behind.
    """
    check_output(output, inputs=model_files(path), overwrite=overwrite)
    if has_target(config):
        check_output(best_effort(output), inputs=model_files(path), overwrite=overwrite)
    progress = progress or Silent()
    with _scratch(config) as scratch:
        embed = PROTOBUF_LIMIT if has_target(config) else 0
        work = open_workspace(path, data, test, config, scratch, embed=embed)
        work, report = _prune(work, scratch, str(path), progress)
        if report.target is not None and not report.target.is_met:
            output = best_effort(output)
            check_output(output, inputs=model_files(path), overwrite=overwrite)
        progress.start("writing", 1)
        sizes = write_model(work, path, output, overwrite=overwrite)
        progress.advance()
    totals = dataclasses.replace(
        report.totals, file_bytes=sizes.file_bytes, gzip_bytes=sizes.gzip_bytes
    )
    return dataclasses.replace(report, totals=totals, output_path=str(output))


@contextmanager
def _scratch(config: PruneConfig) -> Iterator[Scratch]:
    """Give a scratch folder that is removed in any case."""
    with interruptible():
        scratch = Scratch(config.scratch)
        try:
            yield scratch
        finally:
            scratch.close()


def best_effort(output: Path) -> Path:
    """Return the name of a file that misses the target it was made for."""
    return output.with_name(f"{output.stem}_best_effort{output.suffix}")


def _prune(
    work: Workspace, scratch: Scratch, name: str, progress: Progress
) -> tuple[Workspace, Report]:
    """Return the run that is to be delivered, and the report of all."""
    with compiled.without(not is_compiled(work)):
        return _run_all(work, scratch, name, progress)


def _run_all(
    work: Workspace, scratch: Scratch, name: str, progress: Progress
) -> tuple[Workspace, Report]:
    started = time.perf_counter()
    uses_graph(work)  # an impossible choice is an error before any work
    if has_target(work.config):
        check_target(work)
    before = score_dense(work, progress)
    planner = Planner(work, scratch, progress)
    target = None
    if has_target(work.config):
        most = planner.limits()[1]
        run, target = search(
            work, lambda part: run_once(part, planner, before, scratch, progress), most
        )
    else:
        run = run_once(work, planner, before, scratch, progress)
    output, warnings = run.output, run.warnings
    if work.config.bound:
        output, notes = with_bounds(run.work, output, progress)
        warnings = (*warnings, *notes)
    totals = Totals(
        weights=sum(record.weights for record in run.records),
        zeros=sum(record.zeros for record in run.records),
        seconds=time.perf_counter() - started,
    )
    return run.work, Report(
        model=name,
        options=dataclasses.asdict(run.work.config),
        data=work.batches.origin,
        layers=run.records,
        skipped=tuple(run.work.skips),
        totals=totals,
        output=output,
        allocation=run.allocation,
        target=target,
        warnings=warnings,
        correction=run.correction,
        loops=compiled.version(),
    )


def _name(model: ModelSource) -> str:
    if isinstance(model, onnx.ModelProto):
        return model.graph.name or "model"
    return "bytes" if isinstance(model, bytes) else str(model)
