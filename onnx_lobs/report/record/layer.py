"""Records what happened to one layer."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class LayerRecord:
    """What happened to one layer.

    Parameters
    ----------
    name, op
        As in the model.
    weights, zeros
        Counts after pruning.
    error
        Mean squared change of the layer's pre-activations on the calibration data, over the
        mean square of the dense ones (about their mean where a bias absorbs it): 0 is
        perfect, 1 as bad as a constant. Of the weights as stored, after rounding.
    held_error
        The same on batches that chose the damping and the target's share but neither the
        zeros nor the weights themselves, for weights fitted without them; slightly optimistic for
        that choice. None when nothing was held out or the method does not refit.
    magnitude_error
        What `error` would be had the smallest weights been zeroed, as is usual.
    status, remedy
        How the solver ended, and what can be done if that was not well.
    method
        What solved it.
    columns, samples
        Inputs of the layer problem, and observations that its Gram saw.
    damp
        Fraction of the mean diagonal used.
    target
        Weight of the dense network's target, in [0, 1]; None when the layer aimed at its
        own outputs.
    seconds
        Time to solve.
    first_order
        First-order prediction of what this layer's error alone does to the network's outputs: sum
        of squared changes over the sum of squares. None when it was not asked for, the layer did
        not change or lies in a branch, or no output is floating.
    multiplications
        Of one sample (before, after) by weights that are not zero, None where a size is not known.
    """

    name: str
    op: str
    weights: int
    zeros: int
    error: float
    magnitude_error: float
    status: str
    seconds: float
    held_error: float | None = None
    remedy: str = ""
    method: str = ""
    columns: int = 0
    samples: int = 0
    damp: float | None = None
    target: float | None = None
    first_order: float | None = None
    info: dict[str, float | str | int] = field(default_factory=dict)
    multiplications: tuple[int, int] | None = None

    @property
    def sparsity(self) -> float:
        """Fraction of zeros."""
        return self.zeros / self.weights if self.weights else 0.0
