"""Replaces values that are computed from constants by stored constants."""
