"""Unfolds convolutions, and sums their second moments without unfolding."""
