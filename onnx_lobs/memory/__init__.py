"""Keeps a run within its memory."""
