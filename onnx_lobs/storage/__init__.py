"""Stores pruned weights in less space."""
