"""Runs a graph in onnxruntime, as a whole or in stages."""
