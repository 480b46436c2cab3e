"""One layer from its moments to its new weights: arrays in, arrays out."""

from onnx_lobs.layerwise.solve import solve_layer
from onnx_lobs.layerwise.task import LayerTask, Outcome, magnitude_weight, relative_error

__all__ = ["LayerTask", "Outcome", "magnitude_weight", "relative_error", "solve_layer"]
