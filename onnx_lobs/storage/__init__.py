"""Writes pruned weights in the form that is asked for."""
