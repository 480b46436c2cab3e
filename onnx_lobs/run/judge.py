"""Judges a pruned network by its outputs on samples that it was not fitted to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from onnx_lobs.calibration.held_out import split_held
from onnx_lobs.data.batches import Batches
from onnx_lobs.evaluation.final_activation import judged_values
from onnx_lobs.evaluation.output import ChangeTally, Watch
from onnx_lobs.evaluation.remembered import RememberedOutputs
from onnx_lobs.graph.run.staged import Runnable
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.report.progress import Progress
from onnx_lobs.report.record import LayerRecord, OutputRecord
from onnx_lobs.run.channels.reduced import ReducedProduct
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.other_fits import count_other_fits, other_fits
from onnx_lobs.run.setup import Setup


def judge_outputs(
    setup: Setup,
    networks: Networks,
    judged: tuple[RememberedOutputs, Runnable],
    records: Mapping[str, LayerRecord],
    scratch: Scratch,
    progress: Progress,
    watch: Watch,
    *,
    others: bool = True,
    products: Sequence[ReducedProduct] = (),
) -> OutputRecord:
    """Return the output error on samples that were held out, without a score.

    Parameters
    ----------
    judged
        What the dense network gives, and the pruned one in front of its activations.
    records, scratch
        As for :func:`onnx_lobs.run.other_fits.other_fits`.
    watch
        Shown what the delivered network does to every batch, those that were held out last.
    others
        Whether few samples are judged by other fits too.
    products
        As for :func:`onnx_lobs.run.other_fits.other_fits`.

    Returns
    -------
    OutputRecord
        With no `error` where nothing was held out.
    """
    dense, pruned = judged
    fitted, held = split_held(setup.batches)
    seen, unseen = ChangeTally(), ChangeTally()
    progress.start("evaluating", len(setup.batches))
    _compare(dense, pruned, fitted, seen, watch, progress.advance)
    n_held = n_fits = 0
    if held is not None:
        _compare(dense, pruned, held, unseen, watch, progress.advance)
        n_held, n_fits = held.n_samples, 1
        n_others = count_other_fits(setup, networks) if others else 0
        if n_others:
            progress.start("fitting to other samples", n_others)
        fits = other_fits(setup, networks, records, scratch, products) if n_others else ()
        for other, left_out in fits:
            _compare(dense, other.open_judged(other.pruned).in_front, left_out, unseen)
            n_held, n_fits = n_held + left_out.n_samples, n_fits + 1
            progress.advance()
    change = unseen.result() if n_fits else None
    return OutputRecord(
        None if change is None else change.error,
        seen.result().error,
        n_held,
        notes=(seen.result() if change is None else change).notes,
        judged=judged_values(networks.finals),
        n_fits=n_fits,
    )


def _compare(
    dense: RememberedOutputs,
    pruned: Runnable,
    batches: Batches,
    tally: ChangeTally,
    watch: Watch = lambda before, after, feeds, size: None,
    tick: Callable[[int], None] = lambda n: None,
) -> None:
    """Count what pruning did to the outputs on some batches, as they are judged."""
    known = dense.on(batches)
    for feeds, size in zip(batches, batches.sizes, strict=True):
        before, after = known.run(feeds), pruned.run(feeds)
        tally.add(before, after, size)
        watch(before, after, feeds, size)
        tick(1)
