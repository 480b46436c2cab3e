"""Means and variances after pruning: normalisation statistics, biases, gains of outputs."""
