"""Warns, before any work, of data and models on which pruning cannot go well."""

from __future__ import annotations

from onnx_lobs.allocation.choice import is_measured
from onnx_lobs.arrays import FloatArray
from onnx_lobs.evaluation.plausible_data import doubtful_outputs, doubtful_samples
from onnx_lobs.evaluation.plausible_labels import doubtful_labels
from onnx_lobs.evaluation.plausible_scale import doubtful_pixels, unlike_scales
from onnx_lobs.evaluation.score import MeasuredScore
from onnx_lobs.layers.refusal import RefusalKind
from onnx_lobs.run.log import Log
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.observations import observations_of
from onnx_lobs.run.setup import Setup
from onnx_lobs.solvers import METHODS

# why the user left a layer
CHOSEN = frozenset(
    kind.value for kind in (RefusalKind.EXCLUDED, RefusalKind.NOT_INCLUDED, RefusalKind.OPERATOR)
)
MOST_NAMED = 3  # of the nodes that were left
HALF = 0.5


def warn_of_left(setup: Setup, log: Log) -> None:
    """Tell the log where weights are quantised, and where most of the file's are left.

    What the options leave does not count.
    """
    file = setup.file
    if file is None:
        return
    if file.quantised:
        log.warn(
            f"{_share(file.quantised, file.weights)} of the weights are quantised and stay as they "
            f"are ({file.quantised:,} of {file.weights:,}): prune the float model, then quantise it"
        )
    offered = file.weights - sum(n for kind, n in file.skipped.items() if kind in CHOSEN)
    left = [skip for skip in log.skips if skip.kind not in CHOSEN and skip.weights]
    if file.taken < HALF * (offered - file.quantised):
        left.sort(key=lambda skip: -skip.weights)
        named = ", ".join(f"{s.node} ({s.weights:,}: {s.kind})" for s in left[:MOST_NAMED])
        log.warn(
            f"only {_share(file.taken, offered)} of the file's weights can be pruned "
            f"({file.taken:,} of {offered:,}); the largest that are left: {named}"
        )


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


def warn_of_few(setup: Setup, networks: Networks, log: Log) -> FloatArray | None:
    """Tell the log where layers get fewer observations than they have inputs.

    Returns
    -------
    FloatArray or None
        Observations that a sample gives each layer; None where they were not looked at: the network
        runs in stages, its data are made up or a single sample, the method fits nothing to them, or
        memory is bounded and nothing else needs them, since all layers' inputs are held at once.

    Notes
    -----
    Cost: the dense network on one batch.
    """
    method, batches = METHODS[setup.config.method], setup.batches
    is_fitted = method.needs_hessian or method.is_refitted(setup.config.refit)
    if not is_fitted or networks.is_staged or batches.synthetic or batches.n_samples == 1:
        return None
    if setup.config.memory is not None and not is_measured(setup.config, setup.pattern):
        return None
    observations = observations_of(setup, networks)
    counts = [round(float(each) * batches.n_samples) for each in observations]
    each = zip(counts, setup.layers, strict=True)
    few = [(n, layer) for n, layer in each if 0 < n < layer.layout.columns]
    if few:
        n, layer = min(few, key=lambda pair: pair[0] / pair[1].layout.columns)
        log.warn(
            f"fewer observations than inputs in {len(few)} of {len(counts)} layers ({layer.name}: "
            f"{n:,} for {layer.layout.columns:,}): their weights are hardly known from so few "
            f"samples ({batches.n_samples}); give more"
        )
    return observations


def warn_of_data(setup: Setup, networks: Networks, before: MeasuredScore | None, log: Log) -> None:
    """Tell the log what is wrong with calibration data, and with labels; made-up data are left.

    Parameters
    ----------
    before
        The dense network's score, or None.

    Notes
    -----
    Cost: a forward pass over a few batches, one where the network runs in stages; two more where
    inputs look like pixels; and another where the score is low.
    """
    batches, scoring = setup.batches, setup.scoring
    dense = networks.open_judged(networks.reference)
    if not batches.synthetic:
        found = doubtful_samples(batches)
        found = found or doubtful_outputs(dense, batches, 1 if networks.is_staged else None)
        if not found and not networks.is_staged:
            found = doubtful_pixels(dense.in_front, batches)
        log.warn(*found)
        if scoring is not None and scoring.test is not None:
            log.warn(*unlike_scales(batches, scoring.test))
    if before is not None and scoring is not None and scoring.test is not None:
        log.warn(*doubtful_labels(dense, scoring.test, scoring.score, before))
