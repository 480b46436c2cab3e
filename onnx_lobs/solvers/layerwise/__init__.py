"""Takes one layer from its moments to its new weights: arrays in, arrays out."""

from onnx_lobs.solvers.layerwise.solve import loss_curve, solve_layer, solve_quickly
from onnx_lobs.solvers.layerwise.task import LayerTask, Outcome, magnitude_weight, relative_error

__all__ = [
    "LayerTask",
    "Outcome",
    "loss_curve",
    "magnitude_weight",
    "relative_error",
    "solve_layer",
    "solve_quickly",
]
