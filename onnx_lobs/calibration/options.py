"""Holds the settings of a calibration, the same for all its passes."""

from __future__ import annotations

import sys
from dataclasses import dataclass

LEAST_OBSERVATIONS = 1 << 16  # 1 << 13 doubled the error on data not seen; more gained nothing


@dataclass(frozen=True)
class CalibrationOptions:
    """What is read of the data, where networks run, and how much memory each part may take.

    Parameters
    ----------
    n_batches
        How many batches there are.
    held_every
        The last of so many batches is held out, see :mod:`onnx_lobs.calibration.held_out`; 0: none.
    provider
        Full name of an execution provider.
    seed
        Chooses the positions of convolutions that are read.
    positions
        Observations per input that a convolution reads, over all batches; None: all.
    least_observations
        Observations that it reads at the least.
    in_graph
        Whether the graph itself computes the sums that it can, then at all positions; of layers
        that are read in one pass over the dense network: all, or tied ones in stages.
    most_weights, most_targets, most_grams
        Bytes: of weights in one session of the dense network, of targets that one such session
        leaves, and of Grams that are made in one pass over the batches.
    is_tight
        Whether memory that calibration leaves free is given back before a layer is solved.
    """

    n_batches: int
    provider: str
    held_every: int = 0
    seed: int = 0
    positions: int | None = None
    least_observations: int = LEAST_OBSERVATIONS
    in_graph: bool = False
    most_weights: int = sys.maxsize
    most_targets: int = sys.maxsize
    most_grams: int = sys.maxsize
    is_tight: bool = False
