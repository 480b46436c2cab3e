"""Lowers LSTM, GRU and RNN."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from onnx_lobs.arrays import Array, FloatArray
from onnx_lobs.errors import ModelError
from onnx_lobs.targets.c.codes import encode
from onnx_lobs.targets.c.grid import SUM_LIMIT, factors_of, grid_of, quantise_rows
from onnx_lobs.targets.c.lower.context import Lowering, as_float, node_attributes, refusal
from onnx_lobs.targets.c.program import Value
from onnx_lobs.targets.c.steps.cells import GRU, LINEAR_GRU, LSTM, RNN, RecurrentCell
from onnx_lobs.targets.c.steps.gate_product import GateProduct, gate_scale
from onnx_lobs.targets.c.steps.gates import ONE, SUM_REACH
from onnx_lobs.targets.c.steps.move import Move, Part
from onnx_lobs.targets.c.steps.recurrent import Direction, Recurrent
from onnx_lobs.targets.c.steps.start import START_POINT, Start
from onnx_lobs.targets.c.steps.strides import strides_of

_ACTIVATIONS = {
    "LSTM": ("sigmoid", "tanh", "tanh"),
    "GRU": ("sigmoid", "tanh"),
    "RNN": ("tanh",),
}
_DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
_W, _R, _B, _LENGTHS, _VECTOR, _CELL, _PEEPHOLES = range(1, 8)  # places of inputs
_MOST_STATE = 2**15 - 1  # of a cell's state: it grows by 1 a step at most, and has 32 bits


def lower_recurrent(made: Lowering, node: onnx.NodeProto) -> None:
    """Append a recurrent node, and the last vectors where both they and all are read."""
    _check(made, node)
    given = node_attributes(node, {"direction": "forward", "linear_before_reset": 0})
    cell: RecurrentCell = {"LSTM": LSTM, "GRU": GRU, "RNN": RNN}[node.op_type]
    if node.op_type == "GRU" and given["linear_before_reset"]:
        cell = LINEAR_GRU
    step = _output(made, node)
    starts = [node.input[p] for p in (_CELL, _VECTOR) if not _is_fixed(made, node, p)]
    sources = tuple(made.value(name) for name in dict.fromkeys([node.input[0], *starts]))
    directions = tuple(
        _Build(made, node, cell, number, step.vectors, sources).direction(is_reverse)
        for number, is_reverse in enumerate(_DIRECTIONS[given["direction"]])
    )
    element = cell_element = None
    if step.vectors.grid is not None:
        element = factors_of(node.name, np.array([1 / (ONE * step.vectors.grid.scale)]))
        if step.cells is not None and step.cells.grid is not None:
            cell_element = factors_of(node.name, np.array([1 / (ONE * step.cells.grid.scale)]))
    recurrent = Recurrent(
        sources,
        step.vectors,
        cell,
        directions,
        element,
        step.keeps_all,
        step.cells,
        cell_element,
    )
    made.add(recurrent)
    if step.last is not None:
        made.add(_last_vectors(recurrent, step.last))


@dataclass(frozen=True)
class _Outputs:
    """Values that a node makes: `last` where a copy of the last vectors is read beside all."""

    vectors: Value
    keeps_all: bool
    last: Value | None
    cells: Value | None


def _output(made: Lowering, node: onnx.NodeProto) -> _Outputs:
    every, last, cells = ([*node.output, "", ""])[:3]
    if made.ranges is not None:  # the grid holds the first vectors too
        ends = [*made.ranges[every], *_ends_of_first(made, node)]
        made.grids[every] = grid_of(every, min(ends), max(ends))
    read = {name: made.is_read(name) for name in (every, last, cells)}
    if last:
        made.share_grid(last, every)
    keeps_all = read[every] or not read[last]
    return _Outputs(
        made.value(every if keeps_all else last),
        keeps_all,
        made.value(last) if keeps_all and read[last] else None,
        made.value(cells) if read[cells] else None,
    )


def _ends_of_first(made: Lowering, node: onnx.NodeProto) -> tuple[float, float]:
    """Return the range of the vectors that a node begins at."""
    if not _is_fixed(made, node, _VECTOR):
        grid = made.value(node.input[_VECTOR]).grid
        assert grid is not None
        return grid.scale * grid.lowest, grid.scale * grid.highest
    first = made.optional(node, _VECTOR, "the first state")
    return (0.0, 0.0) if first is None else (float(first.min()), float(first.max()))


def _last_vectors(step: Recurrent, last: Value) -> Move:
    """Return the copy of the last vector of each direction."""
    n, times = last.shape[-1], step.output.shape[0]
    width = len(step.directions) * n
    parts = tuple(
        Part(
            (n,),
            strides_of((n,)),
            strides_of((n,)),
            (0 if direction.is_reverse else times - 1) * width + number * n,
            number * n,
        )
        for number, direction in enumerate(step.directions)
    )
    return Move((step.output,) * len(parts), last, parts)


def _check(made: Lowering, node: onnx.NodeProto) -> None:
    """Refuse what the code does not compute."""
    given = node_attributes(
        node, {"layout": 0, "clip": 0.0, "input_forget": 0, "activations": (), "direction": ""}
    )
    times, batch = made.shape(node.input[0])[:2]
    found = [a.decode() if isinstance(a, bytes) else a for a in given["activations"]]
    known = list(_ACTIVATIONS[node.op_type])
    lengths = made.optional(node, _LENGTHS, "the length of sequences")
    reasons = {
        "only the layout 0 is written": given["layout"] != 0,
        "only one sample at a time is written": batch != 1,
        "its sums are clipped": given["clip"] != 0.0,
        "its input and forget gates are one": given["input_forget"] != 0,
        f"its activations are {', '.join(found)}; only {', '.join(known)} are written": (
            [a.lower() for a in found] not in ([], known, known * 2)
        ),
        "it has peepholes": len(node.input) > _PEEPHOLES and bool(node.input[_PEEPHOLES]),
        f"its sequences end before the {times} steps of its input": (
            lengths is not None and bool(np.any(lengths != times))
        ),
    }
    for reason, holds in reasons.items():
        if holds:
            raise refusal(node, reason)


def _spread(integers: Array, scales: FloatArray) -> tuple[Array, FloatArray]:
    """Return rows of few steps in whole multiples of them, so that sums are fine enough to scale.

    Sums are rounded down to whole ones: of a row of one weight that may be a step of its vector.
    """
    times = 127 // np.maximum(np.abs(integers.astype(np.int64)).max(axis=1, initial=0), 1)
    return (integers * times[:, None]).astype(np.int8), scales / times


def _is_fixed(made: Lowering, node: onnx.NodeProto, place: int) -> bool:
    """Whether an input is left out or constant."""
    name = node.input[place] if len(node.input) > place else ""
    return not name or made.is_constant(name)


@dataclass(frozen=True, eq=False)
class _Build:
    """Makes one direction of a node; `sources` are its input and what its states begin at."""

    made: Lowering
    node: onnx.NodeProto
    cell: RecurrentCell
    number: int
    vectors: Value
    sources: tuple[Value, ...]

    def direction(self, is_reverse: bool) -> Direction:
        """Return the weights, the bias and the beginning."""
        n = self.vectors.shape[-1]
        w, r = (self._weight(place) for place in (_W, _R))
        ends = n * np.cumsum(self.cell.recurrent_parts)[:-1]
        parts = np.split(r, ends)
        products = [self._product(w, self.sources[0])]
        products += [self._product(p, self.vectors) for p in parts]
        state = self._start(_CELL if self.cell is LSTM else _VECTOR, None)
        vector = self._start(_VECTOR, self.vectors)
        return Direction(tuple(products), self._bias(n), state, vector, is_reverse)

    def _weight(self, place: int) -> Array:
        both = as_float(self.made.constant(self.node, place, "the weight"))
        return np.asarray(both[self.number])

    def _product(self, rows: Array, source: Value) -> GateProduct:
        if source.grid is None:
            stored = rows.astype(np.float32)
            return GateProduct(stored, encode(stored, self.made.optimise), None)
        integers, scales = _spread(*quantise_rows(rows))
        reach = np.abs(integers.astype(np.int64)).sum(axis=1) * source.grid.highest
        if reach.max(initial=0) > SUM_LIMIT:
            raise ModelError(
                f"{self.node.op_type} {self.node.name!r} sums up to {reach.max():,}, more than "
                f"the {SUM_LIMIT:,} of 32 bits; use --values fp32"
            )
        scale = gate_scale(self._name, scales * source.grid.scale * ONE)
        return GateProduct(integers, encode(integers, self.made.optimise), scale)

    @property
    def _name(self) -> str:
        return self.node.name or self.vectors.name

    def _bias(self, n: int) -> Array:
        """Return the biases of all sums, those of W and of R added where the cell adds them."""
        given = self.made.optional(self.node, _B, "the bias")
        size = self.cell.n_gates * n
        both = np.zeros(2 * size) if given is None else as_float(given)[self.number]
        of_w, of_r = both[:size], both[size:]
        if self.cell is LINEAR_GRU:
            sums = np.concatenate([of_w[: 2 * n] + of_r[: 2 * n], of_w[2 * n :], of_r[2 * n :]])
        else:
            sums = of_w + of_r
        if self.vectors.grid is None:
            return sums.astype(np.float32)
        return np.asarray(np.clip(np.rint(sums * ONE), -SUM_REACH, SUM_REACH), np.int32)

    def _start(self, place: int, vector: Value | None) -> Start:
        """Return where a state, or the elements of a vector, begins."""
        if not _is_fixed(self.made, self.node, place):
            return self._start_at_input(self.made.value(self.node.input[place]), vector)
        given = self.made.optional(self.node, place, "the first state")
        self._check_state(0.0)
        if given is None or not np.any(given):
            return Start()
        values = as_float(given)[self.number].reshape(-1)
        self._check_state(float(np.abs(values).max()))
        return Start(self._constants(values, vector))

    def _constants(self, values: FloatArray, vector: Value | None) -> Array:
        if self.vectors.grid is None:
            return values.astype(np.float32)
        if vector is None:
            return np.asarray(np.rint(values * ONE), np.int32)
        return self.vectors.grid.quantise(values)

    def _start_at_input(self, source: Value, vector: Value | None) -> Start:
        at = [value.name for value in self.sources].index(source.name)
        if source.grid is None or self.vectors.grid is None:
            return Start(source=at)
        self._check_state(source.grid.scale * source.grid.highest)
        if vector is None:
            return Start(source=at, step=round(source.grid.scale * 2.0**START_POINT))
        real = np.array([source.grid.scale / self.vectors.grid.scale])
        return Start(source=at, scale=factors_of(self._name, real))

    def _check_state(self, first: float) -> None:
        most = first + self.sources[0].shape[0]
        if self.vectors.grid is not None and most > _MOST_STATE:
            raise refusal(
                self.node,
                f"its state may reach {most:,.0f}, and 32 bits hold {_MOST_STATE:,} in steps of "
                "2^-16 (--values fp32 has no such limit)",
            )
