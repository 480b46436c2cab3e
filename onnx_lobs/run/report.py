"""Makes the report of a run, and adds the file that it was written to."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from onnx_lobs.evaluation.input_ranges import input_ranges
from onnx_lobs.graph.files.sizes import Sizes
from onnx_lobs.linalg import compiled
from onnx_lobs.options.option import values_of
from onnx_lobs.report.record import Report, TargetRecord, Totals
from onnx_lobs.run.layer_pictures import draw_layers
from onnx_lobs.run.log import Log
from onnx_lobs.run.one_run import Run


def make_report(
    name: str, run: Run, target: TargetRecord | None, log: Log, seconds: float
) -> Report:
    """Return the report of the run that is delivered.

    Parameters
    ----------
    name
        Of the model.
    target
        What became of the target that was searched for, or None.
    log
        What was told outside of the run, before it.
    seconds
        That all of it took.
    """
    totals = Totals(
        weights=sum(record.weights for record in run.records),
        zeros=sum(record.zeros for record in run.records),
        seconds=seconds,
        file=run.setup.file,
    )
    channels = None if run.choice.channels is None else run.choice.channels.record
    return Report(
        model=name,
        options=values_of(run.setup.config),
        data=run.setup.batches.origin,
        layers=run.records,
        skipped=(*log.skips, *run.log.skips),
        totals=totals,
        output=run.output,
        allocation=run.choice.record,
        target=target,
        warnings=(*log.warnings, *run.log.warnings),
        correction=run.correction,
        loops=compiled.version(),
        details=dataclasses.replace(
            run.details, layers=() if channels else draw_layers(run.setup.layers, run.networks)
        ),
        samples=run.setup.batches.n_samples,
        is_made_up=run.setup.batches.synthetic,
        inputs=input_ranges(run.setup.batches),
        channels=channels,
    )


def with_file(report: Report, output: Path, sizes: Sizes, notes: Sequence[str] = ()) -> Report:
    """Return the report with the file that the model was written to, and warnings about that."""
    totals = dataclasses.replace(
        report.totals, file_bytes=sizes.file_bytes, gzip_bytes=sizes.gzip_bytes
    )
    warnings = (*report.warnings, *notes)
    return dataclasses.replace(report, totals=totals, output_path=str(output), warnings=warnings)
