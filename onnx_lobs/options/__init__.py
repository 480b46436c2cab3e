"""Declares every option once: its meaning, values, default, name, and what it affects."""
