"""Warns, before any work, of data and models on which pruning cannot go well."""

from __future__ import annotations

import math

from onnx import TensorProto

from onnx_lobs.evaluation.plausible_data import doubtful_outputs, doubtful_samples
from onnx_lobs.evaluation.plausible_labels import doubtful_labels
from onnx_lobs.evaluation.plausible_scale import doubtful_pixels, unlike_scales
from onnx_lobs.evaluation.score import MeasuredScore
from onnx_lobs.layers.refusal import RefusalKind
from onnx_lobs.run.log import Log
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.setup import Setup

BYTES = TensorProto.INT8, TensorProto.UINT8, TensorProto.INT4, TensorProto.UINT4


def warn_of_quantised(setup: Setup, networks: Networks, log: Log) -> None:
    """Tell the log where most weights are quantised, of which none can be pruned."""
    if all(skip.kind != RefusalKind.QUANTISED.value for skip in log.skips):
        return
    tensors = (t for scope in networks.dense.scopes for t in scope.initializers.values())
    left = sum(math.prod(t.dims) for t in tensors if t.data_type in BYTES and len(t.dims) > 1)
    own = sum(layer.size for layer in setup.layers)
    if left > own:
        log.warn(
            f"{100 * left / (left + own):.1f} % of the weights are quantised and stay as they are "
            f"({left:,} of {left + own:,}): prune the float model, then quantise it"
        )


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
    dense = networks.open_judged(networks.dense)
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
