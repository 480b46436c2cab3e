"""Finds what can be pruned in a graph, and writes it back."""
