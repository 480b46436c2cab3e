"""Fits few samples several times, so that each is judged by a fit that has not seen it.

A tenth of few samples is one or two, and their error may be a third of what others show, or three
times as much. So the network is pruned again on other nine tenths of them, with the settings of the
run, and every fit is judged on the tenth that it left out: cross-validation, as Stone (1974) has
it. The zeros are chosen anew too: zeros that were chosen with a sample in sight flatter it, by 3 to
5 times on a LeNet-5 of 10 to 60 samples.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from onnx_lobs.calibration.held_out import held_every, split_held
from onnx_lobs.data.batches import Batches
from onnx_lobs.graph.run.arena import release_memory
from onnx_lobs.layers.layer import Layer
from onnx_lobs.layers.write import round_weight
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.report.progress import Silent
from onnx_lobs.report.record import LayerRecord
from onnx_lobs.run.channels.reduced import ReducedProduct
from onnx_lobs.run.layer_step import UNTOUCHED, Solved, make_task, stored_matrix, write_one
from onnx_lobs.run.log import Log
from onnx_lobs.run.modes import refits
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.resume.known import Known
from onnx_lobs.run.schedule import calibrations
from onnx_lobs.run.setup import Setup
from onnx_lobs.run.slots import layer_key
from onnx_lobs.solvers.layerwise import LayerTask, Outcome, solve_again, solve_layer, within_range

FEW = 80  # samples; a tenth of so many tells the error within a factor of two
ENOUGH = 40  # samples to judge by: no more fits than that takes; 21 told .44 of what others showed
LEAST_FITS = 3  # beside the one that is delivered
CHEAP = 2e11  # flops of the refits of all fits, some seconds: within that all tenths get one


def count_other_fits(setup: Setup, networks: Networks) -> int:
    """Return how many fits are made beside the one that is delivered; 0 where samples suffice.

    Where weights do not fit memory none are.
    """
    batches = setup.batches
    held = split_held(batches)[1]
    is_large = networks.is_staged or networks.result.is_private
    if held is None or is_large or batches.n_samples >= FEW:
        return 0
    most = min(held_every(batches), math.ceil(ENOUGH / held.n_samples)) - 1
    flops = sum(_refit_flops(networks, layer) for layer in setup.layers)
    return int(min(most, max(LEAST_FITS, CHEAP // max(flops, 1))))


def other_fits(
    setup: Setup,
    networks: Networks,
    records: Mapping[str, LayerRecord],
    scratch: Scratch,
    products: Sequence[ReducedProduct] = (),
) -> Iterator[tuple[Networks, Batches]]:
    """Yield the networks of each other fit, and the samples that it left out.

    Parameters
    ----------
    setup, networks
        Of the run that was made. Not modified.
    records
        Of its layers, by their keys.
    scratch
        Where values go that do not fit memory.
    products
        Products of queries and keys that lose dimensions. Their bases are those of the run: these
        had all but the run's own held-out samples in sight.

    Notes
    -----
    Cost of each: two forward passes, the Grams, the method with the least
    effort, one refit. Only one fit is in memory.
    """
    n, n_batches = count_other_fits(setup, networks), len(setup.batches)
    every = held_every(setup.batches)
    for index in range(n):
        # the same split of batches that begin elsewhere
        first = 1 + index * (every - 1) // n
        turned = setup.batches.pick((first + i) % n_batches for i in range(n_batches))
        part = dataclasses.replace(setup.with_options(effort="fast"), batches=turned)
        fitted = networks.unpruned()
        for product in products:
            product.write(fitted.pruned)
            product.write(fitted.result)
        _fit(part, fitted, records, scratch)
        release_memory()  # before two networks are loaded
        left_out = split_held(turned)[1]
        assert left_out is not None
        yield fitted, left_out


def _fit(
    setup: Setup, networks: Networks, records: Mapping[str, LayerRecord], scratch: Scratch
) -> None:
    """Solve all layers on other samples, for as many zeros as they have."""
    found = calibrations(setup, networks, Known.nothing(), scratch, Silent(), Log())
    for shared, calibration in found:
        for layer, part in shared.parts(calibration):
            record = records.get(layer_key(layer))
            reached = part is not None and any(use.inputs.count for use in part.fit)
            if part is not None and reached and record and record.status not in UNTOUCHED:
                task = make_task(setup, networks, layer, part, record.zeros)
                outcome = _solve(task, record, is_refitted=refits(setup.config))
                outcome = within_range(task, outcome)
                stored = round_weight(layer, outcome.weight)
                write_one(networks, layer, Solved(record, stored, outcome.bias_change))


def _solve(task: LayerTask, record: LayerRecord, *, is_refitted: bool) -> Outcome:
    """Solve one layer with the settings of its record, where it has such."""
    if is_refitted and record.damp is not None:
        return solve_again(task, record.damp, record.target or 0.0)
    return solve_layer(task)


def _refit_flops(networks: Networks, layer: Layer) -> float:
    """Return the flops of a layer's refit: a factor of all inputs, and one for every row."""
    mask = stored_matrix(networks, layer) != 0
    kept = mask.sum(axis=-1, dtype=np.float64)
    columns = float(mask.shape[-1])
    rows = np.minimum(kept, columns - kept) ** 3 / 3
    return float(rows.sum() + mask.shape[0] * columns**3)
