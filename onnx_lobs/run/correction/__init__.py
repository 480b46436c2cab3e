"""Corrects means and variances after pruning: statistics, biases, gains of outputs."""
