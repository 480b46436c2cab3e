"""Holds the steps of a C program, one file for each family."""
