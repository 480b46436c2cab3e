"""Makes the models of a run: two copies that only run, and the one that is delivered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from onnx_lobs.evaluation.final_activation import FinalActivation, final_activations
from onnx_lobs.evaluation.judged_network import JudgedNetwork, open_judged
from onnx_lobs.graph.files.external import copy_data
from onnx_lobs.graph.files.load import LoadedModel
from onnx_lobs.graph.files.location import is_external
from onnx_lobs.graph.files.tensors import raw_size
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.staged import Runnable, open_session
from onnx_lobs.layers.layer import Layer
from onnx_lobs.layers.write import add_biases
from onnx_lobs.memory.scratch import Scratch, writing


@dataclass(frozen=True)
class Networks:
    """The models of a run, and how they are run.

    Layers name tensors by scope and name, which are the same in all three. Which models these
    are never changes; the values of weights in `pruned` and `result` do.

    Parameters
    ----------
    dense, pruned
        Execution copies, which only run. The dense one never changes.
    result
        The copy that is returned or written. It may share a working copy of the external data
        files with `pruned`.
    provider
        Full name of an execution provider.
    limit
        Bytes of weights in one session; a model with more runs in stages.
    original
        What outputs and scores are compared with where that is not `dense`: the network before
        channels were removed, or before earlier rounds of pruning.
    """

    dense: Model
    pruned: Model
    result: Model
    provider: str
    limit: int
    original: Model | None = None

    @property
    def reference(self) -> Model:
        """The network that outputs and scores are compared with."""
        return self.dense if self.original is None else self.original

    @property
    def is_staged(self) -> bool:
        """Whether the weights exceed what one session may hold."""
        return self.dense.weight_bytes > self.limit

    def open(self, model: Model) -> Runnable:
        """Return what runs one of the models, or another with the same nodes."""
        return open_session(model, provider=self.provider, limit=self.limit)

    @property
    def finals(self) -> tuple[FinalActivation, ...]:
        """The activations in front of which all the networks are judged: of their common names."""
        return final_activations(self.reference)

    def open_judged(self, model: Model) -> JudgedNetwork:
        """Return what runs one of the models and shows what it is judged by."""
        return open_judged(model, self.finals, provider=self.provider, limit=self.limit)

    def renewed(self) -> Networks:
        """Return the networks before pruning, with fresh copies of those that a run changes.

        Only for a `result` that nothing was written to. Nothing here is modified.
        """
        return replace(self, pruned=self.dense.copied(), result=self.result.copied())

    def only_dense(self) -> Networks:
        """Return the dense network in all three places, for what changes none of them."""
        return replace(self, pruned=self.dense, result=self.dense)

    def unpruned(self) -> Networks:
        """Return the dense network, and two copies of it to prune that nobody delivers."""
        return replace(self, pruned=self.dense.copied(), result=self.dense.copied())

    def on_trial(self) -> Networks:
        """Return the dense network, and a copy of it to prune that nobody delivers."""
        return replace(self, pruned=self.dense.copied(), result=self.dense)


def make_networks(
    loaded: LoadedModel,
    executable: onnx.ModelProto,
    layers: Sequence[Layer],
    data: Path | None,
    provider: str,
    limit: int,
) -> Networks:
    """Return the networks of a run on a model; its weights are not copied where that can be.

    Parameters
    ----------
    loaded, executable
        The model as it was read, and what runs in its place. Neither is modified.
    layers
        What is pruned; execution copies get the biases that they lack.
    data
        Folder with a private copy of the external data, from :func:`copy_external`, or None.
    provider, limit
        As in :class:`Networks`.
    """
    is_private = data is not None
    folder = data or loaded.folder
    return Networks(
        dense=_with_biases(executable, loaded.folder, layers),
        pruned=_with_biases(executable, folder, layers, is_private=is_private),
        result=Model(loaded.proto, folder, is_private=is_private),
        provider=provider,
        limit=limit,
    )


def copy_external(
    loaded: LoadedModel, layers: Sequence[Layer], scratch: Scratch, embed: int
) -> Path | None:
    """Copy the external data if the layers have more of it than may be embedded.

    Parameters
    ----------
    embed
        Bytes of external weights that may be embedded in the model when they are solved.

    Returns
    -------
    Path or None
        The folder with the copy, or None if no copy is needed.

    Raises
    ------
    ConfigError
        When there is no space for the copy.
    """
    if loaded.folder is None:
        return None
    model = Model(loaded.proto, loaded.folder)
    tensors = (model.constant(model.scopes[layer.scope], layer.weight) for layer in layers)
    external = sum(raw_size(t) for t in tensors if t is not None and is_external(t))
    if external == 0 or external + loaded.proto.ByteSize() <= embed:
        return None
    target = scratch.folder / "data"
    with writing(scratch.base):
        target.mkdir()
        copy_data(loaded.proto, loaded.folder, target)
    return target


def _with_biases(
    executable: onnx.ModelProto,
    folder: Path | None,
    layers: Sequence[Layer],
    *,
    is_private: bool = False,
) -> Model:
    copy = onnx.ModelProto()
    copy.CopyFrom(executable)
    add_biases(Model(copy, folder), layers)
    return Model(copy, folder, is_private=is_private)
