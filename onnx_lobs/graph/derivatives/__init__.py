"""Extends a graph by the gradients of its values, as ONNX nodes that the same sessions run."""
