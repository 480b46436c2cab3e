"""Makes the report of a run, and adds the file that it was written to."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from onnx_lobs.arrays import FloatArray
from onnx_lobs.evaluation.input_ranges import input_ranges
from onnx_lobs.graph.files.sizes import Sizes
from onnx_lobs.graph.inferred_shapes import infer_shapes
from onnx_lobs.layers.work import multiplications, share_of_observations
from onnx_lobs.linalg import compiled
from onnx_lobs.options.option import values_of
from onnx_lobs.report.record import LayerRecord, Report, TargetRecord, Totals
from onnx_lobs.run.layer_pictures import draw_layers
from onnx_lobs.run.log import Log
from onnx_lobs.run.observations import observations_of
from onnx_lobs.run.one_run import Run
from onnx_lobs.run.slots import layer_key


def make_report(
    name: str,
    run: Run,
    target: TargetRecord | None,
    log: Log,
    seconds: float,
    observations: FloatArray | None = None,
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
    observations
        That a sample gives each layer, for multiplications where shapes do not tell them; or None.
    """
    records = count_multiplications(run, observations)
    work = [record.multiplications for record in records]
    known = [pair for pair in work if pair is not None]
    totals = Totals(
        weights=sum(record.weights for record in records),
        zeros=sum(record.zeros for record in records),
        seconds=seconds,
        file=run.setup.file,
        multiplications=_sums(known) if known and len(known) == len(work) else None,
    )
    channels = None if run.choice.channels is None else run.choice.channels.record
    return Report(
        model=name,
        options=values_of(run.setup.config),
        data=run.setup.batches.origin,
        layers=records,
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
        rounds=run.rounds,
        blocks=run.blocks,
        dropped=run.dropped,
    )


def count_multiplications(run: Run, observations: FloatArray | None) -> tuple[LayerRecord, ...]:
    """Return the records of the layers with their multiplications, where these are known.

    Parameters
    ----------
    run
        Its layers, and their records.
    observations
        That a sample gives each layer, (layers,), or None: looked at where they are needed, unless
        the network runs in stages.
    """
    if run.choice.channels is not None:  # what removed them has counted the smaller network's
        return tuple(run.records.values())
    shapes, samples = infer_shapes(run.networks.dense.proto)
    counts = [multiplications(layer, shapes, samples) for layer in run.setup.layers]
    if None in counts and observations is None and not run.networks.is_staged:
        observations = observations_of(run.setup, run.networks)
    counted, places = [], {layer_key(layer): at for at, layer in enumerate(run.setup.layers)}
    for key, record in run.records.items():  # of layers that no data reach there is none
        at = places[key]
        layer, whole = run.setup.layers[at], counts[at]
        if whole is None and observations is not None:
            whole = round(layer.size * float(observations[at]) * share_of_observations(layer))
        pair = None if whole is None else (whole, whole * (layer.size - record.zeros) // layer.size)
        counted.append(dataclasses.replace(record, multiplications=pair))
    return tuple(counted)


def _sums(pairs: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return sum(before for before, _ in pairs), sum(after for _, after in pairs)


def with_file(report: Report, output: Path, sizes: Sizes, notes: Sequence[str] = ()) -> Report:
    """Return the report with the file that the model was written to, and warnings about that."""
    totals = dataclasses.replace(
        report.totals, file_bytes=sizes.file_bytes, gzip_bytes=sizes.gzip_bytes
    )
    warnings = (*report.warnings, *notes)
    return dataclasses.replace(report, totals=totals, output_path=str(output), warnings=warnings)
