"""What a run may keep where: shares of --memory, activations on disk, scratch folders."""
