"""What pruning did to the whole network."""
