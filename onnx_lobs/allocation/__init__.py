"""Shares zeros between layers."""
