"""Opens sessions on the dense network that give its taps: activations, or finished sums.

Sums that the graph computes itself (:mod:`onnx_lobs.calibration.gram_nodes`) leave the device as
d x d matrices; what it cannot compute is tapped as it is, and the reason is told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import Array, Feeds
from onnx_lobs.calibration.gram_nodes import GramOutputs, Tap, add_gram_outputs
from onnx_lobs.errors import InferenceError
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.session import Session
from onnx_lobs.graph.run.taps import expose
from onnx_lobs.layers.layer import Use
from onnx_lobs.linalg.gram import Gram
from onnx_lobs.linalg.moments import Moments

NAMED = 5  # nodes that a message names for one reason
SumsSource = Callable[[Use], Moments | None]
"""gives the moments of what a use reads, of one batch; None: they were not computed in the graph"""


@dataclass(frozen=True)
class TapSession:
    """A session whose outputs are the sums in ``outputs`` and all other taps."""

    session: Session
    outputs: Mapping[Tap, GramOutputs]

    def run(self, feeds: Feeds) -> Mapping[str, Array]:
        """Return the values of one batch.

        Raises
        ------
        InferenceError
            As :meth:`Session.run`; it names the remedy where the sums may be the cause, such
            as a tap that is empty.
        """
        try:
            return self.session.run(feeds)
        except InferenceError as error:
            if not self.outputs:
                raise
            raise InferenceError(
                f"{error}; the graph also computed Grams: if the data fit, try --gram numpy"
            ) from error

    def sums_in(self, values: Mapping[str, Array]) -> SumsSource:
        """Return what finds the sums of a use's tap among the values of one batch."""

        def find(use: Use) -> Moments | None:
            outputs = self.outputs.get(use.tap)
            if outputs is None:
                return None
            # what overflows here is found, and named, once all batches are added
            with np.errstate(over="ignore", invalid="ignore"):
                return Moments(Gram.of(*outputs.read(values)))

        return find


def no_sums(use: Use) -> Moments | None:
    """Say that the sums of `use` were not computed in the graph."""
    return None


def open_taps(
    model: Model,
    wanted: Sequence[tuple[Use, int]],
    types: Mapping[tuple[int, str], int],
    provider: str,
    *,
    in_graph: bool = False,
    warn: Callable[[str], None] = lambda text: None,
) -> TapSession:
    """Return a session on a copy of the model that gives what the uses read.

    Parameters
    ----------
    model
        Not modified.
    wanted
        Uses, each with the number of columns d of its layer's matrices.
    types
        Element type of each tap.
    in_graph
        Whether the sums are computed in the graph where they can be.
    warn
        Told, once, for which nodes they cannot be, and why.
    """
    # sums where they are wanted and can be, as the copy's only outputs so far
    copy = type(model.proto)()
    copy.CopyFrom(model.proto)
    del copy.graph.output[:]
    found = add_gram_outputs(copy.graph, model, wanted) if in_graph else {}
    outputs = {tap: made for tap, made in found.items() if isinstance(made, GramOutputs)}
    # the activations themselves of all other uses
    rest = [use for use, _ in wanted if use.tap not in outputs]
    if refused := {use.node: str(found[use.tap]) for use in rest if use.tap in found}:
        warn(_refusals(refused))
    expose(copy.graph, model, sorted({(use.scope, use.input) for use in rest}), types)
    session = Session(copy, folder=model.folder, provider=provider, exact=bool(outputs))
    return TapSession(session, outputs)


def _refusals(refused: Mapping[str, str]) -> str:
    """Say which nodes the graph cannot serve, by reason, the first few by name."""
    texts = []
    for reason in dict.fromkeys(refused.values()):
        nodes = [node for node, why in refused.items() if why == reason]
        more = f" and {len(nodes) - NAMED} more" if len(nodes) > NAMED else ""
        texts.append(f"{', '.join(nodes[:NAMED])}{more} ({reason})")
    return f"NumPy computed Grams that the graph could not: {'; '.join(texts)}"
