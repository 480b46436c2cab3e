"""Says what a network is trained towards: labels, or what the dense network gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnx_lobs.arrays import Array, Feeds
from onnx_lobs.data.batches import Batches
from onnx_lobs.errors import ConfigError, DataError
from onnx_lobs.evaluation.builtin import class_indices
from onnx_lobs.evaluation.final_activation import SOFTMAXES, FinalActivation
from onnx_lobs.graph.derivatives.observed import ObservedValues
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.session import Session

LABELS, CLASSES, OUTPUTS, AUTO = "labels", "classes", "outputs", "auto"
TOWARDS = (AUTO, LABELS, CLASSES, OUTPUTS)
MOST_KEPT = 1 << 28  # bytes of the dense network's outputs that are kept for the next time
KEPT_PART = 4  # of the memory for activations, a part for them


@dataclass(frozen=True)
class Aim:
    """A value of the network that a loss compares with a target.

    Parameters
    ----------
    value
        Its name in the pruned network, in front of a final activation.
    loss
        ``cross-entropy`` or ``distance``.
    axis
        Of the classes; None: there are none.
    dense
        Name of the same value in the dense network; "" where labels are the target.
    weight
        What the loss is multiplied by: the distance over the mean square of the dense values.
    """

    value: str
    loss: str
    axis: int | None
    dense: str = ""
    weight: float = 1.0


def class_aim(
    model: Model,
    finals: tuple[Sequence[FinalActivation], Sequence[FinalActivation]],
    values: ObservedValues,
    *,
    by_labels: bool,
) -> Aim:
    """Return the aim at classes: the scores of the first output of shape (samples, classes).

    Parameters
    ----------
    model
        The pruned network.
    finals
        Final activations of the dense network and of the pruned one, of the same outputs.
    values
        What a batch told of the pruned network.
    by_labels
        Whether labels say the classes, or the dense network's scores.

    Raises
    ------
    DataError
        When no output has such a shape.
    """
    before, after = ({final.output: final.value for final in some} for some in finals)
    for output in model.main.graph.output:
        value = after.get(output.name, output.name)
        shape = values.shapes[value]
        is_scores = len(shape) >= 2 and shape[1] > 1 and max(shape[2:], default=1) == 1
        if is_scores and values.types[value].kind == "f":
            dense = "" if by_labels else before.get(output.name, output.name)
            return Aim(value, "cross-entropy", 1, dense)
    shapes = ", ".join(f"{o.name} {values.shapes[o.name]}" for o in model.main.graph.output)
    raise DataError(
        f"no output has the shape (samples, classes), so classes cannot be learnt; the model gives "
        f"{shapes}; train towards the dense network's outputs (--towards outputs)"
    )


def output_aims(
    model: Model,
    finals: tuple[Sequence[FinalActivation], Sequence[FinalActivation]],
    values: ObservedValues,
    dense: Mapping[str, Array],
) -> tuple[Aim, ...]:
    """Return the aims at the dense network's outputs, each in front of its final activation.

    Parameters
    ----------
    model
        The pruned network.
    finals
        Final activations of the dense network and of the pruned one, of the same outputs.
    values
        What a batch told of the pruned network.
    dense
        The dense network's values of that batch, by name.

    Raises
    ------
    ConfigError
        When no output is floating.
    """
    by_output = [{final.output: final for final in some} for some in finals]
    aims = []
    for output in model.main.graph.output:
        before, after = (some.get(output.name) for some in by_output)
        value = after.value if after is not None else output.name
        if values.types[value].kind != "f" or not values.shapes[value]:
            continue
        shown = before.value if before is not None else output.name
        axis = class_axis(after, len(values.shapes[value]))
        aims.append(distance_aim(value, shown, axis, dense[shown]))
    if not aims:
        raise ConfigError("the model has no floating output to train; give labels")
    return tuple(aims)


def distance_aim(value: str, shown: str, axis: int | None, dense: Array) -> Aim:
    """Return the aim at dense values, over their mean square in a sample.

    Parameters
    ----------
    value, shown
        Names in the pruned and in the dense network.
    axis
        Of classes, along which a shift of all is no distance; None: there is none.
    dense
        The dense network's values of a batch, (samples, ...).
    """
    size = float(np.square(_centred(dense, axis), dtype=np.float64).sum()) / len(dense)
    return Aim(value, "distance", axis, shown, 1 / max(size, 1e-30))


def class_axis(final: FinalActivation | None, rank: int) -> int | None:
    """Return the one axis of a softmax, None where there is none or several."""
    if final is None or final.activation.op not in SOFTMAXES:
        return None
    axes = final.activation.class_axes(rank)
    return axes[0] if len(axes) == 1 else None


def _centred(values: Array, axis: int | None) -> Array:
    return values if axis is None else values - values.mean(axis, keepdims=True)


def _target(aim: Aim, dense: Array) -> Array:
    """Return what a loss compares with: the dense values, or the shares of classes they mean."""
    if aim.loss != "cross-entropy":
        return dense
    powers = np.exp(dense - dense.max(1, keepdims=True))
    shares: Array = powers / powers.sum(1, keepdims=True)
    return shares


def memory_of_targets(activations: int) -> int:
    """Return how many bytes of the dense network's outputs are kept, by the memory there is."""
    return min(MOST_KEPT, activations // KEPT_PART)


class Targets:
    """Gives the targets of every batch, and keeps the dense network's while memory lasts.

    Parameters
    ----------
    aims
        What is compared.
    batches
        The samples, with labels where one aims at them.
    dense
        Gives the dense network's values; None where labels are the only target.
    most_kept
        Bytes of them that are kept for the next time.
    """

    def __init__(
        self,
        aims: Sequence[Aim],
        batches: Batches,
        dense: Session | None,
        most_kept: int = MOST_KEPT,
    ) -> None:
        self.aims, self.batches, self.dense = tuple(aims), batches, dense
        self.most_kept = most_kept
        self._firsts = np.cumsum((0, *batches.sizes))
        self._kept: dict[int, tuple[Array, ...]] = {}
        self._bytes = 0

    def of(
        self, index: int, feeds: Feeds, shapes: Mapping[str, tuple[int, ...]]
    ) -> Sequence[Array]:
        """Return the targets of one batch, an array for each aim."""
        if index in self._kept:
            return self._kept[index]
        if self.dense is None:
            found = tuple(self._shares(index, shapes[aim.value]) for aim in self.aims)
        else:
            seen = self.dense.run(feeds, [aim.dense for aim in self.aims])
            found = tuple(_target(aim, seen[aim.dense]) for aim in self.aims)
        size = sum(array.nbytes for array in found)
        if self._bytes + size <= self.most_kept:
            self._kept[index], self._bytes = found, self._bytes + size
        return found

    def _shares(self, index: int, shape: tuple[int, ...]) -> Array:
        """Return labels as shares of classes: a 1 for each sample."""
        assert self.batches.labels is not None
        some = self.batches.labels[self._firsts[index] : self._firsts[index + 1]]
        shares = np.zeros(shape, np.float32)
        chosen = class_indices(some, *shape[:2])
        shares.reshape(shape[:2])[np.arange(len(chosen)), chosen] = 1
        return shares
