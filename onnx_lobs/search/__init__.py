"""Chooses the zeros of every layer, and the sparsity that a target allows."""
