"""Measures how a network's outputs changed."""
