"""Chooses which channels go: together for all layers that read them."""
