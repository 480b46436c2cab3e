"""Fits what lies between two cuts of a pruned network to the dense one, nonlinearities included."""
