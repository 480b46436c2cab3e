"""prune(): the one place that knows the order of the steps."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import onnx

from onnx_lobs.calibrate import Group, calibrate_independent, make_groups
from onnx_lobs.config import PruneConfig
from onnx_lobs.deliver import stamp, write_model
from onnx_lobs.errors import ConfigError, layer_context
from onnx_lobs.evaluate import output_error, top1
from onnx_lobs.graph.save import check_output, model_files
from onnx_lobs.graph.session import Session
from onnx_lobs.linalg.gram import Calibration
from onnx_lobs.report.record import LayerRecord, OutputRecord, Report, SkipRecord, Totals
from onnx_lobs.sequential import calibrate_sequential
from onnx_lobs.solvers import METHODS
from onnx_lobs.steps import prune_one
from onnx_lobs.workspace import ModelSource, Workspace, open_workspace

GRAM_BYTES = 2 << 30


class Progress(Protocol):
    """What the pipeline tells about its advance; each phase starts anew and may repeat."""

    def start(self, phase: str, total: int) -> None:
        """Begin a phase of `total` steps."""

    def advance(self, n: int = 1) -> None:
        """Count `n` steps of the present phase."""


class Silent:
    """A Progress that shows nothing."""

    def start(self, phase: str, total: int) -> None:
        """Ignore."""

    def advance(self, n: int = 1) -> None:
        """Ignore."""


@dataclass(frozen=True)
class PruneResult:
    """A pruned model and the record of how it came about."""

    model: onnx.ModelProto
    report: Report


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
        data that did not change are still referred to where the input's lie.

    Raises
    ------
    ConfigError, ModelError, DataError, InferenceError, SolverError
        As :mod:`onnx_lobs.errors` says; nothing is written in any case.

    Notes
    -----
    Cost: two forward passes over the data, one Gram per layer (n d² flops), the method per
    layer. Memory: :mod:`onnx_lobs.calibrate`.
    """
    work = open_workspace(model, data, test, _config(options))
    report = _prune(work, _name(model), progress or Silent())
    return PruneResult(work.result.proto, report)


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
    work = open_workspace(path, data, test, config)
    progress = progress or Silent()
    report = _prune(work, str(path), progress)
    progress.start("writing", 1)
    sizes = write_model(work, path, output, overwrite=overwrite)
    progress.advance()
    totals = dataclasses.replace(
        report.totals, file_bytes=sizes.file_bytes, gzip_bytes=sizes.gzip_bytes
    )
    return dataclasses.replace(report, totals=totals, output_path=str(output))


def _prune(work: Workspace, name: str, progress: Progress) -> Report:
    started = time.perf_counter()
    records = list(_solve(work, progress))
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
        warnings=tuple(work.warnings),
    )


def _solve(work: Workspace, progress: Progress) -> Iterator[LayerRecord]:
    """Calibrate and solve every layer, in graph order; the models change as it goes."""
    for group, calibration in _calibrations(work, progress):
        first = 0
        for layer in group.layers:
            rows = slice(first, first + layer.layout.rows)
            first += layer.layout.rows
            if all(moments.inputs.count == 0 for moments in calibration.fit):
                reason = "never reached on the calibration data"
                work.skips.append(SkipRecord(layer.name, layer.op, reason))
            else:
                with layer_context(layer.name):
                    yield prune_one(work, layer, calibration.rows(rows))
            progress.advance()


def _calibrations(work: Workspace, progress: Progress) -> Iterator[tuple[Group, Calibration]]:
    groups = make_groups(work.layers)
    sequential = work.config.sequential
    if sequential is None:
        sequential = METHODS[work.config.method].wants_sequential
    if sequential:
        progress.start("calibrating and solving", len(work.layers))
        yield from calibrate_sequential(
            work.dense,
            work.pruned,
            groups,
            work.batches,
            n_batches=len(work.batches),
            provider=work.provider,
            seed=work.config.seed,
        )
        return
    for part in _within(groups, GRAM_BYTES):
        progress.start("calibrating", len(work.batches))
        found = calibrate_independent(
            work.dense,
            part,
            work.batches,
            n_batches=len(work.batches),
            provider=work.provider,
            seed=work.config.seed,
            tick=progress.advance,
        )
        progress.start("solving", sum(len(group.layers) for group in part))
        yield from zip(part, found, strict=True)


def _within(groups: Sequence[Group], budget: int) -> Iterator[list[Group]]:
    """Split groups into runs whose Grams fit a budget of bytes; each run is one pass."""
    part: list[Group] = []
    used = 0
    for group in groups:
        layout = group.layers[0].layout
        size = 2 * 8 * layout.groups * layout.columns**2 * len(group.uses)
        if part and used + size > budget:
            yield part
            part, used = [], 0
        part.append(group)
        used += size
    if part:
        yield part


def _evaluate(work: Workspace, progress: Progress) -> OutputRecord:
    dense = Session(work.dense.proto, folder=work.loaded.folder, provider=work.provider)
    pruned = Session(work.pruned.proto, folder=work.loaded.folder, provider=work.provider)
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
