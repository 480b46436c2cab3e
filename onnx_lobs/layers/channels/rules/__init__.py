"""Says how operators couple the indices of their tensors: a file a family, and one table."""
