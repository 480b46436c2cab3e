"""Finds the zeros of a whole layer at once."""
