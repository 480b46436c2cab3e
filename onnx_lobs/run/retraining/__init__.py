"""Retrains a pruned network lightly: its zeros stay, what is left moves for some hundred steps."""
