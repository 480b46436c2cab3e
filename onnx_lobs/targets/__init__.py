"""Brings a network to a device: what it is written as, what that costs there, whether it fits."""
