"""Reads the two weights of an LSTM, GRU or RNN as layers: W on its inputs, R on its states.

All gates of W are rows of one matrix, in both directions, since they read the same inputs. R has a
matrix for each direction; and for each gate where a GRU resets the state before R is applied.
"""

from __future__ import annotations

from dataclasses import replace

from onnx_lobs.layers.bias import find_input_bias
from onnx_lobs.layers.bias_slot import BiasOrder, BiasSlot
from onnx_lobs.layers.chain import Root
from onnx_lobs.layers.layout import WeightLayout
from onnx_lobs.layers.misfit import recurrent_misfit
from onnx_lobs.layers.place import Match, NodePlace
from onnx_lobs.layers.refusal import Refusal, RefusalKind
from onnx_lobs.layers.state_taps import (
    BIAS,
    GATES,
    has_input,
    inputs_name,
    inputs_trouble,
    resets_before,
    states_name,
    states_trouble,
    twin_name,
)


def match_inputs(place: NodePlace, root: Root) -> Match | Refusal:
    """Return how a recurrent node multiplies W (directions, gates * hidden, inputs), or why not."""
    if trouble := inputs_trouble(place.model, place.node):
        return Refusal(RefusalKind.RECURRENT, f"recurrent, and {trouble}")
    shape = root.shape
    if misfit := recurrent_misfit(shape, GATES[place.node.op_type]):
        return misfit
    layout = WeightLayout(shape, shape, (0, 1, 2), 1, shape[0] * shape[1], shape[2])
    use = replace(
        place.use(inputs_name(place.node)),
        top=_first_top(place),
        bias=_bias(place, shape[:2], is_first=True),
    )
    return Match(use, root, layout, part="W")


def match_states(place: NodePlace, root: Root) -> Match | Refusal:
    """Return how a recurrent node multiplies R (directions, gates * hidden, hidden), or why not."""
    if trouble := states_trouble(place.model, place.node):
        return Refusal(RefusalKind.RECURRENT, f"recurrent, and {trouble}")
    if misfit := recurrent_misfit(root.shape, GATES[place.node.op_type]):
        return misfit
    directions, rows, columns = root.shape
    groups = directions
    if resets_before(place.node):
        gates = GATES[place.node.op_type]
        groups, rows = directions * gates, rows // gates
    layout = WeightLayout(root.shape, (groups, rows, columns), (0, 1, 2), groups, rows, columns)
    use = replace(
        place.use(states_name(place.node), groups),
        batch=(groups,),
        bias=_bias(place, root.shape[:2], is_first=False),
    )
    return Match(use, root, layout, part="R")


def _first_top(place: NodePlace) -> int:
    """Return the place of what first reads W: of the twin, where there is one."""
    if place.scope.parent is not None or twin_name(place.node) not in place.scope.producers:
        return place.top
    nodes = list(place.scope.graph.node[: place.top])
    return next(i for i, node in enumerate(nodes) if twin_name(place.node) in node.output)


def _bias(place: NodePlace, outputs: tuple[int, ...], *, is_first: bool) -> BiasSlot | None:
    """Return the slot of the bias (directions, 2 * gates * hidden), of W first and then of R.

    A GRU that resets before R gets no new one, which its reset gate, as it is shown, would lack.
    """
    if resets_before(place.node) and not has_input(place.node, BIAS):
        return None
    directions, rows = outputs
    room = (0, rows) if is_first else (rows, 0)
    order = BiasOrder((directions, rows), (0, 1), room)
    shape = directions, 2 * rows
    return find_input_bias(place.model, place.scope, place.node, shape, place_of=BIAS, order=order)
