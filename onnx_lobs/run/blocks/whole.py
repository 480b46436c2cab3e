"""Fits the whole network to the dense outputs, behind all of its spans.

Each span keeps what it leads to; what their rests add up to shows at the outputs alone. It takes
few steps, small ones, of what may move in spans.
"""

from __future__ import annotations

from collections.abc import Mapping

from onnx_lobs.arrays import Array
from onnx_lobs.calibration.held_out import fitted_and_held
from onnx_lobs.data.batches import Batches
from onnx_lobs.run.blocks.pieces import pieces_of, takes_pieces
from onnx_lobs.run.blocks.steps import Pace, take_steps
from onnx_lobs.run.retraining.aims import OUTPUTS, Targets
from onnx_lobs.run.retraining.moving import OBSERVED, choose_tensors
from onnx_lobs.run.retraining.network import TrainedNetwork
from onnx_lobs.run.retraining.opened import SMALLEST_BATCH, OpenedNetworks, find_aims
from onnx_lobs.run.retraining.training import TrainingSet

RATE = 0.005
SAMPLES = SMALLEST_BATCH  # of a step, as of retraining's
LEAST_GAIN = 0.005  # of the loss on held-out samples


def refit_whole(
    networks: OpenedNetworks, batches: Batches, seed: int, most_kept: int
) -> Mapping[str, Array]:
    """Return the new values of what moves; none where that gains too little.

    Parameters
    ----------
    networks
        The pruned network with its spans fitted, and the dense one.
    batches
        Calibration data; the held-out ones choose.
    seed
        Of the order of the batches.
    most_kept
        Bytes of the dense network's outputs that are kept for the next time.

    Notes
    -----
    Cost: 60 forward and backward passes of 8 samples, and 13 forward passes over the held-out data.
    """
    whole, held = fitted_and_held(batches)
    is_cut = takes_pieces(networks.pruned, whole, SAMPLES, networks.provider)
    fitted = pieces_of(whole, SAMPLES) if is_cut else whole
    aims, session, seen = find_aims(networks, fitted, OUTPUTS)
    chosen = choose_tensors(networks.pruned, OBSERVED, fitted, seen.shapes, rows_apart=True)
    tensors = chosen.tensors
    if not tensors:
        return {}
    network = TrainedNetwork(networks.pruned, aims, tensors, networks.provider)
    learnt, judged = (
        TrainingSet(some, Targets(aims, some, session, most_kept)) for some in (fitted, held)
    )
    return take_steps(network, learnt, judged, Pace(RATE, LEAST_GAIN, seed))
