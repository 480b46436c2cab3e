"""Removes the channels of a run from its result."""
