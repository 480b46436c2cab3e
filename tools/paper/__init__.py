"""Holds what the 2017 paper is compared with: networks, other systems, figures, tables."""
