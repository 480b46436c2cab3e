"""Declares the options of a run."""
