"""Bounds the error that pruning makes in the outputs, and predicts it to first order."""
