"""Fits the spans of a run's network, and keeps that only where the outputs come nearer."""

from __future__ import annotations

import dataclasses
import time

from onnx_lobs.graph.model import Model
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.memory.store import Store
from onnx_lobs.report.progress import Progress
from onnx_lobs.report.record import BlocksRecord
from onnx_lobs.run.blocks.refit import JudgedEnd, refit_spans
from onnx_lobs.run.blocks.whole import refit_whole
from onnx_lobs.run.one_run import Run, error_alone, judged_again
from onnx_lobs.run.outcome import Reference
from onnx_lobs.run.retraining.aims import memory_of_targets
from onnx_lobs.run.retraining.in_run import open_result
from onnx_lobs.run.retraining.opened import OpenedNetworks
from onnx_lobs.run.retraining.parameters import write_values


def refit_blocks(run: Run, reference: Reference, scratch: Scratch, progress: Progress) -> Run:
    """Fit every span of what a run pruned to the dense network; zeros stay.

    Parameters
    ----------
    run
        On what :func:`onnx_lobs.run.retraining.checks.check_retrainable` takes. Its result changes
        in place where that is kept.
    reference, scratch
        As for :func:`onnx_lobs.run.outcome.evaluate_run`.

    Returns
    -------
    Run
        With the new weights and what they do, if the output error on the held-out samples fell;
        else as it was. Either way with a record. Nothing is fitted where no output is floating, as
        nothing would tell what to keep.
    """
    started = time.perf_counter()
    setup, networks = run.setup, run.networks
    before = error_alone(run, reference, scratch, progress)
    if before is None:
        nothing = BlocksRecord(0, 0, None, None, False, time.perf_counter() - started)
        return dataclasses.replace(run, blocks=nothing)
    opened = open_result(networks)
    half = setup.memory.activations // 2
    found = refit_spans(
        (networks.dense, opened.pruned), judged_end(opened), setup.batches, networks.provider,
        (Store(half, scratch), Store(half, scratch)), setup.config.seed, progress,
    )  # fmt: skip
    most_kept = memory_of_targets(setup.memory.activations)
    last = refit_whole(opened, setup.batches, setup.config.seed, most_kept)
    write_values(opened.pruned, last)
    values = {**found.values, **last}
    record = BlocksRecord(
        spans=found.spans + 1,
        fitted=found.fitted + bool(last),
        error_before=before,
        error_after=before,
        is_kept=False,
        seconds=time.perf_counter() - started,
    )
    if not values:
        return dataclasses.replace(run, blocks=record)
    after = dataclasses.replace(networks, pruned=opened.pruned)
    fitted = judged_again(run, after, reference, scratch, progress)
    error = fitted.output.error
    is_kept = error is not None and error < before
    record = dataclasses.replace(record, error_after=error, is_kept=is_kept)
    if is_kept:
        write_values(Model(networks.result.proto, networks.result.folder), values)
    return dataclasses.replace(fitted if is_kept else run, blocks=record)


def judged_end(opened: OpenedNetworks) -> JudgedEnd:
    """Return the first output that the network is judged by, in front of its activation."""
    output = opened.pruned.main.graph.output[0].name
    finals = {final.output: final for final in opened.finals[1]}
    final = finals.get(output)
    return JudgedEnd(output, None) if final is None else JudgedEnd(final.value, final)
