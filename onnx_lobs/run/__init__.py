"""Carries out one pruning run."""
