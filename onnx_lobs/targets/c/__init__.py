"""Writes a network as C for microcontrollers: sparse weights, no heap, no operating system."""
