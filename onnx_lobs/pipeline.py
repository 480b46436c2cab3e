"""prune(): the one place that knows the order of the steps."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx

from onnx_lobs.calibration.groups import Group
from onnx_lobs.config import PruneConfig
from onnx_lobs.deliver import stamp, write_model
from onnx_lobs.errors import ConfigError, layer_context
from onnx_lobs.evaluation.output import output_error, top1
from onnx_lobs.graph.save import check_output, model_files
from onnx_lobs.graph.staged import open_session
from onnx_lobs.layers.layer import Layer
from onnx_lobs.linalg.gram import Calibration
from onnx_lobs.memory.scratch import Scratch, interruptible
from onnx_lobs.phases import Progress, Silent
from onnx_lobs.report.record import LayerRecord, OutputRecord, Report, SkipRecord, Totals
from onnx_lobs.resume.state import Resume
from onnx_lobs.schedule import calibrations, is_sequential, is_staged, uses_graph
from onnx_lobs.steps import Solved, solve_one, write_one
from onnx_lobs.workspace import ModelSource, Workspace, open_workspace


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


def prune(
    model: ModelSource,
    data: Any = None,
    *,
    test: Any = None,
    progress: Progress | None = None,
    **options: Any,
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
        Labelled data (an npz with ``label``) for the score before and after. None: what lies
        beside the model's file, else no score.
    progress
        Told of every step.
    options
        Fields of :class:`onnx_lobs.config.PruneConfig`.

    Returns
    -------
    PruneResult
        A new ModelProto in which only weights and biases differ, and the report. External
        data that did not change are still referred to where the input's lie, unless the
        pruned weights exceed 2 GiB: see :class:`PruneResult`.

    Raises
    ------
    ConfigError, ModelError, DataError, InferenceError, SolverError
        As :mod:`onnx_lobs.errors` says; nothing is written in any case.

    Notes
    -----
    Cost: two forward passes over the data, one Gram per layer (n d² flops), the method per
    layer. Memory: :mod:`onnx_lobs.calibration.independent`.
    """
    config = _config(options)
    with _scratch(config) as scratch:
        work = open_workspace(model, data, test, config, scratch)
        report = _prune(work, scratch, _name(model), progress or Silent())
        kept = scratch.release() if work.result.is_private else None
    return PruneResult(work.result.proto, report, work.result.folder, kept)


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
    progress = progress or Silent()
    with _scratch(config) as scratch:
        work = open_workspace(path, data, test, config, scratch, embed=0)
        report = _prune(work, scratch, str(path), progress)
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


def _prune(work: Workspace, scratch: Scratch, name: str, progress: Progress) -> Report:
    started = time.perf_counter()
    uses_graph(work)  # an impossible choice is an error before any work
    resume = Resume(work, sequential=is_sequential(work), staged=is_staged(work))
    records = list(_solve(work, resume, scratch, progress))
    output = _evaluate(work, progress)
    stamp(work.result.proto, work.config)
    totals = Totals(
        weights=sum(record.weights for record in records),
        zeros=sum(record.zeros for record in records),
        seconds=time.perf_counter() - started,
    )
    return Report(
        model=name,
        options=dataclasses.asdict(work.config),
        data=work.batches.origin,
        layers=tuple(records),
        skipped=tuple(work.skips),
        totals=totals,
        output=output,
        warnings=(*work.warnings, *resume.warnings),
    )


def _solve(
    work: Workspace, resume: Resume, scratch: Scratch, progress: Progress
) -> Iterator[LayerRecord]:
    """Calibrate and solve every layer, in graph order; the models change as it goes."""
    for group, calibration in calibrations(work, resume, scratch, progress):
        first = 0
        for layer in group.layers:
            rows = slice(first, first + layer.layout.rows)
            first += layer.layout.rows
            part = None if calibration is None else calibration.rows(rows)
            solved = _solved(work, resume, group, layer, part)
            if solved is not None:
                write_one(work, layer, solved)
                resume.note(group, layer, solved)
                yield solved.record
            progress.advance()
        del calibration, part  # before the next group's are made


def _solved(
    work: Workspace, resume: Resume, group: Group, layer: Layer, calibration: Calibration | None
) -> Solved | None:
    """Return a layer as the cache has it, or solve it; None if no batch reaches it."""
    known = resume.solved(group, layer)
    if known is not None or calibration is None:
        return known
    if all(moments.inputs.count == 0 for moments in calibration.fit):
        reason = "never reached on the calibration data"
        work.skips.append(SkipRecord(layer.name, layer.op, reason))
        return None
    with layer_context(layer.name):
        return solve_one(work, layer, calibration)


def _evaluate(work: Workspace, progress: Progress) -> OutputRecord:
    dense, pruned = (
        open_session(model, provider=work.provider, limit=work.room.weights)
        for model in (work.dense, work.pruned)
    )
    progress.start("evaluating", len(work.batches))
    error = output_error(dense, pruned, work.batches, progress.advance)
    if work.test is None or work.test.labels is None:
        return OutputRecord(error)
    progress.start("scoring", 2 * len(work.test))
    return OutputRecord(
        error,
        top1(dense, work.test, work.test.labels, progress.advance),
        top1(pruned, work.test, work.test.labels, progress.advance),
        work.test.n_samples,
    )


def _config(options: dict[str, Any]) -> PruneConfig:
    known = [field.name for field in dataclasses.fields(PruneConfig)]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise ConfigError(f"option {unknown[0]!r} is unknown; the options are {', '.join(known)}")
    return PruneConfig(**options)


def _name(model: ModelSource) -> str:
    if isinstance(model, onnx.ModelProto):
        return model.graph.name or "model"
    return "bytes" if isinstance(model, bytes) else str(model)
