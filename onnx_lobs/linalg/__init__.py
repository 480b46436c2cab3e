"""Computes with second moments and their factors."""
