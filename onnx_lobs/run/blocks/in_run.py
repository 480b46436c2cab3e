"""Fits the spans of a run's network, and keeps that only where the outputs come nearer."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import onnx

from onnx_lobs.evaluation.remembered import RememberedOutputs
from onnx_lobs.evaluation.score import MeasuredScore
from onnx_lobs.graph.model import Model
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.memory.store import Store
from onnx_lobs.report.progress import Progress
from onnx_lobs.report.record import BlocksRecord
from onnx_lobs.run.blocks.refit import SpanCourse, refit_spans
from onnx_lobs.run.one_run import Run
from onnx_lobs.run.outcome import evaluate_run
from onnx_lobs.run.retraining.in_run import open_result
from onnx_lobs.run.retraining.opened import OpenedNetworks


def refit_blocks(
    run: Run,
    before: MeasuredScore | None,
    dense: RememberedOutputs,
    scratch: Scratch,
    progress: Progress,
) -> Run:
    """Fit every span of what a run pruned to the dense network; zeros stay.

    Parameters
    ----------
    run
        On what :func:`onnx_lobs.run.retraining.in_run.check_retrainable` takes. Its result changes
        in place where that is kept.
    before, dense, scratch
        As for :func:`onnx_lobs.run.outcome.evaluate_run`.

    Returns
    -------
    Run
        With the new weights and what they do, if the output error on the held-out samples fell;
        else as it was. Either way with a record.
    """
    started = time.perf_counter()
    setup, networks, log = run.setup, run.networks, run.log
    was = run.output
    if was.n_fits > 1:  # the delivered fit alone is what is refitted
        was, _ = evaluate_run(
            setup, networks, run.records, None, dense, scratch, progress, log, retrained=True
        )
    opened = open_result(networks)
    half, course = setup.memory.activations // 2, SpanCourse(seed=setup.config.seed)
    spans, values = refit_spans(
        (networks.dense, opened.pruned), _judged(opened), setup.batches, networks.provider,
        (Store(half, scratch), Store(half, scratch)), course, progress,
    )  # fmt: skip
    record = BlocksRecord(
        spans=len(spans),
        fitted=sum(span.share > 0 for span in spans),
        error_before=was.error,
        error_after=was.error,
        is_kept=False,
        seconds=time.perf_counter() - started,
    )
    if not values:
        return dataclasses.replace(run, blocks=record)
    after = dataclasses.replace(networks, pruned=opened.pruned)
    output, details = evaluate_run(
        setup, after, run.records, before, dense, scratch, progress, log, retrained=True
    )
    is_kept = None not in (was.error, output.error) and output.error < was.error  # type: ignore
    record = dataclasses.replace(record, error_after=output.error, is_kept=is_kept)
    if not is_kept:
        return dataclasses.replace(run, blocks=record)
    result = Model(networks.result.proto, networks.result.folder)
    for name, value in values.items():
        stored = result.constant(result.main, name)
        assert stored is not None
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(stored.data_type))
        result.write(stored, value.astype(dtype))
    return dataclasses.replace(run, networks=after, output=output, details=details, blocks=record)


def _judged(opened: OpenedNetworks) -> str:
    """Return the first value that the network is judged by, in front of its activation."""
    output = opened.pruned.main.graph.output[0].name
    values = {final.output: final.value for final in opened.finals[1]}
    return str(values.get(output, output))
