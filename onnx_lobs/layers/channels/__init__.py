"""Finds channels that can only go together, and removes them from a model."""
