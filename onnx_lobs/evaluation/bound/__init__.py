"""Bound the error that pruning makes in the outputs, and predict it to first order."""
