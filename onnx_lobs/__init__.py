"""onnx-lobs: prune any ONNX model, one shot, with layer-wise Optimal Brain Surgeon."""

__version__ = "0.1.0"
