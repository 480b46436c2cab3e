"""Records what a run did, and shows it."""
