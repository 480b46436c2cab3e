"""What --cache keeps of a run, and under which keys."""
