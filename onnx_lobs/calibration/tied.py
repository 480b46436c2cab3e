"""Calibrates tied layers, whose later uses cannot be reached before they are solved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from onnx_lobs.arrays import Feeds
from onnx_lobs.calibration.independent import calibrate_independent
from onnx_lobs.calibration.options import CalibrationOptions
from onnx_lobs.calibration.shared_inputs import SharedInput, within
from onnx_lobs.graph.model import Model
from onnx_lobs.linalg.moments import Calibration


class TiedCalibration:
    """The moments of tied layers on the dense network, made in passes when they are asked for.

    Parameters
    ----------
    dense
        Execution copy; it must not change.
    shared_inputs
        Of which those that are tied are calibrated.
    batches
        Read once per pass.
    options
        As for :func:`~onnx_lobs.calibration.independent.calibrate_independent`, and the bytes of
        the Grams of one pass.
    """

    def __init__(
        self,
        dense: Model,
        shared_inputs: Sequence[SharedInput],
        batches: Iterable[Feeds],
        options: CalibrationOptions,
    ) -> None:
        self.dense, self.batches, self.options = dense, batches, options
        tied = (shared for shared in shared_inputs if shared.is_tied)
        self.all = sorted(tied, key=lambda shared: shared.top)
        self.parts = list(within(self.all, options.most_grams))
        self.ready: dict[int, Calibration] = {}

    def take(self, shared: SharedInput) -> Calibration:
        """Return the moments of a shared input, once; those of its pass are made with it."""
        if id(shared) not in self.ready:
            part = next(p for p in self.parts if any(other is shared for other in p))
            made = calibrate_independent(
                self.dense, part, self.batches, self.options, tapped=self.all
            )
            self.ready.update(zip(map(id, part), made, strict=True))
        return self.ready.pop(id(shared))
