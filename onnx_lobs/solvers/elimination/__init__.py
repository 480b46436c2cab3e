"""Eliminates one weight, or block of weights, after the other, exactly."""
