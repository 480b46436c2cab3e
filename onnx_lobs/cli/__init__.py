"""Reads the command line and prints."""
