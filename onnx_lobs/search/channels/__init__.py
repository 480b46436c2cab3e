"""Chooses the channels of a run: measures every coupled group, and shares what goes among them."""
