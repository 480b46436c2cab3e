"""Takes one layer from its moments to its new weights: arrays in, arrays out."""

from onnx_lobs.solvers.layerwise.error_meter import ErrorMeter
from onnx_lobs.solvers.layerwise.quick import loss_curve, solve_quickly
from onnx_lobs.solvers.layerwise.rounded import rounded_only
from onnx_lobs.solvers.layerwise.solve import round_layer, solve_again, solve_layer
from onnx_lobs.solvers.layerwise.stored_range import within_range
from onnx_lobs.solvers.layerwise.task import LayerTask, Outcome, magnitude_weight

__all__ = [
    "ErrorMeter",
    "LayerTask",
    "Outcome",
    "loss_curve",
    "magnitude_weight",
    "round_layer",
    "rounded_only",
    "solve_again",
    "solve_layer",
    "solve_quickly",
    "within_range",
]
