"""Holds a model as a graph of named values."""
