"""Says where zeros may stand, and chooses them from scores."""
