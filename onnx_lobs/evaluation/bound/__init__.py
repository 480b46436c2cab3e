"""How far a pruned network's outputs can be from the dense ones: a bound, layer by layer."""
