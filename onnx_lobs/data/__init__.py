"""Opens inputs of every kind as batches."""
