"""Takes the chosen channels out of the result of a run, once its layers are solved."""

from __future__ import annotations

import dataclasses

from onnx_lobs.graph.model import Model
from onnx_lobs.layers.channels.coupling import find_coupling
from onnx_lobs.layers.channels.removal import found_again, remove_channels
from onnx_lobs.run.channels.choice import ChannelChoice, observed_in
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.setup import Setup


def without_channels(setup: Setup, networks: Networks, choice: ChannelChoice) -> Networks:
    """Return the networks with another result: the solved one without the chosen channels.

    The solved model may have biases that the one before lacked, so that what goes together is
    found again; a channel is known by the places that it had.
    """
    observed = observed_in(setup, networks.result)
    now = find_coupling(observed, known=choice.coupling.carriers)
    gone = found_again(choice.coupling, now, choice.gone)
    dimensions = {each.product: each.kept for each in choice.products}
    proto = remove_channels(now, gone, dimensions)
    return dataclasses.replace(
        networks, result=Model(proto, networks.result.folder, is_private=networks.result.is_private)
    )
