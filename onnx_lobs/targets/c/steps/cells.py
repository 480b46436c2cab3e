"""Holds the cells of recurrent nodes: what one step of time makes of sums, a state and a vector.

Each is written twice, in NumPy and in C, from the same three functions: sigmoid, tanh and times.
Products are numbered: 0 is that of the input, 1 and on those of the vector that the last step made.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.targets.c.steps.gate_product import GateProduct
from onnx_lobs.targets.c.steps.gates import GateArithmetic

ProductCall = Callable[[int, int, str], str]  # product, place of its sums, C text of its bias

_LOOP = """static void $NAME_$T_$tag(const $A *sums, $A *state, $H *h, $H *y, int n$FINISH)
{
    for (int j = 0; j < n; j++) {
        $BODY
        h[j] = y[j] = $ELEMENT;
    }
}
"""
_LSTM = """const $A in = sigmoid_$T(sums[j]), out = sigmoid_$T(sums[n + j]);
        state[j] = times_$T(sigmoid_$T(sums[2 * n + j]), state[j])
            + times_$T(in, tanh_$T(sums[3 * n + j]));
        const $A sum = times_$T(out, tanh_$T(state[j]));"""
_GRU = """const $A v = tanh_$T(sums[2 * n + j]);
        state[j] = v + times_$T(sigmoid_$T(sums[j]), state[j] - v);"""
_LINEAR_GRU = """const $A reset = times_$T(sigmoid_$T(sums[n + j]), sums[3 * n + j]);
        const $A v = tanh_$T(sums[2 * n + j] + reset);
        state[j] = v + times_$T(sigmoid_$T(sums[j]), state[j] - v);"""
_RESET = """static void gru_reset_$T_$tag(const $A *sums, const $A *state, $H *h, int n$FINISH)
{
    for (int j = 0; j < n; j++) {
        const $A sum = times_$T(sigmoid_$T(sums[n + j]), state[j]);
        h[j] = $ELEMENT_OF_SUM;
    }
}
"""
_RNN = "state[j] = tanh_$T(sums[j]);"


@dataclass(frozen=True, eq=False)
class CellParts:
    """What a cell computes with, the same at all steps of time of one direction.

    Parameters
    ----------
    numbers
        Of its gates.
    products, bias
        Of the input, and of the vector that the last step made; added to all sums.
    element
        Makes elements of the output from numbers of gates.
    """

    numbers: GateArithmetic
    products: Sequence[GateProduct]
    bias: Array
    element: Callable[[Array], Array]

    def product(self, number: int, x: Array) -> Array:
        """Return one of the products of a vector."""
        return self.products[number].compute(x)


class RecurrentCell(ABC):
    """A cell.

    Attributes
    ----------
    n_gates
        Rows of weights a unit.
    recurrent_parts
        Gates of each product with the last vector.
    n_sums
        Sums a unit.
    needs
        Functions of :class:`GateArithmetic` that it calls.
    texts
        C functions; `$ELEMENT` and others are filled in by the step.
    """

    n_gates: int
    recurrent_parts: Sequence[int]
    n_sums: int
    needs: Sequence[str] = ("sigmoid", "tanh", "times")
    texts: Sequence[str]

    @abstractmethod
    def advance(self, parts: CellParts, x: Array, h: Array, state: Array) -> tuple[Array, Array]:
        """Return the next vector, as elements, and the next state."""

    @abstractmethod
    def calls(self, product: ProductCall, n: int) -> list[str]:
        """Return the C calls of one step of time; ``$AFTER`` stands for the last arguments."""


def _function(name: str, body: str, element: str) -> str:
    return _LOOP.replace("$NAME", name).replace("$BODY", body).replace("$ELEMENT", element)


class LstmCell(RecurrentCell):
    """Gates in, out, forget and cell; the state is the cell's, of which the vector is made."""

    n_gates = 4
    recurrent_parts = (4,)
    n_sums = 4
    texts = (_function("lstm", _LSTM, "$ELEMENT_OF_SUM"),)

    def advance(self, parts: CellParts, x: Array, h: Array, state: Array) -> tuple[Array, Array]:
        """Return the next vector and the next state."""
        do, sums = parts.numbers, parts.bias + parts.product(0, x) + parts.product(1, h)
        gate_in, gate_out, forget, value = np.split(sums, 4)
        state = do.times(do.sigmoid(forget), state) + do.times(do.sigmoid(gate_in), do.tanh(value))
        return parts.element(do.times(do.sigmoid(gate_out), do.tanh(state))), state

    def calls(self, product: ProductCall, n: int) -> list[str]:
        """Return two products and the cell."""
        return [product(0, 0, "bias"), product(1, 0, "sums"), "lstm_$T_$tag($AFTER);"]


class GruCell(RecurrentCell):
    """Gates update, reset and hidden; the reset gate multiplies the state in front of R."""

    n_gates = 3
    recurrent_parts = (2, 1)
    n_sums = 3
    texts = (_RESET, _function("gru", _GRU, "$ELEMENT_OF_STATE"))

    def advance(self, parts: CellParts, x: Array, h: Array, state: Array) -> tuple[Array, Array]:
        """Return the next vector and the next state."""
        do = parts.numbers
        update, reset, hidden = np.split(parts.bias + parts.product(0, x), 3)
        more = np.split(parts.product(1, h), 2)
        kept = parts.element(do.times(do.sigmoid(reset + more[1]), state))
        value = do.tanh(hidden + parts.product(2, kept))
        state = value + do.times(do.sigmoid(update + more[0]), state - value)
        return parts.element(state), state

    def calls(self, product: ProductCall, n: int) -> list[str]:
        """Return the gates, the reset vector, its product and the cell."""
        return [
            product(0, 0, "bias"),
            product(1, 0, "sums"),
            "gru_reset_$T_$tag(sums, state, h, $N$FACTORS);",
            product(2, 2 * n, f"sums + {2 * n}"),
            "gru_$T_$tag($AFTER);",
        ]


class LinearGruCell(RecurrentCell):
    """A GRU whose reset gate multiplies what R makes of the last vector."""

    n_gates = 3
    recurrent_parts = (2, 1)
    n_sums = 4
    texts = (_function("linear_gru", _LINEAR_GRU, "$ELEMENT_OF_STATE"),)

    def advance(self, parts: CellParts, x: Array, h: Array, state: Array) -> tuple[Array, Array]:
        """Return the next vector and the next state."""
        do, n = parts.numbers, len(state)
        update, reset, hidden = np.split(parts.bias[: 3 * n] + parts.product(0, x), 3)
        more = np.split(parts.product(1, h), 2)
        recurrent = parts.bias[3 * n :] + parts.product(2, h)
        value = do.tanh(hidden + do.times(do.sigmoid(reset + more[1]), recurrent))
        state = value + do.times(do.sigmoid(update + more[0]), state - value)
        return parts.element(state), state

    def calls(self, product: ProductCall, n: int) -> list[str]:
        """Return all products and the cell."""
        return [
            product(0, 0, "bias"),
            product(1, 0, "sums"),
            product(2, 3 * n, f"bias + {3 * n}"),
            "linear_gru_$T_$tag($AFTER);",
        ]


class RnnCell(RecurrentCell):
    """No gates: a hyperbolic tangent of the sums."""

    n_gates = 1
    recurrent_parts = (1,)
    n_sums = 1
    needs = ("sigmoid", "tanh")
    texts = (_function("rnn", _RNN, "$ELEMENT_OF_STATE"),)

    def advance(self, parts: CellParts, x: Array, h: Array, state: Array) -> tuple[Array, Array]:
        """Return the next vector, and the same as state."""
        state = parts.numbers.tanh(parts.bias + parts.product(0, x) + parts.product(1, h))
        return parts.element(state), state

    def calls(self, product: ProductCall, n: int) -> list[str]:
        """Return two products and the cell."""
        return [product(0, 0, "bias"), product(1, 0, "sums"), "rnn_$T_$tag($AFTER);"]


LSTM, GRU, LINEAR_GRU, RNN = LstmCell(), GruCell(), LinearGruCell(), RnnCell()
